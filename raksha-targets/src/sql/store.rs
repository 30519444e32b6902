//! The queries.

use async_trait::async_trait;
use raksha_core::cloud::Temporary;
use raksha_core::id::{JobId, ProjectId, RestoreId, RunId};
use raksha_core::store::{BackupJob, BackupRun, JobStore, RestoreRun, RestoreState, RunState};
use raksha_core::{Error, Kind, Result, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row};

use super::SqlJobs;
use super::error::sql_error;

/// Keeps the compiler from asking for the type at every call.
fn query(sql: &'static str) -> Query<'static, Any, AnyArguments> {
    sqlx::query(sql)
}

impl SqlJobs {
    /// Runs a statement and says how many rows it changed.
    async fn change(
        &self,
        operation: &'static str,
        statement: Query<'_, Any, AnyArguments>,
    ) -> Result<u64> {
        let done = statement.execute(&self.pool).await;
        done.map(|done| done.rows_affected())
            .map_err(|e| sql_error(operation, e))
    }

    async fn rows(
        &self,
        operation: &'static str,
        statement: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<AnyRow>> {
        let rows = statement.fetch_all(&self.pool).await;
        rows.map_err(|e| sql_error(operation, e))
    }

    /// The records that a statement finds, each the JSON in the column `body`.
    async fn records<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        statement: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<T>> {
        let rows = self.rows(operation, statement).await?;
        rows.iter().map(|row| decode(operation, row)).collect()
    }

    /// The one record that a statement finds.
    async fn record<T: DeserializeOwned>(
        &self,
        what: &'static str,
        id: String,
        statement: Query<'_, Any, AnyArguments>,
    ) -> Result<T> {
        let found = self.records("look up", statement).await?.into_iter().next();
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, "look up", "the project has none of this id").with(what, id)
        })
    }
}

fn text(row: &AnyRow, column: &'static str) -> Result<String, sqlx::Error> {
    row.try_get(column)
}

fn decode<T: DeserializeOwned>(operation: &'static str, row: &AnyRow) -> Result<T> {
    let body = text(row, "body").map_err(|e| sql_error(operation, e))?;
    serde_json::from_str(&body).map_err(|e| {
        Error::new(
            Kind::Corrupt,
            operation,
            "a record of the job database is not what it must be",
        )
        .caused_by(e)
    })
}

