//! Thirty days in the life of workers that share a job store, by a clock that goes as fast as they do.
//!
//! Each worker has a handle of its own on the repository, behind a slow target, so that trouble meets runs at any stage. Workers are killed, and others stand
//! still for hours and go on as if nothing had been (zombies). In the end each due run has happened exactly once, or is on record as missed by the
//! rule of its schedule.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use raksha_core::cloud::{DiskId, Selection, ServerSelector};
use raksha_core::env::{Compute, Env};
use raksha_core::id::{JobId, ProjectId};
use raksha_core::local::{LocalCloud, NewServer};
use raksha_core::objective::{Objective, ObjectiveState};
use raksha_core::protect::{Cancel, Cloud, NewJob, Raksha};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret, Target};
use raksha_core::retention::Retention;
use raksha_core::schedule::{MissReason, MissedRuns, Schedule, Window, Zone};
use raksha_core::store::{BackupJob, DueEnd, DueState, JobStore, Limits, RunOutcome, RunState};
use raksha_core::testkit::{MemoryJobs, SeededEntropy, SetClock};
use raksha_core::work::{Happening, Projects, WorkEvents, Worker, WorkerOptions};
use raksha_core::{Result, Timestamp};
use raksha_tests::Random;

const HOUR: Duration = Duration::from_secs(3600);
const DAYS: u64 = 30;

/// 2026-03-10T00:00:00Z: the thirty days have one of 23 hours in Berlin.
const BEGIN: i64 = 1_773_100_800;

/// Opens what a worker needs, anew for each worker: they share no memory.
#[derive(Debug)]
struct Site {
    home: PathBuf,
    objects: Arc<dyn ObjectStore>,
    jobs: Arc<dyn JobStore>,
    env: Env,
    opened: tokio::sync::Mutex<BTreeMap<String, Raksha>>,
}

#[async_trait]
impl Projects for Site {
    async fn open(&self, job: &BackupJob) -> Result<Raksha> {
        self.raksha(&job.project).await
    }
}

impl Site {
    fn engine(&self) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.env = self.env.clone();
        options.memory = 32 << 20;
        options
    }

    fn target(&self) -> Target {
        let slow = ThrottleConfig {
            // So that a run takes some minutes, and trouble meets it at any stage.
            wait_put_per_call: Duration::from_secs(40),
            wait_get_per_call: Duration::from_secs(3),
            ..ThrottleConfig::default()
        };
        Target::new(Arc::new(ThrottledStore::new(
            Arc::clone(&self.objects),
            slow,
        )))
    }

    fn secret() -> Secret {
        Secret::key_file(&[7; 32])
    }

    async fn raksha(&self, project: &ProjectId) -> Result<Raksha> {
        let mut opened = self.opened.lock().await;
        if let Some(raksha) = opened.get(project.as_str()) {
            return Ok(raksha.clone());
        }
        let repository = Repository::open(self.target(), &Self::secret(), self.engine()).await?;
        let cloud = LocalCloud::open(self.home.join(project.as_str()), self.env.clone()).await?;
        let jobs: Arc<dyn JobStore> = self.jobs.clone();
        let raksha = Raksha::new(Cloud::new(cloud), repository, jobs, project.clone());
        opened.insert(project.to_string(), raksha.clone());
        Ok(raksha)
    }

    /// The same for somebody else.
    fn anew(&self) -> Self {
        Self {
            home: self.home.clone(),
            objects: self.objects.clone(),
            jobs: self.jobs.clone(),
            env: self.env.clone(),
            opened: Default::default(),
        }
    }
}

/// Lets a worker stand still.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn shut(&self) {
        self.0.lock().unwrap().0 = true;
    }

    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = false;
        if let Some(waker) = gate.1.take() {
            waker.wake();
        }
    }

    async fn guard(self, work: impl Future<Output = ()>) {
        let mut work: Pin<Box<_>> = Box::pin(work);
        poll_fn(move |context| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                gate.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
            drop(gate);
            work.as_mut().poll(context)
        })
        .await;
    }
}

struct Living {
    task: tokio::task::JoinHandle<()>,
    gate: Gate,
    drain: Cancel,
    /// When it goes on, if it stands still.
    until: Option<tokio::time::Instant>,
}

