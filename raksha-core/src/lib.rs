//! Data protection for cloud workloads: whole servers backed up, deduplicated at the source, and brought back as they were.
//!
//! A set of servers is captured together: their disks, their networks, and all that belongs to them. What is new is sealed and stored
//! in a target; what a target holds already is stored once. A *recovery point* holds everything needed to bring the set back, and does not
//! depend on any other point. Services embed this crate; nothing in it listens on a port or starts by itself.
//!
//! # What it is not
//!
//! - No cloud's client. A cloud is what implements the traits of [`cloud`]; the one in this crate is a directory ([`local`]).
//! - No storage service's client. A target is any `object_store::ObjectStore` that creates objects atomically, or any other one
//!   with the commit log in another [`ManifestCatalog`](store::ManifestCatalog). The crate `raksha-targets` opens targets by their addresses.
//! - No daemon. Schedules, retention and the workers for them are here ([`work`]), but nothing starts by itself: the embedder runs them.
//! - No file-level backup. The unit is a disk: its bytes come back exactly.
//!
//! # From a server to a server
//!
#![cfg_attr(all(feature = "local", feature = "testkit"), doc = "```")]
#![cfg_attr(not(all(feature = "local", feature = "testkit")), doc = "```ignore")]
//! use std::sync::Arc;
//!
//! use object_store::memory::InMemory;
//! use raksha_core::cloud::{DiskId, Selection, ServerSelector};
//! use raksha_core::env::Env;
//! use raksha_core::local::{LocalCloud, NewServer};
//! use raksha_core::protect::{Cloud, NewJob, Raksha, RestoreOptions};
//! use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
//! use raksha_core::testkit::MemoryJobs;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> raksha_core::Result<()> {
//! # let scratch = tempfile::tempdir().unwrap();
//! # let home = scratch.path();
//! // A cloud (here a directory) with a server, and something on the server's volume.
//! let cloud = LocalCloud::create(home.join("cloud"), Env::system()).await?;
//! cloud.add_server(NewServer::new("web").volume("data", 8 << 20)).await?;
//! let volume = DiskId::Volume(cloud.graph().await?.volumes[0].id.clone());
//! cloud.write_disk(&volume, 4096, "precious".into()).await?;
//!
//! // A repository (here in memory), sealed with a passphrase. Any JobStore will do; raksha-targets has one over SQLite.
//! let target = Target::new(Arc::new(InMemory::new()));
//! let secret = Secret::passphrase("correct horse battery staple");
//! let repository = Repository::create(target, Parameters::default(), &secret, EngineOptions::default()).await?;
//! let jobs = Arc::new(MemoryJobs::new());
//!
//! // A job says what to protect; a run of it leaves a recovery point.
//! let raksha = Raksha::new(Cloud::new(cloud), repository.clone(), jobs.clone(), "demo".into());
//! let servers = Selection(vec![ServerSelector::Name("web".into())]);
//! let job = raksha.create_job(NewJob::new("nightly", servers)).await?;
//! let report = raksha.run(job).await?.finish().await?;
//!
//! // Everything is lost. Look at what a restore into an empty cloud would do, then do it.
//! let empty = LocalCloud::create(home.join("empty"), Env::system()).await?;
//! let raksha = Raksha::new(Cloud::new(empty.clone()), repository, jobs, "demo".into());
//! let plan = raksha.plan_restore(report.run, RestoreOptions::default()).await?;
//! println!("{plan}");
//! raksha.restore(plan).await?.finish().await?;
//!
//! let restored = std::fs::read(empty.disk_path(&volume).await?).unwrap();
//! assert_eq!(&restored[4096..4104], b"precious");
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | what | what it costs |
//! | --- | --- | --- |
//! | `local` (default) | the embedded cloud | the crate `serde_ignored` |
//! | `qcow2` | disks in qcow2 format: a reader, and in the embedded cloud | the crate `imago` and what it brings |
//! | `testkit` | conformance suites, stores in memory: for tests of those who implement the traits | no further crate |
//! | `pure` | BLAKE3 in Rust alone, without assembler | about a third of the speed of hashing |
//!
//! # Modules
//!
//! | module | what |
//! | --- | --- |
//! | [`protect`] | the verbs: jobs, runs, restores, and cleaning up after those that died |
//! | [`work`] | workers that share what is due |
//! | [`authority`] | by what right runs act that begin while nobody is there |
//! | [`schedule`], [`retention`], [`objective`] | when jobs run, which points stay, how old the newest may become |
//! | [`image`] | one disk as a tree of chunks: ingest, export, compare |
//! | [`repository`] | what lies in a target: commit log, packs, indexes, keys; collect and verify |
//! | [`cloud`] | what a cloud offers, as values and small traits |
//! | [`store`] | what a target holds, as traits: chunks, the order of commits, jobs |
//! | [`mod@format`] | how disks are cut, and the nodes of their trees, to the byte |
//! | [`local`] | the embedded cloud: a directory of servers that a file describes |
//! | [`disk_file`], [`direct`] | files and block devices as disks; large writes past the page cache |
//! | `qcow2` | qcow2 images as disks (with the feature) |
//! | [`env`](mod@env), [`budget`], [`id`] | the outside world, memory under one budget, names of things |
//! | [`testkit`] | for tests of those who implement the traits |
//!
//! The format of a repository is specified in `docs/FORMAT.md`, the design in `docs/ARCHITECTURE.md`, how to implement a cloud or a target
//! in `docs/EXTENDING.md`.

pub mod authority;
pub mod budget;
pub mod cloud;
pub mod direct;
pub mod disk_file;
#[cfg(any(feature = "local", feature = "qcow2"))]
mod disk_range;
pub mod env;
mod error;
pub mod format;
pub mod id;
pub mod image;
#[cfg(feature = "local")]
pub mod local;
pub mod objective;
mod point;
pub mod protect;
#[cfg(feature = "qcow2")]
pub mod qcow2;
mod recycle;
pub mod repository;
pub mod retention;
pub mod schedule;
pub mod store;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod time;
pub mod work;

pub use error::{Error, Kind, Result};
pub use point::{ListedPoint, PointDisk, PointSummary, RecoveryPoint};
pub use time::Timestamp;
