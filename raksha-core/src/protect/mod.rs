//! The verbs: jobs, runs, restores.
//!
//! Here is the order of things, and no vendor. An embedder holds a [`Raksha`]: a [`Cloud`], a
//! [`Repository`](crate::repository::Repository) and a [`JobStore`](crate::store::JobStore), on behalf of one project. What a run
//! or restore creates in the cloud is recorded before it is created; whatever happens then, it is released, at the latest by
//! [`Raksha::reap`].
//!
//! Runs and restores live in the future that [`RunHandle::finish`] and [`RestoreHandle::finish`] return: the embedder
//! awaits or spawns it, and may watch [`Event`]s and hold a [`Cancel`] meanwhile.

mod backup;
mod cancel;
pub mod disk;
mod event;
mod gauge;
mod job;
mod plan;
mod raksha;
mod read_disks;
mod reap;
mod rebuild;
mod restore;
mod run;
mod scope;
mod session;
mod temporaries;
#[cfg(test)]
mod tests;
mod undo;

pub use cancel::Cancel;
pub use event::{Event, Events, Phase, Warning};
pub use job::NewJob;
pub use plan::{Conflict, RestorePlan, Step};
pub use raksha::{Cloud, Raksha};
pub use reap::{Dead, Reaped};
pub use restore::{RestoreFrom, RestoreHandle, RestoreReport};
pub use run::{RunHandle, RunReport};
pub use scope::{RestoreOptions, Scope};
pub use temporaries::Left;
