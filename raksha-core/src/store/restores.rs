//! Restores as they are recorded: enough to undo one that died.

use serde::{Deserialize, Serialize};

use super::{DiskProgress, Phase};
use crate::cloud::Created;
use crate::id::{PointId, ProjectId, RestoreId};
use crate::time::Timestamp;

/// One execution of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreRun {
    /// Its id.
    pub id: RestoreId,
    /// Who asked for it.
    pub project: ProjectId,
    /// [Where](crate::cloud::ResourceDiscovery::place) it creates; none in records from before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is brought back.
    pub point: PointId,
    /// When it began.
    pub started: Timestamp,
    /// When it last gave a sign of life.
    pub seen: Timestamp,
    /// Where it stands.
    pub state: RestoreState,
    /// What it was busy with when it last gave a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The bytes of each disk then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskProgress>,
    /// What it created and has not removed again, in order. After a restore that did not succeed this is what is left to undo.
    #[serde(default)]
    pub created: Vec<Created>,
}

/// Where a restore stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreState {
    /// It is under way.
    Running,
    /// It has ended.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: RestoreOutcome,
    },
}

/// How a restore ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// Everything is back.
    Succeeded,
    /// It failed, and what it had created is removed or listed as left.
    Failed {
        /// The error, in one line.
        error: String,
    },
    /// Somebody asked to stop, and what it had created is removed or listed as left.
    Cancelled,
}
