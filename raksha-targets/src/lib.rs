//! Where Raksha keeps what it protects.
//!
//! A target is anything that holds objects. [`open`] takes its address and gives an `object_store::ObjectStore` behind the
//! target's policies (limits, deadlines, attempts, counts), with a declaration of what the target can do. Where a target cannot order
//! writers, the commit log lies in a SQL database: see `SqlCatalogs`.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use object_store::{ObjectStoreExt, path::Path};
//! use raksha_targets::{OpenOptions, open};
//!
//! let target = open("memory:", &OpenOptions::default()).await?;
//! target.objects.put(&Path::from("greeting"), "hello".into()).await.unwrap();
//! assert!(target.capabilities.atomic_create, "so the commit log may lie here");
//! println!("{}", target.metrics.snapshot());
//! # raksha_core::Result::<()>::Ok(()) }).unwrap();
//! ```

mod address;
mod credentials;
mod directory;
mod layers;
mod open;
#[cfg(feature = "opendal")]
mod operator;
#[cfg(feature = "rados")]
mod rados;
mod retention;
#[cfg(feature = "s3")]
mod s3;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "swift")]
mod swift;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(any(feature = "s3", feature = "swift"))]
mod tls;
mod validate;

pub use credentials::Credentials;
pub use directory::Directory;
pub use layers::{
    GuardOptions, Guarded, Metrics, MetricsSnapshot, Observer, Operation, OperationCounts, Refusal,
    RequestEvent, RetryOptions, Timeouts,
};
pub use open::{OpenOptions, OpenedTarget, TargetCapabilities, open};
#[cfg(feature = "opendal")]
pub use operator::from_operator;
#[cfg(feature = "rados")]
pub use rados::{Reindexed, reindex};
pub use retention::{Held, KeepOptions, Kept, Retention, keep};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{SqlCatalogs, SqlJobs};
pub use validate::{
    Check, Lag, LogPlace, Outcome, Race, Speed, ValidateOptions, Validation, creates_atomically,
    validate, validate_target,
};
