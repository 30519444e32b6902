//! What every queue of due runs must do, as a suite to run against an implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a suite reports by panicking

mod race;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::SetClock;
use super::job_store::{is, job, project, run};
use crate::authority::{Standing, Watch};
use crate::env::Env;
use crate::error::Kind;
use crate::id::{PointId, RunId};
use crate::objective::ObjectiveState;
use crate::schedule::MissReason;
use crate::store::{
    BackupJob, DueEnd, DueRun, DueState, JobStore, Lease, Limits, Placement, Protection,
    RunOutcome, VerifiedPoint,
};
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// When the suite's clock begins: 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;

/// Runs the whole suite. Each call of `open` gives another handle on one and the same store, as other processes would have it, whose clock is that of
/// the environment; the store must be empty at first. `workers` of them compete for runs.
///
/// # Panics
/// If the store breaks its contract; the message says how.
pub async fn check_run_queue(
    open: impl AsyncFn(Env) -> Arc<dyn JobStore>,
    workers: usize,
    seed: u64,
) {
    let clock = Arc::new(SetClock::new(tokio::time::Instant::now(), BEGIN));
    let env = Env::system().with_clock(clock.clone());
    let mut handles = Vec::new();
    for _ in 0..workers.max(2) {
        handles.push(open(env.clone()).await);
    }
    let bench = Bench {
        handles,
        clock,
        env,
    };
    bench.a_due_run_is_queued_once_and_taken_once().await;
    bench.a_lease_that_was_taken_over_has_no_effect().await;
    bench.a_run_begins_once_and_only_with_a_good_lease().await;
    bench.limits_hold().await;
    bench.projects_take_turns().await;
    bench.what_was_missed_is_on_record().await;
    bench.jobs_are_tracked().await;
    bench.nothing_happens_twice_whoever_dies(seed).await;
}

struct Bench {
    handles: Vec<Arc<dyn JobStore>>,
    clock: Arc<SetClock>,
    env: Env,
}

/// The due run of `job` in `minutes`.
fn due(job: &BackupJob, minutes: u64) -> DueRun {
    let at = Timestamp::from_millis(BEGIN.unsigned_abs() * 1000 + minutes * 60_000);
    DueRun {
        job: job.id,
        project: job.project.clone(),
        due: at,
        ready: at,
        placement: job.placement.clone(),
        max_parallel: job.max_parallel,
        token: 0,
        state: DueState::Waiting,
    }
}

fn missed(reason: MissReason) -> DueEnd {
    DueEnd::Missed { reason }
}

fn ran(lease: &Lease) -> DueEnd {
    let (run, outcome) = (lease.run_id(), RunOutcome::Cancelled);
    DueEnd::Ran { run, outcome }
}

impl Bench {
    fn store(&self) -> &dyn JobStore {
        self.handles.first().unwrap().as_ref()
    }

    fn other(&self) -> &dyn JobStore {
        self.handles.last().unwrap().as_ref()
    }

    fn pass(&self, time: Duration) {
        self.clock.shift(i64::try_from(time.as_secs()).unwrap());
    }

    async fn take(&self) -> Option<Lease> {
        let store = self.store();
        store.take("one", HOUR, &Limits::default()).await.unwrap()
    }

    /// Makes jobs, one for each name: the first letter is the project's.
    async fn jobs(&self, names: &[&str]) -> Vec<BackupJob> {
        let mut jobs = Vec::new();
        for name in names {
            let owner = name.get(..1).unwrap();
            let mut new = job(
                owner,
                0,
                &format!("queue {name} {}", RunId::random(&self.env).unwrap()),
            );
            new.id = crate::id::JobId::random(&self.env).unwrap();
            new.created = self.env.now();
            new.max_parallel = 64;
            new.placement = Placement {
                cloud: "cloud".to_owned(),
                target: format!("target of {owner}"),
            };
            self.store().create_job(&new).await.unwrap();
            jobs.push(new);
        }
        jobs
    }

    /// Takes and settles all there is.
    async fn drain(&self) {
        self.pass(HOUR * 24 * 365);
        while let Some(lease) = self.take().await {
            self.store()
                .settle(&lease, &missed(MissReason::Late))
                .await
                .unwrap();
        }
    }

    /// Minutes since the suite's clock began, and one more.
    async fn minutes(&self) -> u64 {
        let now = self.store().now().await.unwrap();
        (now.as_millis() / 1000 - BEGIN.unsigned_abs()) / 60 + 1
    }

