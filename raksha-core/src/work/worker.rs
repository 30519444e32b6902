//! A worker: looks what is due, takes it, and has it carried out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::Projects;
use super::authority::AuthorityOptions;
use super::event::{Feed, Happening, WorkEvent, WorkEvents};
use super::plan::{Plan, plan};
use crate::error::{Error, Kind, Result};
use crate::objective::Transition;
use crate::protect::Cancel;
use crate::store::{BackupJob, DueEnd, DueState, JobStore, Limits, Tracking};

/// Jobs that are read at once.
const BATCH: usize = 64;

/// The shortest lease: a run under way renews it every five seconds.
const SHORTEST_LEASE: Duration = Duration::from_secs(30);

/// How a worker works. All workers that share a store should have the same limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// How long a run of a worker that died waits until another takes it over; 5 minutes. At least 30 seconds.
    pub lease: Duration,
    /// How often it looks what is due; 15 seconds.
    pub poll: Duration,
    /// How many runs it has under way at once; 2.
    pub runs_at_once: usize,
    /// How many runs all workers together have under way at once; no limit.
    pub limits: Limits,
    /// Verifies only this share of the packs that hold a new point, drawn at random; none, which is what a new worker has, for all of them.
    pub verify_sample: Option<f64>,
    /// How often a run that its worker died of is begun, until it counts as failed; 4 times.
    pub attempts: usize,
    /// When it looks at the authorities of jobs.
    pub authority: AuthorityOptions,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(300),
            poll: Duration::from_secs(15),
            runs_at_once: 2,
            limits: Limits::default(),
            verify_sample: None,
            attempts: 4,
            authority: AuthorityOptions::default(),
        }
    }
}

/// A worker. Cheap to clone; clones are the same worker.
///
/// It keeps nothing that is not in the store: it may be ended and started anew at any time, on any machine, in any version that can read the
/// store. To end it without leaving work to others, [drain](Self::work) it.
#[derive(Debug, Clone)]
pub struct Worker {
    pub(super) name: String,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) projects: Arc<dyn Projects>,
    pub(super) options: WorkerOptions,
    pub(super) feed: Feed,
}

impl Worker {
    /// A worker of this name, which people see; others may have the same.
    pub fn new(
        name: impl Into<String>,
        store: Arc<dyn JobStore>,
        projects: Arc<dyn Projects>,
    ) -> Self {
        Self {
            name: name.into(),
            store,
            projects,
            options: WorkerOptions::default(),
            feed: Feed::new(),
        }
    }

    /// Works so.
    #[must_use]
    pub fn with_options(mut self, options: WorkerOptions) -> Self {
        self.options = options;
        self.options.lease = self.options.lease.max(SHORTEST_LEASE);
        self
    }

    /// What happens from now on.
    pub fn events(&self) -> WorkEvents {
        self.feed.listen()
    }

