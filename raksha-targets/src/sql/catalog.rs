//! Commit logs in a SQL database.

#[cfg(feature = "sqlite")]
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use raksha_core::id::RepositoryId;
use raksha_core::store::{Appended, ManifestCatalog};
use raksha_core::{Error, Kind, Result};

use super::address::Location;
use super::database::{Database, signed};
use super::schema::{Part, prepare};
use super::statement::statement;

const TABLES: Part = Part {
    name: "catalogs",
    steps: &["
CREATE TABLE raksha_entries (
    repository TEXT NOT NULL,
    place TEXT NOT NULL,
    number BIGINT NOT NULL,
    entry {bytes} NOT NULL,
    PRIMARY KEY (repository, place, number)
);
"],
};

/// The commit logs of any number of repositories in one SQL database. Cheap to clone; clones share connections.
///
/// A log belongs to a repository *at a place*: its id, and the target that it lies in. So no two repositories can share one by mistake, nor can a repository and a
/// copy of it that was made by copying the target, although both have the same id and the same key.
#[derive(Debug, Clone)]
pub struct SqlCatalogs {
    database: Database,
}

impl SqlCatalogs {
    /// Opens the database at `address`: `sqlite:FILE` or `postgres://user@host/database`, as [`SqlJobs::open`](super::SqlJobs::open) has them. Its tables (and a file) are made if `create` says
    /// so.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if nothing is there and nothing is to be made, [`Kind::Unsupported`] if a newer version of this library made the
    /// tables, [`Kind::Invalid`] for an address that is not understood.
    pub async fn open(address: &str, create: bool) -> Result<Self> {
        Self::at(Location::parse(address)?, create).await
    }

    #[cfg(feature = "sqlite")]
    /// Opens the SQLite file at `path`, which is made if `create` says so. Its directory must exist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn sqlite(path: &Path, create: bool) -> Result<Self> {
        Self::at(Location::file(path), create).await
    }

    async fn at(location: Location, create: bool) -> Result<Self> {
        let database = Database::open(location, create).await?;
        prepare(&database, &TABLES, create).await?;
        Ok(Self { database })
    }

    /// The log of `repository` at `place`. (Of a target that was [opened](crate::open()), the place is its [description](crate::OpenedTarget::description).)
    ///
    /// # Errors
    /// [`Kind::Conflict`] if there is none, but one of the same repository elsewhere: then it has moved, is reached by another
    /// name, or is a copy, and somebody has to say which.
    pub async fn log(
        &self,
        repository: RepositoryId,
        place: &str,
    ) -> Result<Arc<dyn ManifestCatalog>> {
        let places = self.places(repository).await?;
        if places.is_empty() || places.iter().any(|p| p == place) {
            return Ok(self.log_of_copy(repository, place));
        }
        Err(Error::new(
            Kind::Conflict,
            "open catalog",
            "the catalog has the log of this repository for another place: if the repository moved, or is reached by another name now, say so with \
             `raksha rebuild --moved-from PLACE`; if this is a copy of it that goes its own way, `raksha rebuild --copy` gives it a log of its own",
        )
        .with("here", place)
        .with("place", places.join(" and "))
        .retryable(false))
    }

    /// The log of `repository` at `place`, although there may be one of the same repository elsewhere.
    pub fn log_of_copy(&self, repository: RepositoryId, place: &str) -> Arc<dyn ManifestCatalog> {
        Arc::new(SqlCatalog {
            database: self.database.clone(),
            repository: repository.to_string(),
            place: place.to_owned(),
        })
    }

    /// The places for which there is a log of `repository`.
    pub async fn places(&self, repository: RepositoryId) -> Result<Vec<String>> {
        let select = statement(
            "open catalog",
            "SELECT place FROM raksha_entries WHERE repository = $1 AND number = 0 ORDER BY place",
        )
        .bind(repository.to_string());
        let rows = self.database.rows(&select).await?;
        rows.iter().map(|row| row.text("place")).collect()
    }

    /// The repository is at another place now, or reached by another name. Nobody may use the log by the old one any more.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no log for the old place, [`Kind::AlreadyExists`] if there is one for the new one.
    pub async fn moved(&self, repository: RepositoryId, from: &str, to: &str) -> Result<()> {
        let places = self.places(repository).await?;
        let error = |kind, message: &str, place: &str| {
            Err(Error::new(kind, "move catalog", message).with("place", place))
        };
        if !places.iter().any(|p| p == from) {
            let message = "the catalog has no log of this repository for this place";
            return error(Kind::NotFound, message, from);
        }
        if places.iter().any(|p| p == to) {
            let message = "the catalog has a log of this repository for this place already";
            return error(Kind::AlreadyExists, message, to);
        }
        let update = statement(
            "move catalog",
            "UPDATE raksha_entries SET place = $3 WHERE repository = $1 AND place = $2",
        )
        .bind(repository.to_string())
        .bind(from)
        .bind(to);
        self.database.change(&update).await.map(drop)
    }

    /// Closes all connections, and with the last one the files that SQLite keeps beside its own.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// One log.
#[derive(Debug)]
struct SqlCatalog {
    database: Database,
    repository: String,
    place: String,
}

impl SqlCatalog {
    /// Whether there is an entry of this number.
    async fn has(&self, number: i64) -> Result<bool> {
        let select = statement(
            "append to log",
            "SELECT number FROM raksha_entries WHERE repository = $1 AND place = $2 AND number = $3",
        )
        .bind(self.repository.as_str())
        .bind(self.place.as_str())
        .bind(number);
        Ok(!self.database.rows(&select).await?.is_empty())
    }
}

#[async_trait]
impl ManifestCatalog for SqlCatalog {
    async fn append(&self, number: u64, entry: Bytes) -> Result<Appended> {
        let insert = statement(
            "append to log",
            "INSERT INTO raksha_entries (repository, place, number, entry) SELECT $1, $2, $3, $4 \
             WHERE $3 = 0 OR EXISTS (SELECT 1 FROM raksha_entries WHERE repository = $1 AND place = $2 AND number = $3 - 1) \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.repository.as_str())
        .bind(self.place.as_str())
        .bind(signed(number)?)
        .bind(entry);
        if self.database.change(&insert).await? > 0 {
            return Ok(Appended::Done);
        }
        match self.has(signed(number)?).await? {
            true => Ok(Appended::Taken),
            false => Err(Error::new(
                Kind::Invalid,
                "append to log",
                "the entry before this one is not in the catalog",
            )
            .with("entry", number)
            .with("database", &self.database.name)),
        }
    }

    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
        let select = statement(
            "read log",
            "SELECT number, entry FROM raksha_entries WHERE repository = $1 AND place = $2 AND number >= $3 ORDER BY number LIMIT $4",
        )
        .bind(self.repository.as_str())
        .bind(self.place.as_str())
        .bind(signed(number)?)
        .bind(signed(limit as u64)?);
        let mut entries = Vec::new();
        for (expected, row) in (number..).zip(self.database.rows(&select).await?) {
            if row.number("number")? != signed(expected)? {
                return Err(Error::new(
                    Kind::Corrupt,
                    "read log",
                    "an entry is missing in the catalog, and later ones are there: somebody changed its tables",
                )
                .with("entry", expected)
                .with("database", &self.database.name));
            }
            entries.push(row.bytes("entry")?);
        }
        Ok(entries)
    }
}
