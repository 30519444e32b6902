//! Reads little-endian fields from bytes that may end at any place.

use crate::error::{Error, Kind, Result};

/// A cursor over bytes. Every read names the object that is being decoded if it comes to the end too early.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which should be a `what`.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// An error: the bytes are not a `what`, because of `reason`.
    pub(crate) fn corrupt(&self, reason: &str) -> Error {
        Error::new(Kind::Corrupt, "decode", reason).with("object", self.what)
    }

    /// What is left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, tail)) = self.bytes.split_first_chunk::<N>() else {
            return Err(self.corrupt("it is truncated"));
        };
        self.bytes = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