    async fn a_due_run_is_queued_once_and_taken_once(&self) {
        let jobs = self.jobs(&["a"]).await;
        let job = jobs.first().unwrap();
        let store = self.store();
        let minutes = self.minutes().await;
        let (first, second) = (due(job, minutes), due(job, minutes + 1));
        store.queue(&[first.clone(), second.clone()]).await.unwrap();
        assert_eq!(self.take().await, None, "nothing is ready yet");
        let all = store
            .due_runs(&project("a"), Some(job.id), 10)
            .await
            .unwrap();
        assert_eq!(all, [second, first.clone()], "the latest first");
        assert_eq!(
            store
                .due_runs(&project("a"), Some(job.id), 1)
                .await
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            store
                .due_runs(&project("b"), Some(job.id), 10)
                .await
                .unwrap(),
            [],
            "another project"
        );

        self.pass(MINUTE * 2);
        let lease = self.take().await.expect("two are ready");
        assert_eq!(
            (lease.due, lease.token, &lease.project),
            (first.due, 1, &project("a"))
        );
        assert!(lease.until >= self.env.now().after(HOUR - MINUTE));
        // Queued again, it is not given out again.
        store.queue(std::slice::from_ref(&first)).await.unwrap();
        let next = self
            .other()
            .take("two", HOUR, &Limits::default())
            .await
            .unwrap();
        let next = next.expect("the second one is ready");
        assert_ne!(next.due, lease.due);
        assert_eq!(self.take().await, None, "both are taken");

        store.settle(&lease, &ran(&lease)).await.unwrap();
        store.settle(&lease, &ran(&lease)).await.unwrap();
        is(
            store.settle(&lease, &missed(MissReason::Late)).await,
            Kind::Fenced,
            "another end",
        );
        store.queue(&[first]).await.unwrap();
        self.pass(HOUR * 3);
        let again = self.take().await.expect("a lease whose time is up");
        assert_eq!(again.due, next.due, "what has ended stays so");
        let all = store
            .due_runs(&project("a"), Some(job.id), 10)
            .await
            .unwrap();
        let states: Vec<&DueState> = all.iter().map(|one| &one.state).collect();
        assert!(
            matches!(states.as_slice(), [DueState::Leased { worker, .. }, DueState::Ended { end, .. }] if worker == "one" && *end == ran(&lease)),
            "{states:?}"
        );
        self.drain().await;
    }

    async fn a_lease_that_was_taken_over_has_no_effect(&self) {
        let jobs = self.jobs(&["a"]).await;
        let job = jobs.first().unwrap();
        let store = self.store();
        store
            .queue(&[due(job, self.minutes().await)])
            .await
            .unwrap();
        self.pass(MINUTE * 2);
        let old = self.take().await.unwrap();
        self.pass(MINUTE * 59);
        let renewed = store.renew(&old, HOUR).await.unwrap();
        assert!(renewed.until > old.until && renewed.token == old.token);
        self.pass(MINUTE * 30);
        assert_eq!(self.take().await, None, "it was renewed");
        self.pass(HOUR);
        // Its time is up, but nobody took it over.
        store.renew(&old, MINUTE).await.unwrap();
        self.pass(MINUTE * 2);
        let new = self.take().await.expect("its time is up");
        assert_eq!((new.due, new.token), (old.due, 2));
        is(
            store.renew(&old, HOUR).await,
            Kind::Fenced,
            "a zombie renews",
        );
        is(
            store.settle(&old, &ran(&old)).await,
            Kind::Fenced,
            "a zombie settles",
        );
        is(
            store.postpone(&old, old.due).await,
            Kind::Fenced,
            "a zombie postpones",
        );
        is(
            self.other().start_run(&old, &run(job, 70, 1)).await,
            Kind::Fenced,
            "a zombie begins a run",
        );
        let ready = self.env.now().after(HOUR);
        store.postpone(&new, ready).await.unwrap();
        is(
            store.renew(&new, HOUR).await,
            Kind::Fenced,
            "renewing what was given back",
        );
        assert_eq!(self.take().await, None, "it is postponed");
        self.pass(HOUR + MINUTE);
        let third = self.take().await.expect("it is ready again");
        assert_eq!(third.token, 3);
        assert_eq!(
            third.earlier_runs().collect::<Vec<_>>(),
            [new.run_id(), old.run_id()]
        );
        store
            .settle(&third, &missed(MissReason::Late))
            .await
            .unwrap();
        is(
            store.renew(&third, HOUR).await,
            Kind::Fenced,
            "renewing what has ended",
        );
        self.drain().await;
    }

