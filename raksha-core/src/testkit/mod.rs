//! For tests of those who implement the traits: a chunk store in memory, stores that misbehave on demand, a simulated clock,
//! and conformance suites.

mod catalog;
pub mod cloud;
mod job_store;
mod memory_chunks;
mod memory_jobs;
mod seeded;

pub use catalog::check_catalog;
pub use job_store::check_job_store;
pub use memory_chunks::MemoryChunks;
pub use memory_jobs::MemoryJobs;
pub use seeded::Seeded;
