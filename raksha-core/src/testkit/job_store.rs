//! What every job store must do, as a suite to run against an implementation.
#![allow(clippy::unwrap_used, clippy::panic)] // a suite reports by panicking

use std::time::Duration;

use crate::cloud::{
    Consistency, Created, ResourceKey, ResourceKind, Selection, ServerSelector, Temporary,
};
use crate::error::{Kind, Result};
use crate::id::{JobId, PointId, ProjectId, RestoreId, RunId};
use crate::objective::Objective;
use crate::retention::Retention;
use crate::schedule::{Schedule, Zone};
use crate::store::{
    BackupJob, BackupRun, DueRun, DueState, IfNotReached, JobStore, Placement, RestoreOutcome,
    RestoreRun, RestoreState, RunCounts, RunOutcome, RunState,
};
use crate::time::Timestamp;

/// Runs the whole suite against `store`, which must be empty.
///
/// # Panics
/// If the store breaks its contract; the message says how.
pub async fn check_job_store(store: &dyn JobStore) {
    jobs(store).await;
    a_job_is_replaced(store).await;
    runs(store).await;
    a_job_with_a_run_under_way_stays(store).await;
    restores(store).await;
    temporaries(store).await;
}

pub(super) fn project(name: &str) -> ProjectId {
    ProjectId::new(name)
}

/// A job of project `owner` with an id made of `n`.
pub(super) fn job(owner: &str, n: u8, name: &str) -> BackupJob {
    BackupJob {
        id: JobId::from_bytes([n; 16]),
        project: project(owner),
        name: name.to_owned(),
        servers: Selection(vec![ServerSelector::Name("wéb ' \"1".to_owned())]),
        consistency: Consistency::FileSystem,
        if_not_reached: IfNotReached::Refuse,
        created: Timestamp::from_millis(1_383_642_000_000),
        schedule: Schedule::cron("30 2 * * *", Zone::utc()).ok(),
        policy: None,
        retention: Retention {
            daily: 7,
            ..Retention::default()
        },
        objective: Some(Objective::new(Duration::from_secs(86_400))),
        max_parallel: 2,
        placement: Placement::default(),
        delegation: None,
        hooks: Vec::new(),
    }
}

pub(super) fn run(of: &BackupJob, n: u8, started: u64) -> BackupRun {
    BackupRun {
        id: RunId::from_bytes([n; 16]),
        job: of.id,
        project: of.project.clone(),
        place: Some("here".to_owned()),
        due: Some(Timestamp::from_millis(started)),
        started: Timestamp::from_millis(started),
        seen: Timestamp::from_millis(started),
        state: RunState::Running,
        phase: None,
        counts: RunCounts::default(),
        disks: Vec::new(),
        warnings: vec!["so it is".to_owned()],
    }
}

pub(super) fn is<T: std::fmt::Debug>(result: Result<T>, kind: Kind, what: &str) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("{what}: expected {kind:?}, got {other:?}"),
    }
}

async fn jobs(store: &dyn JobStore) {
    let (a, b) = (project("a"), project("b"));
    let (zebra, ant) = (job("a", 1, "zebra"), job("a", 2, "ant"));
    store.create_job(&zebra).await.unwrap();
    store.create_job(&ant).await.unwrap();
    is(
        store.create_job(&job("a", 3, "ant")).await,
        Kind::AlreadyExists,
        "a name that is taken",
    );
    is(
        store.create_job(&job("b", 1, "other")).await,
        Kind::AlreadyExists,
        "an id that is taken",
    );

    let elsewhere = job("b", 4, "ant");
    store.create_job(&elsewhere).await.unwrap();
    assert_eq!(store.job(&a, zebra.id).await.unwrap(), zebra);
    assert_eq!(
        store.jobs(&a).await.unwrap(),
        [ant.clone(), zebra.clone()],
        "in the order of names"
    );
    assert_eq!(
        store.jobs(&b).await.unwrap(),
        [elsewhere],
        "a project sees its own jobs only"
    );
    is(
        store.job(&b, zebra.id).await,
        Kind::NotFound,
        "another project's job",
    );
    is(
        store.delete_job(&b, zebra.id).await,
        Kind::NotFound,
        "deleting another project's job",
    );

    assert_eq!(store.projects().await.unwrap(), [a.clone(), b.clone()]);
    store.delete_job(&a, ant.id).await.unwrap();
    is(store.job(&a, ant.id).await, Kind::NotFound, "a deleted job");
    is(
        store.delete_job(&a, ant.id).await,
        Kind::NotFound,
        "deleting a job twice",
    );
    store.create_job(&ant).await.unwrap();
}

