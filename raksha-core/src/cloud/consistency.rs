//! How consistent the disks of a set are with themselves and with each other, as far as it is known.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DiskId;
use crate::time::Timestamp;

/// The levels of consistency; each includes the ones before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Consistency {
    /// Each disk by itself is as after a power cut.
    #[default]
    Crash,
    /// All disks of a server are as after one power cut, at the same instant.
    CrashAcrossDisks,
    /// The guest's file systems were flushed and frozen for the instant.
    FileSystem,
    /// The guest's applications took part.
    Application,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::CrashAcrossDisks => "crash across disks",
            Self::FileSystem => "file system",
            Self::Application => "application",
        })
    }
}

/// What was reached for each disk of a set, and how far apart the instants lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsistencyLedger {
    /// One entry per disk.
    pub disks: Vec<DiskConsistency>,
    /// An upper bound of the time between the first and the last disk's instant; zero if it was one instant.
    #[serde(with = "micros")]
    pub skew: Duration,
}

impl ConsistencyLedger {
    /// The level that every disk reached.
    pub fn reached(&self) -> Consistency {
        let levels = self.disks.iter().map(|d| d.level);
        levels.min().unwrap_or_default()
    }
}

/// What was reached for one disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskConsistency {
    /// The disk.
    pub disk: DiskId,
    /// The level reached: never more than was proven.
    pub level: Consistency,
    /// By what means, in the cloud's words.
    pub means: String,
    /// The instant, as the cloud's clock has it.
    pub taken: Timestamp,
    /// For how long the guest could not write; none if it was not frozen or the cloud does not tell.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "option_micros"
    )]
    pub freeze: Option<Duration>,
}

/// Durations are stored as whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_micros)
    }
}

mod option_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => super::micros::serialize(d, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(d)?.map(Duration::from_micros))
    }
}
