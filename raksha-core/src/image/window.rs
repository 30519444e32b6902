//! Buffers that a disk is read into, under a budget.
//!
//! A chunk on its way to the store is a slice of the buffer it was read into. So a buffer, and its share of the budget, lives as
//! long as the last chunk in it; then it comes back to be read into again, without being zeroed first.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::Permit;

/// Buffers of a lane: one is read into while the other is cut, hashed and stored.
pub(super) const WINDOWS: usize = 2;

/// Everything that one segment at a time needs. What it needs it has from the beginning, so that nobody waits for memory while
/// holding some.
#[derive(Debug)]
pub(super) struct Lane {
    free: Mutex<Vec<BytesMut>>,
    slots: Arc<Semaphore>,
    bytes: usize,
    _permit: Permit,
}

impl Lane {
    /// A lane whose buffers have `bytes` each; `permit` is for all of them and for what else the lane needs.
    pub(super) fn new(bytes: usize, permit: Permit) -> Self {
        Self {
            free: Mutex::default(),
            slots: Arc::new(Semaphore::new(WINDOWS)),
            bytes,
            _permit: permit,
        }
    }

    /// Waits for a buffer.
    pub(super) async fn window(self: &Arc<Self>) -> Window {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let free = self.free().pop();
        Window {
            buffer: free.unwrap_or_else(|| BytesMut::zeroed(self.bytes)),
            lane: Arc::clone(self),
            // The semaphore is never closed, so there is one.
            _slot: slot.ok(),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<BytesMut>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on loan from its lane. It holds anything: what it was used for before, or zeroes.
#[derive(Debug)]
pub(super) struct Window {
    buffer: BytesMut,
    lane: Arc<Lane>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Window {
    /// The buffer, to be handed to a reader in parts, and put back whole.
    pub(super) fn take(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    /// Puts the buffer back.
    pub(super) fn put(&mut self, buffer: BytesMut) {
        self.buffer = buffer;
    }

    /// The buffer's bytes.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Ends the writing. The buffer comes back to its lane when the last slice is gone.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // One that was lost on the way (an error while reading) is made anew.
        if buffer.len() == self.lane.bytes {
            self.lane.free().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[tokio::test]
    async fn a_buffer_and_its_budget_live_as_long_as_the_last_slice() {
        let budget = Budget::new(1 << 20);
        let lane = Arc::new(Lane::new(64 << 10, budget.take(1 << 20).await));
        let slice = lane.window().await.freeze().slice(7..9);
        let other = lane.window().await;
        assert!(lane.free().is_empty());
        drop(other);
        assert_eq!(lane.free().len(), 1);
        drop(lane);
        assert_eq!(budget.available(), 0);
        drop(slice);
        assert_eq!(budget.available(), budget.total());
    }
}
