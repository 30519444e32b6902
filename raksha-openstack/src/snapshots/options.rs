//! How snapshots may be taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::roads::seconds;

/// How snapshots may be taken. Durations are whole seconds in serde's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Whether a server may stand still for a moment, where nothing less brings all of its disks to one instant.
    pub pause: bool,
    /// For how long at most. If that is not enough, the server goes on and its disks are of several instants. Nova lets a server whose root
    /// disk is being copied into an image go on only when the copy has ended.
    #[serde(with = "seconds")]
    pub longest_pause: Duration,
    /// Names of Cinder's group types whose group snapshots are of one instant. Whether they are is for the cloud's operator to know: tenants do not see what
    /// such a type demands of a backend. Cinder's own type for that, and those that are seen to demand it, need not be named.
    pub group_types: Vec<String>,
    /// Whether a snapshot of each volume may stay behind, by which the next run finds what changed.
    pub hints: bool,
    /// How long the cloud may take for a snapshot.
    #[serde(with = "seconds")]
    pub deadline: Duration,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            pause: false,
            longest_pause: Duration::from_secs(60),
            group_types: Vec::new(),
            hints: true,
            deadline: Duration::from_secs(600),
        }
    }
}
