//! A schedule: when runs are due, when they may begin, and when they are given up.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cron, Outside, Window, Zone};
use crate::error::{Error, Kind, Result};
use crate::id::JobId;
use crate::time::Timestamp;

/// The shortest interval, and the shortest distance of two due times.
const SHORTEST: Duration = Duration::from_secs(60);

/// The longest jitter and the longest interval.
const LONGEST_JITTER: Duration = Duration::from_secs(24 * 3600);
const LONGEST_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// When runs are due.
    pub trigger: Trigger,
    /// Whose clocks the trigger and the window go by.
    #[serde(default)]
    pub zone: Zone,
    /// Runs begin up to so much later than they are due: always the same part of it for one job, another one for each, so that jobs which are due at
    /// the same time do not all begin at once.
    #[serde(
        default,
        with = "crate::time::words",
        skip_serializing_if = "Duration::is_zero"
    )]
    pub jitter: Duration,
    /// The hours in which runs may begin; none for all day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What becomes of runs that could not begin in time.
    #[serde(default)]
    pub missed: MissedRuns,
}

/// What makes runs due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trigger {
    /// Minutes of the calendar, in the schedule's zone.
    Cron(Cron),
    /// Equal distances, whatever clocks on the wall do.
    Interval {
        /// The distance, in whole milliseconds.
        #[serde(with = "crate::time::words")]
        every: Duration,
        /// When the first run is due; all others are a multiple of the distance later.
        anchor: Timestamp,
    },
}

/// What becomes of runs that could not begin in time: no worker was there, or all were busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedRuns {
    /// However many were due, the latest of them that may begin runs as soon as it can. Those before it are recorded as missed.
    #[default]
    RunOnce,
    /// A run that could not begin within `grace` of the time at which it should have begun is recorded as missed.
    Skip {
        /// How late a run may begin.
        #[serde(with = "crate::time::words")]
        grace: Duration,
    },
}

/// Why a run that was due did not happen. Display is one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissReason {
    /// A later run was due before this one had begun, and stands for it.
    Superseded,
    /// It could not begin within the grace of its schedule.
    Late,
    /// It was due outside the backup window.
    OutsideWindow,
    /// The job was deleted before it had begun.
    JobDeleted,
    /// The job has no schedule any more.
    Unscheduled,
}

/// Whether a run may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// At once.
    Start,
    /// Not before this instant.
    Wait(Timestamp),
    /// It is missed.
    Miss(MissReason),
}

