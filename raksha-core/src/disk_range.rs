//! Ranges of a disk, checked.

use std::ops::Range;

use crate::error::{Error, Kind, Result};

/// The range of `length` bytes at `offset`.
pub(crate) fn span(offset: u64, length: usize) -> Range<u64> {
    offset..offset.saturating_add(length as u64)
}

/// # Errors
/// [`Kind::Invalid`] if `range` is backwards or reaches beyond `size`.
pub(crate) fn check_range(range: &Range<u64>, size: u64) -> Result<()> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        "access disk",
        "the range reaches beyond the end of the disk",
    )
    .with("range", format!("{}..{}", range.start, range.end))
    .with("size", size))
}
