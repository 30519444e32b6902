//! A qcow2 image of a sparse disk, made as a stream: its length is known before the first byte, every byte is written once.
//!
//! Format: QEMU's `docs/interop/qcow2.txt`, version 3, clusters of 64 KiB, refcounts of 16 bits. In this order: header, refcount
//! table, refcount blocks, L1 table, L2 tables, data. What the disk does not use has no cluster and reads as zeroes.

use bytes::Bytes;

use super::bitmap::Bitmap;

const CLUSTER_BITS: u32 = 16;
/// The unit of allocation.
pub(super) const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Refcounts in a cluster, of two bytes each.
const COUNTS: u64 = CLUSTER / 2;
/// Offsets in a cluster, of eight bytes each.
const OFFSETS: u64 = CLUSTER / 8;
/// What an entry of L1 and L2 tables says of clusters whose refcount is one.
const COPIED: u64 = 1 << 63;
/// The length of a version 3 header without extensions.
const HEADER: u32 = 104;

/// Where everything lies.
#[derive(Debug)]
pub(super) struct Layout {
    /// The size that the guest sees, in whole sectors.
    size: u64,
    used: Bitmap,
    /// Clusters of the refcount table.
    table: u64,
    /// Clusters of refcounts.
    blocks: u64,
    /// Clusters of the L1 table.
    l1: u64,
    /// Which L1 entries have an L2 table, and how many used clusters lie before theirs.
    l2: Vec<(u64, u64)>,
    /// All clusters.
    total: u64,
}

impl Layout {
    /// The layout for a disk of `size` bytes that uses the clusters in `used`.
    pub(super) fn new(size: u64, used: Bitmap) -> Self {
        let size = size.next_multiple_of(512);
        let entries = size.div_ceil(CLUSTER * OFFSETS);
        let mut l2 = Vec::new();
        let mut data = 0;
        for entry in 0..entries {
            let here = used.count(entry * OFFSETS..(entry + 1) * OFFSETS);
            if here > 0 {
                l2.push((entry, data));
                data += here;
            }
        }
        let l1 = entries.div_ceil(OFFSETS).max(1);
        let rest = 1 + l1 + l2.len() as u64 + data;
        // The refcounts count themselves: grow until they cover everything.
        let (mut table, mut blocks) = (1, 1);
        loop {
            let total = rest + table + blocks;
            let (more_blocks, more_table) = (
                total.div_ceil(COUNTS),
                total.div_ceil(COUNTS).div_ceil(OFFSETS),
            );
            if more_blocks <= blocks && more_table <= table {
                break;
            }
            (blocks, table) = (more_blocks.max(blocks), more_table.max(table));
        }
        Self {
            size,
            used,
            table,
            blocks,
            l1,
            l2,
            total: rest + table + blocks,
        }
    }

    /// The length of the whole stream.
    pub(super) fn length(&self) -> u64 {
        self.total * CLUSTER
    }

    /// The first used cluster of the disk from `cluster` on.
    pub(super) fn next_used(&self, cluster: u64) -> Option<u64> {
        self.used.next(cluster)
    }

    fn first_l1(&self) -> u64 {
        1 + self.table + self.blocks
    }

    fn first_l2(&self) -> u64 {
        self.first_l1() + self.l1
    }

    fn first_data(&self) -> u64 {
        self.first_l2() + self.l2.len() as u64
    }

    /// The content of cluster `cluster` of the stream; none from where the disk's own clusters follow, in their order.
    pub(super) fn format(&self, cluster: u64) -> Option<Bytes> {
        (cluster < self.first_data()).then(|| self.before_data(cluster))
    }

    fn before_data(&self, cluster: u64) -> Bytes {
        let (first_block, first_l1, first_l2) = (1 + self.table, self.first_l1(), self.first_l2());
        if cluster == 0 {
            self.header()
        } else if cluster < first_block {
            let first = (cluster - 1) * OFFSETS;
            offsets(|at| {
                let block = first + at;
                (block < self.blocks).then(|| (first_block + block) * CLUSTER)
            })
        } else if cluster < first_l1 {
            self.refcounts(cluster - first_block)
        } else if cluster < first_l2 {
            let first = (cluster - first_l1) * OFFSETS;
            offsets(|at| {
                let found = self
                    .l2
                    .binary_search_by_key(&(first + at), |(entry, _)| *entry);
                let number = found.ok()? as u64;
                Some(COPIED | ((first_l2 + number) * CLUSTER))
            })
        } else {
            let mut tables = self.l2.iter();
            let number = usize::try_from(cluster - first_l2).unwrap_or(usize::MAX);
            let (entry, before) = tables.nth(number).copied().unwrap_or_default();
            let mut next = self.first_data() + before;
            offsets(|at| {
                let used = self.used.has(entry * OFFSETS + at);
                used.then(|| {
                    let here = next * CLUSTER;
                    next += 1;
                    COPIED | here
                })
            })
        }
    }

    fn header(&self) -> Bytes {
        let mut header = Vec::new();
        header.extend(b"QFI\xfb");
        let be32 = |header: &mut Vec<u8>, value: u32| header.extend(value.to_be_bytes());
        let be64 = |header: &mut Vec<u8>, value: u64| header.extend(value.to_be_bytes());
        be32(&mut header, 3);
        be64(&mut header, 0); // no backing file
        be32(&mut header, 0);
        be32(&mut header, CLUSTER_BITS);
        be64(&mut header, self.size);
        be32(&mut header, 0); // not encrypted
        let entries = self.size.div_ceil(CLUSTER * OFFSETS);
        be32(&mut header, u32::try_from(entries).unwrap_or(u32::MAX));
        be64(&mut header, self.first_l1() * CLUSTER);
        be64(&mut header, CLUSTER);
        be32(&mut header, u32::try_from(self.table).unwrap_or(u32::MAX));
        be32(&mut header, 0); // no snapshots
        be64(&mut header, 0);
        be64(&mut header, 0); // no features that must, may or can be ignored
        be64(&mut header, 0);
        be64(&mut header, 0);
        be32(&mut header, 4); // refcounts of 2^4 bits
        be32(&mut header, HEADER);
        whole_cluster(header)
    }

    fn refcounts(&self, block: u64) -> Bytes {
        let first = block * COUNTS;
        let mut counts = Vec::new();
        for at in 0..COUNTS {
            let count: u16 = (first + at < self.total).into();
            counts.extend(count.to_be_bytes());
        }
        whole_cluster(counts)
    }
}

/// A cluster of offsets; none is zero.
fn offsets(mut of: impl FnMut(u64) -> Option<u64>) -> Bytes {
    let mut bytes = Vec::new();
    for at in 0..OFFSETS {
        bytes.extend(of(at).unwrap_or(0).to_be_bytes());
    }
    whole_cluster(bytes)
}

fn whole_cluster(mut bytes: Vec<u8>) -> Bytes {
    bytes.resize(usize::try_from(CLUSTER).unwrap_or(bytes.len()), 0);
    Bytes::from(bytes)
}
