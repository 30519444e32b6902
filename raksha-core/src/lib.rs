//! Data protection for cloud workloads.

pub mod budget;
pub mod cloud;
pub mod disk_file;
pub mod env;
mod error;
pub mod format;
pub mod id;
pub mod image;
#[cfg(feature = "local")]
pub mod local;
mod point;
pub mod protect;
pub mod repository;
pub mod store;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod time;

pub use error::{Error, Kind, Result};
pub use point::{ListedPoint, PointDisk, PointSummary, RecoveryPoint};
pub use time::Timestamp;
