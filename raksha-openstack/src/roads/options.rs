//! Which roads may be taken, and what they need of this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A way to the bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoadKind {
    /// Straight from the Ceph cluster, through `qemu-nbd`. Needs an operator's key.
    Rbd,
    /// As a file of an NFS export or a block device that this machine sees, found through Cinder's attachments.
    File,
    /// Through an image in Glance. Needs nothing but the cloud's API.
    Image,
}

impl fmt::Display for RoadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rbd => "rbd",
            Self::File => "file",
            Self::Image => "image",
        })
    }
}

/// How the bytes of disks may be reached. Durations are whole seconds in serde's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RoadOptions {
    /// The roads that may be taken; of those that are open, the cheapest is.
    pub allowed: Vec<RoadKind>,
    /// Where images are kept while they are read, and sockets are made. A short name, with room for the largest disk's data.
    pub work: PathBuf,
    /// The NFS exports that this machine has mounted, `server:/directory` as Cinder calls them, and where.
    pub exports: BTreeMap<String, PathBuf>,
    /// Whether a block device that Cinder names is one of this machine.
    pub devices: bool,
    /// The program `qemu-nbd`.
    pub qemu_nbd: PathBuf,
    /// The program `rbd`.
    pub rbd: PathBuf,
    /// How long the storage may take for one request.
    #[serde(with = "seconds")]
    pub request: Duration,
    /// How long the cloud may take to make a volume from a snapshot or an image from a volume, beside what its size asks for.
    #[serde(with = "seconds")]
    pub transfer: Duration,
    /// What the cloud copies at least, in bytes a second; longer is a failure.
    pub slowest: u64,
}

impl Default for RoadOptions {
    fn default() -> Self {
        Self {
            allowed: vec![RoadKind::Rbd, RoadKind::File, RoadKind::Image],
            work: std::env::temp_dir().join("raksha"),
            exports: BTreeMap::new(),
            devices: false,
            qemu_nbd: "qemu-nbd".into(),
            rbd: "rbd".into(),
            request: Duration::from_secs(300),
            transfer: Duration::from_secs(900),
            slowest: 4 << 20,
        }
    }
}

impl RoadOptions {
    /// How long the cloud may take to copy a disk of `size` bytes.
    pub(crate) fn patience(&self, size: u64) -> Duration {
        self.transfer + Duration::from_secs(size / self.slowest.max(1))
    }
}

pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(d.as_secs())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_secs)
    }
}
