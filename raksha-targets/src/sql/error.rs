//! What an error of the database means to a caller.

use raksha_core::{Error, Kind};
use sqlx::migrate::MigrateError;

/// An error of the database in `operation`.
pub(super) fn sql_error(operation: &'static str, source: sqlx::Error) -> Error {
    let (kind, message) = match &source {
        sqlx::Error::PoolTimedOut => (Kind::Timeout, "the database did not answer in time"),
        sqlx::Error::Database(e) => match e.code().as_deref().and_then(|c| c.parse::<u32>().ok()) {
            // The low byte of SQLite's extended result codes: https://sqlite.org/rescode.html
            Some(code) => match code & 0xff {
                5 | 6 => (
                    Kind::Unavailable,
                    "another process holds the database locked; try again",
                ),
                8 => (Kind::Denied, "the database cannot be written"),
                11 | 26 => (Kind::Corrupt, "the file is not a database, or is damaged"),
                13 => (Kind::Full, "the disk that holds the database is full"),
                14 => (
                    Kind::NotFound,
                    "the database cannot be opened: check that its directory exists and may be written",
                ),
                _ => (Kind::Unavailable, "the database failed"),
            },
            None => (Kind::Unavailable, "the database failed"),
        },
        sqlx::Error::Io(_) => (Kind::Unavailable, "the database cannot be reached"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (Kind::Corrupt, "a record is not what it must be")
        }
        _ => (Kind::Unavailable, "the database failed"),
    };
    Error::new(kind, operation, message).caused_by(source)
}

/// An error in bringing the tables up to date.
pub(super) fn migrate_error(source: MigrateError) -> Error {
    let operation = "open job database";
    match source {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            Error::new(
                Kind::Unsupported,
                operation,
                "a newer version of this library wrote the database; use that one",
            )
            .with("schema version", version)
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => Error::new(
            Kind::Corrupt,
            operation,
            "the tables are not as this library made them",
        )
        .with("schema version", version),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => sql_error(operation, e),
        other => {
            Error::new(Kind::Unavailable, operation, "the tables cannot be made").caused_by(other)
        }
    }
}
