//! For tests of those who implement the traits: chunks, jobs and the queue of due runs in memory, conformance suites, mutations for parsers, and a clock and
//! randomness that a seed repeats; for probes, repositories that are larger than what lies in them ([`pretend_packs`], [`pretend_points`]). (Targets that misbehave on demand are in the testkit of `raksha-targets`.)

mod authority;
mod catalog;
mod chunk_store;
pub mod cloud;
mod delegations;
mod fuzz;
mod job_store;
mod memory_chunks;
mod memory_delegations;
mod memory_jobs;
mod memory_queue;
mod outside;
mod run_queue;
mod seeded;

pub use crate::repository::pretend::{
    IndexFootprint, index_footprint, known_chunks, merge_small_indexes, pretend_packs,
    pretend_points,
};
pub use authority::{AuthorityCase, PretendAuthority, check_authority};
pub use catalog::check_catalog;
pub use chunk_store::check_chunk_store;
pub use delegations::check_delegation_store;
pub use fuzz::Fuzz;
pub use job_store::check_job_store;
pub use memory_chunks::MemoryChunks;
pub use memory_jobs::MemoryJobs;
pub use outside::{SeededEntropy, SetClock};
pub use run_queue::check_run_queue;
pub use seeded::Seeded;