async fn a_job_is_replaced(store: &dyn JobStore) {
    let (a, b) = (project("a"), project("b"));
    let mut changed = job("a", 41, "changed");
    store.create_job(&changed).await.unwrap();
    store.create_job(&job("a", 42, "neighbour")).await.unwrap();
    let before = store.tracking(&a, changed.id).await.unwrap();
    let due = DueRun {
        job: changed.id,
        project: a.clone(),
        due: Timestamp::from_millis(1_383_700_000_000),
        ready: Timestamp::from_millis(1_383_700_000_000),
        placement: Placement::default(),
        max_parallel: 2,
        token: 0,
        state: DueState::Waiting,
    };
    store.queue(std::slice::from_ref(&due)).await.unwrap();

    let created = changed.created;
    changed.name = "another name".to_owned();
    changed.servers = Selection(vec![ServerSelector::All]);
    changed.retention.daily = 3;
    changed.created = Timestamp::from_millis(1);
    store.update_job(&changed).await.unwrap();
    changed.created = created;
    assert_eq!(store.job(&a, changed.id).await.unwrap(), changed);
    let after = store.tracking(&a, changed.id).await.unwrap();
    assert_eq!(after.job, changed, "workers see it as well");
    assert_eq!(
        after.planned, before.planned,
        "the same schedule goes on where it was"
    );
    assert!(
        !store.update_tracking(&before).await.unwrap(),
        "who planned the job as it was plans it again"
    );
    let now = store.now().await.unwrap();
    assert!(after.look_at.is_some_and(|at| at <= now), "{after:?}");

    changed.schedule = Schedule::cron("0 4 * * *", Zone::utc()).ok();
    store.update_job(&changed).await.unwrap();
    let other_schedule = store.tracking(&a, changed.id).await.unwrap();
    assert!(
        other_schedule.planned >= now,
        "what was due by another schedule before now is not missed: {other_schedule:?}"
    );
    (changed.schedule, changed.objective) = (None, None);
    store.update_job(&changed).await.unwrap();
    let never = store.tracking(&a, changed.id).await.unwrap();
    assert_eq!(never.look_at, None, "there is nothing to look at any more");
    assert_eq!(
        store.due_runs(&a, Some(changed.id), 9).await.unwrap(),
        [due],
        "what is queued stays"
    );

    changed.name = "neighbour".to_owned();
    is(
        store.update_job(&changed).await,
        Kind::AlreadyExists,
        "a name that another job has",
    );
    let mut stolen = changed.clone();
    stolen.project = b;
    is(
        store.update_job(&stolen).await,
        Kind::NotFound,
        "updating another project's job",
    );
    store.delete_job(&a, changed.id).await.unwrap();
    is(
        store.update_job(&changed).await,
        Kind::NotFound,
        "updating a job that is gone",
    );
}

async fn runs(store: &dyn JobStore) {
    let (a, b) = (project("a"), project("b"));
    let (first, second) = (job("a", 11, "runs one"), job("a", 12, "runs two"));
    store.create_job(&first).await.unwrap();
    store.create_job(&second).await.unwrap();

    let mut old = run(&first, 21, 1_000);
    let (new, other) = (run(&first, 22, 2_000), run(&second, 23, 1_500));
    for run in [&new, &old, &other] {
        store.create_run(run).await.unwrap();
    }
    is(
        store.create_run(&old).await,
        Kind::AlreadyExists,
        "a run id that is taken",
    );
    is(
        store.create_run(&run(&job("a", 99, "none"), 24, 1)).await,
        Kind::NotFound,
        "a run of no job",
    );
    is(
        store.create_run(&run(&job("b", 11, "none"), 24, 1)).await,
        Kind::NotFound,
        "a run of another project's job",
    );

    assert_eq!(store.run(&a, old.id).await.unwrap(), old);
    is(
        store.run(&b, old.id).await,
        Kind::NotFound,
        "another project's run",
    );
    let of_first = store.runs(&a, Some(first.id)).await.unwrap();
    assert_eq!(
        of_first,
        [new.clone(), old.clone()],
        "a job's runs, the newest first"
    );
    let of_all = store.runs(&a, None).await.unwrap();
    assert_eq!(
        of_all,
        [new, other, old.clone()],
        "a project's runs, the newest first"
    );
    assert_eq!(store.runs(&b, Some(first.id)).await.unwrap(), []);

    old.counts.read_bytes = u64::MAX;
    store.update_run(&old).await.unwrap();
    let point = PointId::from_bytes([9; 32]);
    let at = Timestamp::from_millis(3_000);
    old.state = RunState::Ended {
        at,
        outcome: RunOutcome::Succeeded { point },
    };
    store.update_run(&old).await.unwrap();
    assert_eq!(store.run(&a, old.id).await.unwrap(), old);
    is(
        store.update_run(&old).await,
        Kind::Conflict,
        "updating a run that has ended",
    );
    is(
        store.update_run(&run(&first, 25, 1)).await,
        Kind::NotFound,
        "updating a run that is not",
    );
    let mut stolen = run(&second, 23, 1_500);
    stolen.project = b;
    is(
        store.update_run(&stolen).await,
        Kind::NotFound,
        "updating another project's run",
    );
}

