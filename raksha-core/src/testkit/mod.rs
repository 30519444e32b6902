//! For tests of those who implement the traits: a chunk store in memory, stores that misbehave on demand, a simulated clock,
//! and conformance suites.

mod memory_chunks;

pub use memory_chunks::MemoryChunks;