    /// Queues what is due by now, records what was missed, and tells how jobs stand to their objectives and how their authorities stand. Says how many jobs it looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn plan(&self) -> Result<usize> {
        let mut ask = Vec::new();
        let count = self.queue_due(&mut ask).await?;
        self.look_at_authorities(ask).await;
        Ok(count)
    }

    /// The same without asking any cloud: the jobs whose authorities are to be looked at are left in `ask`.
    async fn queue_due(&self, ask: &mut Vec<BackupJob>) -> Result<usize> {
        let mut count = 0;
        loop {
            let overdue = self.store.overdue(BATCH).await?;
            let mut won = 0;
            for tracking in &overdue {
                won += usize::from(self.plan_one(tracking, ask).await?);
            }
            count += won;
            // None are left, or somebody else is faster.
            if won == 0 {
                return Ok(count);
            }
        }
    }

    /// Says whether it was this worker that planned the job.
    async fn plan_one(&self, tracking: &Tracking, ask: &mut Vec<BackupJob>) -> Result<bool> {
        let now = self.store.now().await?;
        let Plan {
            due,
            transitions,
            tracking: mut next,
        } = plan(tracking, now);
        self.store.queue(&due).await?;
        let (told, asks) = self.authority_by_time(&mut next, now);
        if !self.store.update_tracking(&next).await? {
            return Ok(false);
        }
        for one in due {
            self.say(
                &next.job,
                match one.state {
                    DueState::Ended {
                        end: DueEnd::Missed { reason },
                        ..
                    } => Happening::Missed {
                        due: one.due,
                        reason,
                    },
                    _ => Happening::Queued { due: one.due },
                },
            );
        }
        self.say_transitions(&next, transitions);
        self.say_standings(&next.job, told);
        if asks {
            ask.push(next.job);
        }
        Ok(true)
    }

    /// Takes one run that is ready and brings it to its end. Says whether there was one.
    ///
    /// # Errors
    /// Those of the store. A run that fails is no error.
    pub async fn step(&self) -> Result<bool> {
        let WorkerOptions { lease, limits, .. } = &self.options;
        match self.store.take(&self.name, *lease, limits).await? {
            Some(lease) => self.carry_out(lease).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Does all that is due by now, one after the other.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn once(&self) -> Result<()> {
        loop {
            self.plan().await?;
            if !self.step().await? {
                return Ok(());
            }
        }
    }

    /// Works until `drain` is cancelled: then it takes nothing any more, and ends when what it has is done. Dropped before that, it is as if it had died, and
    /// others take over.
    ///
    /// Nothing that the store says ends it: it tells, and tries again.
    pub async fn work(&self, drain: &Cancel) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, Result<()>>> =
            FuturesUnordered::new();
        let mut looks: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        while !drain.is_cancelled() {
            let mut ask = Vec::new();
            if let Err(error) = self.queue_due(&mut ask).await {
                tracing::warn!(%error, worker = self.name, "what is due could not be found out");
            }
            if !ask.is_empty() {
                // Nothing that is due waits for a cloud that is slow to answer.
                let worker = self.clone();
                looks.push(async move { worker.look_at_authorities(ask).await }.boxed());
            }
            while under_way.len() < self.options.runs_at_once.max(1) && !drain.is_cancelled() {
                let WorkerOptions { lease, limits, .. } = &self.options;
                match self.store.take(&self.name, *lease, limits).await {
                    Ok(Some(lease)) => {
                        let worker = self.clone();
                        under_way.push(async move { worker.carry_out(lease).await }.boxed());
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, worker = self.name, "no run could be taken");
                        break;
                    }
                }
            }
            let mut pause = std::pin::pin!(tokio::time::sleep(self.options.poll));
            let ended = async {
                match under_way.next().await {
                    Some(ended) => ended,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = &mut pause => {}
                ended = ended => self.note(ended),
                Some(()) = looks.next() => {}
            }
        }
        while let Some(ended) = under_way.next().await {
            self.note(ended);
        }
    }

    fn note(&self, ended: Result<()>) {
        match ended {
            // It was told already, or others go on with it.
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Fenced => {}
            Err(error) => {
                tracing::warn!(%error, worker = self.name, "a run is left to whoever takes it over")
            }
        }
    }

    pub(super) fn say(&self, job: &BackupJob, what: Happening) {
        self.feed.say(WorkEvent {
            project: job.project.clone(),
            job: job.id,
            name: job.name.clone(),
            what,
        });
    }

    pub(super) fn say_transitions(&self, tracking: &Tracking, transitions: Vec<Transition>) {
        let newest = tracking.protection.verified.map(|verified| verified.taken);
        for transition in transitions {
            self.say(&tracking.job, Happening::Objective { transition, newest });
        }
    }

    pub(super) fn trouble(&self, job: &BackupJob, doing: &'static str, error: &Error) {
        let error = error.to_string();
        self.say(job, Happening::Trouble { doing, error });
    }
}
