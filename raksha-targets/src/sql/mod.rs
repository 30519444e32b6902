//! Jobs, runs and restores in a SQL database.
//!
//! One layer of queries for every database that sqlx knows: each change is a single statement that carries its own
//! condition, so that processes which share the database need no transaction to agree. SQLite is compiled in;
//! PostgreSQL would be a feature of sqlx and a constructor beside [`SqlJobs::sqlite`].

mod error;
mod schema;
mod store;

use std::fmt::Write as _;
use std::path::Path;

use raksha_core::{Error, Kind, Result};
use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;

use error::{migrate_error, sql_error};

/// A [`JobStore`](raksha_core::store::JobStore) in a SQL database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct SqlJobs {
    pool: AnyPool,
}

impl SqlJobs {
    /// Opens the SQLite file at `path`; makes it if there is none. Its directory must exist.
    ///
    /// Any number of processes of one machine may share the file; a file on a network file system is not safe to share.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if a newer version of this library wrote the file, [`Kind::Corrupt`] if it is no
    /// database or not one of ours.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let at = |error: Error| error.with("file", path.display());
        let url = sqlite_url(path).map_err(at)?;
        let pool = AnyPoolOptions::new()
            .max_connections(4)
            .connect(&url)
            .await
            .map_err(|e| at(sql_error("open job database", e)))?;
        // Readers and the writer do not wait for each other; a file keeps the setting.
        sqlx::query("PRAGMA journal_mode = WAL")
            .execute(&pool)
            .await
            .map_err(|e| at(sql_error("open job database", e)))?;
        schema::migrator()
            .run(&pool)
            .await
            .map_err(|e| at(migrate_error(e)))?;
        Ok(Self { pool })
    }

    /// Closes all connections, and with the last one the files that SQLite keeps beside its own.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The path as sqlx wants it: every byte that could mean something in a URL is escaped.
fn sqlite_url(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            "open job database",
            "the path must be UTF-8 and not empty",
        )
    })?;
    let mut url = String::from("sqlite:");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}

#[cfg(test)]
mod tests {
    use raksha_core::id::ProjectId;
    use raksha_core::store::JobStore;
    use raksha_core::testkit::check_job_store;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_contract_also_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs of 50% ?mode=ro#.db");
        let jobs = SqlJobs::sqlite(&path).await.unwrap();
        check_job_store(&jobs).await;
        let project = ProjectId::new("a");
        let runs = jobs.runs(&project, None).await.unwrap();
        assert!(!runs.is_empty());
        jobs.close().await;

        assert!(path.is_file(), "the path was taken as it is");
        let again = SqlJobs::sqlite(&path).await.unwrap();
        assert_eq!(again.runs(&project, None).await.unwrap(), runs);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_a_newer_version_or_of_another_kind_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let newer = dir.path().join("newer.db");
        let jobs = SqlJobs::sqlite(&newer).await.unwrap();
        let insert = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 1)";
        sqlx::query(insert).execute(&jobs.pool).await.unwrap();
        jobs.close().await;
        let error = SqlJobs::sqlite(&newer).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");

        let other = dir.path().join("other.db");
        std::fs::write(&other, [7; 8192]).unwrap();
        let error = SqlJobs::sqlite(&other).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");

        let nowhere = dir.path().join("no such directory/jobs.db");
        let error = SqlJobs::sqlite(&nowhere).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_that_write_at_once_all_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        // Separate pools stand for separate processes.
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(SqlJobs::sqlite(&path).await.unwrap());
        }
        let tasks = stores.iter().enumerate().map(|(n, store)| async move {
            for m in 0..25 {
                let temporary = raksha_core::cloud::Temporary {
                    marker: format!("{n}/{m}"),
                    kind: "snapshot".to_owned(),
                    id: None,
                    detail: serde_json::Value::Null,
                };
                store.record_temporary("run", &temporary).await.unwrap();
            }
        });
        futures_util::future::join_all(tasks).await;
        let all = stores[0].temporaries(Some("run")).await.unwrap();
        assert_eq!(all.len(), 100);
    }
}
