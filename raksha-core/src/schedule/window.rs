//! Backup windows: the hours of the day in which runs may begin.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use serde::{Deserialize, Serialize};

use super::Zone;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// A time of day, to the minute; stored and shown as `22:30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(Time);

/// The hours of the day in which runs may begin, by the clocks of the schedule's zone: from `start` until just before `end`, which may be on the
/// next day. A run that has begun goes on after the end.
///
/// Hours that clocks skip are not there: a window that lies in them whole does not open on that day. Hours that come twice belong to it
/// both times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens.
    pub start: TimeOfDay,
    /// When it closes.
    pub end: TimeOfDay,
    /// What becomes of a run that is due outside.
    #[serde(default)]
    pub outside: Outside,
}

/// What becomes of a run that is due outside the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// It begins when the window opens.
    #[default]
    Wait,
    /// It is missed.
    Miss,
}

impl Window {
    /// From `start` until `end`; runs that are due outside wait.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if both are the same.
    pub fn new(start: TimeOfDay, end: TimeOfDay) -> Result<Self> {
        let window = Self {
            start,
            end,
            outside: Outside::default(),
        };
        window.check()?;
        Ok(window)
    }

    /// The same with another rule for runs that are due outside.
    #[must_use]
    pub fn with_outside(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.start != self.end {
            return Ok(());
        }
        let message =
            "the window opens and closes at the same time: leave it out if runs may begin all day";
        Err(Error::new(Kind::Invalid, "check schedule", message).with("field", "window"))
    }

    /// Whether it is open at `time` in `zone`.
    pub fn contains(&self, zone: &Zone, time: Timestamp) -> bool {
        let Some(local) = zone.local(time) else {
            return false;
        };
        let (now, start, end) = (local.time(), self.start.0, self.end.0);
        match start < end {
            true => start <= now && now < end,
            false => start <= now || now < end,
        }
    }

    /// The first instant from `time` on at which it is open; none beyond the year 9999.
    pub fn next_open(&self, zone: &Zone, time: Timestamp) -> Option<Timestamp> {
        if self.contains(zone, time) {
            return Some(time);
        }
        // It opens at its start, or when clocks are put into it.
        let mut date = zone.local(time)?.date();
        let mut found: Option<Timestamp> = None;
        for _ in 0..DAYS {
            let start = date.to_datetime(self.start.0);
            let next = date.tomorrow().ok()?;
            let midnight = zone.first(next.at(0, 0, 0, 0))?;
            let changes = zone.changes(time).take_while(|change| *change < midnight);
            let at = [zone.first(start), zone.last(start)]
                .into_iter()
                .flatten()
                .chain(changes);
            found = at.filter(|at| *at > time && self.contains(zone, *at)).min();
            if found.is_some() {
                break;
            }
            date = next;
        }
        found
    }
}

/// Days looked at for an opening: a day may be skipped whole where the date line was moved, and the window may lie in the skipped hours of
/// another.
const DAYS: u32 = 8;

impl TimeOfDay {
    /// `hour`:`minute`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if no day has it.
    pub fn new(hour: u8, minute: u8) -> Result<Self> {
        let parts = i8::try_from(hour).ok().zip(i8::try_from(minute).ok());
        let time = parts.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok());
        time.map(Self)
            .ok_or_else(|| not_a_time(&format!("{hour}:{minute}")))
    }
}

fn not_a_time(text: &str) -> Error {
    let message = "write hours and minutes from 00:00 to 23:59";
    Error::new(Kind::Invalid, "parse time of day", message).with("time", text)
}

impl FromStr for TimeOfDay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = |part: &str| part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
        let parts = text
            .split_once(':')
            .filter(|(hour, minute)| digits(hour) && digits(minute));
        let (hour, minute) = parts.ok_or_else(|| not_a_time(text))?;
        match (hour.parse(), minute.parse()) {
            (Ok(hour), Ok(minute)) => Self::new(hour, minute).map_err(|_| not_a_time(text)),
            _ => Err(not_a_time(text)),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
