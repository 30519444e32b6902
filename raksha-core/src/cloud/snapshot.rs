//! Taking the disks of a set at one instant, and reading what was taken.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::resource::Raw;
use super::{
    Consistency, ConsistencyLedger, DiskId, DiskReader, Recorder, ResourceGraph, Temporary,
};
use crate::error::Result;

/// What a provider can do for the servers of a graph. Declared, so that nobody has to find out by failing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotCapabilities {
    /// The best level it can reach for all disks of one server together.
    pub best: Consistency,
    /// Whether it can tell what changed since an anchor.
    pub hints: HintSupport,
}

impl SnapshotCapabilities {
    /// Capabilities with these values.
    pub fn new(best: Consistency, hints: HintSupport) -> Self {
        Self { best, hints }
    }
}

/// Whether a provider can tell what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HintSupport {
    /// Never.
    None,
    /// For some disks.
    SomeDisks,
    /// For every disk.
    AllDisks,
}

/// What to snapshot.
#[derive(Debug)]
pub struct SnapshotRequest<'a> {
    /// The servers, as they were discovered a moment ago.
    pub graph: &'a ResourceGraph,
    /// The disks wanted: all of the graph's, or some.
    pub disks: &'a [DiskId],
    /// The level to aim for. A provider that reaches less says so in the ledger; whether that will do is for the caller to decide.
    pub consistency: Consistency,
    /// A text that is unique to the run; markers of temporaries begin with it.
    pub marker: &'a str,
    /// Whether a snapshot may stay behind per disk as the next run's anchor.
    pub keep_anchor: bool,
}

/// The cloud-side snapshots of all disks of a set, taken together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotSet {
    /// One per disk asked for.
    pub disks: Vec<SnapshottedDisk>,
    /// What was reached.
    pub ledger: ConsistencyLedger,
    /// What the provider needs beside it.
    #[serde(default)]
    pub detail: Raw,
}

/// One disk of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshottedDisk {
    /// The disk.
    pub disk: DiskId,
    /// Its size at the instant, in bytes.
    pub size: u64,
    /// What the next run can count changes from, where the provider keeps something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// What the provider needs to open it.
    #[serde(default)]
    pub detail: Raw,
}

/// The cloud-side snapshot that a change hint counts from, with proof of identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    /// The cloud's name for it.
    pub id: String,
    /// What only this snapshot of this disk has: a creation time, a serial number, a random mark. An anchor that was
    /// deleted and made anew under the same name has another.
    pub identity: String,
    /// What releases it, once no run counts from it any more.
    pub temporary: Temporary,
}

/// A cloud's claim of which extents changed since an anchor; never trusted blindly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeHint {
    /// What may differ from the anchor: ascending, disjoint. Everything else is claimed to be unchanged.
    pub changed: Vec<Range<u64>>,
}

impl ChangeHint {
    /// The hint that follows from changes in any order, each an offset and a length, of a disk that had `old` bytes and has `new` now. What lies
    /// beyond the old size is new. None if a change ends beyond all numbers.
    pub fn of(changes: impl IntoIterator<Item = (u64, u64)>, old: u64, new: u64) -> Option<Self> {
        let mut ranges = Vec::new();
        for (offset, length) in changes {
            ranges.push(offset.min(new)..offset.checked_add(length)?.min(new));
        }
        ranges.push(old.min(new)..new);
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| range.start);
        let mut changed: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match changed.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => changed.push(range),
            }
        }
        Some(Self { changed })
    }
}

/// A disk of a snapshot set, ready to be read.
#[derive(Debug)]
pub struct OpenedDisk {
    /// Reads it.
    pub reader: Box<dyn DiskReader>,
    /// What changed since the anchor that was asked for; none if the provider cannot tell, or the anchor is gone or not the one it was.
    pub hint: Option<ChangeHint>,
}

/// Takes snapshots of sets of disks, and reads them.
///
/// # Contract
/// - Everything that is created is recorded with the [`Recorder`] first, as a [`Temporary`].
/// - The set is of one instant as far as the ledger says; the ledger never claims more than was done.
/// - A guest that was frozen is thawed before [`snapshot`](Self::snapshot) returns, whether it succeeds or fails.
/// - The live disks are never written.
///
/// # Cancellation
/// A dropped future may leave temporaries behind; each of them was recorded.
#[async_trait]
pub trait SnapshotProvider: Send + Sync + fmt::Debug {
    /// What it can do for these servers.
    async fn capabilities(&self, graph: &ResourceGraph) -> Result<SnapshotCapabilities>;

    /// Takes all disks asked for.
    ///
    /// # Errors
    /// On an error nothing is left that was not recorded; the caller releases what was.
    async fn snapshot(
        &self,
        request: SnapshotRequest<'_>,
        recorder: &dyn Recorder,
    ) -> Result<SnapshotSet>;

    /// Opens a disk of the set for reading and, given the previous run's anchor, asks what changed since.
    async fn open(
        &self,
        set: &SnapshotSet,
        disk: &DiskId,
        since: Option<&Anchor>,
        recorder: &dyn Recorder,
    ) -> Result<OpenedDisk>;

    /// Removes a temporary, found by its id or, if that is not known, by its marker. Removing what is not there succeeds.
    ///
    /// # Contract
    /// Nothing but the temporary itself is ever touched. Several of one kind, recorded one after the other, are released at once: none is made from another.
    async fn release(&self, temporary: &Temporary) -> Result<()>;
}
