mod authority;
mod expiry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::cloud::{Selection, ServerSelector};
use crate::env::Env;
use crate::id::{JobId, PointId, ProjectId};
use crate::local::{LocalCloud, NewServer};
use crate::objective::{Objective, ObjectiveState};
use crate::protect::{Cancel, Cloud, NewJob};
use crate::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use crate::retention::Retention;
use crate::schedule::{MissReason, MissedRuns, Schedule};
use crate::store::{
    DueEnd, DueState, JobStore, Lease, Limits, RunOutcome, RunQueue, RunState, Tracking,
};
use crate::testkit::{MemoryJobs, SetClock};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;

struct Bench {
    raksha: Raksha,
    jobs: Arc<MemoryJobs>,
    clock: Arc<SetClock>,
    objects: Arc<InMemory>,
    _scratch: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(SetClock::new(tokio::time::Instant::now(), BEGIN));
        let env = Env::system().with_clock(clock.clone());
        let scratch = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::create(scratch.path().join("cloud"), env.clone())
            .await
            .unwrap();
        cloud
            .add_server(NewServer::new("web").volume("data", 1 << 20))
            .await
            .unwrap();
        let objects = Arc::new(InMemory::new());
        let target = Target::new(objects.clone());
        let options = EngineOptions {
            env: env.clone(),
            ..EngineOptions::default()
        };
        let parameters = Parameters::default();
        let repository = Repository::create(target, parameters, &Self::secret(), options)
            .await
            .unwrap();
        let jobs = Arc::new(MemoryJobs::with_env(env));
        let store: Arc<dyn JobStore> = jobs.clone();
        let raksha = Raksha::new(Cloud::new(cloud), repository, store, ProjectId::new("p"));
        Self {
            raksha,
            jobs,
            clock,
            objects,
            _scratch: scratch,
        }
    }

    fn secret() -> Secret {
        Secret::key_file(&[7; 32])
    }

    /// A job that runs every hour, and more that `with` says.
    async fn hourly(&self, with: impl FnOnce(NewJob) -> NewJob) -> JobId {
        let web = Selection(vec![ServerSelector::Name("web".to_owned())]);
        let new = NewJob::new("hourly", web).with_schedule(Schedule::every(HOUR, at(0)));
        self.raksha.create_job(with(new)).await.unwrap()
    }

    fn worker(&self) -> Worker {
        Worker::new("test", self.jobs.clone(), Arc::new(self.raksha.clone()))
    }

    fn pass(&self, time: Duration) {
        self.clock.shift(i64::try_from(time.as_secs()).unwrap());
    }

    async fn ends(&self, job: JobId) -> Vec<DueEnd> {
        let due = self
            .jobs
            .due_runs(self.raksha.project(), Some(job), 100)
            .await
            .unwrap();
        let ended = due.into_iter().rev().filter_map(|one| match one.state {
            DueState::Ended { end, .. } => Some(end),
            _ => None,
        });
        ended.collect()
    }

    async fn take(&self) -> Lease {
        self.jobs
            .take("dies", HOUR / 2, &Limits::default())
            .await
            .unwrap()
            .unwrap()
    }

    async fn points(&self) -> Vec<PointId> {
        self.raksha
            .points()
            .await
            .unwrap()
            .iter()
            .map(|point| point.id)
            .collect()
    }
}

fn at(hours: u32) -> Timestamp {
    Timestamp::from_millis(BEGIN.unsigned_abs() * 1000).after(HOUR * hours)
}

fn missed(reason: MissReason) -> DueEnd {
    DueEnd::Missed { reason }
}

async fn told(mut events: WorkEvents, worker: Worker) -> Vec<Happening> {
    drop(worker);
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event.what);
    }
    all
}

