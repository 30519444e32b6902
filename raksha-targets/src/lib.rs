//! Where Raksha keeps what it protects.

#[cfg(feature = "sqlite")]
mod sql;

#[cfg(feature = "sqlite")]
pub use sql::SqlJobs;
