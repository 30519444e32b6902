//! Conformance suites for those who implement the traits of [`cloud`](crate::cloud).
//!
//! Each suite is a function that takes an implementation, or a *bench* that makes one and can look behind it, and
//! answers with the first [`Breach`] of the contract that it finds. What an implementation declares that it cannot do is not
//! asked of it. The suites draw what they write and read from a seed, which a breach names.
//!
//! - [`check_discovery`]: finding servers
//! - [`check_snapshots`]: taking snapshots, reading them, hints, and leaving nothing behind
//! - [`check_reader`], [`check_writer`]: the bytes of disks
//! - [`check_restorer`]: bringing servers back, and undoing it

mod breach;
mod discovery;
mod notebook;
mod reader;
mod restorer;
mod sample;
mod snapshots;
mod writer;

pub use breach::{Breach, Verdict};
pub use discovery::{DiscoveryFacts, check_discovery};
pub use notebook::Notebook;
pub use reader::{check_reader, read_all};
pub use restorer::{RestoreBench, check_restorer};
pub use sample::sample_graph;
pub use snapshots::{SnapshotBench, check_snapshots};
pub use writer::{WriterBench, check_writer};
