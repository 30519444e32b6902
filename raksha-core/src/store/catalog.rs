//! The order of commits.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an append that found its number taken has appended nothing"]
pub enum Appended {
    /// The entry now has the number, forever.
    Done,
    /// Another entry has the number. (Or this one: if an earlier attempt's answer was lost, read and compare.)
    Taken,
}

/// A totally ordered, append-only list of entries, and nothing more: the one thing that a target must get right under
/// many writers.
///
/// # Contract
/// - Numbers begin at 0 and have no gaps: an entry is appended as number n only after n - 1 was.
/// - Of all who append as number n, over all processes and machines, exactly one is ever told [`Appended::Done`], or none if
///   the one who succeeded never got the answer. An entry once readable never changes and never disappears.
/// - After `Done`, every read anywhere sees the entry.
/// - Entries are small: up to 1 MiB.
///
/// # Errors
/// After an error it is open whether the append happened. The caller reads number n and compares. The same attempt
/// may still take effect later: so the caller repeats the same bytes, or accepts that they may appear.
///
/// # Cancellation
/// A dropped append is as one that failed: it is open whether it happened.
#[async_trait]
pub trait ManifestCatalog: Send + Sync + fmt::Debug {
    /// Appends `entry` as number `number`, or says that the number is taken.
    async fn append(&self, number: u64, entry: Bytes) -> Result<Appended>;

    /// The entries from `number` on, in order, without gaps: the first `limit` of them, or all that there are when it is called, and possibly some newer ones.
    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>>;
}