    async fn a_run_begins_once_and_only_with_a_good_lease(&self) {
        let jobs = self.jobs(&["a", "a"]).await;
        let [job, gone] = jobs.as_slice() else {
            panic!("two jobs")
        };
        let store = self.store();
        let minutes = self.minutes().await;
        store
            .queue(&[due(job, minutes), due(gone, minutes + 1)])
            .await
            .unwrap();
        self.pass(MINUTE * 3);
        let lease = self.take().await.unwrap();
        let mut begun = run(job, 0, 5);
        begun.id = lease.run_id();
        store.start_run(&lease, &begun).await.unwrap();
        assert_eq!(store.run(&project("a"), begun.id).await.unwrap(), begun);
        is(
            store.start_run(&lease, &begun).await,
            Kind::AlreadyExists,
            "the same run again",
        );
        let lease = self.take().await.unwrap();
        store.delete_job(&project("a"), gone.id).await.unwrap();
        begun.id = lease.run_id();
        begun.job = gone.id;
        is(
            store.start_run(&lease, &begun).await,
            Kind::NotFound,
            "a run of a job that was deleted",
        );
        store
            .settle(&lease, &missed(MissReason::JobDeleted))
            .await
            .unwrap();
        self.drain().await;
    }

    async fn limits_hold(&self) {
        let jobs = self.jobs(&["a", "a", "b", "b", "c"]).await;
        let store = self.store();
        let minutes = self.minutes().await;
        let all: Vec<DueRun> = jobs
            .iter()
            .flat_map(|job| [due(job, minutes), due(job, minutes + 1)])
            .collect();
        store.queue(&all).await.unwrap();
        self.pass(MINUTE * 3);
        let under = async |limits: Limits| {
            let mut taken = Vec::new();
            while let Some(lease) = store.take("one", HOUR, &limits).await.unwrap() {
                taken.push(lease);
            }
            let count = taken.len();
            for lease in taken {
                store.postpone(&lease, lease.due).await.unwrap();
            }
            count
        };
        let none = Limits::default();
        assert_eq!(under(none).await, 10);
        assert_eq!(
            under(Limits {
                per_project: Some(1),
                ..none
            })
            .await,
            3,
            "one of each project"
        );
        assert_eq!(
            under(Limits {
                per_target: Some(2),
                ..none
            })
            .await,
            6,
            "two into each target"
        );
        assert_eq!(
            under(Limits {
                per_cloud: Some(4),
                ..none
            })
            .await,
            4,
            "four on the cloud"
        );
        assert_eq!(
            under(Limits {
                per_cloud: Some(0),
                ..none
            })
            .await,
            0
        );

        // Leases whose time is up do not count.
        let one = Limits {
            per_cloud: Some(1),
            ..none
        };
        let first = store.take("one", HOUR, &one).await.unwrap().unwrap();
        assert_eq!(store.take("two", HOUR, &one).await.unwrap(), None);
        self.pass(HOUR * 2);
        let second = store.take("two", HOUR, &one).await.unwrap().unwrap();
        assert!(second.due != first.due || second.job != first.job || second.token == 2);
        self.drain().await;

        let mut alone = jobs.first().unwrap().clone();
        alone.max_parallel = 1;
        let minutes = self.minutes().await;
        store
            .queue(&[due(&alone, minutes), due(&alone, minutes + 1)])
            .await
            .unwrap();
        self.pass(MINUTE * 3);
        assert_eq!(under(none).await, 1, "one of the job");
        self.drain().await;
    }

    async fn projects_take_turns(&self) {
        let jobs = self.jobs(&["a", "b", "c"]).await;
        let [a, b, c] = jobs.as_slice() else {
            panic!("three jobs")
        };
        let store = self.store();
        let minutes = self.minutes().await;
        let many: Vec<DueRun> = (0..10).map(|n| due(a, minutes + n)).collect();
        store.queue(&many).await.unwrap();
        store
            .queue(&[
                due(b, minutes + 11),
                due(b, minutes + 12),
                due(c, minutes + 13),
            ])
            .await
            .unwrap();
        self.pass(MINUTE * 15);
        // One worker, which brings each run to its end.
        let mut order = Vec::new();
        for _ in 0..5 {
            let lease = self.take().await.unwrap();
            self.pass(MINUTE);
            store.settle(&lease, &ran(&lease)).await.unwrap();
            order.push(lease.project.to_string());
        }
        let first: BTreeSet<&String> = order.iter().take(3).collect();
        assert_eq!(
            first.len(),
            3,
            "each project has its turn, however many runs the others wait for: {order:?}"
        );
        assert_eq!(order.iter().filter(|p| *p == "b").count(), 2, "{order:?}");
        // Several at once: the fewest come first.
        store
            .queue(&[due(b, minutes + 14), due(c, minutes + 14)])
            .await
            .unwrap();
        let mut at_once = Vec::new();
        for _ in 0..3 {
            at_once.push(self.take().await.unwrap().project.to_string());
        }
        at_once.sort();
        assert_eq!(at_once, ["a", "b", "c"]);
        self.drain().await;
    }

