//! What a run or restore is busy with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run or restore is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