#[tokio::test]
async fn what_is_due_runs_is_verified_and_what_expired_is_forgotten() {
    let bench = Bench::new().await;
    let retention = Retention {
        last: 2,
        ..Retention::default()
    };
    let job = bench
        .hourly(|job| {
            job.with_retention(retention)
                .with_objective(Objective::new(HOUR * 2))
        })
        .await;
    let worker = bench.worker();
    worker.once().await.unwrap();
    assert_eq!(bench.ends(job).await, [], "nothing is due yet");
    let mut runs = Vec::new();
    for n in 0..4 {
        bench.pass(HOUR);
        worker.once().await.unwrap();
        if n == 0 {
            let first = bench.points().await;
            bench
                .raksha
                .repository()
                .hold(first[0], true, "test")
                .await
                .unwrap();
        }
        runs = bench.raksha.runs(Some(job)).await.unwrap();
        assert_eq!(runs.len(), n + 1, "one run an hour");
    }
    let points = bench.points().await;
    assert_eq!(points.len(), 3, "the last two, and one that is held");
    let tracking = bench
        .jobs
        .tracking(bench.raksha.project(), job)
        .await
        .unwrap();
    assert_eq!(tracking.protection.verified.unwrap().point, points[2]);
    assert_eq!(tracking.protection.objective, ObjectiveState::Met);
    assert_eq!(runs[0].due, Some(at(4)));
    let succeeded = |end: &DueEnd| {
        matches!(
            end,
            DueEnd::Ran {
                outcome: RunOutcome::Succeeded { .. },
                ..
            }
        )
    };
    assert!(bench.ends(job).await.iter().all(succeeded));
}

#[tokio::test]
async fn of_missed_runs_the_latest_is_made_up_for_or_none() {
    let bench = Bench::new().await;
    let once = bench.hourly(|job| job).await;
    let skip = Schedule::every(HOUR, at(0).after(HOUR / 2))
        .with_missed(MissedRuns::Skip { grace: HOUR / 4 });
    let skip = bench
        .hourly(|job| {
            NewJob {
                name: "skip".to_owned(),
                ..job
            }
            .with_schedule(skip)
        })
        .await;
    bench.pass(HOUR * 3 + HOUR / 12);
    let worker = bench.worker();
    let events = worker.events();
    worker.once().await.unwrap();
    let ends = bench.ends(once).await;
    assert_eq!(
        ends[..2],
        [
            missed(MissReason::Superseded),
            missed(MissReason::Superseded)
        ]
    );
    assert!(
        matches!(ends[2], DueEnd::Ran { .. }) && ends.len() == 3,
        "{ends:?}"
    );
    assert_eq!(bench.ends(skip).await, vec![missed(MissReason::Late); 3]);
    let told = told(events, worker).await;
    let missed = told
        .iter()
        .filter(|what| matches!(what, Happening::Missed { .. }));
    assert_eq!(missed.count(), 5, "{told:?}");
    assert!(
        !told
            .iter()
            .any(|what| matches!(what, Happening::Objective { .. })),
        "it has none"
    );
}

