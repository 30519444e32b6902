//! What the verbs are held to, with the embedded cloud and a repository in memory.
#![cfg(feature = "local")]

mod alive;
mod bench;
mod crashes;
mod disks;
mod hooks;
mod jobs;
mod plans;
mod restores;
mod runs;
mod temporaries;
mod troubled;
