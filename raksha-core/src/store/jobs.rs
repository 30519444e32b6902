//! Jobs and runs, and where they are kept.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{DelegationStore, Phase, Placement, RestoreRun, RunQueue};
use crate::cloud::{Consistency, DiskId, Selection, Temporary};
use crate::error::Result;
use crate::id::{DelegationId, JobId, PointId, ProjectId, RestoreId, RunId};
use crate::objective::Objective;
use crate::retention::Retention;
use crate::schedule::Schedule;
use crate::time::Timestamp;

/// What to protect, and how. Belongs to a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupJob {
    /// Its id.
    pub id: JobId,
    /// Who owns it.
    pub project: ProjectId,
    /// What its owner calls it; unique within the project.
    pub name: String,
    /// The servers.
    pub servers: Selection,
    /// The consistency demanded.
    pub consistency: Consistency,
    /// What to do with a run that reached less.
    pub if_not_reached: IfNotReached,
    /// When it was made.
    pub created: Timestamp,
    /// When it runs by itself; none if only when somebody asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The operator's policy that schedule, retention and objective were taken from, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Which of its points are kept.
    #[serde(default)]
    pub retention: Retention,
    /// How old its newest verified point may become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// How many of its due runs may be under way at once.
    #[serde(default = "one")]
    pub max_parallel: u32,
    /// Where its runs count for limits.
    #[serde(default)]
    pub placement: Placement,
    /// By whose right its runs act; none for that of the worker itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<DelegationId>,
    /// What is called before its disks are taken, in this order, and after, in the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<JobHook>,
}

/// A hook of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHook {
    /// Its name, as it is published.
    pub name: String,
    /// What becomes of a run in which it fails before the disks are taken.
    #[serde(default)]
    pub if_fails: IfHookFails,
}

/// What becomes of a run in which a hook fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfHookFails {
    /// It fails; no disk is taken.
    #[default]
    Refuse,
    /// It goes on and says so.
    Warn,
}

fn one() -> u32 {
    1
}

/// What to do when the consistency demanded is not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfNotReached {
    /// Keep the point; its ledger says what was reached.
    #[default]
    Mark,
    /// Fail the run and keep no point.
    Refuse,
}

/// One execution of a job. Leaves at most one recovery point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupRun {
    /// Its id.
    pub id: RunId,
    /// The job.
    pub job: JobId,
    /// The job's owner.
    pub project: ProjectId,
    /// [Where](crate::cloud::ResourceDiscovery::place) it has its servers; none in records from before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// When it was due; none if somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When it began.
    pub started: Timestamp,
    /// When it last gave a sign of life: policy about silent runs looks at it, safety never does.
    pub seen: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// What it was busy with when it last gave a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Bytes so far, over all disks.
    pub counts: RunCounts,
    /// The same for each disk.
    #[serde(default)]
    pub disks: Vec<DiskProgress>,
    /// What its owner should know of it, in words; of very many, the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is under way.
    Running,
    /// It has ended.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: RunOutcome,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// There is a recovery point.
    Succeeded {
        /// It.
        point: PointId,
    },
    /// There is none, and this is why.
    Failed {
        /// The error, in one line.
        error: String,
    },
    /// There is none, because somebody asked to stop.
    Cancelled,
}

/// What a run's error says if it died.
const INTERRUPTED: &str = "interrupted";

impl RunOutcome {
    /// That of a run that died, or was taken for dead.
    pub fn interrupted() -> Self {
        Self::Failed {
            error: INTERRUPTED.to_owned(),
        }
    }

    /// Whether it is that of a run that died, or was taken for dead: it can be made up for by another.
    pub fn is_interrupted(&self) -> bool {
        *self == Self::interrupted()
    }
}

/// Bytes of a run or of one of its disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// The size of the disks, holes included.
    pub logical_bytes: u64,
    /// Bytes read from the disks.
    pub read_bytes: u64,
    /// Bytes read that the repository did not have, before compression.
    pub new_bytes: u64,
    /// Bytes that they take in the target, compressed and sealed, trees included.
    pub stored_bytes: u64,
}