    async fn what_was_missed_is_on_record(&self) {
        let jobs = self.jobs(&["a"]).await;
        let job = jobs.first().unwrap();
        let mut gone = due(job, self.minutes().await);
        gone.state = DueState::Ended {
            at: self.env.now(),
            end: missed(MissReason::Superseded),
        };
        self.store()
            .queue(std::slice::from_ref(&gone))
            .await
            .unwrap();
        self.pass(MINUTE * 5);
        assert_eq!(self.take().await, None, "nothing is left to do");
        let all = self
            .other()
            .due_runs(&project("a"), Some(job.id), 10)
            .await
            .unwrap();
        assert_eq!(all, [gone]);
    }

    async fn jobs_are_tracked(&self) {
        let jobs = self.jobs(&["a", "b"]).await;
        let [job, second] = jobs.as_slice() else {
            panic!("two jobs")
        };
        let mut by_hand = self.jobs(&["a"]).await.remove(0);
        let store = self.store();
        store.delete_job(&project("a"), by_hand.id).await.unwrap();
        by_hand.schedule = None;
        by_hand.objective = None;
        store.create_job(&by_hand).await.unwrap();
        let overdue = async || {
            let all = store.overdue(1000).await.unwrap();
            let ids: Vec<_> = all.iter().map(|t| t.job.id).collect();
            [job, second, &by_hand].map(|job| ids.contains(&job.id))
        };
        assert_eq!(
            overdue().await,
            [true, true, false],
            "from their creation on, and only if there is anything to do"
        );
        assert_eq!(store.overdue(1).await.unwrap().len(), 1);
        let mut tracking = store.tracking(&project("a"), job.id).await.unwrap();
        assert_eq!((&tracking.job, tracking.planned), (job, job.created));
        assert_eq!(tracking.protection, Protection::default());
        is(
            store.tracking(&project("b"), job.id).await,
            Kind::NotFound,
            "another project's job",
        );

        let stale = tracking.clone();
        tracking.planned = self.env.now();
        tracking.look_at = Some(self.env.now().after(HOUR));
        let verified = VerifiedPoint {
            point: PointId::from_bytes([5; 32]),
            taken: job.created,
            verified: job.created,
        };
        tracking.protection = Protection {
            verified: Some(verified),
            objective: ObjectiveState::AtRisk,
            authority: Some(Watch {
                told: Standing::lost("it was revoked", "renew it"),
                since: job.created,
                ends: Some(self.env.now()),
                asked: self.env.now(),
            }),
        };
        assert!(store.update_tracking(&tracking).await.unwrap());
        assert!(
            !self.other().update_tracking(&stale).await.unwrap(),
            "somebody else was faster"
        );
        assert!(
            !store.update_tracking(&tracking).await.unwrap(),
            "a revision is used once"
        );
        tracking.revision += 1;
        assert_eq!(
            self.other().tracking(&project("a"), job.id).await.unwrap(),
            tracking
        );
        assert_eq!(overdue().await, [false, true, false]);
        self.pass(HOUR + MINUTE);
        assert_eq!(overdue().await, [true, true, false]);
        tracking.look_at = None;
        assert!(store.update_tracking(&tracking).await.unwrap());
        assert_eq!(overdue().await, [false, true, false]);
        for job in [job, second, &by_hand] {
            store.delete_job(&job.project, job.id).await.unwrap();
        }
        assert_eq!(overdue().await, [false; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::MemoryJobs;

    #[tokio::test]
    async fn the_queue_in_memory_passes() {
        for seed in 0..4 {
            let store = std::sync::OnceLock::new();
            let open = async |env: Env| {
                let store = store.get_or_init(|| Arc::new(MemoryJobs::with_env(env)));
                Arc::clone(store) as Arc<dyn JobStore>
            };
            check_run_queue(open, 4, seed).await;
        }
    }
}
