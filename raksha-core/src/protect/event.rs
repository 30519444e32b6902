//! What happens in a run or restore, told while it happens.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use super::alive::{Alive, Life};
use crate::cloud::{ConsistencyLedger, DiskId, ResourceKey};
use crate::id::PointId;
pub use crate::store::Phase;
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
    /// A hook failed before the disks were taken, and the job says to go on; or after, and it is called again.
    Hook {
        /// Which, when, and why.
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
            Self::LessConsistent { reason } | Self::Hook { reason } => f.write_str(reason),
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

/// How far a run or restore is that lives in this process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// What it is busy with; none before it has begun.
    pub phase: Option<Phase>,
    /// The disks that it has turned to, in this order.
    pub disks: Vec<DiskMeter>,
    /// What its owner should know so far.
    pub warnings: Vec<Warning>,
}

/// How far one disk is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiskMeter {
    /// The disk.
    pub disk: DiskId,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes so far; `logical_bytes` of `size` are dealt with.
    pub counts: RunCounts,
    /// Whether it is done.
    pub done: bool,
}

impl Progress {
    /// Goes on by an event.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Phase { phase } => self.phase = Some(*phase),
            Event::Disk { disk, size, counts } => self.turn(disk, *size, *counts, false),
            Event::DiskDone { disk, size, counts } => self.turn(disk, *size, *counts, true),
            Event::Warning { warning } => self.warnings.push(warning.clone()),
            Event::Snapshotted { .. } | Event::Committed { .. } | Event::Created { .. } => {}
        }
    }

    fn turn(&mut self, disk: &DiskId, size: u64, counts: RunCounts, done: bool) {
        let meter = DiskMeter {
            disk: disk.clone(),
            size,
            counts,
            done,
        };
        match self.disks.iter_mut().find(|known| known.disk == *disk) {
            Some(known) => *known = meter,
            None => self.disks.push(meter),
        }
    }
}

/// Where events go. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Feed(Arc<Told>);

#[derive(Debug)]
struct Told {
    /// Of which run or restore.
    id: String,
    sender: broadcast::Sender<Event>,
    /// Everybody in this process hears of it as well.
    alive: Alive,
    /// Kept, so that no slow listener misses anything for good.
    progress: Mutex<Progress>,
    /// Lasts as long as the phase.
    span: Mutex<tracing::Span>,
}

impl Feed {
    pub(super) fn new(id: impl fmt::Display, alive: &Alive) -> Self {
        Self(Arc::new(Told {
            id: id.to_string(),
            sender: broadcast::Sender::new(BACKLOG),
            alive: alive.clone(),
            progress: Mutex::default(),
            span: Mutex::new(tracing::Span::none()),
        }))
    }

    pub(super) fn listen(&self) -> Events {
        Events(self.0.sender.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        let progress = self.0.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, event: Event) {
        self.lock().follow(&event);
        self.0.alive.tell(&self.0.id, || Life::Event(event.clone()));
        // That nobody listens is fine.
        let _ = self.0.sender.send(event);
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// All warnings so far.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.lock().warnings.clone()
    }

    /// What it is busy with.
    pub(super) fn current(&self) -> Option<Phase> {
        self.lock().phase
    }

    pub(super) fn phase(&self, phase: Phase) {
        tracing::debug!(%phase, "phase");
        let span = tracing::info_span!("phase", %phase);
        *self.0.span.lock().unwrap_or_else(PoisonError::into_inner) = span;
        self.say(Event::Phase { phase });
    }

    pub(super) fn warn(&self, warning: Warning) {
        tracing::warn!("{warning}");
        self.say(Event::Warning { warning });
    }
}
