//! Jobs, runs and restores in a SQL database.
//!
//! Each change is a single statement that carries its own condition, so that processes which share the database need no
//! transaction to agree.

#[cfg(feature = "sqlite")]
use std::path::Path;

use async_trait::async_trait;
use raksha_core::cloud::Temporary;
use raksha_core::env::Env;
use raksha_core::id::{JobId, ProjectId, RestoreId, RunId};
use raksha_core::store::{
    BackupJob, BackupRun, DelegationStore as _, JobStore, RestoreRun, RestoreState, RunQueue,
    RunState,
};
use raksha_core::{Error, Kind, Result, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Location;
use super::database::Database;
use super::delegations;
use super::queue;
use super::schema::{Part, prepare};
use super::statement::{Row, Statement, statement};

/// Every record lies whole, as JSON, in `body`; the other columns are what queries look at. So a record that grows a field needs no new step.
pub(super) const TABLES: Part = Part {
    name: "jobs",
    steps: &[
        "
CREATE TABLE raksha_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE raksha_runs (
    number {serial},
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    job TEXT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX raksha_runs_of_project ON raksha_runs (project, started);
CREATE INDEX raksha_runs_of_job ON raksha_runs (job, started);
CREATE TABLE raksha_restores (
    number {serial},
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    started BIGINT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX raksha_restores_of_project ON raksha_restores (project, started);
CREATE TABLE raksha_temporaries (
    number {serial},
    owner TEXT NOT NULL,
    marker TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (owner, marker)
);
",
        queue::STEP,
        delegations::STEP,
    ],
};

/// A [`JobStore`] in a SQL database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct SqlJobs {
    pub(super) database: Database,
    /// Tells the time instead of the database.
    pub(super) clock: Option<Env>,
}

impl SqlJobs {
    /// Opens the database at `address`, and makes its tables if they are not there.
    ///
    /// | address | database | options |
    /// | --- | --- | --- |
    /// | `sqlite:FILE` | a SQLite file (feature `sqlite`), made if it is not there; for the processes of one machine, never over a network file system | |
    /// | `postgres://user@host:port/database` | PostgreSQL (feature `postgres`), for any number of machines | `schema`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey` as libpq has them; `host` (directory of a socket), `connections` (4) |
    ///
    /// Both also have the option `timeout`: seconds that a statement may take (30). What a PostgreSQL address leaves out is taken from
    /// PGHOST, PGUSER and their like. A password is never part of it: that is read from PGPASSWORD, PGPASSFILE or ~/.pgpass.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if a newer version of this library made the tables, [`Kind::Corrupt`] if the file is no database,
    /// [`Kind::Invalid`] for an address that is not understood.
    pub async fn open(address: &str) -> Result<Self> {
        Self::at(Location::parse(address)?).await
    }

    #[cfg(feature = "sqlite")]
    /// Opens the SQLite file at `path`; makes it if there is none. Its directory must exist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::at(Location::file(path)).await
    }

    async fn at(location: Location) -> Result<Self> {
        let database = Database::open(location, true).await?;
        prepare(&database, &TABLES, true).await?;
        Ok(Self {
            database,
            clock: None,
        })
    }

    /// Closes all connections, and with the last one the files that SQLite keeps beside its own.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// The records that a statement finds, each the JSON in the column `body`.
    pub(super) async fn records<T: DeserializeOwned>(
        &self,
        statement: &Statement,
    ) -> Result<Vec<T>> {
        let rows = self.database.rows(statement).await?;
        rows.iter().map(decode).collect()
    }

    /// The one record that a statement finds.
    pub(super) async fn record<T: DeserializeOwned>(
        &self,
        what: &'static str,
        id: String,
        statement: &Statement,
    ) -> Result<T> {
        let found = self.records(statement).await?.into_iter().next();
        found.ok_or_else(|| {
            let message = "the project has none of this id";
            Error::new(Kind::NotFound, statement.operation, message).with(what, id)
        })
    }
}

pub(super) fn decode<T: DeserializeOwned>(row: &Row) -> Result<T> {
    decode_column(row, "body")
}

pub(super) fn decode_column<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T> {
    serde_json::from_str(&row.text(column)?).map_err(|e| {
        Error::new(
            Kind::Corrupt,
            "read database",
            "a record is not what it must be",
        )
        .caused_by(e)
    })
}

pub(super) fn encode(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record).map_err(|e| {
        Error::new(
            Kind::Internal,
            "store record",
            "it cannot be written as JSON",
        )
        .caused_by(e)
    })
}

/// As databases have it: a signed number. Times beyond it do not occur.
pub(super) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// How often an update is tried that others are faster than: workers that plan the job.
const TRIES: usize = 16;

pub(super) fn taken(what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(Kind::AlreadyExists, "store", "there is one already").with(what, id)
}

fn ended(what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(Kind::Conflict, "update", "it has ended already")
        .with(what, id)
        .retryable(false)
}

