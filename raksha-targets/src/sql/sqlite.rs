//! SQLite: a file that the processes of one machine share.
//!
//! The journal is a write-ahead log, so that readers and the writer do not wait for each other, and every commit is synced to the
//! disk before it is reported. Neither works over a network file system.

use std::path::Path;
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::time::Instant;

use super::database::{Database, Pool};
use super::error::is_busy;

const OPERATION: &str = "open database";

/// Connections of one process. One writes at a time in any case.
const CONNECTIONS: u32 = 4;

/// The longest pause between attempts to open a file that others hold.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn open(
    path: &Path,
    deadline: Duration,
    create: bool,
    env: Env,
) -> Result<Database> {
    let name = format!("SQLite file {}", path.display());
    if path.as_os_str().is_empty() {
        return Err(Error::new(Kind::Invalid, OPERATION, "the path is empty"));
    }
    if !create && !path.exists() {
        return Err(
            Error::new(Kind::NotFound, OPERATION, "there is no such file").with("database", name),
        );
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .busy_timeout(deadline)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    let (pool, failed) = loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(deadline);
        match pool.connect_with(options.clone()).await {
            // Who makes the file switches it to the other journal, and whoever comes in between is turned away without waiting.
            Err(error) if is_busy(&error) && began.elapsed() < deadline => {
                tokio::time::sleep(pause).await;
                pause = PAUSE.min(pause * 2);
            }
            Ok(pool) => break (pool, None),
            Err(error) => {
                let pool = SqlitePoolOptions::new().connect_lazy_with(options);
                break (pool, Some(error));
            }
        }
    };
    let database = Database {
        pool: Pool::Sqlite(pool),
        deadline,
        env,
        name,
    };
    match failed {
        Some(error) => database.told(OPERATION, Err(error)),
        None => Ok(database),
    }
}
