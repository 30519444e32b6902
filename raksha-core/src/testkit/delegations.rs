//! What every store of delegations must do, as a suite to run against an implementation.
#![allow(clippy::unwrap_used, clippy::panic)] // a suite reports by panicking

use super::job_store::{is, job, project};
use crate::authority::{Delegation, DelegationKind, Sealed};
use crate::error::Kind;
use crate::id::DelegationId;
use crate::store::JobStore;
use crate::time::Timestamp;

fn delegation(owner: &str, n: u8, created: u64) -> Delegation {
    Delegation {
        id: DelegationId::from_bytes([n; 16]),
        project: project(owner),
        kind: DelegationKind::Trust,
        principal: "wéb ' \"1".to_owned(),
        created: Timestamp::from_millis(created),
        expires: Some(Timestamp::from_millis(9_000)),
        sealed: Some(Sealed::from_bytes(vec![0, 255, n])),
    }
}

/// Runs the suite against `store`, which must have no delegations yet, nor jobs of the projects `da` and `db`.
///
/// # Panics
/// If the store breaks its contract; the message says how.
pub async fn check_delegation_store(store: &dyn JobStore) {
    let (a, b) = (project("da"), project("db"));
    let mut new = delegation("da", 1, 2_000);
    let old = delegation("da", 2, 1_000);
    store.create_delegation(&new).await.unwrap();
    store.create_delegation(&old).await.unwrap();
    is(
        store.create_delegation(&new).await,
        Kind::AlreadyExists,
        "an id that is taken",
    );
    assert_eq!(store.delegation(&a, new.id).await.unwrap(), new);

    is(
        store.delegation(&b, new.id).await,
        Kind::NotFound,
        "another project's delegation",
    );
    is(
        store.delete_delegation(&b, new.id).await,
        Kind::NotFound,
        "deleting another project's",
    );
    let mut stolen = new.clone();
    stolen.project = b.clone();
    is(
        store.update_delegation(&stolen).await,
        Kind::NotFound,
        "updating another project's",
    );
    assert_eq!(store.delegations(&b).await.unwrap(), []);

    new.sealed = None;
    new.expires = None;
    new.kind = DelegationKind::ApplicationCredential;
    store.update_delegation(&new).await.unwrap();
    let all = store.delegations(&a).await.unwrap();
    assert_eq!(
        all,
        [old.clone(), new.clone()],
        "the oldest first, as they were last stored"
    );

    // That another project has the same id is its own business.
    store.create_delegation(&stolen).await.unwrap();
    assert_eq!(store.delegation(&a, new.id).await.unwrap(), new);
    assert_eq!(store.delegation(&b, new.id).await.unwrap(), stolen);
    store.delete_delegation(&b, new.id).await.unwrap();
    assert_eq!(store.delegation(&a, new.id).await.unwrap(), new);

    let mut of_b = job("db", 61, "by another's right");
    of_b.delegation = Some(new.id);
    is(
        store.create_job(&of_b).await,
        Kind::NotFound,
        "a job by another project's delegation",
    );
    let mut of_a = job("da", 62, "by right");
    of_a.delegation = Some(new.id);
    store.create_job(&of_a).await.unwrap();
    assert_eq!(store.job(&a, of_a.id).await.unwrap(), of_a);
    is(
        store.delete_delegation(&a, new.id).await,
        Kind::Conflict,
        "deleting what a job has",
    );
    let mut other = of_a.clone();
    other.delegation = Some(DelegationId::from_bytes([9; 16]));
    is(
        store.update_job(&other).await,
        Kind::NotFound,
        "giving a job what the project does not have",
    );
    other.delegation = Some(old.id);
    store.update_job(&other).await.unwrap();
    is(
        store.delete_delegation(&a, old.id).await,
        Kind::Conflict,
        "deleting what a job was given later",
    );
    store.delete_delegation(&a, new.id).await.unwrap();
    store.create_delegation(&new).await.unwrap();
    store.delete_job(&a, of_a.id).await.unwrap();
    store.delete_delegation(&a, new.id).await.unwrap();
    is(
        store.delegation(&a, new.id).await,
        Kind::NotFound,
        "one that was deleted",
    );
    is(
        store.delete_delegation(&a, new.id).await,
        Kind::NotFound,
        "deleting it twice",
    );
    is(
        store.update_delegation(&new).await,
        Kind::NotFound,
        "updating it",
    );
    store.delete_delegation(&a, old.id).await.unwrap();
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_store_in_memory_passes() {
        super::check_delegation_store(&crate::testkit::MemoryJobs::new()).await;
    }
}
