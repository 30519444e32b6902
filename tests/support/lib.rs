//! What the tests of the whole share: seeded randomness, and disks in memory.

mod memory_disk;
mod random;

pub use memory_disk::{MemoryDisk, MemorySink};
pub use random::Random;
