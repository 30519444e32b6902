//! What grows with the disk or the distance, and whether it stays within bounds.

pub mod chunking;
mod disk;
pub mod distance;
mod far;
pub mod hints;
pub mod reads;
pub mod usage;