impl std::ops::AddAssign for RunCounts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            logical_bytes,
            read_bytes,
            new_bytes,
            stored_bytes,
        } = other;
        self.logical_bytes += logical_bytes;
        self.read_bytes += read_bytes;
        self.new_bytes += new_bytes;
        self.stored_bytes += stored_bytes;
    }
}

/// Bytes of one disk of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskProgress {
    /// The disk.
    pub disk: DiskId,
    /// Its bytes.
    pub counts: RunCounts,
}

/// Keeps jobs, runs, restores, and the temporaries that they have in the cloud. It holds no data that a restore needs.
///
/// # Contract
/// - What a call stored is durable when it returns, and visible to every process that shares the store.
/// - A project sees only what is its own: an id of another project is [`Kind::NotFound`](crate::Kind::NotFound), as if it did not exist.
/// - A job that is [tracked](BackupJob::is_tracked) is [overdue](RunQueue::overdue) from its creation on, and planned up to then.
#[async_trait]
pub trait JobStore: RunQueue + DelegationStore + Send + Sync + fmt::Debug {
    /// Stores a new job. [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if the project has one of that name or the id is taken,
    /// [`Kind::NotFound`](crate::Kind::NotFound) if it names a delegation that the project does not have.
    async fn create_job(&self, job: &BackupJob) -> Result<()>;

    /// The job with this id.
    async fn job(&self, project: &ProjectId, id: JobId) -> Result<BackupJob>;

    /// The projects that have a job, a run or a restore, in order.
    async fn projects(&self) -> Result<Vec<ProjectId>>;

    /// All jobs of a project, in the order of their names.
    async fn jobs(&self, project: &ProjectId) -> Result<Vec<BackupJob>>;

    /// Replaces a job: all but its id, its project and when it was made. [`Kind::NotFound`](crate::Kind::NotFound) if the project has none of this id,
    /// or it names a delegation that the project does not have, [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if another one has the name.
    ///
    /// Runs that are queued stay queued, and become what the new job says when they are taken. What follows is planned anew, as
    /// [`Tracking::replaced`](super::Tracking::replaced) has it.
    async fn update_job(&self, job: &BackupJob) -> Result<()>;

    /// Removes a job; its runs stay listed. [`Kind::Conflict`](crate::Kind::Conflict) while one of its runs is under way.
    async fn delete_job(&self, project: &ProjectId, id: JobId) -> Result<()>;

    /// Stores a new run. [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if the id is taken, [`Kind::NotFound`](crate::Kind::NotFound) if the project has no such job.
    async fn create_run(&self, run: &BackupRun) -> Result<()>;

    /// Replaces what is known of a run. [`Kind::Conflict`](crate::Kind::Conflict) if it has ended already.
    async fn update_run(&self, run: &BackupRun) -> Result<()>;

    /// The run with this id.
    async fn run(&self, project: &ProjectId, id: RunId) -> Result<BackupRun>;

    /// All runs of a project or of one of its jobs, the newest first.
    async fn runs(&self, project: &ProjectId, job: Option<JobId>) -> Result<Vec<BackupRun>>;

    /// Stores a new restore. [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if the id is taken.
    async fn create_restore(&self, restore: &RestoreRun) -> Result<()>;

    /// Replaces what is known of a restore. [`Kind::Conflict`](crate::Kind::Conflict) if it has ended already and the new state is
    /// another: of one that has ended, only what it created may change, since that shrinks while it is undone.
    async fn update_restore(&self, restore: &RestoreRun) -> Result<()>;

    /// The restore with this id.
    async fn restore(&self, project: &ProjectId, id: RestoreId) -> Result<RestoreRun>;

    /// All restores of a project, the newest first.
    async fn restores(&self, project: &ProjectId) -> Result<Vec<RestoreRun>>;

    /// Notes a temporary of an owner (a run or restore, by its id); the same marker again replaces what was noted.
    async fn record_temporary(&self, owner: &str, temporary: &Temporary) -> Result<()>;

    /// Forgets a temporary. Unknown ones are fine.
    async fn forget_temporary(&self, owner: &str, marker: &str) -> Result<()>;

    /// The temporaries of one owner or of all, with their owners, in the order in which they were first noted.
    async fn temporaries(&self, owner: Option<&str>) -> Result<Vec<(String, Temporary)>>;
}