async fn a_job_with_a_run_under_way_stays(store: &dyn JobStore) {
    let a = project("a");
    let busy = job("a", 31, "busy");
    store.create_job(&busy).await.unwrap();
    let mut under_way = run(&busy, 32, 1);
    store.create_run(&under_way).await.unwrap();
    is(
        store.delete_job(&a, busy.id).await,
        Kind::Conflict,
        "deleting a job that runs",
    );
    let at = Timestamp::from_millis(2);
    under_way.state = RunState::Ended {
        at,
        outcome: RunOutcome::Cancelled,
    };
    store.update_run(&under_way).await.unwrap();
    store.delete_job(&a, busy.id).await.unwrap();
    let lonely = job("lonely", 33, "gone");
    store.create_job(&lonely).await.unwrap();
    let mut its = run(&lonely, 34, 1);
    its.state = under_way.state.clone();
    store.create_run(&its).await.unwrap();
    store.delete_job(&lonely.project, lonely.id).await.unwrap();
    assert!(
        store.projects().await.unwrap().contains(&lonely.project),
        "a project with a run and no job"
    );
    let left = store.runs(&a, Some(busy.id)).await.unwrap();
    assert_eq!(left, [under_way], "the runs of a deleted job stay listed");
}

async fn restores(store: &dyn JobStore) {
    let (a, b) = (project("a"), project("b"));
    let restore = |n: u8, started: u64| RestoreRun {
        id: RestoreId::from_bytes([n; 16]),
        project: a.clone(),
        place: Some("here".to_owned()),
        point: PointId::from_bytes([9; 32]),
        started: Timestamp::from_millis(started),
        seen: Timestamp::from_millis(started),
        state: RestoreState::Running,
        phase: None,
        disks: Vec::new(),
        created: Vec::new(),
    };
    let (mut old, new) = (restore(1, 10), restore(2, 20));
    store.create_restore(&old).await.unwrap();
    store.create_restore(&new).await.unwrap();
    is(
        store.create_restore(&old).await,
        Kind::AlreadyExists,
        "a restore id that is taken",
    );

    let key = ResourceKey::new(ResourceKind::Volume, "v");
    old.created.push(Created {
        key,
        id: "live".to_owned(),
    });
    store.update_restore(&old).await.unwrap();
    assert_eq!(store.restore(&a, old.id).await.unwrap(), old);
    is(
        store.restore(&b, old.id).await,
        Kind::NotFound,
        "another project's restore",
    );

    let at = Timestamp::from_millis(30);
    old.state = RestoreState::Ended {
        at,
        outcome: RestoreOutcome::Cancelled,
    };
    store.update_restore(&old).await.unwrap();
    old.created.clear();
    store.update_restore(&old).await.unwrap();
    assert_eq!(
        store.restores(&a).await.unwrap(),
        [new, old.clone()],
        "the newest first"
    );
    assert_eq!(store.restores(&b).await.unwrap(), []);
    old.state = RestoreState::Running;
    is(
        store.update_restore(&old).await,
        Kind::Conflict,
        "a restore that has ended runs again",
    );
    is(
        store.update_restore(&restore(3, 1)).await,
        Kind::NotFound,
        "updating a restore that is not",
    );
}

async fn temporaries(store: &dyn JobStore) {
    let temporary = |marker: &str| Temporary {
        marker: marker.to_owned(),
        kind: "volume snapshot".to_owned(),
        id: None,
        detail: serde_json::json!({ "of": ["ü", null, 1.5] }),
    };
    let mut first = temporary("m1");
    store.record_temporary("x", &first).await.unwrap();
    store.record_temporary("y", &temporary("m1")).await.unwrap();
    store.record_temporary("x", &temporary("m2")).await.unwrap();
    first.id = Some("known now".to_owned());
    store.record_temporary("x", &first).await.unwrap();

    let of = |owner: &str, temporary: Temporary| (owner.to_owned(), temporary);
    let of_x = [of("x", first.clone()), of("x", temporary("m2"))];
    assert_eq!(
        store.temporaries(Some("x")).await.unwrap(),
        of_x,
        "noted again is not noted later"
    );
    let all = [
        of("x", first),
        of("y", temporary("m1")),
        of("x", temporary("m2")),
    ];
    assert_eq!(
        store.temporaries(None).await.unwrap(),
        all,
        "in the order first noted"
    );

    store.forget_temporary("x", "m1").await.unwrap();
    store.forget_temporary("x", "never heard of").await.unwrap();
    let left = [of("y", temporary("m1")), of("x", temporary("m2"))];
    assert_eq!(store.temporaries(None).await.unwrap(), left);
    assert_eq!(store.temporaries(Some("z")).await.unwrap(), []);
    for (owner, temporary) in left {
        store
            .forget_temporary(&owner, &temporary.marker)
            .await
            .unwrap();
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_store_in_memory_passes() {
        super::check_job_store(&crate::testkit::MemoryJobs::new()).await;
    }
}
