//! What happens while workers work, told while it happens.

use std::fmt;

use serde::Serialize;
use tokio::sync::broadcast;

use crate::authority::Standing;
use crate::id::{JobId, PointId, ProjectId, RunId};
use crate::objective::{ObjectiveState, Transition};
use crate::schedule::MissReason;
use crate::store::RunOutcome;
use crate::time::Timestamp;

/// How many events a listener may be behind before it misses some.
const BACKLOG: usize = 1024;

/// Something that happened to a job while a worker worked on it. Display is one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkEvent {
    /// The job's owner.
    pub project: ProjectId,
    /// The job.
    pub job: JobId,
    /// What the job's owner calls it.
    pub name: String,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// A run is due and waits for a worker.
    Queued {
        /// When it is due.
        due: Timestamp,
    },
    /// A run that was due did not happen.
    Missed {
        /// When it was due.
        due: Timestamp,
        /// Why.
        reason: MissReason,
    },
    /// A run that was due could not begin.
    Failed {
        /// When it was due.
        due: Timestamp,
        /// The error, in one line.
        error: String,
    },
    /// A run that was due may begin later only.
    Postponed {
        /// When it was due.
        due: Timestamp,
        /// When it is tried again.
        until: Timestamp,
        /// Why, if not because of its schedule.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A run was taken over from a worker that died.
    TakenOver {
        /// When it was due.
        due: Timestamp,
        /// What that worker had begun.
        run: RunId,
    },
    /// A run began.
    Began {
        /// When it was due.
        due: Timestamp,
        /// It.
        run: RunId,
    },
    /// A run ended.
    Ended {
        /// When it was due.
        due: Timestamp,
        /// It.
        run: RunId,
        /// How.
        outcome: RunOutcome,
    },
    /// A point was found to be whole.
    Verified {
        /// It.
        point: PointId,
    },
    /// A point is damaged.
    Damaged {
        /// It.
        point: PointId,
        /// What is wrong, in one line.
        damage: String,
    },
    /// Points expired and were forgotten.
    Expired {
        /// They.
        points: Vec<PointId>,
    },
    /// How the job stands to its objective changed.
    Objective {
        /// What it is now, and since when.
        #[serde(flatten)]
        transition: Transition,
        /// When the newest verified point was taken; none if there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        newest: Option<Timestamp>,
    },
    /// How the job's authority stands changed.
    Authority {
        /// How it stands.
        #[serde(flatten)]
        standing: Standing,
        /// Since when, which may be found out only later.
        since: Timestamp,
    },
    /// Something failed that stops nothing.
    Trouble {
        /// What was tried.
        doing: &'static str,
        /// The error, in one line.
        error: String,
    },
}

impl Happening {
    /// Whether somebody should look after it.
    fn is_trouble(&self) -> bool {
        match self {
            Self::Missed { .. }
            | Self::Failed { .. }
            | Self::Damaged { .. }
            | Self::Trouble { .. } => true,
            Self::Ended { outcome, .. } => !matches!(outcome, RunOutcome::Succeeded { .. }),
            Self::Objective { transition, .. } => transition.to != ObjectiveState::Met,
            Self::Authority { standing, .. } => *standing != Standing::Good,
            Self::Postponed { error, .. } => error.is_some(),
            _ => false,
        }
    }
}

impl fmt::Display for WorkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.what {
            Happening::Queued { due } => write!(f, "a run is due since {due}"),
            Happening::Missed { due, reason } => write!(f, "the run of {due} was missed: {reason}"),
            Happening::Failed { due, error } => {
                write!(f, "the run of {due} could not begin: {error}")
            }
            Happening::Postponed { due, until, error } => {
                write!(f, "the run of {due} is postponed until {until}")?;
                match error {
                    Some(error) => write!(f, ": {error}"),
                    None => Ok(()),
                }
            }
            Happening::TakenOver { due, run } => {
                write!(
                    f,
                    "the run of {due} was taken over from a worker that died in run {run}"
                )
            }
            Happening::Began { due, run } => write!(f, "run {run} began, due since {due}"),
            Happening::Ended { run, outcome, .. } => match outcome {
                RunOutcome::Succeeded { point } => write!(f, "run {run} succeeded: point {point}"),
                RunOutcome::Failed { error } => write!(f, "run {run} failed: {error}"),
                RunOutcome::Cancelled => write!(f, "run {run} was cancelled"),
            },
            Happening::Verified { point } => write!(f, "point {point} is whole"),
            Happening::Damaged { point, damage } => write!(f, "point {point} is damaged: {damage}"),
            Happening::Expired { points } => write!(f, "{} points expired", points.len()),
            Happening::Objective { transition, newest } => {
                write!(
                    f,
                    "the recovery point objective is {} since {}",
                    transition.to, transition.at
                )?;
                match newest {
                    Some(newest) => write!(f, ", the newest verified point is of {newest}"),
                    None => f.write_str(", there is no verified point"),
                }
            }
            Happening::Authority { standing, since } => match standing {
                Standing::Good => write!(f, "its authority is good since {since}"),
                Standing::Expiring { at } => {
                    write!(
                        f,
                        "its authority ends at {at}: have somebody of the project renew it before"
                    )
                }
                Standing::Lost { reason, remedy } => {
                    write!(f, "its authority is lost since {since}: {reason}: {remedy}")
                }
            },
            Happening::Trouble { doing, error } => write!(f, "{doing} failed: {error}"),
        }
    }
}

/// Where events of a worker come from. A listener that is slow misses events; it never slows down the worker.
#[derive(Debug)]
pub struct WorkEvents(broadcast::Receiver<WorkEvent>);

impl WorkEvents {
    /// The next event; none once the worker is gone.
    pub async fn next(&mut self) -> Option<WorkEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub(super) struct Feed(broadcast::Sender<WorkEvent>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(super) fn listen(&self) -> WorkEvents {
        WorkEvents(self.0.subscribe())
    }

    pub(super) fn say(&self, event: WorkEvent) {
        match event.what.is_trouble() {
            true => tracing::warn!(project = %event.project, job = %event.job, "{event}"),
            false => tracing::info!(project = %event.project, job = %event.job, "{event}"),
        }
        // That nobody listens is fine.
        let _ = self.0.send(event);
    }
}
