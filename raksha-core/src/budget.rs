//! Memory under one declared budget.
//!
//! Whoever wants a large buffer takes a [`Permit`] for its bytes first and keeps the permit with the
//! buffer for as long as the buffer lives. So memory is bounded by ownership, not by good intentions.
//!
//! A budget is cut into shares for stages that wait for each other (reading waits for packing, packing for
//! uploading), so that no stage can starve the one it waits for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The default budget of an engine on a machine of few processors: 256 MiB.
pub const DEFAULT_BUDGET: u64 = 256 << 20;

/// Permits are counted in pages of this many bytes.
const PAGE: u64 = 4096;

/// A number of bytes that may be in use at once. Cheap to clone; clones share the bytes.
#[derive(Debug, Clone)]
pub struct Budget {
    pages: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    /// A budget of `bytes`, rounded up to whole pages of 4 KiB.
    pub fn new(bytes: u64) -> Self {
        let total = pages(bytes);
        Self {
            pages: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// All bytes of this budget, used or not.
    pub fn total(&self) -> u64 {
        u64::from(self.total) * PAGE
    }

    /// Bytes that nobody holds at this moment.
    pub fn available(&self) -> u64 {
        self.pages.available_permits() as u64 * PAGE
    }

    /// Waits until `bytes` are free and takes them. A wish beyond the whole budget takes all of it, so that
    /// one oversized item is slow rather than stuck.
    ///
    /// # Cancellation
    /// Safe: a dropped future holds nothing.
    pub async fn take(&self, bytes: u64) -> Permit {
        let wanted = pages(bytes).min(self.total);
        let held = Arc::clone(&self.pages).acquire_many_owned(wanted).await;
        // The semaphore is never closed, so the error cannot happen; a permit of nothing would be harmless.
        Permit { _held: held.ok() }
    }

    /// Takes `bytes` if they are free at this moment.
    pub fn try_take(&self, bytes: u64) -> Option<Permit> {
        let wanted = pages(bytes).min(self.total);
        let held = Arc::clone(&self.pages)
            .try_acquire_many_owned(wanted)
            .ok()?;
        Some(Permit { _held: Some(held) })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

/// The right to use some bytes; given back when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once bounds nothing"]
pub struct Permit {
    _held: Option<OwnedSemaphorePermit>,
}

fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE))
        .unwrap_or(u32::MAX)
        .max(1)
        .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_when_the_permit_goes() {
        let budget = Budget::new(64 << 10);
        let a = budget.take(40 << 10).await;
        assert!(budget.try_take(40 << 10).is_none());
        drop(a);
        assert_eq!(budget.available(), budget.total());
        assert!(budget.try_take(40 << 10).is_some());
    }

    #[tokio::test]
    async fn a_wish_beyond_the_budget_is_granted_alone() {
        let budget = Budget::new(8 << 10);
        let all = budget.take(1 << 40).await;
        assert_eq!(budget.available(), 0);
        drop(all);
    }
}
