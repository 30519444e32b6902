//! One layer over the databases that there are: connections, deadlines, and statements that got into each other's way.
//!
//! A small enumeration rather than sqlx's `Any`: that one rests on a registry of drivers which a process can fill only once
//! (whoever comes second panics), and takes its settings from a URL only.

use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};

use super::error::{in_the_way, sql_error};
use super::statement::{Row, Statement};

/// How often a statement that another one got in the way of is tried again at once.
const TRIES: u32 = 30;

/// The first pause before that; each further one may be longer.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) pool: Pool,
    /// Longer than this no statement takes.
    pub(super) deadline: Duration,
    pub(super) env: Env,
    /// What it is, for people: no secrets.
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// Does something with a pool, whatever database it is of.
macro_rules! each {
    ($database:expr, $pool:ident => $work:expr) => {
        match &$database.pool {
            #[cfg(feature = "sqlite")]
            $crate::sql::database::Pool::Sqlite($pool) => $work,
            #[cfg(feature = "postgres")]
            $crate::sql::database::Pool::Postgres($pool) => $work,
        }
    };
}
pub(super) use each;

/// Takes a connection and does something with it. One that does not answer in time is not used again.
macro_rules! on_connection {
    ($database:expr, $pool:ident, $connection:ident => $work:expr) => {
        async {
            let mut held = $pool.acquire().await?;
            let $connection = &mut *held;
            match tokio::time::timeout($database.deadline, $work).await {
                Ok(done) => done,
                Err(_) => {
                    drop(held.detach());
                    Err(sqlx::Error::PoolTimedOut)
                }
            }
        }
        .await
    };
}
pub(super) use on_connection;

impl Database {
    /// Runs a statement and says how many rows it changed. It is a transaction of its own.
    ///
    /// # Errors
    /// After [`Kind::Unavailable`] and [`Kind::Timeout`] it is open whether it took effect; after all others it did not.
    pub(super) async fn change(&self, statement: &Statement) -> Result<u64> {
        let changed = self.again(|| async {
            each!(self, pool => on_connection!(self, pool, connection => async {
                let done = statement.query().execute(connection).await?;
                Ok(done.rows_affected())
            }))
        });
        self.told(statement.operation, changed.await)
    }

    /// Runs a statement and gives the rows that it finds.
    pub(super) async fn rows(&self, statement: &Statement) -> Result<Vec<Row>> {
        let found = self.again(|| async {
            match &self.pool {
                #[cfg(feature = "sqlite")]
                Pool::Sqlite(pool) => {
                    let rows = on_connection!(self, pool, connection => statement.query().fetch_all(connection))?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
                #[cfg(feature = "postgres")]
                Pool::Postgres(pool) => {
                    let rows = on_connection!(self, pool, connection => statement.query().fetch_all(connection))?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
            }
        });
        self.told(statement.operation, found.await)
    }

    /// Tries again what the database gave up because of another transaction: that certainly had no effect.
    async fn again<T, F>(&self, work: impl Fn() -> F) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let mut longest = FIRST_PAUSE;
        for _ in 1..TRIES {
            match work().await {
                Err(error) if in_the_way(&error) => {
                    tokio::time::sleep(self.part_of(longest)).await;
                    longest = LONGEST_PAUSE.min(longest * 2);
                }
                done => return done,
            }
        }
        work().await
    }

    /// A random part, so that those who got in each other's way do not meet again.
    pub(super) fn part_of(&self, pause: Duration) -> Duration {
        let drawn = self.env.random::<2>().map(u16::from_le_bytes);
        pause.mul_f64(f64::from(drawn.unwrap_or(u16::MAX)) / f64::from(u16::MAX))
    }

    /// Names the operation and the database.
    pub(super) fn told<T>(&self, operation: &'static str, done: sqlx::Result<T>) -> Result<T> {
        done.map_err(|e| sql_error(operation, e).with("database", &self.name))
    }

    /// Closes all connections, and with the last one the files that SQLite keeps beside its own.
    pub(super) async fn close(&self) {
        each!(self, pool => pool.close().await);
    }
}

/// The number as databases have it: with a sign.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|e| {
        Error::new(
            Kind::Invalid,
            "ask database",
            "the number is larger than any that a database has",
        )
        .with("number", number)
        .caused_by(e)
    })
}
