//! Every catalog and job store that needs no service keeps its contract; with the feature `lab`, those in PostgreSQL, too.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic, and so may what they share"
)]

use std::sync::Arc;

use bytes::Bytes;
use raksha_core::Kind;
use raksha_core::id::RepositoryId;
use raksha_core::store::{Appended, ManifestCatalog, MirroredCatalog, ObjectCatalog};
use raksha_core::testkit::check_catalog;
use raksha_targets::{OpenOptions, SqlCatalogs, open};

const ID: RepositoryId = RepositoryId::from_bytes([3; 16]);

async fn log(address: &str) -> Arc<dyn ManifestCatalog> {
    let catalogs = SqlCatalogs::open(address, true).await.unwrap();
    catalogs.log(ID, "here").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn directory() {
    let home = tempfile::tempdir().unwrap();
    let target = open(home.path().to_str().unwrap(), &OpenOptions::default())
        .await
        .unwrap();
    let open = async || Arc::new(ObjectCatalog::new(Arc::clone(&target.objects))) as _;
    check_catalog(open, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let home = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/catalogs.db", home.path().display());
    check_catalog(async || log(&address).await, true).await;
}

/// As for a target that cannot order writers: the database decides, the directory has the copy.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_a_copy_in_a_directory() {
    let home = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/catalogs.db", home.path().display());
    let path = home.path().join("target");
    let options = OpenOptions::default().create(true);
    let target = open(path.to_str().unwrap(), &options).await.unwrap();
    let open = async || {
        let copies = Arc::clone(&target.objects);
        Arc::new(MirroredCatalog::new(log(&address).await, copies)) as _
    };
    check_catalog(open, true).await;
    let copy = ObjectCatalog::new(Arc::clone(&target.objects));
    let (copied, ordered) = (
        copy.read(0, 1000).await,
        log(&address).await.read(0, 1000).await,
    );
    assert_eq!(copied.unwrap(), ordered.unwrap());
}

/// Logs of other repositories and other places in the same database are others.
async fn logs_are_kept_apart(catalogs: &SqlCatalogs) {
    let (mine, other) = (ID, RepositoryId::from_bytes([4; 16]));
    let at = |place: &str| format!("directory /{place}");
    let entry = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = catalogs.log(mine, &at("a")).await.unwrap();
    let second = catalogs.log(other, &at("a")).await.unwrap();
    assert_eq!(
        first.append(0, entry("first")).await.unwrap(),
        Appended::Done
    );
    assert_eq!(
        second.append(0, entry("second")).await.unwrap(),
        Appended::Done
    );
    assert_eq!(
        first.append(1, entry("first again")).await.unwrap(),
        Appended::Done
    );
    assert_eq!(second.read(0, 9).await.unwrap(), [entry("second")]);

    let error = catalogs.log(mine, &at("b")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(
        !error.is_retryable() && error.to_string().contains("directory /a"),
        "{error}"
    );
    let copy = catalogs.log_of_copy(mine, &at("b"));
    assert_eq!(
        copy.append(0, entry("first")).await.unwrap(),
        Appended::Done
    );
    assert_eq!(
        copy.append(1, entry("other")).await.unwrap(),
        Appended::Done
    );
    assert_eq!(catalogs.places(mine).await.unwrap(), [at("a"), at("b")]);

    let taken = catalogs.moved(mine, &at("a"), &at("b")).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::AlreadyExists, "{taken}");
    let none = catalogs.moved(mine, &at("z"), &at("c")).await.unwrap_err();
    assert_eq!(none.kind(), Kind::NotFound, "{none}");
    catalogs.moved(mine, &at("a"), &at("c")).await.unwrap();
    let moved = catalogs.log(mine, &at("c")).await.unwrap();
    assert_eq!(
        moved.read(0, 9).await.unwrap(),
        [entry("first"), entry("first again")]
    );
    assert!(
        first.append(2, entry("late")).await.is_err(),
        "the old place has no log any more"
    );
    assert_eq!(second.read(0, 9).await.unwrap(), [entry("second")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_logs_apart() {
    let home = tempfile::tempdir().unwrap();
    let catalogs = SqlCatalogs::sqlite(&home.path().join("c.db"), true)
        .await
        .unwrap();
    logs_are_kept_apart(&catalogs).await;
}

#[cfg(feature = "lab")]
mod postgres {
    use raksha_core::testkit::{check_delegation_store, check_job_store};
    use raksha_targets::SqlJobs;
    use raksha_targets::testkit::PostgresSchema;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn catalogs() {
        let schema = PostgresSchema::new().await;
        check_catalog(async || log(schema.address()).await, true).await;
        schema.remove().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn logs_apart() {
        let schema = PostgresSchema::new().await;
        let catalogs = SqlCatalogs::open(schema.address(), true).await.unwrap();
        logs_are_kept_apart(&catalogs).await;
        schema.remove().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn jobs() {
        let schema = PostgresSchema::new().await;
        let jobs = SqlJobs::open(schema.address()).await.unwrap();
        check_job_store(&jobs).await;
        check_delegation_store(&jobs).await;
        schema.remove().await;
    }
}
