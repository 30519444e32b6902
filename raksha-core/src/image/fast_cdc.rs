//! Cut points by content at any byte: [`Chunking::FastCdc`](crate::format::Chunking).
//!
//! The crate `fastcdc` does the finding; it is pinned to one version, and the tests hold golden cut points, because where it cuts
//! is part of the stored format. Its cut function gets the bytes from the chunk's beginning up to `max`, the next hole or
//! the segment's end, whichever comes first.

use fastcdc::v2020::{Normalization, cut, select_masks};

/// Finds cut points at any byte.
#[derive(Debug, Clone)]
pub(super) struct FastCdc {
    min: usize,
    average: usize,
    max: usize,
    strict: u64,
    relaxed: u64,
}

impl FastCdc {
    /// With sizes that [`Chunking::check`](crate::format::Chunking::check) has accepted.
    pub(super) fn new(min: u32, average: u32, max: u32) -> Self {
        let average = average as usize;
        let (strict, relaxed) = select_masks(average, Normalization::Level1);
        Self {
            min: min as usize,
            average,
            max: max as usize,
            strict,
            relaxed,
        }
    }

    /// The length of the chunk at the front of `bytes`, if a cut ends it before they do.
    ///
    /// A cut that is found is found with more bytes at the end as well: so it does not matter how many were at hand.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let bytes = bytes.get(..self.max).unwrap_or(bytes);
        let (_, length) = cut(
            bytes,
            self.min,
            self.average,
            self.max,
            self.strict,
            self.relaxed,
            self.strict << 1,
            self.relaxed << 1,
        );
        // Running out of bytes looks like a cut at their end.
        (length < bytes.len() || length >= self.max).then_some(length)
    }
}
