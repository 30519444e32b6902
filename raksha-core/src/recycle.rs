//! Large buffers for use again.
//!
//! Memory that goes back to the operating system after each use comes back as pages that it has to find and to zero, one fault for
//! every 4 KiB: for a buffer that is filled once this costs about as much as filling it. So whoever works through many buffers of
//! one kind keeps them. Their content begins at a multiple of [`ALIGNMENT`](crate::direct::ALIGNMENT) in memory, so that it can be
//! written past the page cache.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::direct::{ALIGNMENT, padding};

/// Buffers of one size. Idle ones are never more than were in use at once, so that their number is bounded by what bounds those: a
/// budget, mostly. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    size: usize,
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// None yet, of `size` bytes each.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            idle: Arc::default(),
        }
    }

    /// A buffer with room for `capacity` bytes of content behind what [`Content`] skips. If that is more than the others have, it is
    /// made for this once.
    pub(crate) fn take(&self, capacity: usize) -> Content {
        let size = capacity.max(self.size);
        let idle = (size == self.size).then(|| self.idle().pop()).flatten();
        let mut buffer = idle.unwrap_or_else(|| Vec::with_capacity(size + ALIGNMENT));
        let begin = padding(&buffer);
        buffer.resize(begin, 0);
        Content { buffer, begin }
    }

    /// Ends the writing into a buffer. It comes back when the last slice of it is gone.
    pub(crate) fn freeze(&self, content: Content) -> Bytes {
        Bytes::from_owner(Lent {
            content,
            home: self.clone(),
        })
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == self.size + ALIGNMENT {
            buffer.clear();
            self.idle().push(buffer);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being written into a buffer.
#[derive(Debug)]
pub(crate) struct Content {
    buffer: Vec<u8>,
    /// Bytes in front that are none of the content.
    begin: usize,
}

impl Content {
    /// What there is so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.begin..).unwrap_or_default()
    }

    /// How much there is so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Takes everything back from `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.buffer.truncate(self.begin + length);
    }

    /// The content behind something else, to be appended to.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// A buffer that is being read.
struct Lent {
    content: Content,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.content.bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home
            .give_back(std::mem::take(&mut self.content.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_when_its_last_slice_is_gone() {
        let buffers = Buffers::new(1 << 20);
        let mut buffer = buffers.take(10);
        buffer.end().extend_from_slice(b"bytes");
        let place = buffer.bytes().as_ptr();
        assert_eq!(place.align_offset(ALIGNMENT), 0);
        let bytes = buffers.freeze(buffer);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert!(buffers.idle().is_empty());
        assert_eq!(slice, &b"yt"[..]);
        drop(slice);
        let again = buffers.take(1 << 20);
        assert_eq!((again.bytes().as_ptr(), again.len()), (place, 0));
        drop(buffers.freeze(buffers.take((1 << 20) + 1)));
        assert!(buffers.idle().is_empty(), "a larger one was kept");
    }
}
