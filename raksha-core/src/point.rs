//! Recovery points.

use serde::{Deserialize, Serialize};

use crate::cloud::{Anchor, ConsistencyLedger, DiskId, ResourceGraph};
use crate::error::{Error, Kind, Result};
use crate::format::tree::Root;
use crate::id::{JobId, PointId, ProjectId, RunId};
use crate::store::RunCounts;
use crate::time::Timestamp;

/// Everything needed to bring a set of servers back as it was at one instant; independent of every other point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// What it is, in short.
    pub summary: PointSummary,
    /// The servers and all that belongs to them; empty for a disk that was backed up by itself.
    #[serde(default)]
    pub graph: ResourceGraph,
    /// The disks.
    pub disks: Vec<PointDisk>,
    /// How consistent they are with each other.
    #[serde(default)]
    pub ledger: ConsistencyLedger,
}

/// What a list of points shows. Kept beside the commit, so that listing needs to open no point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// What people call it: the job's name, or the name given to a disk.
    pub name: String,
    /// The instant that it shows, or when the reading of a live disk began.
    pub taken: Timestamp,
    /// Whose it is; none for a disk that was backed up by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// On whose authority it was made, in the cloud's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The job it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How many servers it holds.
    pub servers: u32,
    /// Its bytes, over all disks.
    pub counts: RunCounts,
}

/// A disk of a recovery point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointDisk {
    /// Which disk.
    pub disk: DiskId,
    /// Its content.
    pub root: Root,
    /// Its bytes.
    pub counts: RunCounts,
    /// What the next run can count changes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// How many hints of this disk were found to lie, in this run and those before it: the next one looks the closer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hint_lies: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl RecoveryPoint {
    /// The disk of this name.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the point does not hold it.
    pub fn disk(&self, disk: &DiskId) -> Result<&PointDisk> {
        self.disks.iter().find(|d| d.disk == *disk).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "find disk in recovery point",
                "the point does not hold this disk",
            )
            .with("disk", disk)
        })
    }
}

/// A committed point, as a list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedPoint {
    /// Its id.
    pub id: PointId,
    /// What it is, in short.
    pub summary: PointSummary,
    /// Whether somebody forbade to forget it.
    #[serde(default)]
    pub held: bool,
}