#[async_trait]
impl JobStore for SqlJobs {
    async fn create_job(&self, job: &BackupJob) -> Result<()> {
        let insert = statement(
            "create job",
            "INSERT INTO raksha_jobs (id, project, name, body, planned, look_at, delegation) SELECT $1, $2, $3, $4, $5, $6, $7 \
             WHERE $7 = '' OR EXISTS (SELECT 1 FROM raksha_delegations WHERE project = $2 AND id = $7) ON CONFLICT DO NOTHING",
        )
        .bind(job.id.to_string())
        .bind(job.project.as_str())
        .bind(job.name.as_str())
        .bind(encode(job)?)
        .bind(millis(job.created))
        .bind(if job.is_tracked() { millis(job.created) } else { queue::NEVER })
        .bind(job.delegation.map_or_else(String::new, |id| id.to_string()));
        if self.database.change(&insert).await? > 0 {
            return Ok(());
        }
        if let Some(id) = job.delegation {
            self.delegation(&job.project, id).await?;
        }
        Err(taken("job", &job.name))
    }

    async fn job(&self, project: &ProjectId, id: JobId) -> Result<BackupJob> {
        let select = statement(
            "find job",
            "SELECT body FROM raksha_jobs WHERE id = $1 AND project = $2",
        )
        .bind(id.to_string())
        .bind(project.as_str());
        self.record("job", id.to_string(), &select).await
    }

    async fn projects(&self) -> Result<Vec<ProjectId>> {
        let select = statement(
            "list projects",
            "SELECT project FROM raksha_jobs UNION SELECT project FROM raksha_runs UNION SELECT project FROM raksha_restores",
        );
        let rows = self.database.rows(&select).await?;
        let projects = rows
            .iter()
            .map(|row| Ok(ProjectId::new(row.text("project")?)));
        let mut projects = projects.collect::<Result<Vec<_>>>()?;
        projects.sort();
        Ok(projects)
    }

    async fn jobs(&self, project: &ProjectId) -> Result<Vec<BackupJob>> {
        let select = statement(
            "list jobs",
            "SELECT body FROM raksha_jobs WHERE project = $1",
        )
        .bind(project.as_str());
        let mut jobs: Vec<BackupJob> = self.records(&select).await?;
        // Here and not there: databases do not agree on the order of names.
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(jobs)
    }

    async fn update_job(&self, job: &BackupJob) -> Result<()> {
        for _ in 0..TRIES {
            let known = self.tracking(&job.project, job.id).await?;
            let now = self.now().await?;
            let revision = known.revision;
            let next = known.replaced(job, now);
            // A name that another job has must be told from a revision that is another by now; the constraint alone would be an error of the database.
            let update = statement(
                "update job",
                "UPDATE raksha_jobs SET name = $3, body = $4, planned = $5, look_at = $6, protection = $7, delegation = $9, revision = revision + 1 \
                 WHERE id = $1 AND revision = $2 \
                 AND NOT EXISTS (SELECT 1 FROM raksha_jobs other WHERE other.project = $8 AND other.name = $3 AND other.id <> $1) \
                 AND ($9 = '' OR EXISTS (SELECT 1 FROM raksha_delegations WHERE project = $8 AND id = $9))",
            )
            .bind(job.id.to_string())
            .bind(queue::signed(revision))
            .bind(job.name.as_str())
            .bind(encode(&next.job)?)
            .bind(millis(next.planned))
            .bind(next.look_at.map_or(queue::NEVER, millis))
            .bind(encode(&next.protection)?)
            .bind(job.project.as_str())
            .bind(job.delegation.map_or_else(String::new, |id| id.to_string()));
            if self.database.change(&update).await? > 0 {
                return Ok(());
            }
            if let Some(id) = job.delegation {
                self.delegation(&job.project, id).await?;
            }
            let others = self.jobs(&job.project).await?;
            if others
                .iter()
                .any(|other| other.id != job.id && other.name == job.name)
            {
                return Err(taken("job", &job.name));
            }
        }
        let message = "it is changed by others all the time: try again";
        Err(Error::new(Kind::Conflict, "update job", message).with("job", job.id))
    }

    async fn delete_job(&self, project: &ProjectId, id: JobId) -> Result<()> {
        let delete = statement(
            "delete job",
            "DELETE FROM raksha_jobs WHERE id = $1 AND project = $2 AND NOT EXISTS \
             (SELECT 1 FROM raksha_runs WHERE job = $1 AND ended = 0)",
        )
        .bind(id.to_string())
        .bind(project.as_str());
        if self.database.change(&delete).await? > 0 {
            return Ok(());
        }
        self.job(project, id).await?;
        Err(Error::new(
            Kind::Conflict,
            "delete job",
            "one of its runs is under way: wait for its end or cancel it",
        )
        .with("job", id))
    }

    async fn create_run(&self, run: &BackupRun) -> Result<()> {
        let insert = statement("create run", "INSERT INTO raksha_runs (id, project, job, started, ended, body) \
             SELECT $1, $2, $3, $4, $5, $6 \
             WHERE EXISTS (SELECT 1 FROM raksha_jobs WHERE id = $3 AND project = $2) ON CONFLICT DO NOTHING",
        )
        .bind(run.id.to_string())
        .bind(run.project.as_str())
        .bind(run.job.to_string())
        .bind(millis(run.started))
        .bind(i64::from(run.state != RunState::Running))
        .bind(encode(run)?);
        if self.database.change(&insert).await? > 0 {
            return Ok(());
        }
        self.job(&run.project, run.job).await?;
        Err(taken("run", run.id))
    }

