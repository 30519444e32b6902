//! The verbs: jobs, runs, restores.
//!
//! Here is the order of things, and no vendor. An embedder holds a [`Raksha`]: a [`Cloud`], a
//! [`Repository`](crate::repository::Repository) and a [`JobStore`](crate::store::JobStore), on behalf of one project. What a run
//! or restore creates in the cloud is recorded before it is created; whatever happens then, it is released, at the latest by
//! [`Raksha::reap`].
//!
//! Runs and restores live in the future that [`RunHandle::finish`] and [`RestoreHandle::finish`] return: the embedder
//! awaits or spawns it, and may watch [`Event`]s and hold a [`Cancel`] meanwhile.
//!
#![cfg_attr(all(feature = "local", feature = "testkit"), doc = "```")]
#![cfg_attr(not(all(feature = "local", feature = "testkit")), doc = "```ignore")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let objects = std::sync::Arc::new(object_store::memory::InMemory::new());
//! # let scratch = tempfile::tempdir().unwrap();
//! # let directory = scratch.path().join("cloud");
//! # raksha_core::local::LocalCloud::create(&directory, Default::default()).await?
//! #     .add_server(raksha_core::local::NewServer::new("web").volume("data", 1 << 20)).await?;
//! use std::sync::Arc;
//! use raksha_core::cloud::{Selection, ServerSelector};
//! use raksha_core::env::Env;
//! use raksha_core::local::LocalCloud;
//! use raksha_core::protect::{Cloud, NewJob, Raksha, RestoreOptions};
//! use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
//!
//! let cloud = Cloud::new(LocalCloud::open(&directory, Env::system()).await?);
//! let secret = Secret::passphrase("correct horse battery staple");
//! let target = Target::new(objects);
//! let repository =
//!     Repository::create(target, Parameters::default(), &secret, EngineOptions::default()).await?;
//! // Any JobStore; raksha-targets has one that keeps jobs in a file.
//! let jobs = Arc::new(raksha_core::testkit::MemoryJobs::new());
//! let raksha = Raksha::new(cloud, repository, jobs, "demo".into());
//!
//! let servers = Selection(vec![ServerSelector::Name("web".into())]);
//! let job = raksha.create_job(NewJob::new("nightly", servers)).await?;
//! let run = raksha.run(job).await?;
//! println!("run {} has begun", run.id());
//! let report = run.finish().await?;
//!
//! # raksha_core::cloud::ResourceRestorer::remove(
//! #     &LocalCloud::open(&directory, Env::system()).await?,
//! #     &{ let server = raksha.point(report.point).await?.graph.servers.remove(0);
//! #        let key = raksha_core::cloud::ResourceKey::new(raksha_core::cloud::ResourceKind::Server, server.id.as_str());
//! #        raksha_core::cloud::Created { key, id: server.id.to_string() } },
//! # ).await?;
//! // The server is lost: look at what restoring it would do, then do it.
//! let plan = raksha.plan_restore(report.run, RestoreOptions::default()).await?;
//! println!("{plan}");
//! raksha.restore(plan).await?.finish().await?;
//! # raksha_core::Result::<()>::Ok(()) }).unwrap();
//! ```

mod alive;
mod backup;
mod cancel;
pub mod disk;
mod event;
mod gauge;
mod hooks;
mod job;
mod plan;
mod quota;
mod raksha;
mod read_disks;
mod reap;
mod rebuild;
mod replicate;
mod restore;
mod run;
mod scope;
mod session;
mod take_over;
mod temporaries;
#[cfg(test)]
mod tests;
mod undo;

pub use alive::{Alive, Life, Lives};
pub use cancel::Cancel;
pub use event::{DiskMeter, Event, Events, Phase, Progress, Warning};
pub use hooks::{HookCall, Hooks, Moment, PublishedHook};
pub use job::NewJob;
pub use plan::{Conflict, RestorePlan, Step};
pub use quota::{Quotas, Usage};
pub use raksha::{Cloud, Raksha};
pub use reap::{Dead, Reaped};
pub use replicate::{Replicated, heal, heal_from_replica, replicate};
pub use restore::{RestoreFrom, RestoreHandle, RestoreReport};
pub use run::{RunHandle, RunOptions, RunReport};
pub use scope::{RestoreOptions, Scope};
pub use temporaries::Left;
