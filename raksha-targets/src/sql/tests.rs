//! What a database of its own promises, beside the contracts that the suites in `tests/` check.

use std::sync::Arc;

use raksha_core::Kind;
use raksha_core::id::ProjectId;
use raksha_core::store::{JobStore, RunQueue};
use raksha_core::testkit::{check_delegation_store, check_job_store, check_run_queue};

use super::database::each;
use super::schema::{Part, prepare};
use super::*;

async fn refusal(address: &str) -> String {
    let error = SqlJobs::open(address).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    error.to_string()
}

#[tokio::test]
async fn what_is_not_understood_is_refused_by_name() {
    let unknown = refusal("mysql://host/db").await;
    assert!(
        unknown.contains("mysql") && unknown.contains("sqlite:FILE"),
        "{unknown}"
    );
    assert!(refusal("jobs.db").await.contains("sqlite:FILE"));
    assert!(refusal("sqlite:").await.contains("no file"));
    let option = refusal("sqlite:x?colour=red").await;
    assert!(
        option.contains("colour") && option.contains("timeout"),
        "{option}"
    );
    assert!(refusal("sqlite:x?timeout=0").await.contains("timeout"));
    assert!(
        refusal("sqlite:x?timeout=1&timeout=2")
            .await
            .contains("twice")
    );
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_password_in_an_address_is_refused_and_not_repeated() {
    let secret = refusal("postgres://user:geheim@host/db").await;
    assert!(
        secret.contains("PGPASSWORD") && !secret.contains("geheim"),
        "{secret}"
    );
    let not_a_url = refusal("postgres://user:geheim@ho st/db").await;
    assert!(!not_a_url.contains("geheim"), "{not_a_url}");
    let option = refusal("postgres://user@host/db?sslmode=no&x=y").await;
    assert!(option.contains("sslmode"), "{option}");
    let option = refusal("postgres://user@host/db?password=geheim").await;
    assert!(
        option.contains("password") && !option.contains("geheim"),
        "{option}"
    );
    assert!(
        refusal("postgres://user@host/db/more")
            .await
            .contains("user@host/database")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_keep_the_contract_also_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs of 50% ?mode=ro#.db");
    let jobs = SqlJobs::sqlite(&path).await.unwrap();
    check_job_store(&jobs).await;
    check_delegation_store(&jobs).await;
    let project = ProjectId::new("a");
    let runs = jobs.runs(&project, None).await.unwrap();
    assert!(!runs.is_empty());
    jobs.close().await;

    assert!(path.is_file(), "the path was taken as it is");
    let again = SqlJobs::sqlite(&path).await.unwrap();
    assert_eq!(again.runs(&project, None).await.unwrap(), runs);
}

/// A job as the first version of the tables had it.
const OLD_JOB: &str = r#"{"id":"07070707070707070707070707070707","project":"a","name":"old","servers":[{"name":"web"}],
    "consistency":"crash","if_not_reached":"mark","created":"2026-01-01T00:00:00.000Z"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_the_first_version_are_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.db");
    let database = Database::open(Location::file(&path), true).await.unwrap();
    let first = Part {
        name: jobs::TABLES.name,
        steps: &jobs::TABLES.steps[..1],
    };
    prepare(&database, &first, true).await.unwrap();
    let insert = "INSERT INTO raksha_jobs (id, project, name, body) VALUES ($1, 'a', 'old', $2)";
    let insert = statement::statement("test", insert)
        .bind("07".repeat(16))
        .bind(OLD_JOB);
    database.change(&insert).await.unwrap();
    database.close().await;

    let jobs = SqlJobs::sqlite(&path).await.unwrap();
    let found = jobs.jobs(&ProjectId::new("a")).await.unwrap();
    let [job] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (job.schedule.as_ref(), job.objective, job.max_parallel),
        (None, None, 1)
    );
    assert!(job.retention.keeps_everything());
    assert!(
        jobs.overdue(10).await.unwrap().is_empty(),
        "nothing of it is scheduled"
    );
    let tracking = jobs.tracking(&job.project, job.id).await.unwrap();
    assert_eq!((&tracking.job, tracking.look_at), (job, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_due_runs_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let open = async |env| Arc::new(SqlJobs::sqlite(&path).await.unwrap().with_env(env)) as _;
    check_run_queue(open, 3, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_kind_or_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.db");
    std::fs::write(&other, [7; 8192]).unwrap();
    let error = SqlJobs::sqlite(&other).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains("other.db"), "{error}");

    let nowhere = dir.path().join("no such directory/jobs.db");
    let error = SqlJobs::sqlite(&nowhere).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");

    let none = dir.path().join("none.db");
    let error = SqlCatalogs::sqlite(&none, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(!none.exists(), "a file that was only looked for was made");
    SqlJobs::sqlite(&none).await.unwrap();
    let error = SqlCatalogs::sqlite(&none, false).await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::NotFound,
        "it has jobs and no catalogs: {error}"
    );
}

/// The tables of a part as three versions of a library have them. The second step takes its time, so that those who come at once meet.
const VERSIONS: [Part; 3] = [
    Part {
        name: "numbers",
        steps: &["CREATE TABLE raksha_numbers (number {serial}, body {bytes} NOT NULL)"],
    },
    Part {
        name: "numbers",
        steps: &[
            "CREATE TABLE raksha_numbers (number {serial}, body {bytes} NOT NULL)",
            "ALTER TABLE raksha_numbers ADD COLUMN more TEXT; CREATE INDEX raksha_more ON raksha_numbers (more)",
        ],
    },
    Part {
        name: "numbers",
        steps: &[
            "CREATE TABLE raksha_numbers (number {serial}, body {bytes} NOT NULL)",
            "ALTER TABLE raksha_numbers ADD COLUMN more TEXT; CREATE INDEX raksha_more ON raksha_numbers (more)",
            "ALTER TABLE raksha_numbers ADD COLUMN most TEXT",
        ],
    },
];

/// Tables are made and changed by many at once, each with connections of its own, and a newer version is refused.
async fn upgrades(open: impl AsyncFn() -> Database) {
    for round in 0..3 {
        let [old, new, newest] = &VERSIONS;
        for part in [old, new] {
            let mut databases = Vec::new();
            for _ in 0..6 {
                databases.push(open().await);
            }
            let all = databases
                .iter()
                .map(|database| prepare(database, part, true));
            for prepared in futures_util::future::join_all(all).await {
                prepared.unwrap();
            }
            // Again is nothing.
            prepare(&databases[0], part, false).await.unwrap();
        }
        let database = open().await;
        let insert = "INSERT INTO raksha_numbers (body, more) VALUES ($1, $2)";
        let insert = statement::statement("test", insert)
            .bind(bytes::Bytes::from_static(&[0, 255]))
            .bind("x");
        assert_eq!(database.change(&insert).await.unwrap(), 1);
        let error = prepare(&database, old, true).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(
            error.to_string().contains("version 2; this one knows 1"),
            "{error}"
        );
        prepare(&database, newest, true).await.unwrap();
        assert!(
            prepare(&database, new, true).await.is_err(),
            "round {round}"
        );
        let drop = "DROP TABLE raksha_numbers; DELETE FROM raksha_schema WHERE part = 'numbers'";
        each!(database, pool => sqlx::raw_sql(drop).execute(pool).await.map(|_| ())).unwrap();
    }
}

/// A step that fails leaves nothing of the version behind.
async fn a_step_that_fails_is_undone(database: &Database) {
    let part = Part {
        name: "half",
        steps: &[
            "CREATE TABLE raksha_half (x BIGINT)",
            "CREATE TABLE raksha_half (x BIGINT)",
        ],
    };
    prepare(database, &part, true).await.unwrap_err();
    let whole = Part {
        name: "half",
        steps: &["CREATE TABLE raksha_half (x BIGINT)"],
    };
    prepare(database, &whole, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_made_and_upgraded_by_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.db");
    let open = async || Database::open(Location::file(&path), true).await.unwrap();
    upgrades(open).await;
    a_step_that_fails_is_undone(&open().await).await;
}

#[cfg(feature = "lab")]
mod with_a_server {
    use super::super::database::Pool;
    use super::*;
    use crate::testkit::PostgresSchema;

    #[tokio::test(flavor = "multi_thread")]
    async fn tables_are_made_and_upgraded_by_many_at_once() {
        let schema = PostgresSchema::new().await;
        let open = async || {
            let location = Location::parse(schema.address()).unwrap();
            Database::open(location, true).await.unwrap()
        };
        upgrades(open).await;
        a_step_that_fails_is_undone(&open().await).await;
        schema.remove().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_queue_of_due_runs_keeps_the_contract() {
        let schema = PostgresSchema::new().await;
        let address = format!("{}&connections=2", schema.address());
        let open = async |env| Arc::new(SqlJobs::open(&address).await.unwrap().with_env(env)) as _;
        check_run_queue(open, 6, 1).await;
        schema.remove().await;
    }

    /// What the server's clock shows counts, and neither what a worker's does nor when its statement arrives.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_clock_is_the_servers() {
        let schema = PostgresSchema::new().await;
        let jobs = SqlJobs::open(schema.address()).await.unwrap();
        let ours = raksha_core::env::Env::system().now();
        let theirs = jobs.now().await.unwrap();
        assert!(theirs.since(ours).as_secs() < 60 && ours.since(theirs).as_secs() < 60);
        schema.remove().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_server_refuses_is_named() {
        let schema = PostgresSchema::new().await;
        let open = async |from: &str, to: &str| {
            let address = schema.address().replace(from, to);
            let error = SqlCatalogs::open(&address, true).await.unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, text) = open("raksha@", "nobody@").await;
        assert_eq!(kind, Kind::Unauthenticated, "{text}");
        assert!(
            text.contains("PGPASSWORD") && text.contains("PostgreSQL database"),
            "{text}"
        );
        let (kind, text) = open("/raksha?", "/no_such_database?").await;
        assert_eq!(kind, Kind::NotFound, "{text}");
        let (kind, text) = open("schema=", "schema=no_such_").await;
        assert_eq!(kind, Kind::NotFound, "{text}");
        let (kind, text) = open("127.0.0.1:", "127.0.0.1:1").await;
        assert_eq!(kind, Kind::Unavailable, "{text}");
        // Nobody who is trusted has signed the server's certificate; told to trust it, we do.
        let (kind, text) = open("?", "?sslmode=verify-full&").await;
        assert_eq!(kind, Kind::Unauthenticated, "{text}");
        let certificate = std::env::var("RAKSHA_POSTGRES_CA").expect("POSTGRES_READY names it");
        let trusted = format!(
            "{}&sslmode=verify-full&sslrootcert={certificate}",
            schema.address()
        );
        let error = SqlCatalogs::open(&trusted, false).await.unwrap_err();
        assert!(
            error.to_string().contains("no table of catalogs"),
            "{error}"
        );
        let error = SqlCatalogs::open(schema.address(), false)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "no table yet: {error}");
        schema.remove().await;
    }

    /// A statement that waits for what another transaction holds gives up in time, and its connection does not come back to the pool.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_has_a_deadline() {
        let schema = PostgresSchema::new().await;
        let address = format!("{}&timeout=1&connections=1", schema.address());
        let jobs = SqlJobs::open(&address).await.unwrap();
        let Database {
            pool: Pool::Postgres(holder),
            ..
        } = &Database::open(Location::parse(schema.address()).unwrap(), true)
            .await
            .unwrap()
        else {
            panic!("not PostgreSQL")
        };
        let mut held = holder.begin().await.unwrap();
        sqlx::query("LOCK TABLE raksha_jobs")
            .execute(&mut *held)
            .await
            .unwrap();
        let began = std::time::Instant::now();
        let error = jobs.jobs(&ProjectId::new("a")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout, "{error}");
        assert!(error.is_retryable() && began.elapsed().as_secs() < 10);
        held.rollback().await.unwrap();
        assert_eq!(jobs.jobs(&ProjectId::new("a")).await.unwrap(), []);
        schema.remove().await;
    }
}