fn encode(record: &impl Serialize) -> Result<String> {
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
fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn taken(what: &'static str, id: impl std::fmt::Display) -> Error {
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
        let insert = query(
            "INSERT INTO raksha_jobs (id, project, name, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(job.id.to_string())
        .bind(job.project.as_str())
        .bind(&job.name)
        .bind(encode(job)?);
        match self.change("create job", insert).await? {
            0 => Err(taken("job", &job.name)),
            _ => Ok(()),
        }
    }

    async fn job(&self, project: &ProjectId, id: JobId) -> Result<BackupJob> {
        let select = query("SELECT body FROM raksha_jobs WHERE id = $1 AND project = $2")
            .bind(id.to_string())
            .bind(project.as_str());
        self.record("job", id.to_string(), select).await
    }

    async fn jobs(&self, project: &ProjectId) -> Result<Vec<BackupJob>> {
        let select = query("SELECT body FROM raksha_jobs WHERE project = $1 ORDER BY name")
            .bind(project.as_str());
        self.records("list jobs", select).await
    }

    async fn delete_job(&self, project: &ProjectId, id: JobId) -> Result<()> {
        let delete = query(
            "DELETE FROM raksha_jobs WHERE id = $1 AND project = $2 AND NOT EXISTS \
             (SELECT 1 FROM raksha_runs WHERE job = $1 AND ended = 0)",
        )
        .bind(id.to_string())
        .bind(project.as_str());
        if self.change("delete job", delete).await? > 0 {
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
        let insert = query(
            "INSERT INTO raksha_runs (id, project, job, number, started, ended, body) \
             SELECT $1, $2, $3, (SELECT COALESCE(MAX(number), 0) + 1 FROM raksha_runs), $4, $5, $6 \
             WHERE EXISTS (SELECT 1 FROM raksha_jobs WHERE id = $3 AND project = $2) ON CONFLICT DO NOTHING",
        )
        .bind(run.id.to_string())
        .bind(run.project.as_str())
        .bind(run.job.to_string())
        .bind(millis(run.started))
        .bind(i64::from(run.state != RunState::Running))
        .bind(encode(run)?);
        if self.change("create run", insert).await? > 0 {
            return Ok(());
        }
        self.job(&run.project, run.job).await?;
        Err(taken("run", run.id))
    }

    async fn update_run(&self, run: &BackupRun) -> Result<()> {
        let update = query(
            "UPDATE raksha_runs SET ended = $3, body = $4 WHERE id = $1 AND project = $2 AND ended = 0",
        )
        .bind(run.id.to_string())
        .bind(run.project.as_str())
        .bind(i64::from(run.state != RunState::Running))
        .bind(encode(run)?);
        if self.change("update run", update).await? > 0 {
            return Ok(());
        }
        self.run(&run.project, run.id).await?;
        Err(ended("run", run.id))
    }

    async fn run(&self, project: &ProjectId, id: RunId) -> Result<BackupRun> {
        let select = query("SELECT body FROM raksha_runs WHERE id = $1 AND project = $2")
            .bind(id.to_string())
            .bind(project.as_str());
        self.record("run", id.to_string(), select).await
    }

    async fn runs(&self, project: &ProjectId, job: Option<JobId>) -> Result<Vec<BackupRun>> {
        let select = match job {
            Some(job) => query(
                "SELECT body FROM raksha_runs WHERE project = $1 AND job = $2 ORDER BY started DESC, number DESC",
            )
            .bind(project.as_str())
            .bind(job.to_string()),
            None => query(
                "SELECT body FROM raksha_runs WHERE project = $1 ORDER BY started DESC, number DESC",
            )
            .bind(project.as_str()),
        };
        self.records("list runs", select).await
    }

    async fn create_restore(&self, restore: &RestoreRun) -> Result<()> {
        let insert = query(
            "INSERT INTO raksha_restores (id, project, number, started, state, body) \
             SELECT $1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM raksha_restores), $3, $4, $5 \
             WHERE TRUE ON CONFLICT DO NOTHING",
        )
        .bind(restore.id.to_string())
        .bind(restore.project.as_str())
        .bind(millis(restore.started))
        .bind(encode(&restore.state)?)
        .bind(encode(restore)?);
        match self.change("create restore", insert).await? {
            0 => Err(taken("restore", restore.id)),
            _ => Ok(()),
        }
    }

    async fn update_restore(&self, restore: &RestoreRun) -> Result<()> {
        let update = query(
            "UPDATE raksha_restores SET state = $3, body = $4 \
             WHERE id = $1 AND project = $2 AND (state = $3 OR state = $5)",
        )
        .bind(restore.id.to_string())
        .bind(restore.project.as_str())
        .bind(encode(&restore.state)?)
        .bind(encode(restore)?)
        .bind(encode(&RestoreState::Running)?);
        if self.change("update restore", update).await? > 0 {
            return Ok(());
        }
        self.restore(&restore.project, restore.id).await?;
        Err(ended("restore", restore.id))
    }

    async fn restore(&self, project: &ProjectId, id: RestoreId) -> Result<RestoreRun> {
        let select = query("SELECT body FROM raksha_restores WHERE id = $1 AND project = $2")
            .bind(id.to_string())
            .bind(project.as_str());
        self.record("restore", id.to_string(), select).await
    }

    async fn restores(&self, project: &ProjectId) -> Result<Vec<RestoreRun>> {
        let select = query(
            "SELECT body FROM raksha_restores WHERE project = $1 ORDER BY started DESC, number DESC",
        )
        .bind(project.as_str());
        self.records("list restores", select).await
    }

    async fn record_temporary(&self, owner: &str, temporary: &Temporary) -> Result<()> {
        let upsert = query(
            "INSERT INTO raksha_temporaries (owner, marker, number, body) \
             SELECT $1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM raksha_temporaries), $3 \
             WHERE TRUE ON CONFLICT (owner, marker) DO UPDATE SET body = excluded.body",
        )
        .bind(owner)
        .bind(&temporary.marker)
        .bind(encode(temporary)?);
        self.change("record temporary", upsert).await.map(drop)
    }

    async fn forget_temporary(&self, owner: &str, marker: &str) -> Result<()> {
        let delete = query("DELETE FROM raksha_temporaries WHERE owner = $1 AND marker = $2")
            .bind(owner)
            .bind(marker);
        self.change("forget temporary", delete).await.map(drop)
    }

    async fn temporaries(&self, owner: Option<&str>) -> Result<Vec<(String, Temporary)>> {
        let operation = "list temporaries";
        let select = match owner {
            Some(owner) => {
                query("SELECT owner, body FROM raksha_temporaries WHERE owner = $1 ORDER BY number")
                    .bind(owner)
            }
            None => query("SELECT owner, body FROM raksha_temporaries ORDER BY number"),
        };
        let rows = self.rows(operation, select).await?;
        let pairs = rows.iter().map(|row| {
            let owner = text(row, "owner").map_err(|e| sql_error(operation, e))?;
            Ok((owner, decode(operation, row)?))
        });
        pairs.collect()
    }
}
