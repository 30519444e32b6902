//! What happens in a run or restore, told while it happens.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::cloud::{ConsistencyLedger, DiskId, ResourceKey};
use crate::id::PointId;
use crate::store::RunCounts;

/// How many events a listener may be behind before it misses some.
const BACKLOG: usize = 1024;

/// Something that happened in a run or restore.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The next phase began, and the one before it ended.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// All disks were taken.
    Snapshotted {
        /// What was reached.
        ledger: ConsistencyLedger,
    },
    /// A disk is being read or written. Comes a few times a second while there is progress.
    Disk {
        /// Which.
        disk: DiskId,
        /// Its size in bytes.
        size: u64,
        /// Bytes so far; `logical_bytes` of `size` are dealt with.
        counts: RunCounts,
    },
    /// A disk is done.
    DiskDone {
        /// Which.
        disk: DiskId,
        /// Its size in bytes.
        size: u64,
        /// Its bytes.
        counts: RunCounts,
    },
    /// The recovery point is durable.
    Committed {
        /// It.
        point: PointId,
    },
    /// A resource was created.
    Created {
        /// The resource of the point.
        key: ResourceKey,
        /// Its name.
        name: String,
        /// Its id in the cloud.
        id: String,
    },
    /// Something that its owner should know, but which stops nothing.
    Warning {
        /// It.
        warning: Warning,
    },
}

/// What a run or restore is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Finding the servers and all that belongs to them.
    Discovering,
    /// Looking whether it can succeed before anything is touched.
    Checking,
    /// Taking all disks at one instant.
    Snapshotting,
    /// Reading the disks and storing what is new.
    Reading,
    /// Making the recovery point durable.
    Committing,
    /// Removing what was only needed meanwhile.
    Releasing,
    /// Creating networks, volumes and whatever else servers stand on.
    Creating,
    /// Writing the disks and checking that they are what they were.
    Writing,
    /// Creating the servers.
    CreatingServers,
    /// Starting the servers.
    Starting,
    /// Removing again what was created.
    Undoing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Checking => "checking",
            Self::Snapshotting => "taking snapshots",
            Self::Reading => "reading disks",
            Self::Committing => "committing",
            Self::Releasing => "releasing snapshots",
            Self::Creating => "creating resources",
            Self::Writing => "writing disks",
            Self::CreatingServers => "creating servers",
            Self::Starting => "starting servers",
            Self::Undoing => "removing what was created",
        })
    }
}

/// Something that its owner should know, but which stops nothing. Display is one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Discovery may not see something, so the point lacks it.
    Omitted {
        /// What it is.
        what: String,
        /// Why, and what would change that.
        reason: String,
    },
    /// The consistency reached is less than was demanded; the job says to keep the point.
    LessConsistent {
        /// What was demanded and what was reached.
        reason: String,
    },
    /// The cloud claimed that something had not changed that had. The disk was read in full.
    HintLied {
        /// The disk.
        disk: DiskId,
    },
    /// The previous point could not be used to go by; everything was read.
    BaseUnusable {
        /// Why.
        reason: String,
    },
    /// The repository changed underneath; the disks are read again from their snapshots.
    Again {
        /// Why.
        reason: String,
    },
    /// Something in the cloud could not be released. It is recorded, and `reap` will try again.
    LeftBehind {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// The session in the repository was not closed. It harms nobody, keeps what it pins from being collected, and is fenced off when it
    /// has been silent for long.
    SessionLeftOpen {
        /// Why.
        reason: String,
    },
    /// The record of the run could not be brought up to date.
    Unrecorded {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Omitted { what, reason } => write!(f, "{what} is not in the point: {reason}"),
            Self::LessConsistent { reason } => f.write_str(reason),
            Self::HintLied { disk } => write!(
                f,
                "{disk}: the cloud called unchanged what had changed; it was read in full"
            ),
            Self::BaseUnusable { reason } => {
                write!(f, "the previous point cannot be gone by: {reason}")
            }
            Self::Again { reason } => write!(f, "reading again: {reason}"),
            Self::LeftBehind { what, reason } => {
                write!(
                    f,
                    "{what} was left in the cloud, reap will try again: {reason}"
                )
            }
            Self::SessionLeftOpen { reason } => {
                write!(
                    f,
                    "the repository still counts the session as open: {reason}"
                )
            }
            Self::Unrecorded { reason } => {
                write!(f, "the record is not up to date: {reason}")
            }
        }
    }
}

/// Where events come from. A listener that is slow misses events; it never slows down what it listens to.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; none once the run or restore has ended.
    pub async fn next(&mut self) -> Option<Event> {
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
#[derive(Debug)]
pub(super) struct Feed {
    sender: broadcast::Sender<Event>,
    /// Kept, so that no slow listener misses one for good.
    warnings: Mutex<Vec<Warning>>,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            warnings: Mutex::default(),
        }
    }

    pub(super) fn listen(&self) -> Events {
        Events(self.sender.subscribe())
    }

    pub(super) fn say(&self, event: Event) {
        // That nobody listens is fine.
        let _ = self.sender.send(event);
    }

    /// All warnings so far.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.clone()
    }

    pub(super) fn phase(&self, phase: Phase) {
        tracing::debug!(%phase, "phase");
        self.say(Event::Phase { phase });
    }

    pub(super) fn warn(&self, warning: Warning) {
        tracing::warn!("{warning}");
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.push(warning.clone());
        drop(warnings);
        self.say(Event::Warning { warning });
    }
}