impl Schedule {
    /// Due when `trigger` says so, by the clocks of UTC; begins at once, at any hour; of missed runs the latest is made up for.
    pub fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            zone: Zone::default(),
            jitter: Duration::ZERO,
            window: None,
            missed: MissedRuns::default(),
        }
    }

    /// Due as a cron expression says, by the clocks of `zone`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is none.
    pub fn cron(expression: &str, zone: Zone) -> Result<Self> {
        let trigger = Trigger::Cron(expression.parse()?);
        Ok(Self {
            zone,
            ..Self::new(trigger)
        })
    }

    /// Due at `anchor`, and each time that `every` has gone by since.
    pub fn every(every: Duration, anchor: Timestamp) -> Self {
        Self::new(Trigger::Interval { every, anchor })
    }

    /// Begins up to `jitter` late.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Begins within `window` only.
    #[must_use]
    pub fn with_window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Treats missed runs so.
    #[must_use]
    pub fn with_missed(mut self, missed: MissedRuns) -> Self {
        self.missed = missed;
        self
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        let Self {
            trigger,
            zone: _,
            jitter,
            window,
            missed,
        } = self;
        let refuse = |field: &'static str, message: &str, value: Duration| {
            let value = humantime::format_duration(value);
            Err(Error::new(Kind::Invalid, "check schedule", message)
                .with("field", field)
                .with("value", value))
        };
        if let Trigger::Interval { every, .. } = trigger
            && !(SHORTEST..=LONGEST_INTERVAL).contains(every)
        {
            return refuse("interval", "give one from 1 minute to 366 days", *every);
        }
        if *jitter > LONGEST_JITTER {
            return refuse("jitter", "give at most 1 day", *jitter);
        }
        if let Some(window) = window {
            window.check()?;
        }
        match missed {
            MissedRuns::Skip { grace } if *grace < SHORTEST => refuse(
                "missed",
                "give a grace of at least 1 minute: a worker that looks only now and then must find the run",
                *grace,
            ),
            _ => Ok(()),
        }
    }

    /// The first due time after `after`; none beyond the year 9999.
    pub fn next_due(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.trigger {
            Trigger::Cron(cron) => {
                // From the time that clocks show, instants only grow: what lies before it is not later than `after`.
                let mut local = self.zone.local(after)?;
                loop {
                    local = cron.next(local)?;
                    match self.zone.first(local)? {
                        due if due > after => return Some(due),
                        _ => local = local.checked_add(jiff::Span::new().minutes(1)).ok()?,
                    }
                }
            }
            Trigger::Interval { every, anchor } => {
                let every = u64::try_from(every.as_millis())
                    .ok()
                    .filter(|every| *every > 0)?;
                let (anchor, after) = (anchor.as_millis(), after.as_millis());
                if after < anchor {
                    return Some(Timestamp::from_millis(anchor));
                }
                let periods = ((after - anchor) / every).checked_add(1)?;
                let due = anchor.checked_add(periods.checked_mul(every)?)?;
                Some(Timestamp::from_millis(due))
            }
        }
    }

    /// The due times after `after` up to and including `until`, in order.
    pub fn due_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        let next = move |due: &Timestamp| self.next_due(*due);
        std::iter::successors(self.next_due(after), next).take_while(move |due| *due <= until)
    }

    /// When a run of `job` that is due at `due` may begin at the earliest: none if that is never, since it lies outside a window that misses such runs.
    pub fn begins(&self, job: JobId, due: Timestamp) -> Option<Timestamp> {
        let at = due.after(self.jitter_of(job));
        match self.window {
            Some(Window {
                outside: Outside::Miss,
                ..
            })
            | None => {
                let open = self
                    .window
                    .is_none_or(|window| window.contains(&self.zone, at));
                open.then_some(at)
            }
            Some(window) => window.next_open(&self.zone, at),
        }
    }

    /// Whether the run of `job` that is due at `due` may begin now.
    pub fn admit(&self, job: JobId, due: Timestamp, now: Timestamp) -> Admission {
        let Some(begins) = self.begins(job, due) else {
            return Admission::Miss(MissReason::OutsideWindow);
        };
        if now < begins {
            return Admission::Wait(begins);
        }
        match self.missed {
            MissedRuns::RunOnce if self.is_superseded(job, due, now) => {
                return Admission::Miss(MissReason::Superseded);
            }
            MissedRuns::Skip { grace } if now.since(begins) > grace => {
                return Admission::Miss(MissReason::Late);
            }
            _ => {}
        }
        match self.window {
            Some(window) if !window.contains(&self.zone, now) => match window.outside {
                Outside::Miss => Admission::Miss(MissReason::OutsideWindow),
                Outside::Wait => match window.next_open(&self.zone, now) {
                    Some(open) => Admission::Wait(open),
                    None => Admission::Miss(MissReason::OutsideWindow),
                },
            },
            _ => Admission::Start,
        }
    }

    /// Whether a later run than that of `due` might begin by now.
    fn is_superseded(&self, job: JobId, due: Timestamp, now: Timestamp) -> bool {
        let mut later = self.due_between(due, now);
        later.any(|due| self.begins(job, due).is_some_and(|begins| begins <= now))
    }

    /// The part of the jitter that is this job's.
    fn jitter_of(&self, job: JobId) -> Duration {
        let hash = blake3::hash(job.as_bytes());
        let drawn = hash
            .as_bytes()
            .first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first));
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(drawn % most.saturating_add(1).max(1))
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "a later run was due before it had begun, and stands for it",
            Self::Late => "it could not begin within the grace of its schedule",
            Self::OutsideWindow => "it was due outside the backup window",
            Self::JobDeleted => "its job was deleted",
            Self::Unscheduled => "its job has no schedule any more",
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trigger {
            Trigger::Cron(cron) => write!(f, "{cron} ({})", self.zone)?,
            Trigger::Interval { every, anchor } => {
                write!(
                    f,
                    "every {} from {anchor}",
                    humantime::format_duration(*every)
                )?;
            }
        }
        if let Some(window) = &self.window {
            write!(f, ", within {window}")?;
            if let Trigger::Interval { .. } = self.trigger {
                write!(f, " ({})", self.zone)?;
            }
        }
        if !self.jitter.is_zero() {
            write!(
                f,
                ", up to {} later",
                humantime::format_duration(self.jitter)
            )?;
        }
        Ok(())
    }
}
