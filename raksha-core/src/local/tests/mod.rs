//! What a local cloud is held to.

mod bad_input;
mod bench;
mod conformance;
mod description;
#[cfg(feature = "qcow2")]
mod qcow2;
#[cfg(feature = "qcow2")]
mod qcow2_damage;
mod restore;
mod snapshots;
