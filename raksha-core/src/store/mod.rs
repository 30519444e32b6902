//! What a target holds, as traits: chunks, the order of commits, and (beside them) jobs, with the queue of runs that are due.
//!
//! The [repository](crate::repository) implements [`ChunkStore`] over any `object_store::ObjectStore`, and
//! [`ObjectCatalog`] is a [`ManifestCatalog`] over any that creates objects atomically. Where the log lies elsewhere,
//! [`MirroredCatalog`] keeps a copy of it beside the chunks.

mod catalog;
mod chunks;
mod delegations;
mod jobs;
mod mirrored_catalog;
mod object_catalog;
mod phase;
mod queue;
mod restores;

pub use catalog::{Appended, ManifestCatalog};
pub use chunks::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};
pub use delegations::DelegationStore;
pub use jobs::{
    BackupJob, BackupRun, DiskProgress, IfHookFails, IfNotReached, JobHook, JobStore, RunCounts,
    RunOutcome, RunState,
};
pub(crate) use mirrored_catalog::Mirror;
pub use mirrored_catalog::MirroredCatalog;
pub use object_catalog::ObjectCatalog;
pub use phase::Phase;
pub use queue::{
    DueEnd, DueRun, DueState, Lease, Limits, Placement, Protection, RunQueue, Tracking,
    VerifiedPoint,
};
pub use restores::{RestoreOutcome, RestoreRun, RestoreState};
