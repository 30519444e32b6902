//! The queue of due runs in a SQL database.
//!
//! Like all changes, taking a run is a single statement: it finds the run whose turn it is, and marks it. PostgreSQL skips rows that somebody else is
//! about to take, and its serializable isolation has the limits counted as if one worker came after the other; SQLite has one writer at a time.

use std::time::Duration;

use async_trait::async_trait;
use raksha_core::env::Env;
use raksha_core::id::{JobId, ProjectId};
use raksha_core::store::{
    BackupRun, DueEnd, DueRun, DueState, JobStore, Lease, Limits, Placement, RunQueue, Tracking,
};
use raksha_core::{Error, Kind, Result, Timestamp};

use super::database::Pool;
use super::jobs::{SqlJobs, decode, decode_column, encode, millis};
use super::statement::{Row, Statement, statement};

/// What follows on the first step of the tables of jobs.
pub(super) const STEP: &str = "
ALTER TABLE raksha_jobs ADD COLUMN planned BIGINT NOT NULL DEFAULT 0;
ALTER TABLE raksha_jobs ADD COLUMN look_at BIGINT NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE raksha_jobs ADD COLUMN protection TEXT NOT NULL DEFAULT '{}';
ALTER TABLE raksha_jobs ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
CREATE INDEX raksha_jobs_to_look_at ON raksha_jobs (look_at);
CREATE TABLE raksha_due_runs (
    number {serial},
    job TEXT NOT NULL,
    due BIGINT NOT NULL,
    project TEXT NOT NULL,
    cloud TEXT NOT NULL,
    target TEXT NOT NULL,
    parallel BIGINT NOT NULL,
    ready BIGINT NOT NULL,
    state BIGINT NOT NULL,
    token BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    worker TEXT NOT NULL,
    leased BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (job, due)
);
CREATE INDEX raksha_due_runs_open ON raksha_due_runs (state, ready) WHERE state < 2;
CREATE INDEX raksha_due_runs_taken ON raksha_due_runs (project, taken);
CREATE INDEX raksha_due_runs_of_project ON raksha_due_runs (project, due);
";

/// Values of `state`.
const WAITING: i64 = 0;
const LEASED: i64 = 1;
const ENDED: i64 = 2;

/// Never, as `look_at` has it.
pub(super) const NEVER: i64 = i64::MAX;

/// Marks the run whose turn it is: `$1` now, `$2` the worker, `$3` when its lease's time is up, `$4` to `$6` the limits of a project, a cloud and a target.
macro_rules! take {
    ($lock:literal) => {
        concat!(
            "UPDATE raksha_due_runs SET state = 1, token = token + 1, taken = $1, worker = $2, leased = $3 \
             WHERE number = (SELECT d.number FROM raksha_due_runs d \
             JOIN (SELECT q.project, (SELECT MAX(t.taken) FROM raksha_due_runs t WHERE t.project = q.project) AS served \
                   FROM (SELECT DISTINCT project FROM raksha_due_runs WHERE state < 2) q) s ON s.project = d.project \
             LEFT JOIN (SELECT project, COUNT(*) AS busy FROM raksha_due_runs WHERE state = 1 AND leased > $1 GROUP BY project) p \
                   ON p.project = d.project \
             LEFT JOIN (SELECT cloud, COUNT(*) AS busy FROM raksha_due_runs WHERE state = 1 AND leased > $1 GROUP BY cloud) c \
                   ON c.cloud = d.cloud \
             LEFT JOIN (SELECT target, COUNT(*) AS busy FROM raksha_due_runs WHERE state = 1 AND leased > $1 GROUP BY target) g \
                   ON g.target = d.target \
             LEFT JOIN (SELECT job, COUNT(*) AS busy FROM raksha_due_runs WHERE state = 1 AND leased > $1 GROUP BY job) j ON j.job = d.job \
             WHERE ((d.state = 0 AND d.ready <= $1) OR (d.state = 1 AND d.leased <= $1)) \
               AND COALESCE(p.busy, 0) < $4 AND COALESCE(c.busy, 0) < $5 AND COALESCE(g.busy, 0) < $6 AND COALESCE(j.busy, 0) < d.parallel \
             ORDER BY COALESCE(p.busy, 0), s.served, d.ready, d.due, d.number LIMIT 1",
            $lock,
            ") RETURNING job, project, due, token, leased"
        )
    };
}

fn fenced(lease: &Lease) -> Error {
    let message = "somebody else has taken this run over, or it has ended: leave it to them";
    Error::new(Kind::Fenced, "use lease", message)
        .with("job", lease.job)
        .with("due", lease.due)
}

fn time(row: &Row, column: &'static str) -> Result<Timestamp> {
    let number = row.number(column)?;
    Ok(Timestamp::from_millis(u64::try_from(number).unwrap_or(0)))
}

fn unsigned(row: &Row, column: &'static str) -> Result<u64> {
    Ok(u64::try_from(row.number(column)?).unwrap_or(0))
}

