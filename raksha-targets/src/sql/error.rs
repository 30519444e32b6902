//! What an error of the database means to a caller.

use raksha_core::{Error, Kind};

const UNTRUSTED: (Kind, &str) = (
    Kind::Unauthenticated,
    "no trusted connection can be made: check sslmode and sslrootcert",
);

/// An error of the database in `operation`.
pub(super) fn sql_error(operation: &'static str, source: sqlx::Error) -> Error {
    let (kind, message) = match &source {
        sqlx::Error::PoolTimedOut => (Kind::Timeout, "the database did not answer in time"),
        sqlx::Error::Database(e) => match database_code(&**e) {
            Some(Code::Sqlite(code)) => sqlite(code),
            #[cfg(feature = "postgres")]
            Some(Code::State(state)) => state_of(&state),
            None => (Kind::Unavailable, "the database failed"),
        },
        sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::NotFound => {
            (Kind::NotFound, "there is no such file or socket")
        }
        // rustls says so of certificates that it does not trust.
        sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => UNTRUSTED,
        sqlx::Error::Tls(_) => UNTRUSTED,
        sqlx::Error::Io(_) => (Kind::Unavailable, "the database cannot be reached"),
        sqlx::Error::Configuration(_) => (Kind::Invalid, "these settings do not fit together"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (Kind::Corrupt, "a record is not what it must be")
        }
        _ => (Kind::Unavailable, "the database failed"),
    };
    Error::new(kind, operation, message).caused_by(source)
}

/// How a database says what is wrong.
enum Code {
    Sqlite(u32),
    /// SQLSTATE.
    #[cfg(feature = "postgres")]
    State(String),
}

fn database_code(error: &(dyn sqlx::error::DatabaseError + 'static)) -> Option<Code> {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return Some(Code::State(error.code().to_owned()));
    }
    let code = error.code()?.parse().ok()?;
    Some(Code::Sqlite(code))
}

/// The low byte of SQLite's extended result codes: https://sqlite.org/rescode.html
fn sqlite(code: u32) -> (Kind, &'static str) {
    match code & 0xff {
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
    }
}

#[cfg(feature = "postgres")]
/// SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
fn state_of(state: &str) -> (Kind, &'static str) {
    match state {
        "40001" | "40P01" => (
            Kind::Unavailable,
            "other transactions got in the way again and again; try again",
        ),
        "57014" => (Kind::Timeout, "the database did not answer in time"),
        "57P01" | "57P02" | "57P03" | "57P05" => {
            (Kind::Unavailable, "the database is stopping or starting")
        }
        "53300" => (Kind::Unavailable, "the database has no connection left"),
        "53100" | "53200" | "54000" => (Kind::Full, "the database has no room left"),
        "3D000" | "3F000" => (
            Kind::NotFound,
            "there is no such database or schema: have it made",
        ),
        "42P01" => (
            Kind::NotFound,
            "the tables are not there: another schema, or another database?",
        ),
        "28000" | "28P01" => (
            Kind::Unauthenticated,
            "the database does not accept user and password; the password comes from PGPASSWORD, PGPASSFILE or ~/.pgpass",
        ),
        "42501" => (Kind::Denied, "the database does not allow this to the user"),
        "25006" => (
            Kind::Denied,
            "the database takes no changes: it is a standby, or set to read only",
        ),
        "22021" => (
            Kind::Invalid,
            "a text has characters that the database cannot hold",
        ),
        _ => (Kind::Unavailable, "the database failed"),
    }
}

/// Whether the database gave a transaction up because of another one. Then it had no effect.
pub(super) fn in_the_way(error: &sqlx::Error) -> bool {
    match error {
        #[cfg(feature = "postgres")]
        sqlx::Error::Database(e) => match database_code(&**e) {
            Some(Code::State(state)) => matches!(state.as_str(), "40001" | "40P01"),
            _ => false,
        },
        _ => false,
    }
}

/// Whether another process holds a SQLite file.
#[cfg(feature = "sqlite")]
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(e) => {
            matches!(database_code(&**e), Some(Code::Sqlite(code)) if matches!(code & 0xff, 5 | 6))
        }
        _ => false,
    }
}
