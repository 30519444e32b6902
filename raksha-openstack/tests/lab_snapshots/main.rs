//! Snapshots on the lab's real cloud (`tests/lab`): as a plain tenant through images, as an operator straight from Ceph, through NFS; with guests
//! that number what they write, so that a copy shows by itself whether it is of one instant.
//!
//! Needs the servers of `tests/lab/openstack-cases.sh`. One test at a time: the lab is small.

#![cfg(feature = "lab")]
#![allow(clippy::print_stderr)] // what was measured

#[cfg(test)]
mod bench;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod guest;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod nfs;
#[cfg(test)]
mod suite;