fn lease(row: &Row) -> Result<Lease> {
    Ok(Lease {
        job: row.text("job")?.parse()?,
        project: ProjectId::new(row.text("project")?),
        due: time(row, "due")?,
        token: unsigned(row, "token")?,
        until: time(row, "leased")?,
    })
}

fn due_run(row: &Row) -> Result<DueRun> {
    let state = match row.number("state")? {
        WAITING => DueState::Waiting,
        LEASED => DueState::Leased {
            worker: row.text("worker")?,
            until: time(row, "leased")?,
        },
        _ => DueState::Ended {
            at: time(row, "ended")?,
            end: decode(row)?,
        },
    };
    Ok(DueRun {
        job: row.text("job")?.parse()?,
        project: ProjectId::new(row.text("project")?),
        due: time(row, "due")?,
        ready: time(row, "ready")?,
        placement: Placement {
            cloud: row.text("cloud")?,
            target: row.text("target")?,
        },
        max_parallel: u32::try_from(row.number("parallel")?).unwrap_or(u32::MAX),
        token: unsigned(row, "token")?,
        state,
    })
}

fn tracking(row: &Row) -> Result<Tracking> {
    let look_at = Some(row.number("look_at")?).filter(|at| *at != NEVER);
    Ok(Tracking {
        job: decode(row)?,
        planned: time(row, "planned")?,
        look_at: look_at.map(|at| Timestamp::from_millis(u64::try_from(at).unwrap_or(0))),
        protection: decode_column(row, "protection")?,
        revision: unsigned(row, "revision")?,
    })
}

/// As databases have it: a signed number.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn limit(limit: Option<u32>) -> i64 {
    limit.map_or(i64::MAX, i64::from)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl SqlJobs {
    /// Goes by the clock of `env`, instead of the database's: for tests and simulations. Whoever shares the database must have the same.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.clock = Some(env);
        self
    }

    /// Changes the due run of a lease that is still good. `$1` to `$3` of the statement are the lease.
    async fn by_lease(&self, lease: &Lease, statement: Statement) -> Result<()> {
        match self.database.change(&statement).await? {
            0 => Err(fenced(lease)),
            _ => Ok(()),
        }
    }
}

/// A statement about the due run of a lease, with the lease bound.
fn of_lease(operation: &'static str, sql: &'static str, lease: &Lease) -> Statement {
    statement(operation, sql)
        .bind(lease.job.to_string())
        .bind(millis(lease.due))
        .bind(signed(lease.token))
}

