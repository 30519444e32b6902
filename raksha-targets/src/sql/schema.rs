//! The tables, as a list of steps that lead from any older version to this one.
//!
//! The SQL is what SQLite and PostgreSQL both understand. Every record lies whole, as JSON, in `body`; the other columns are
//! what queries look at. So a record that grows a field needs no new step.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Steps are only ever added: a changed one would no longer match what a database remembers of it.
const STEPS: [(i64, &str, &str); 1] = [(1, "jobs, runs, restores, temporaries", FIRST)];

const FIRST: &str = "
CREATE TABLE raksha_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE raksha_runs (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    job TEXT NOT NULL,
    number BIGINT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX raksha_runs_of_project ON raksha_runs (project, started);
CREATE INDEX raksha_runs_of_job ON raksha_runs (job, started);
CREATE TABLE raksha_restores (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    number BIGINT NOT NULL,
    started BIGINT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX raksha_restores_of_project ON raksha_restores (project, started);
CREATE TABLE raksha_temporaries (
    owner TEXT NOT NULL,
    marker TEXT NOT NULL,
    number BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (owner, marker)
);
";

/// Brings a database from any older version to this one, and refuses a newer one.
pub(super) fn migrator() -> Migrator {
    let steps = STEPS.map(|(version, what, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(
            version,
            Cow::Borrowed(what),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    Migrator::with_migrations(steps.into())
}