fn start(site: &Site, name: &str, told: &mut Vec<WorkEvents>) -> Living {
    let site = Arc::new(site.anew());
    let store: Arc<dyn JobStore> = site.jobs.clone();
    let mut options = WorkerOptions::default();
    options.poll = Duration::from_secs(300);
    options.lease = Duration::from_secs(600);
    options.limits = Limits {
        per_project: Some(2),
        ..Limits::default()
    };
    options.attempts = 10;
    let worker = Worker::new(name, store, site).with_options(options);
    told.push(worker.events());
    let (gate, drain) = (Gate::default(), Cancel::new());
    let (guard, until) = (gate.clone(), drain.clone());
    let task = tokio::spawn(guard.guard(async move { worker.work(&until).await }));
    Living {
        task,
        gate,
        drain,
        until: None,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn in_thirty_days_each_due_run_happens_once_or_is_missed_by_the_rule() {
    by_simulated_time(thirty_days(|env| Arc::new(MemoryJobs::with_env(env))));
}

/// The database goes by the simulated clock, too.
#[cfg(feature = "lab")]
#[test]
fn in_thirty_days_on_postgresql_each_due_run_happens_once_or_is_missed_by_the_rule() {
    by_simulated_time(thirty_days(|env| {
        Arc::new(raksha_tests::Apart::postgres(env))
    }));
}

fn by_simulated_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}

async fn thirty_days(store: impl FnOnce(Env) -> Arc<dyn JobStore>) {
    let random = &mut Random::announced("scheduling");
    let clock = Arc::new(SetClock::new(tokio::time::Instant::now(), BEGIN));
    let env = Env::system()
        .with_clock(clock)
        .with_entropy(Arc::new(SeededEntropy::new(random.number())))
        .with_compute(Compute::Inline);
    let scratch = tempfile::tempdir().unwrap();
    let site = Site {
        home: scratch.path().to_owned(),
        objects: Arc::new(InMemory::new()),
        jobs: store(env.clone()),
        env: env.clone(),
        opened: Default::default(),
    };
    Repository::create(
        site.target(),
        Parameters::default(),
        &Site::secret(),
        site.engine(),
    )
    .await
    .unwrap();
    let mut disks = BTreeMap::new();
    for project in ["a", "b"] {
        let cloud = LocalCloud::create(site.home.join(project), env.clone())
            .await
            .unwrap();
        cloud
            .add_server(NewServer::new("web").volume("data", 1 << 20))
            .await
            .unwrap();
        let volume = DiskId::Volume(cloud.graph().await.unwrap().volumes[0].id.clone());
        disks.insert(project, (cloud, volume));
    }
    let jobs = make_jobs(&site).await;

    let mut told = Vec::new();
    let mut workers: Vec<Option<Living>> = Vec::new();
    for name in ["one", "two", "three"] {
        workers.push(Some(start(&site, name, &mut told)));
    }
    let (mut killed, mut stopped) = (0, 0);
    let end = tokio::time::Instant::now() + HOUR * 24 * u32::try_from(DAYS).unwrap();
    while tokio::time::Instant::now() < end {
        // Mostly while something is under way.
        let after = match random.below(4) {
            0 => Duration::from_secs(random.below(4 * 3600)),
            _ => until_due(&site, &jobs).await + Duration::from_secs(random.below(600)),
        };
        tokio::time::sleep(after + Duration::from_millis(7)).await;
        for (cloud, volume) in disks.values() {
            let bytes = random.bytes(20_000);
            cloud
                .write_disk(volume, random.below(200) * 4096, bytes.into())
                .await
                .unwrap();
        }
        let now = tokio::time::Instant::now();
        for living in workers.iter_mut().flatten() {
            if living.until.take_if(|until| *until <= now).is_some() {
                living.gate.open();
            }
        }
        let which = usize::try_from(random.below(3)).unwrap();
        match (&mut workers[which], random.below(5)) {
            (Some(living), 0) => {
                killed += 1;
                living.task.abort();
                workers[which] = None;
            }
            (Some(living), 1) => {
                stopped += 1;
                living.gate.shut();
                living.until = Some(now + Duration::from_secs(random.below(6 * 3600)));
            }
            (Some(_), _) => {}
            (dead @ None, _) => *dead = Some(start(&site, "again", &mut told)),
        }
        // Now and then nobody is there for a day and a half.
        if random.below(40) == 0 {
            for dead in &mut workers {
                killed += 1;
                dead.take().inspect(|living| living.task.abort());
            }
            tokio::time::sleep(HOUR * 36).await;
        }
    }

    // All go on, and finish what there is.
    for living in workers.iter().flatten() {
        living.gate.open();
        living.drain.cancel();
    }
    for living in workers.into_iter().flatten() {
        living.task.await.unwrap();
    }
    let last = start(&site, "last", &mut told);
    tokio::time::sleep(HOUR * 30).await;
    last.drain.cancel();
    last.task.await.unwrap();

    println!("{killed} workers were killed, {stopped} stood still");
    for job in &jobs {
        check(&site, job).await;
    }
    tell(told).await;
}

/// How long it is until a run of some job is due.
async fn until_due(site: &Site, jobs: &[JobId]) -> Duration {
    let now = site.env.now();
    let mut next = Vec::new();
    for id in jobs {
        let schedule = job_of(site, id).await.schedule.unwrap();
        next.extend(schedule.next_due(now));
    }
    next.into_iter().min().unwrap().since(now)
}

async fn job_of(site: &Site, id: &JobId) -> BackupJob {
    for project in ["a", "b"] {
        if let Ok(job) = site.jobs.job(&project.into(), *id).await {
            return job;
        }
    }
    panic!("no such job")
}

async fn make_jobs(site: &Site) -> Vec<JobId> {
    let web = || Selection(vec![ServerSelector::Name("web".to_owned())]);
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    let (a, b) = (
        site.raksha(&"a".into()).await.unwrap(),
        site.raksha(&"b".into()).await.unwrap(),
    );
    let often = Schedule::cron("30 */6 * * *", berlin.clone())
        .unwrap()
        .with_jitter(Duration::from_secs(600));
    let objective = Objective::new(HOUR * 14);
    let often = NewJob::new("often", web())
        .with_schedule(often)
        .with_objective(objective);
    let interval = Schedule::every(HOUR * 8, at("2026-03-01T00:00:00Z"))
        .with_missed(MissedRuns::Skip { grace: HOUR * 2 });
    let retention = Retention {
        last: 3,
        daily: 4,
        zone: berlin.clone(),
        ..Retention::default()
    };
    let interval = NewJob::new("interval", web())
        .with_schedule(interval)
        .with_retention(retention);
    let window = Window::new("22:00".parse().unwrap(), "05:00".parse().unwrap()).unwrap();
    let nightly = Schedule::cron("30 2,14 * * *", berlin)
        .unwrap()
        .with_window(window);
    let nightly = NewJob::new("nightly", web()).with_schedule(nightly);
    vec![
        a.create_job(often).await.unwrap(),
        a.create_job(interval).await.unwrap(),
        b.create_job(nightly).await.unwrap(),
    ]
}

/// Looks whether each due time of a job was dealt with once.
async fn check(site: &Site, id: &JobId) {
    let job = job_of(site, id).await;
    let project = job.project.clone();
    let schedule = job.schedule.clone().unwrap();
    let tracking = site.jobs.tracking(&project, *id).await.unwrap();
    let mut queued = site
        .jobs
        .due_runs(&project, Some(*id), usize::MAX)
        .await
        .unwrap();
    queued.reverse();
    let due: Vec<Timestamp> = schedule
        .due_between(job.created, tracking.planned)
        .collect();
    assert!(due.len() as u64 >= DAYS);
    assert_eq!(
        queued.iter().map(|one| one.due).collect::<Vec<_>>(),
        due,
        "{}: not what was due",
        job.name
    );

    let runs = site.jobs.runs(&project, Some(*id)).await.unwrap();
    let raksha = site.raksha(&project).await.unwrap();
    let points = raksha.points().await.unwrap();
    let (mut ran, mut missed, mut waiting) = (0, 0, 0);
    for one in &queued {
        let of_due = runs.iter().filter(|run| run.due == Some(one.due));
        let succeeded = of_due.filter(|run| {
            matches!(
                &run.state,
                RunState::Ended {
                    outcome: RunOutcome::Succeeded { .. },
                    ..
                }
            )
        });
        let succeeded = succeeded.count();
        let committed = points.iter().filter(|point| {
            let run = point
                .summary
                .run
                .and_then(|id| runs.iter().find(|run| run.id == id));
            run.is_some_and(|run| run.job == job.id && run.due == Some(one.due))
        });
        let committed = committed.count();
        let kept = if job.retention.keeps_everything() {
            1
        } else {
            committed.min(1)
        };
        match &one.state {
            DueState::Ended {
                end: DueEnd::Ran { outcome, .. },
                ..
            } => {
                ran += 1;
                assert!(
                    matches!(outcome, RunOutcome::Succeeded { .. }),
                    "{}: {outcome:?}",
                    job.name
                );
                assert_eq!(
                    (succeeded, committed),
                    (1, kept),
                    "{}: the run of {}",
                    job.name,
                    one.due
                );
            }
            DueState::Ended {
                end: DueEnd::Missed { reason },
                ..
            } => {
                missed += 1;
                let rule = match schedule.missed {
                    MissedRuns::RunOnce => MissReason::Superseded,
                    MissedRuns::Skip { .. } => MissReason::Late,
                };
                assert_eq!(
                    (*reason, succeeded, committed),
                    (rule, 0, 0),
                    "{}: the run of {}",
                    job.name,
                    one.due
                );
            }
            // Its window opens later.
            DueState::Waiting => {
                waiting += 1;
                assert!(
                    one.ready > tracking.planned && (succeeded, committed) == (0, 0),
                    "{}: {one:?}",
                    job.name
                );
            }
            other => panic!("{}: the run of {} is {other:?}", job.name, one.due),
        }
    }
    println!(
        "{}: {} were due, {ran} happened, {missed} were missed, {waiting} wait",
        job.name,
        due.len()
    );
    assert!(ran > 20, "{}: hardly anything happened", job.name);
    assert!(
        runs.iter().all(|run| run.state != RunState::Running),
        "{}: a run has no end",
        job.name
    );
    let verified = tracking.protection.verified.unwrap();
    let of_job = points
        .iter()
        .filter(|point| point.summary.job == Some(job.id));
    assert_eq!(
        of_job.clone().map(|point| point.summary.taken).max(),
        Some(verified.taken),
        "the newest is verified"
    );
    if !job.retention.keeps_everything() {
        assert!((3..=7).contains(&of_job.count()), "{}", job.retention);
    }
    assert!(
        raksha.repository().sessions().await.unwrap().is_empty(),
        "a session is open"
    );
}

/// Counts what was told, and looks whether all that must happen did.
async fn tell(told: Vec<WorkEvents>) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut states = Vec::new();
    for mut events in told {
        while let Some(event) = events.next().await {
            let kind = match event.what {
                Happening::Queued { .. } => "queued",
                Happening::Missed { .. } => "missed",
                Happening::Postponed { .. } => "postponed",
                Happening::TakenOver { .. } => "taken over",
                Happening::Began { .. } => "began",
                Happening::Ended { .. } => "ended",
                Happening::Verified { .. } => "verified",
                Happening::Expired { .. } => "expired",
                Happening::Objective { transition, .. } => {
                    states.push((transition.at, transition.to));
                    "objective"
                }
                other => panic!("{other:?}"),
            };
            *counts.entry(kind).or_default() += 1;
        }
    }
    println!("{counts:?}");
    for kind in [
        "queued",
        "missed",
        "taken over",
        "began",
        "ended",
        "verified",
        "expired",
    ] {
        assert!(
            counts.contains_key(kind),
            "nothing was {kind}: the test tests too little"
        );
    }
    // Each state is told once, and follows on another one.
    states.sort();
    let mut before = ObjectiveState::Met;
    for (at, state) in &states {
        assert_ne!(before, *state, "told twice at {at}: {states:?}");
        before = *state;
    }
}
