//! A tiny model of what runs in a server: something that writes numbered records round all disks, and an agent that freezes it.

use serde::{Deserialize, Serialize};

/// The bytes between the beginnings of two records on one disk.
pub const RECORD_STRIDE: u64 = 4096;

/// Where on each disk the records begin: behind the place of a partition table, whose absence nobody misses.
pub const RECORDS_AT: u64 = 1 << 20;

/// How many records a disk holds before the oldest are overwritten.
pub const RECORDS: u64 = 1024;

/// What a guest did and what its agent was asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Guest {
    /// The number of the record that is on all disks.
    pub last: u64,
    /// How often its file systems were frozen.
    pub frozen: u64,
    /// How often they were thawed.
    pub thawed: u64,
    /// Whether its agent does not answer.
    pub agent_hangs: bool,
}

/// The bytes of record `number` on a disk: the number in decimal, a line feed, zeroes up to [`RECORD_STRIDE`], and where they go.
pub fn record(number: u64) -> (u64, Vec<u8>) {
    let mut bytes = format!("raksha record {number}\n").into_bytes();
    bytes.resize(usize::try_from(RECORD_STRIDE).unwrap_or_default(), 0);
    (RECORDS_AT + number % RECORDS * RECORD_STRIDE, bytes)
}

/// The highest record on a disk, whose bytes `read` gives: an offset and a length, clipped at the end of the disk. Zero for none.
///
/// # Errors
/// What `read` says.
pub fn last_record<E>(mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, E>) -> Result<u64, E> {
    let stride = usize::try_from(RECORD_STRIDE).unwrap_or_default();
    let whole = usize::try_from(RECORDS).unwrap_or_default() * stride;
    let bytes = read(RECORDS_AT, whole)?;
    let numbers = bytes.chunks(stride).filter_map(|chunk| {
        let line = chunk.split(|byte| *byte == b'\n').next()?;
        let text = std::str::from_utf8(line).ok()?;
        text.strip_prefix("raksha record ")?.parse::<u64>().ok()
    });
    Ok(numbers.max().unwrap_or_default())
}
