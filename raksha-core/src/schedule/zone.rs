//! Time zones: from instants to what clocks on the wall show, and back.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// A time zone of the IANA database, such as `Europe/Berlin`. Stored and shown as its name.
///
/// The database is the one that this library was built with, never the machine's: workers that share a job store must agree on
/// when a run is due.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of this name; the case of letters does not matter.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the database has none of this name.
    pub fn named(name: &str) -> Result<Self> {
        let found = TimeZoneDatabase::bundled().get(name);
        match found.ok().filter(|zone| !zone.is_unknown()) {
            Some(zone) => Ok(Self(zone)),
            None => Err(Error::new(
                Kind::Invalid,
                "parse time zone",
                "there is no such time zone: give a name of the IANA database, such as Europe/Berlin or UTC",
            )
            .with("zone", name)),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What clocks show at `time`; none beyond the year 9999.
    pub(crate) fn local(&self, time: Timestamp) -> Option<DateTime> {
        Some(self.0.to_datetime(instant(time)?))
    }

    /// How far clocks are ahead of UTC at `time`, in seconds. Tells the two passes of an hour that comes twice apart.
    pub(crate) fn offset(&self, time: Timestamp) -> Option<i32> {
        Some(self.0.to_offset(instant(time)?).seconds())
    }

    /// When clocks show `local`: the first time if they show it twice; if they skip it, the instant at which they do.
    pub(crate) fn first(&self, local: DateTime) -> Option<Timestamp> {
        let at = |offset: Offset| offset.to_timestamp(local).ok();
        let found = match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset)?,
            AmbiguousOffset::Fold { before, .. } => at(before)?,
            // By the offset that holds after the gap, a time within it lies before the gap's instant by less than the gap is long.
            AmbiguousOffset::Gap { after, .. } => {
                let mut transitions = self.0.following(at(after)?);
                transitions.find(|t| t.offset() == after)?.timestamp()
            }
        };
        timestamp(found)
    }

    /// When clocks show `local` for the last time; as [`first`](Self::first) unless they show it twice.
    pub(crate) fn last(&self, local: DateTime) -> Option<Timestamp> {
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { after, .. } => timestamp(after.to_timestamp(local).ok()?),
            _ => self.first(local),
        }
    }

    /// The instants after `time` at which clocks are put forward or back.
    pub(crate) fn changes(&self, time: Timestamp) -> impl Iterator<Item = Timestamp> {
        let changes = instant(time).map(|at| self.0.following(at));
        changes
            .into_iter()
            .flatten()
            .filter_map(|change| timestamp(change.timestamp()))
    }
}

fn instant(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(time.as_millis()).ok()?).ok()
}

/// None for what lies before 1970.
fn timestamp(instant: jiff::Timestamp) -> Option<Timestamp> {
    let millis = u64::try_from(instant.as_millisecond()).ok()?;
    Some(Timestamp::from_millis(millis))
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::named(text)
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}
