//! Disks: what they are called, and how their bytes are read and written.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::{ServerId, VolumeId};

/// Names a disk within a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskId {
    /// A volume.
    Volume(VolumeId),
    /// A disk that comes and goes with its server.
    Local {
        /// The server.
        server: ServerId,
        /// Which of its disks: `root`, `ephemeral0` ...
        name: String,
    },
    /// A disk that was backed up by itself, under a name that its owner gave it.
    Named(String),
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(id) => write!(f, "volume:{id}"),
            Self::Local { server, name } => write!(f, "server:{server}/{name}"),
            Self::Named(name) => write!(f, "disk:{name}"),
        }
    }
}

/// Whether a stretch of a disk holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// It may hold anything, zeroes included.
    Data,
    /// It reads as zeroes and need not be read.
    Hole,
}

/// A stretch of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Where, in bytes.
    pub range: Range<u64>,
    /// What is there.
    pub kind: ExtentKind,
}

/// Reads a disk that does not change.
///
/// # Contract
/// - The content is fixed: the same range gives the same bytes for as long as the reader lives.
/// - Calls may overlap; any number of them may be under way at once.
///
/// # Cancellation
/// Dropping a future is safe and leaves the reader usable.
#[async_trait]
pub trait DiskReader: Send + Sync + fmt::Debug {
    /// The exact size in bytes, which need not be a multiple of anything.
    fn size(&self) -> u64;

    /// Divides `range` into extents: ascending, adjacent, none empty, covering exactly `range`.
    /// An implementation that knows nothing of holes answers with one extent of data.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid) if `range` reaches beyond the end.
    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>>;

    /// Fills all of `buffer` with what lies at `offset` and gives it back.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid) if the buffer reaches beyond the end. A disk that turns out
    /// shorter than [`size`](Self::size), or a range that the device cannot read, is an error that names the offset; never a short or zero-filled answer.
    async fn read_at(&self, offset: u64, buffer: BytesMut) -> Result<BytesMut>;
}

/// Writes a disk from one end to the other, or anywhere.
///
/// # Contract
/// - Made for a fixed size. After [`finish`](Self::finish) the disk holds what was written, durably, and zeroes
///   wherever [`write_zeroes`](Self::write_zeroes) was called. Every byte is covered by exactly one call.
/// - Calls for different ranges may overlap in time and come in any order.
/// - Until `finish` has succeeded nobody may take the disk for whole.
///
/// # Cancellation
/// Dropping a future or the writer leaves a disk that is not whole and not taken for whole.
#[async_trait]
pub trait DiskWriter: Send + Sync + fmt::Debug {
    /// Writes `data` at `offset`.
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()>;

    /// Makes `range` read as zeroes, as cheaply as the disk can: a fresh sparse one does nothing.
    async fn write_zeroes(&self, range: Range<u64>) -> Result<()>;

    /// Makes everything durable and the disk whole.
    async fn finish(&self) -> Result<()>;
}
