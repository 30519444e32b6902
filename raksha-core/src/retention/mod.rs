//! Retention: which recovery points are kept, and for which reasons.
//!
//! A [`Retention`] is a value that is stored with a job; [`Retention::decide`] is a pure function of it, of points and of the time. Nothing here forgets
//! anything: that is done by whoever holds a repository, with the [decisions](Decisions) in hand. [`Simulation`] shows what a policy would keep
//! before it is anybody's.

mod decide;
mod simulate;
#[cfg(test)]
mod tests;

pub use decide::{Decision, Decisions, Point, Reason};
pub use simulate::{Sample, Simulation};

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::schedule::Zone;

/// The most points or periods that one rule may count: a point an hour for eleven years.
const MOST: u32 = 100_000;

/// Which points are kept. A point stays if any rule says so; without any rule, all stay.
///
/// A rule over periods keeps the newest point of each of the latest `n` periods *that have points*: periods without any are not counted, so that a job
/// that did not run for a while loses nothing by it. Periods are those of the calendar in `zone`; weeks begin on Monday, as ISO 8601 has
/// them. Beside the rules, these always stay: the newest point, the newest verified point, points that are held, and points from the future.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// The newest points, so many of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub last: u32,
    /// The newest point of so many hours.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: u32,
    /// The newest point of so many days.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: u32,
    /// The newest point of so many weeks.
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: u32,
    /// The newest point of so many months.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: u32,
    /// The newest point of so many years.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: u32,
    /// All points that are at most so much older than the newest one. Not than now, so that they do not expire while no new ones come.
    #[serde(
        with = "crate::time::maybe_words",
        skip_serializing_if = "Option::is_none"
    )]
    pub within: Option<Duration>,
    /// Whose calendar is meant.
    pub zone: Zone,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Retention {
    /// Keeps everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether there is no rule, so that all points stay.
    pub fn keeps_everything(&self) -> bool {
        self.counts().all(|(_, count)| count == 0) && self.within.is_none()
    }

    /// The rules that count, and how many each keeps.
    fn counts(&self) -> impl Iterator<Item = (Reason, u32)> + use<> {
        let Self {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within: _,
            zone: _,
        } = self;
        [
            (Reason::Last, *last),
            (Reason::Hourly, *hourly),
            (Reason::Daily, *daily),
            (Reason::Weekly, *weekly),
            (Reason::Monthly, *monthly),
            (Reason::Yearly, *yearly),
        ]
        .into_iter()
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        if let Some((reason, count)) = self.counts().find(|(_, count)| *count > MOST) {
            let message = format!("keep at most {MOST}; to keep everything, leave all rules out");
            let error = Error::new(Kind::Invalid, "check retention", message);
            return Err(error.with("field", reason).with("value", count));
        }
        if self.within.is_some_and(|within| within.is_zero()) {
            let message = "give a duration, such as 7days, or leave it out";
            return Err(
                Error::new(Kind::Invalid, "check retention", message).with("field", "within")
            );
        }
        Ok(())
    }
}

/// One line, such as `7 daily, 4 weekly (Europe/Berlin)`.
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keeps_everything() {
            return f.write_str("everything");
        }
        let rules = self.counts().filter(|(_, count)| *count > 0);
        let mut rules: Vec<String> = rules
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if let Some(within) = self.within {
            rules.push(format!("all within {}", humantime::format_duration(within)));
        }
        write!(f, "{} ({})", rules.join(", "), self.zone)
    }
}