#[tokio::test]
async fn an_objective_that_was_late_while_nobody_worked_is_told_and_met_again() {
    let bench = Bench::new().await;
    bench
        .hourly(|job| job.with_objective(Objective::new(HOUR * 4)))
        .await;
    bench.pass(HOUR * 24);
    let worker = bench.worker();
    let events = worker.events();
    worker.once().await.unwrap();
    let told = told(events, worker).await;
    let states = told.iter().filter_map(|what| match what {
        Happening::Objective { transition, .. } => Some((transition.to, transition.at)),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    // The bench is a moment older than its clock.
    let about = |at: Timestamp, hours: u32| at.since(self::at(hours)).as_secs() < 600;
    let [
        (ObjectiveState::AtRisk, risk),
        (ObjectiveState::Late, late),
        (ObjectiveState::Met, met),
    ] = states[..]
    else {
        panic!("{states:?}")
    };
    assert!(
        about(risk, 3) && about(late, 4) && about(met, 24),
        "{states:?}"
    );
}

#[tokio::test]
async fn a_run_whose_worker_died_after_the_commit_has_happened() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    bench.pass(HOUR);
    let worker = bench.worker();
    worker.plan().await.unwrap();
    let lease = bench.take().await;
    let report = bench
        .raksha
        .run_due(&lease, HOUR / 2)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(report.run, lease.run_id());
    // It dies before it settles.
    bench.pass(HOUR / 2);
    worker.once().await.unwrap();
    let outcome = RunOutcome::Succeeded {
        point: report.point,
    };
    assert_eq!(
        bench.ends(job).await,
        [DueEnd::Ran {
            run: report.run,
            outcome
        }]
    );
    assert_eq!(bench.points().await, [report.point]);
    let tracking = bench
        .jobs
        .tracking(bench.raksha.project(), job)
        .await
        .unwrap();
    assert_eq!(
        tracking.protection.verified.unwrap().point,
        report.point,
        "what remained to be done was done"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_points_of_one_instant_the_one_that_was_verified_later_counts() {
    let bench = Bench::new().await;
    let job = bench.hourly(|new| new).await;
    let worker = bench.worker();
    let mut made = Vec::new();
    for _ in 0..2 {
        let report = bench.raksha.run(job).await.unwrap().finish().await.unwrap();
        let job = bench.raksha.job(job).await.unwrap();
        worker.follow_up(&bench.raksha, &job, report.point).await;
        made.push(report.point);
    }
    let points = bench.raksha.points().await.unwrap();
    assert_eq!(points[0].summary.taken, points[1].summary.taken);
    let tracking = bench.jobs.tracking(bench.raksha.project(), job).await;
    let verified = tracking.unwrap().protection.verified.unwrap();
    assert_eq!(verified.point, made[1]);
}

#[tokio::test]
async fn a_point_that_others_could_not_find_is_not_verified() {
    let bench = Bench::new().await;
    let job = bench.hourly(|new| new).await;
    let worker = bench.worker();
    let report = bench.raksha.run(job).await.unwrap().finish().await.unwrap();
    let indexes: Vec<_> = bench.objects.list(Some(&"index".into())).collect().await;
    assert!(!indexes.is_empty());
    for index in indexes {
        bench
            .objects
            .delete(&index.unwrap().location)
            .await
            .unwrap();
    }
    let events = worker.events();
    let job = bench.raksha.job(job).await.unwrap();
    worker.follow_up(&bench.raksha, &job, report.point).await;
    let told = told(events, worker).await;
    assert!(
        matches!(told.as_slice(), [Happening::Damaged { point, .. }] if *point == report.point),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_worker_that_was_only_slow_commits_nothing() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    bench.pass(HOUR);
    let worker = bench.worker();
    worker.plan().await.unwrap();
    let lease = bench.take().await;
    let slow = bench.raksha.run_due(&lease, HOUR / 2).await.unwrap();
    bench.pass(HOUR / 2);
    let events = worker.events();
    worker.once().await.unwrap();
    let points = bench.points().await;
    let ends = bench.ends(job).await;
    let [DueEnd::Ran { run, outcome }] = ends.as_slice() else {
        panic!("{ends:?}")
    };
    assert_eq!(*outcome, RunOutcome::Succeeded { point: points[0] });
    assert_ne!(*run, lease.run_id());
    // Now it goes on.
    slow.finish().await.unwrap_err();
    assert_eq!(bench.points().await, points);
    let record = bench.raksha.run_record(lease.run_id()).await.unwrap();
    assert!(
        matches!(&record.state, RunState::Ended { outcome, .. } if outcome.is_interrupted()),
        "{record:?}"
    );
    assert!(
        bench
            .raksha
            .repository()
            .sessions()
            .await
            .unwrap()
            .is_empty()
    );
    let told = told(events, worker).await;
    assert!(
        told.contains(&Happening::TakenOver {
            due: lease.due,
            run: lease.run_id()
        }),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_run_that_kills_its_workers_fails_in_the_end() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    bench.pass(HOUR);
    let worker = bench.worker();
    worker.plan().await.unwrap();
    for _ in 0..WorkerOptions::default().attempts {
        let lease = bench.take().await;
        bench.raksha.take_over(&lease).await.unwrap();
        drop(bench.raksha.run_due(&lease, HOUR / 2).await.unwrap());
        bench.pass(HOUR / 2);
    }
    assert!(worker.step().await.unwrap());
    let ends = bench.ends(job).await;
    assert!(
        matches!(&ends[..], [DueEnd::Ran { outcome: RunOutcome::Failed { error }, .. }] if error.contains("4 times")),
        "{ends:?}"
    );
    assert!(bench.points().await.is_empty());
}

/// Refuses to open projects.
#[derive(Debug)]
struct Closed(Kind);

#[async_trait]
impl Projects for Closed {
    async fn open(&self, _: &BackupJob) -> Result<Raksha> {
        Err(Error::new(self.0, "open project", "it is closed"))
    }
}

#[tokio::test]
async fn a_run_that_cannot_begin_is_tried_again_if_that_can_help() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    bench.pass(HOUR);
    let closed = |kind| Worker::new("closed", bench.jobs.clone(), Arc::new(Closed(kind)));
    closed(Kind::Unavailable).once().await.unwrap();
    assert_eq!(bench.ends(job).await, []);
    bench.worker().once().await.unwrap();
    assert_eq!(bench.ends(job).await, [], "it waits a little");
    bench.pass(HOUR / 30);
    closed(Kind::Denied).once().await.unwrap();
    let ends = bench.ends(job).await;
    assert!(
        matches!(&ends[..], [DueEnd::Failed { error }] if error.contains("it is closed")),
        "{ends:?}"
    );
    let foreign = bench
        .hourly(|job| NewJob {
            name: "foreign".to_owned(),
            ..job
        })
        .await;
    let mut job = bench.raksha.job(foreign).await.unwrap();
    job.project = ProjectId::new("q");
    assert_eq!(
        Projects::open(&bench.raksha, &job)
            .await
            .unwrap_err()
            .kind(),
        Kind::Denied
    );
}

#[tokio::test]
async fn runs_of_a_deleted_job_are_missed() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    bench.pass(HOUR);
    let worker = bench.worker();
    worker.plan().await.unwrap();
    bench.raksha.delete_job(job).await.unwrap();
    worker.once().await.unwrap();
    assert_eq!(bench.ends(job).await, [missed(MissReason::JobDeleted)]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_drained_ends() {
    let bench = Bench::new().await;
    let job = bench.hourly(|job| job).await;
    let (worker, drain) = (bench.worker(), Cancel::new());
    let (working, until) = (worker.clone(), drain.clone());
    let work = tokio::spawn(async move { working.work(&until).await });
    tokio::time::sleep(HOUR * 3 + HOUR / 2).await;
    assert_eq!(bench.ends(job).await.len(), 3, "it works by itself");
    drain.cancel();
    work.await.unwrap();
    bench.pass(HOUR * 2);
    assert_eq!(bench.ends(job).await.len(), 3);
}

#[tokio::test]
async fn a_long_outage_is_planned_piece_by_piece_and_comes_to_the_same() {
    let bench = Bench::new().await;
    let job = bench
        .hourly(|job| job.with_objective(Objective::new(HOUR * 5)))
        .await;
    let mut tracking: Tracking = bench
        .jobs
        .tracking(bench.raksha.project(), job)
        .await
        .unwrap();
    let now = at(1_000).after(HOUR / 2);
    let mut due = BTreeMap::new();
    let mut pieces = 0;
    while tracking.look_at.is_some_and(|at| at <= now) {
        let plan = plan(&tracking, now);
        assert!(plan.due.len() <= 256);
        assert_eq!(
            plan.transitions.len(),
            if pieces == 0 { 2 } else { 0 },
            "told once"
        );
        due.extend(plan.due.into_iter().map(|one| (one.due, one)));
        tracking = plan.tracking;
        pieces += 1;
    }
    assert_eq!((pieces, due.len(), tracking.planned), (4, 1000, now));
    let waiting: Vec<Timestamp> = due
        .values()
        .filter(|one| one.state == DueState::Waiting)
        .map(|one| one.due)
        .collect();
    assert_eq!(waiting, [at(1_000)], "of all that were missed the latest");
    assert_eq!(
        tracking.look_at,
        Some(at(1_001)),
        "the objective cannot get worse"
    );
}
