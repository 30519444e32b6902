//! Jobs and commit logs in a SQL database.
//!
//! One layer of queries for SQLite and PostgreSQL: the statements are what both understand, and each carries its own condition. What
//! differs lies in one file for each, and in what the tables' columns are called.

mod address;
mod catalog;
mod database;
mod delegations;
mod error;
mod jobs;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
#[cfg(test)]
mod tests;

pub use catalog::SqlCatalogs;
pub use jobs::SqlJobs;

use address::{Location, Place};
use database::Database;
use raksha_core::Result;
use raksha_core::env::Env;

impl Database {
    /// Connects. A file that is not there is made if `create` says so.
    async fn open(location: Location, create: bool) -> Result<Self> {
        let Location { place, deadline } = location;
        let env = Env::system();
        match place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(path) => sqlite::open(&path, deadline, create, env).await,
            #[cfg(feature = "postgres")]
            Place::Postgres(server) => postgres::open(*server, deadline, env).await,
        }
    }
}
