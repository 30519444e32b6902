//! For tests of those who implement the traits: a chunk store in memory, stores that misbehave on demand, a simulated clock,
//! and conformance suites.

pub mod cloud;
mod memory_chunks;
mod seeded;

pub use memory_chunks::MemoryChunks;
pub use seeded::Seeded;
