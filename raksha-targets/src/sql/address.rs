//! Where a database is, as text.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::time::Duration;

use raksha_core::{Error, Kind, Result};

use crate::address::{Options, scheme};

const OPERATION: &str = "open database";

/// Longer than this no statement takes, unless the address says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// What this build knows.
const KINDS: &[&str] = &[
    #[cfg(feature = "sqlite")]
    "sqlite:FILE",
    #[cfg(feature = "postgres")]
    "postgres://user@host/database",
];

const COMMON: (&str, &str) = (
    "timeout",
    "seconds that a statement may take, waiting for others included; 30 unless given",
);

/// A database that an address names.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) deadline: Duration,
}

#[derive(Debug)]
pub(super) enum Place {
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<super::postgres::Server>),
}

impl Location {
    /// The SQLite file at `path`.
    #[cfg(feature = "sqlite")]
    pub(super) fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Sqlite(path.into()),
            deadline: DEADLINE,
        }
    }

    pub(super) fn parse(address: &str) -> Result<Self> {
        let scheme = scheme(address).unwrap_or_default();
        match scheme.as_str() {
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite(address),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let (server, deadline) = super::postgres::parse(address)?;
                Ok(Self {
                    place: Place::Postgres(Box::new(server)),
                    deadline,
                })
            }
            _ => {
                let message = format!(
                    "there is no such kind of database in this build; there are {}",
                    KINDS.join(", ")
                );
                Err(invalid(message).with("scheme", scheme))
            }
        }
    }
}

#[cfg(feature = "sqlite")]
/// `sqlite:FILE`, also `sqlite:///directory/file`. What follows a question mark are options.
fn sqlite(address: &str) -> Result<Location> {
    let rest = address.split_once(':').map_or("", |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(invalid("the address names no file: write sqlite:FILE"));
    }
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let mut options = Options::new(OPERATION, pairs)?;
    let deadline = deadline(&mut options)?;
    options.finish("sqlite", &[COMMON])?;
    Ok(Location {
        place: Place::Sqlite(path.into()),
        deadline,
    })
}

/// The option that every kind of database has.
pub(super) fn deadline(options: &mut Options) -> Result<Duration> {
    let seconds: Option<std::num::NonZeroU32> = options.take(COMMON.0)?;
    Ok(seconds.map_or(DEADLINE, |s| Duration::from_secs(s.get().into())))
}

/// Refuses options that nobody took.
#[cfg(feature = "postgres")]
pub(super) fn finish(options: Options, scheme: &str, valid: &[(&str, &str)]) -> Result<()> {
    options.finish(scheme, &[valid, &[COMMON]].concat())
}

/// The options of a URL.
#[cfg(feature = "postgres")]
pub(super) fn options(url: &url::Url) -> Result<Options> {
    Options::new(OPERATION, url.query_pairs())
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, OPERATION, message)
}
