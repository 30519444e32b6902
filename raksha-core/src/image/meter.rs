//! How far the work is, for those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::RunCounts;

/// Counts bytes while an ingest or export goes on. Several may count into one; anybody may look at any time.
#[derive(Debug, Default)]
pub struct Meter {
    logical: AtomicU64,
    read: AtomicU64,
    new: AtomicU64,
    stored: AtomicU64,
}

impl Meter {
    /// What was counted so far. The four numbers are not of one instant.
    ///
    /// While ingesting, `logical_bytes` are the bytes of the disk that are dealt with, holes and what was known to be unchanged
    /// included. `new_bytes` are those of new chunks, with short holes that lie in them, which were not read. While exporting,
    /// `logical_bytes` are the bytes written, holes included, `read_bytes` those that were fetched; the others stay zero.
    pub fn counts(&self) -> RunCounts {
        RunCounts {
            logical_bytes: self.logical.load(Ordering::Relaxed),
            read_bytes: self.read.load(Ordering::Relaxed),
            new_bytes: self.new.load(Ordering::Relaxed),
            stored_bytes: self.stored.load(Ordering::Relaxed),
        }
    }
}

/// Counts one piece of work twice: by itself, and into the meter that its owner watches.
#[derive(Debug)]
pub(super) struct Tally {
    own: Meter,
    shared: Arc<Meter>,
}

impl Tally {
    /// From zero, adding to `shared`.
    pub(super) fn new(shared: Arc<Meter>) -> Self {
        Self {
            own: Meter::default(),
            shared,
        }
    }

    /// What this piece of work has counted.
    pub(super) fn counts(&self) -> RunCounts {
        self.own.counts()
    }

    pub(super) fn logical(&self, bytes: u64) {
        self.add(bytes, |meter| &meter.logical);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.add(bytes, |meter| &meter.read);
    }

    pub(super) fn new_data(&self, bytes: u64) {
        self.add(bytes, |meter| &meter.new);
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.add(bytes, |meter| &meter.stored);
    }

    fn add(&self, bytes: u64, counter: impl Fn(&Meter) -> &AtomicU64) {
        counter(&self.own).fetch_add(bytes, Ordering::Relaxed);
        counter(&self.shared).fetch_add(bytes, Ordering::Relaxed);
    }
}
