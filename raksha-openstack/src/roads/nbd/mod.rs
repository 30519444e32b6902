//! Disks through `qemu-nbd`: qemu's block layer speaks to the storage (RBD, files, NFS, iSCSI, Gluster ...), and we to it, over a Unix socket.
//!
//! The client is ours: the fixed newstyle handshake, structured replies, `base:allocation` for holes, many requests under way on one
//! connection. It believes nothing that the server says without a check, as the server reads what strangers wrote.

mod client;
mod disk;
mod handshake;
mod pending;
mod process;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use disk::{NbdWriter, Server};
pub(crate) use process::Served;