#[async_trait]
impl RunQueue for SqlJobs {
    async fn now(&self) -> Result<Timestamp> {
        if let Some(env) = &self.clock {
            return Ok(env.now());
        }
        match &self.database.pool {
            // The processes that share a file are on one machine, and so have one clock.
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => Ok(self.database.env.now()),
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => {
                let select =
                    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now";
                let found = self
                    .database
                    .rows(&statement("ask for the time", select))
                    .await?;
                match found.first() {
                    Some(row) => time(row, "now"),
                    None => Err(Error::new(
                        Kind::Internal,
                        "ask for the time",
                        "the database gave no answer",
                    )),
                }
            }
        }
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Tracking>> {
        let select = "SELECT planned, look_at, protection, revision, body FROM raksha_jobs WHERE look_at <= $1 ORDER BY look_at, id LIMIT $2";
        let select = statement("list overdue jobs", select)
            .bind(millis(self.now().await?))
            .bind(rows(limit));
        let found = self.database.rows(&select).await?;
        found.iter().map(tracking).collect()
    }

    async fn tracking(&self, project: &ProjectId, job: JobId) -> Result<Tracking> {
        let select = "SELECT planned, look_at, protection, revision, body FROM raksha_jobs WHERE id = $1 AND project = $2";
        let select = statement("find job", select)
            .bind(job.to_string())
            .bind(project.as_str());
        let found = self.database.rows(&select).await?;
        let row = found.first().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "find job",
                "the project has none of this id",
            )
            .with("job", job)
        })?;
        tracking(row)
    }

    async fn update_tracking(&self, tracking: &Tracking) -> Result<bool> {
        let update = "UPDATE raksha_jobs SET planned = $3, look_at = $4, protection = $5, revision = revision + 1 WHERE id = $1 AND revision = $2";
        let update = statement("track job", update)
            .bind(tracking.job.id.to_string())
            .bind(signed(tracking.revision))
            .bind(millis(tracking.planned))
            .bind(tracking.look_at.map_or(NEVER, millis))
            .bind(encode(&tracking.protection)?);
        Ok(self.database.change(&update).await? > 0)
    }

    async fn queue(&self, due: &[DueRun]) -> Result<()> {
        for one in due {
            let DueRun {
                job,
                project,
                due,
                ready,
                placement,
                max_parallel,
                token,
                state,
            } = one;
            let (state, worker, leased, ended, body) = match state {
                DueState::Waiting => (WAITING, "", 0, 0, String::new()),
                DueState::Leased { worker, until } => {
                    (LEASED, worker.as_str(), millis(*until), 0, String::new())
                }
                DueState::Ended { at, end } => (ENDED, "", 0, millis(*at), encode(end)?),
            };
            let insert = "INSERT INTO raksha_due_runs \
                 (job, due, project, cloud, target, parallel, ready, state, token, taken, worker, leased, ended, body) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13) ON CONFLICT DO NOTHING";
            let insert = statement("queue run", insert)
                .bind(job.to_string())
                .bind(millis(*due))
                .bind(project.as_str())
                .bind(placement.cloud.as_str())
                .bind(placement.target.as_str())
                .bind(i64::from(*max_parallel))
                .bind(millis(*ready))
                .bind(state)
                .bind(signed(*token))
                .bind(worker)
                .bind(leased)
                .bind(ended)
                .bind(body);
            self.database.change(&insert).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        worker: &str,
        lease_for: Duration,
        limits: &Limits,
    ) -> Result<Option<Lease>> {
        let take = match &self.database.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => take!(""),
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => take!(" FOR UPDATE OF d SKIP LOCKED"),
        };
        // Were it long until the statement runs, the lease would be the shorter.
        let now = self.now().await?;
        let take = statement("take run", take)
            .bind(millis(now))
            .bind(worker)
            .bind(millis(now.after(lease_for)))
            .bind(limit(limits.per_project))
            .bind(limit(limits.per_cloud))
            .bind(limit(limits.per_target));
        let taken = self.database.rows(&take).await?;
        taken.first().map(lease).transpose()
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Lease> {
        let until = self.now().await?.after(duration);
        let update = "UPDATE raksha_due_runs SET leased = $4 WHERE job = $1 AND due = $2 AND token = $3 AND state = 1";
        let update = of_lease("renew lease", update, lease).bind(millis(until));
        self.by_lease(lease, update).await?;
        Ok(Lease {
            until,
            ..lease.clone()
        })
    }

    async fn start_run(&self, lease: &Lease, run: &BackupRun) -> Result<()> {
        let insert = "INSERT INTO raksha_runs (id, project, job, started, ended, body) \
             SELECT $4, $5, $6, $7, 0, $8 \
             WHERE EXISTS (SELECT 1 FROM raksha_jobs WHERE id = $6 AND project = $5) \
               AND EXISTS (SELECT 1 FROM raksha_due_runs WHERE job = $1 AND due = $2 AND token = $3 AND state = 1) ON CONFLICT DO NOTHING";
        let insert = of_lease("start run", insert, lease)
            .bind(run.id.to_string())
            .bind(run.project.as_str())
            .bind(run.job.to_string())
            .bind(millis(run.started))
            .bind(encode(run)?);
        if self.database.change(&insert).await? > 0 {
            return Ok(());
        }
        self.job(&run.project, run.job).await?;
        match self.run(&run.project, run.id).await {
            Ok(_) => Err(
                Error::new(Kind::AlreadyExists, "start run", "it was begun already")
                    .with("run", run.id),
            ),
            Err(error) if error.kind() == Kind::NotFound => Err(fenced(lease)),
            Err(error) => Err(error),
        }
    }

    async fn postpone(&self, lease: &Lease, ready: Timestamp) -> Result<()> {
        let update = "UPDATE raksha_due_runs SET state = 0, ready = $4 WHERE job = $1 AND due = $2 AND token = $3 AND state = 1";
        let update = of_lease("postpone run", update, lease).bind(millis(ready));
        self.by_lease(lease, update).await
    }

    async fn settle(&self, lease: &Lease, end: &DueEnd) -> Result<()> {
        let update = "UPDATE raksha_due_runs SET state = 2, ended = $4, body = $5 \
             WHERE job = $1 AND due = $2 AND token = $3 AND (state = 1 OR (state = 2 AND body = $5))";
        let update = of_lease("settle run", update, lease)
            .bind(millis(self.now().await?))
            .bind(encode(end)?);
        self.by_lease(lease, update).await
    }

    async fn due_runs(
        &self,
        project: &ProjectId,
        job: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<DueRun>> {
        let select = match job {
            Some(job) => statement(
                "list due runs",
                "SELECT * FROM raksha_due_runs WHERE project = $1 AND job = $3 ORDER BY due DESC, job DESC LIMIT $2",
            )
            .bind(project.as_str())
            .bind(rows(limit))
            .bind(job.to_string()),
            None => statement(
                "list due runs",
                "SELECT * FROM raksha_due_runs WHERE project = $1 ORDER BY due DESC, job DESC LIMIT $2",
            )
            .bind(project.as_str())
            .bind(rows(limit)),
        };
        let found = self.database.rows(&select).await?;
        found.iter().map(due_run).collect()
    }
}