    async fn update_run(&self, run: &BackupRun) -> Result<()> {
        let update = statement("update run", "UPDATE raksha_runs SET ended = $3, body = $4 WHERE id = $1 AND project = $2 AND ended = 0",
        )
        .bind(run.id.to_string())
        .bind(run.project.as_str())
        .bind(i64::from(run.state != RunState::Running))
        .bind(encode(run)?);
        if self.database.change(&update).await? > 0 {
            return Ok(());
        }
        self.run(&run.project, run.id).await?;
        Err(ended("run", run.id))
    }

    async fn run(&self, project: &ProjectId, id: RunId) -> Result<BackupRun> {
        let select = statement(
            "find run",
            "SELECT body FROM raksha_runs WHERE id = $1 AND project = $2",
        )
        .bind(id.to_string())
        .bind(project.as_str());
        self.record("run", id.to_string(), &select).await
    }

    async fn runs(&self, project: &ProjectId, job: Option<JobId>) -> Result<Vec<BackupRun>> {
        let select = match job {
            Some(job) => statement("list runs", "SELECT body FROM raksha_runs WHERE project = $1 AND job = $2 ORDER BY started DESC, number DESC",
            )
            .bind(project.as_str())
            .bind(job.to_string()),
            None => statement("list runs", "SELECT body FROM raksha_runs WHERE project = $1 ORDER BY started DESC, number DESC",
            )
            .bind(project.as_str()),
        };
        self.records(&select).await
    }

    async fn create_restore(&self, restore: &RestoreRun) -> Result<()> {
        let insert = statement(
            "create restore",
            "INSERT INTO raksha_restores (id, project, started, state, body) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(restore.id.to_string())
        .bind(restore.project.as_str())
        .bind(millis(restore.started))
        .bind(encode(&restore.state)?)
        .bind(encode(restore)?);
        match self.database.change(&insert).await? {
            0 => Err(taken("restore", restore.id)),
            _ => Ok(()),
        }
    }

    async fn update_restore(&self, restore: &RestoreRun) -> Result<()> {
        let update = statement(
            "update restore",
            "UPDATE raksha_restores SET state = $3, body = $4 \
             WHERE id = $1 AND project = $2 AND (state = $3 OR state = $5)",
        )
        .bind(restore.id.to_string())
        .bind(restore.project.as_str())
        .bind(encode(&restore.state)?)
        .bind(encode(restore)?)
        .bind(encode(&RestoreState::Running)?);
        if self.database.change(&update).await? > 0 {
            return Ok(());
        }
        self.restore(&restore.project, restore.id).await?;
        Err(ended("restore", restore.id))
    }

    async fn restore(&self, project: &ProjectId, id: RestoreId) -> Result<RestoreRun> {
        let select = statement(
            "find restore",
            "SELECT body FROM raksha_restores WHERE id = $1 AND project = $2",
        )
        .bind(id.to_string())
        .bind(project.as_str());
        self.record("restore", id.to_string(), &select).await
    }

    async fn restores(&self, project: &ProjectId) -> Result<Vec<RestoreRun>> {
        let select = statement("list restores", "SELECT body FROM raksha_restores WHERE project = $1 ORDER BY started DESC, number DESC",
        )
        .bind(project.as_str());
        self.records(&select).await
    }

    async fn record_temporary(&self, owner: &str, temporary: &Temporary) -> Result<()> {
        let upsert = statement(
            "record temporary",
            "INSERT INTO raksha_temporaries (owner, marker, body) VALUES ($1, $2, $3) \
             ON CONFLICT (owner, marker) DO UPDATE SET body = excluded.body",
        )
        .bind(owner)
        .bind(temporary.marker.as_str())
        .bind(encode(temporary)?);
        self.database.change(&upsert).await.map(drop)
    }

    async fn forget_temporary(&self, owner: &str, marker: &str) -> Result<()> {
        let delete = statement(
            "forget temporary",
            "DELETE FROM raksha_temporaries WHERE owner = $1 AND marker = $2",
        )
        .bind(owner)
        .bind(marker);
        self.database.change(&delete).await.map(drop)
    }

    async fn temporaries(&self, owner: Option<&str>) -> Result<Vec<(String, Temporary)>> {
        let select = match owner {
            Some(owner) => statement(
                "list temporaries",
                "SELECT owner, body FROM raksha_temporaries WHERE owner = $1 ORDER BY number",
            )
            .bind(owner),
            None => statement(
                "list temporaries",
                "SELECT owner, body FROM raksha_temporaries ORDER BY number",
            ),
        };
        let rows = self.database.rows(&select).await?;
        let pairs = rows
            .iter()
            .map(|row| Ok((row.text("owner")?, decode(row)?)));
        pairs.collect()
    }
}
