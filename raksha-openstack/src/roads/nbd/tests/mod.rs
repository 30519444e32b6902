//! The client against the real `qemu-nbd`, and against servers that break every rule.

mod breaches;
mod disks;
mod fuzz;
