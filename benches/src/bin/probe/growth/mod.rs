//! What grows with a repository: its index, and its catalog.
//!
//! Each figure comes from a process of its own, which does one thing to a repository that another process made, and tells what it took.

pub mod catalog;
mod figure;
pub mod index;
mod made;
pub mod phase;
pub mod plot;
mod quick;
