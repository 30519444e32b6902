//! The tables of a qcow2 image, which lead to its clusters.
//!
//! imago follows them for reading, and believes them: where a table or a compressed cluster reaches beyond the end of the file
//! it sees zeroes, and where the first table ends too early it sees nothing. An image that was cut short would read as if
//! it were whole. So it is checked here that all of that lies within the file.

use std::fs::File;
use std::ops::Range;

use super::header::{corrupt, read, truncated};
use crate::error::Result;

/// The most entries that QEMU allows in the first table.
const MOST_ENTRIES: u64 = 4 << 20;
/// The bits of an entry of the first table that say where the second table lies.
const TABLE_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Says of an entry of a second table that its cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// The least stretch of compressed data that an entry can name.
const SECTOR: u64 = 512;

/// Where the first table lies, and in what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Clusters have two to this power bytes; 9 to 21.
    pub(crate) cluster_bits: u32,
    /// How many entries the first table has.
    pub(crate) entries: u64,
    /// Where it lies in the file.
    pub(crate) offset: u64,
    /// The length of the file.
    pub(crate) length: u64,
}

impl Tables {
    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How much of the disk a second table covers: it is a cluster of entries of 8 bytes, each for a cluster.
    fn covered_by_one(&self) -> u64 {
        self.cluster() * (self.cluster() / 8)
    }

    /// Checks that the tables cover a disk of `size` bytes, and that they lie within the file.
    pub(crate) fn check(&self, file: &File, size: u64) -> Result<()> {
        let Self {
            cluster_bits: _,
            entries,
            offset,
            length,
        } = *self;
        if size.div_ceil(self.covered_by_one()) > entries {
            let message =
                format!("its first table has {entries} entries, too few for {size} bytes");
            return Err(corrupt(message));
        }
        if entries > MOST_ENTRIES {
            let message = format!("its first table has {entries} entries, more than are allowed");
            return Err(corrupt(message));
        }
        let end = offset.checked_add(entries * 8);
        if !offset.is_multiple_of(self.cluster()) || end.is_none_or(|end| end > length) {
            return Err(truncated("the first table", offset));
        }
        let mut at = offset;
        let end = offset + entries * 8;
        while at < end {
            let step = (end - at).min(1 << 20);
            for entry in read_entries(file, at, step)? {
                let table = entry & TABLE_OFFSET;
                let end = table.checked_add(self.cluster());
                if !table.is_multiple_of(self.cluster()) || end.is_none_or(|end| end > length) {
                    return Err(truncated("a second table", table));
                }
            }
            at += step;
        }
        Ok(())
    }

    /// Checks that the compressed clusters of `range` of the disk, which one second table covers, lie within the file.
    pub(crate) fn check_compressed(&self, file: &File, range: &Range<u64>) -> Result<()> {
        let first = range.start / self.covered_by_one();
        let entry = read_entries(file, self.offset + first * 8, 8)?;
        let table = entry.first().map_or(0, |entry| entry & TABLE_OFFSET);
        let begin = range.start % self.covered_by_one() / self.cluster();
        let clusters =
            range.end.saturating_sub(1) / self.cluster() - range.start / self.cluster() + 1;
        // An entry holds the offset in its low bits and, above them, how many sectors there are beyond the one in which the data begins.
        let offset_bits = 62 - (self.cluster_bits - 8);
        for entry in read_entries(file, table + begin * 8, clusters * 8)? {
            if entry & COMPRESSED == 0 {
                continue;
            }
            let entry = entry & (COMPRESSED - 1);
            let offset = entry & ((1 << offset_bits) - 1);
            let sectors = (entry >> offset_bits) + 1;
            let end = (offset / SECTOR)
                .saturating_add(sectors)
                .saturating_mul(SECTOR);
            if end > self.length {
                return Err(truncated("a compressed cluster", offset));
            }
        }
        Ok(())
    }
}

fn read_entries(file: &File, at: u64, length: u64) -> Result<Vec<u64>> {
    let bytes = read(file, at, length)?;
    let (entries, _) = bytes.as_chunks::<8>();
    Ok(entries
        .iter()
        .map(|entry| u64::from_be_bytes(*entry))
        .collect())
}
