//! The tables: made, brought up to date by any number of processes at once, and refused if they are newer than this library.
//!
//! Jobs and catalogs are parts of their own, so that a database has the tables that it is used for, and a change of one part does
//! not concern the other. Which version a part has is a row of `raksha_schema`. A new one comes about in one transaction, together with the
//! tables: there is no half of it, and who comes second finds it done.

use raksha_core::{Error, Kind, Result};
use sqlx::{AssertSqlSafe, Connection};

use super::database::{Database, Pool, each, on_connection};
use super::statement::statement;

/// A set of tables.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is, in `raksha_schema` and for people.
    pub(super) name: &'static str,
    /// Step n leads from version n to n + 1. Steps are only ever added. `{bytes}` and `{serial}` (the key, counting up) are replaced by what the
    /// database calls them; everything else is SQL that all of them understand.
    pub(super) steps: &'static [&'static str],
}

const OPERATION: &str = "open database";

/// Makes the table that says what there is.
const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS raksha_schema (part TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL)";

/// Taken on PostgreSQL while tables change. Any number does that nothing else in the database takes: this is "raksha" in ASCII.
#[cfg(feature = "postgres")]
const LOCK: &str = "SELECT pg_advisory_xact_lock(125762740119649)";

/// Brings the tables of `part` to the version that this library knows. Makes them only if `create` says so.
///
/// # Errors
/// [`Kind::Unsupported`] if they are newer, [`Kind::NotFound`] if there are none and they are not to be made.
pub(super) async fn prepare(database: &Database, part: &Part, create: bool) -> Result<()> {
    let known = part.steps.len() as i64;
    // Mostly this is all: no lock, nothing written, and no right needed but to read.
    match version(database, part).await? {
        Some(version) if version == known => return Ok(()),
        Some(version) if version > known => return Err(newer(database, part, version)),
        None if !create => {
            let message = format!("there is no table of {} in this database", part.name);
            return Err(
                Error::new(Kind::NotFound, OPERATION, message).with("database", &database.name)
            );
        }
        _ => {}
    }
    let found = each!(database, pool => on_connection!(database, pool, connection => async {
        let mut transaction = connection.begin_with(begin(&database.pool)).await?;
        #[cfg(feature = "postgres")]
        if let Pool::Postgres(_) = &database.pool {
            sqlx::query(LOCK).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(VERSIONS).execute(&mut *transaction).await?;
        let select = "SELECT version FROM raksha_schema WHERE part = $1";
        let found: Option<i64> = sqlx::query_scalar(select)
            .bind(part.name)
            .fetch_optional(&mut *transaction)
            .await?;
        let found = found.unwrap_or(0);
        for (_, step) in (0..).zip(part.steps).filter(|(n, _)| *n >= found) {
            let sql = AssertSqlSafe(in_words_of(&database.pool, step));
            sqlx::raw_sql(sql).execute(&mut *transaction).await?;
        }
        if found < known {
            let upsert = "INSERT INTO raksha_schema (part, version) VALUES ($1, $2) \
                          ON CONFLICT (part) DO UPDATE SET version = excluded.version";
            sqlx::query(upsert)
                .bind(part.name)
                .bind(known)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(found)
    }));
    match database.told(OPERATION, found)? {
        version if version > known => Err(newer(database, part, version)),
        _ => Ok(()),
    }
}

/// The version of a part; none if there is nothing of it.
async fn version(database: &Database, part: &Part) -> Result<Option<i64>> {
    let there = match &database.pool {
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'raksha_schema'"
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => {
            "SELECT 'raksha_schema' AS name WHERE to_regclass('raksha_schema') IS NOT NULL"
        }
    };
    if database
        .rows(&statement(OPERATION, there))
        .await?
        .is_empty()
    {
        return Ok(None);
    }
    let select = "SELECT version FROM raksha_schema WHERE part = $1";
    let rows = database
        .rows(&statement(OPERATION, select).bind(part.name))
        .await?;
    rows.first().map(|row| row.number("version")).transpose()
}

/// How a transaction begins in which tables change. On PostgreSQL each statement must see what was done before the lock was got.
fn begin(pool: &Pool) -> &'static str {
    match pool {
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => "BEGIN IMMEDIATE",
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
    }
}

fn in_words_of(pool: &Pool, step: &str) -> String {
    let (bytes, serial) = match pool {
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => ("BYTEA", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    };
    step.replace("{bytes}", bytes).replace("{serial}", serial)
}

fn newer(database: &Database, part: &Part, version: i64) -> Error {
    let message = format!(
        "a newer version of this library made the tables of {} (version {version}; this one knows {}): use that one",
        part.name,
        part.steps.len()
    );
    Error::new(Kind::Unsupported, OPERATION, message).with("database", &database.name)
}
