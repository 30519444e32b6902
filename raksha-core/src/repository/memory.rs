//! How the memory of an open repository is divided.
//!
//! The stages wait for each other: reading for packing, packing for uploading. Each has a share of its own, so that none can starve the one that it waits for.

use crate::budget::{Budget, DEFAULT_BUDGET};

/// Processors that the default budget is enough for.
const PROCESSORS: u64 = 4;

/// What each processor beyond those adds to it: each fills a pack of its own.
const MORE: u64 = DEFAULT_BUDGET / PROCESSORS;

/// The most memory that is used unless somebody asks for more.
const MOST: u64 = 1 << 30;

/// The memory of an engine that nobody has said anything else to, in bytes.
pub(super) fn default_memory(processors: usize) -> u64 {
    let more = (processors as u64).saturating_sub(PROCESSORS);
    more.saturating_mul(MORE)
        .saturating_add(DEFAULT_BUDGET)
        .min(MOST)
}

/// The shares of a declared number of bytes: an eighth for what is read from or written to disks, three for packs of a writer that are filled and uploaded, two for
/// what was fetched and is not opened yet, and two for finding chunks.
#[derive(Debug)]
pub(crate) struct Shares {
    eighth: u64,
    disks: Budget,
    fetching: Budget,
}

impl Shares {
    pub(crate) fn of(memory: u64) -> Self {
        let eighth = memory / 8;
        Self {
            eighth,
            disks: Budget::new(eighth),
            fetching: Budget::new(2 * eighth),
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
        Budget::new(3 * self.eighth)
    }

    /// For finding chunks, in bytes.
    pub(crate) fn lookup(&self) -> u64 {
        2 * self.eighth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processors_have_more_memory_but_not_without_limit() {
        let mebibytes = |processors| default_memory(processors) >> 20;
        let found = [0, 1, 2, 4, 5, 8, 16, 17, usize::MAX].map(mebibytes);
        assert_eq!(found, [256, 256, 256, 256, 320, 512, 1024, 1024, 1024]);
    }
}
