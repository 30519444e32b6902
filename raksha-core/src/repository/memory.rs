//! How the memory of an open repository is divided.
//!
//! The stages wait for each other: reading for packing, packing for uploading. Each has a share of its own, so that none can starve the one that it waits for.

use crate::budget::Budget;

/// The shares of a declared number of bytes: a quarter each for what is read from or written to disks, for packs of a writer that are filled and uploaded, for
/// what was fetched and is not opened yet, and for finding chunks.
#[derive(Debug)]
pub(crate) struct Shares {
    quarter: u64,
    disks: Budget,
    fetching: Budget,
}

impl Shares {
    pub(crate) fn of(memory: u64) -> Self {
        let quarter = memory / 4;
        Self {
            quarter,
            disks: Budget::new(quarter),
            fetching: Budget::new(quarter),
        }
    }

    /// For what is read from or written to disks.
    pub(crate) fn disks(&self) -> &Budget {
        &self.disks
    }

    /// For what was fetched and is not opened yet.
    pub(crate) fn fetching(&self) -> Budget {
        self.fetching.clone()
    }

    /// For the packs of one writer. Writers do not share it: each of two could hold half-filled packs that the other one waits for.
    pub(crate) fn packing(&self) -> Budget {
        Budget::new(self.quarter)
    }

    /// For finding chunks, in bytes.
    pub(crate) fn lookup(&self) -> u64 {
        self.quarter
    }
}
