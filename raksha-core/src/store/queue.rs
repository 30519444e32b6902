//! Runs that are due, and how any number of workers share them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{BackupJob, BackupRun, RunOutcome};
use crate::authority::Watch;
use crate::error::Result;
use crate::id::{JobId, PointId, ProjectId, RunId};
use crate::objective::ObjectiveState;
use crate::schedule::MissReason;
use crate::time::Timestamp;

/// Which cloud a job works on, and which target it stores in: names that the embedder chose, by which runs are counted and limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// The cloud.
    pub cloud: String,
    /// The target.
    pub target: String,
}

/// One due time of a job. There is at most one of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DueRun {
    /// The job.
    pub job: JobId,
    /// The job's owner.
    pub project: ProjectId,
    /// When it is due.
    pub due: Timestamp,
    /// Before this it is given to nobody.
    pub ready: Timestamp,
    /// Where it counts.
    pub placement: Placement,
    /// How many runs of the job may be under way at once.
    pub max_parallel: u32,
    /// How often it was taken.
    pub token: u64,
    /// Where it stands.
    pub state: DueState,
}

/// Where a due run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueState {
    /// Nobody has it.
    Waiting,
    /// A worker has it.
    Leased {
        /// Which.
        worker: String,
        /// From this time on others may take it over.
        until: Timestamp,
    },
    /// It is settled for good.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        end: DueEnd,
    },
}

/// How a due run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueEnd {
    /// It happened, which is not to say that it succeeded.
    Ran {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: RunOutcome,
    },
    /// It did not happen, as its schedule says.
    Missed {
        /// Why.
        reason: MissReason,
    },
    /// It could not begin, and trying again would not help.
    Failed {
        /// The error, in one line.
        error: String,
    },
}

/// A worker's right to a due run. It lasts until somebody else has taken the run over, which can be when its time is up; whatever is done by a lease
/// after that has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The job's owner.
    pub project: ProjectId,
    /// The due time.
    pub due: Timestamp,
    /// The fencing token: how often the run was taken, this time included.
    pub token: u64,
    /// When the time is up, by the store's clock.
    pub until: Timestamp,
}

impl Lease {
    /// The run that is begun by this lease: another one for each time that a due run is taken, and known to whoever takes it over.
    pub fn run_id(&self) -> RunId {
        RunId::of_due(self.job, self.due, self.token)
    }

    /// The runs that were begun, if any were, by those who had the due run before, the latest first.
    pub fn earlier_runs(&self) -> impl Iterator<Item = RunId> {
        let (job, due) = (self.job, self.due);
        (1..self.token)
            .rev()
            .map(move |token| RunId::of_due(job, due, token))
    }
}

/// How many due runs may be leased at once: of one project, on one cloud, into one target. None for any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Of one project.
    pub per_project: Option<u32>,
    /// On one cloud.
    pub per_cloud: Option<u32>,
    /// Into one target.
    pub per_target: Option<u32>,
}

/// What workers know of a job together.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// The job.
    pub job: BackupJob,
    /// All due times up to this one are queued.
    pub planned: Timestamp,
    /// When somebody should look at the job again: a run will be due, or its objective changes. None for never.
    pub look_at: Option<Timestamp>,
    /// How well it is protected.
    pub protection: Protection,
    /// Counts the changes of all this.
    pub revision: u64,
}

impl Tracking {
    /// What is known once `job` has taken the place of the job, at the time `now`: due times of another schedule count from now on, so that none of
    /// those that have passed is taken for missed; and somebody should look at the job at once.
    #[must_use]
    pub fn replaced(mut self, job: &BackupJob, now: Timestamp) -> Self {
        let mut job = job.clone();
        job.created = self.job.created;
        if job.schedule != self.job.schedule {
            self.planned = self.planned.max(now);
        }
        if job.objective.is_none() {
            self.protection.objective = ObjectiveState::default();
        }
        if job.delegation != self.job.delegation {
            self.protection.authority = None;
        }
        self.look_at = job.is_tracked().then_some(now);
        self.job = job;
        self
    }
}

/// How well a job is protected, as it was last found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protection {
    /// The newest point that was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedPoint>,
    /// How it stands to its objective.
    pub objective: ObjectiveState,
    /// How its authority stands, if it has a delegation that somebody looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Watch>,
}

/// A point that was found to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedPoint {
    /// It.
    pub point: PointId,
    /// The instant that it shows.
    pub taken: Timestamp,
    /// When it was verified.
    pub verified: Timestamp,
}

impl BackupJob {
    /// Whether workers have anything to do with it.
    pub fn is_tracked(&self) -> bool {
        self.schedule.is_some() || self.objective.is_some()
    }
}

/// The queue of due runs: the part of a [`JobStore`](super::JobStore) that workers share.
///
/// # Contract
/// - All times are those of one clock, which [`now`](Self::now) tells: the store's. What clocks the workers' machines show does not matter.
/// - Of all who call [`take`](Self::take) at the same time, no two get the same due run, nor more than the limits allow.
/// - A lease whose due run was taken by somebody else since is *fenced off*: [`renew`](Self::renew), [`start_run`](Self::start_run),
///   [`postpone`](Self::postpone) and [`settle`](Self::settle) fail with [`Kind::Fenced`](crate::Kind::Fenced) and change nothing. One whose time is up, but
///   which nobody took over, is still good.
/// - A due run that has ended stays as it is.
///
/// # Errors
/// Those of the store. After [`Kind::Unavailable`](crate::Kind::Unavailable) and [`Kind::Timeout`](crate::Kind::Timeout) it is open whether something took effect: a
/// run that was taken so comes back when its lease's time is up.
///
/// # Cancellation
/// As after a lost answer.
#[async_trait]
pub trait RunQueue: Send + Sync + fmt::Debug {
    /// What the store's clock shows.
    async fn now(&self) -> Result<Timestamp>;

    /// Jobs of all projects that should be looked at by now, the most overdue first, at most `limit` of them.
    async fn overdue(&self, limit: usize) -> Result<Vec<Tracking>>;

    /// What is known of a job.
    async fn tracking(&self, project: &ProjectId, job: JobId) -> Result<Tracking>;

    /// Replaces what is known of a job, if nobody did since it was read: if its revision is that of `tracking`, which is counted up. Says whether it was.
    /// The job itself stays as it is.
    async fn update_tracking(&self, tracking: &Tracking) -> Result<bool>;

    /// Queues due runs; those that are known stay as they are.
    async fn queue(&self, due: &[DueRun]) -> Result<()>;

    /// Takes a due run that is ready, and which nobody has or whose lease's time is up, for as long as `lease`. Projects take turns: first come those of which the
    /// fewest runs are leased, then those that had none for the longest time, then the run that was ready first. Runs whose leases' time is
    /// up do not count for `limits`.
    async fn take(&self, worker: &str, lease: Duration, limits: &Limits) -> Result<Option<Lease>>;

    /// Lengthens a lease: from now on it lasts for `lease`.
    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Lease>;

    /// Stores a new run, as [`create_run`](super::JobStore::create_run) does, if the lease is still good.
    async fn start_run(&self, lease: &Lease, run: &BackupRun) -> Result<()>;

    /// Gives a due run back, to be ready at `ready`.
    async fn postpone(&self, lease: &Lease, ready: Timestamp) -> Result<()>;

    /// Ends a due run. Done again with the same end, it is done.
    async fn settle(&self, lease: &Lease, end: &DueEnd) -> Result<()>;

    /// The due runs of a project or of one of its jobs, those that were due last first, at most `limit` of them.
    async fn due_runs(
        &self,
        project: &ProjectId,
        job: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<DueRun>>;
}
