//! Disks in memory, and dice.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::budget::Budget;
use crate::cloud::{DiskReader, DiskWriter, Extent, ExtentKind};
use crate::error::{Error, Kind, Result};
use crate::format::Chunking;
use crate::id::ChunkId;
use crate::image::{IngestOptions, Ingested, ingest};
use crate::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};
use crate::testkit::MemoryChunks;

pub(super) const MIB: u64 = 1 << 20;

/// The seeds to try: `few`, or as many as the variable `RAKSHA_SEEDS` asks for.
pub(super) fn seeds(few: u64) -> Range<u64> {
    let more = std::env::var("RAKSHA_SEEDS");
    0..more.map_or(few, |n| n.parse().unwrap())
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            word.copy_from_slice(&random[..word.len()]);
        }
    }

    /// Some bytes like those on disks: data, zeroes, runs of the same block, block-aligned or not.
    pub(super) fn disk(&mut self, size: u64) -> Vec<u8> {
        let mut disk = vec![0; size as usize];
        for _ in 0..size / 60_000 + 1 {
            self.scribble(&mut disk);
        }
        disk
    }

    /// Changes something somewhere, and says where.
    pub(super) fn scribble(&mut self, disk: &mut [u8]) -> Range<u64> {
        if disk.is_empty() {
            return 0..0;
        }
        let size = disk.len() as u64;
        let longest = [1, 4096, 20_000, 140_000, 400_000][self.below(5) as usize];
        let mut start = self.below(size);
        let mut end = (start + 1 + self.below(longest)).min(size);
        if self.below(3) > 0 {
            start -= start % 4096;
            end = end.next_multiple_of(4096).min(size);
        }
        let range = start as usize..end as usize;
        match self.below(5) {
            0 | 1 => disk[range].fill(0),
            2 => {
                let mut block = [0; 4096];
                self.fill(&mut block);
                for chunk in disk[range].chunks_mut(4096) {
                    chunk.copy_from_slice(&block[..chunk.len()]);
                }
            }
            _ => self.fill(&mut disk[range]),
        }
        start..end
    }
}

/// A disk that is a vector.
#[derive(Debug, Default)]
pub(super) struct MemoryDisk {
    pub(super) bytes: Vec<u8>,
    /// What it says to be holes, truly.
    pub(super) holes: Vec<Range<u64>>,
    /// Reads that touch this byte fail.
    pub(super) broken_at: Option<u64>,
    /// It says to be larger than it is.
    pub(super) missing: u64,
    /// Bytes that were read.
    pub(super) read: AtomicU64,
    /// Where.
    pub(super) reads: Mutex<Vec<Range<u64>>>,
}

impl MemoryDisk {
    /// One that knows nothing of holes.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// One that reports some of its zeroes as holes, at any border.
    pub(super) fn with_holes(bytes: Vec<u8>, dice: &mut Dice) -> Self {
        let mut holes = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let zeroes = bytes[at..].iter().take_while(|b| **b == 0).count();
            if zeroes > 0 && dice.below(4) > 0 {
                let skip = dice.below(zeroes as u64 / 4 + 1) as usize;
                let keep = dice.below(zeroes as u64 / 4 + 1) as usize;
                if skip + keep < zeroes {
                    holes.push((at + skip) as u64..(at + zeroes - keep) as u64);
                }
            }
            at += zeroes;
            at += bytes[at..].iter().take_while(|b| **b != 0).count();
        }
        Self {
            bytes,
            holes,
            ..Self::default()
        }
    }
}

#[async_trait]
impl DiskReader for MemoryDisk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64 + self.missing
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        assert!(range.end <= self.size());
        let mut extents = Vec::new();
        let mut at = range.start;
        let mut push = |range: Range<u64>, kind| {
            if !range.is_empty() {
                extents.push(Extent { range, kind });
            }
        };
        for hole in &self.holes {
            let (start, end) = (hole.start.max(range.start), hole.end.min(range.end));
            if start < end {
                push(at..start, ExtentKind::Data);
                push(start..end, ExtentKind::Hole);
                at = end;
            }
        }
        push(at..range.end, ExtentKind::Data);
        Ok(extents)
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let range = offset..offset + buffer.len() as u64;
        assert!(range.end <= self.size());
        if self.broken_at.is_some_and(|at| range.contains(&at))
            || range.end > self.bytes.len() as u64
        {
            return Err(Error::new(
                Kind::Unavailable,
                "read disk",
                "the device failed",
            ));
        }
        if range.start % 3 == 0 {
            tokio::task::yield_now().await;
        }
        buffer.copy_from_slice(&self.bytes[range.start as usize..range.end as usize]);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.reads.lock().unwrap().push(range);
        Ok(buffer)
    }
}

/// A disk to be written into a vector. Each byte must be written once.
#[derive(Debug)]
pub(super) struct MemoryTarget {
    pub(super) bytes: Mutex<Vec<u8>>,
    covered: Mutex<Vec<Range<u64>>>,
    pub(super) finished: Mutex<bool>,
}

impl MemoryTarget {
    pub(super) fn new(size: u64) -> Self {
        Self {
            bytes: Mutex::new(vec![0xee; size as usize]),
            covered: Mutex::default(),
            finished: Mutex::default(),
        }
    }

    fn cover(&self, range: Range<u64>) {
        assert!(!range.is_empty());
        self.covered.lock().unwrap().push(range);
    }
}

#[async_trait]
impl DiskWriter for MemoryTarget {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        let range = offset..offset + data.len() as u64;
        self.bytes.lock().unwrap()[range.start as usize..range.end as usize].copy_from_slice(&data);
        self.cover(range);
        Ok(())
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.bytes.lock().unwrap()[range.start as usize..range.end as usize].fill(0);
        self.cover(range);
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        let mut covered = self.covered.lock().unwrap().clone();
        covered.sort_by_key(|r| r.start);
        let mut at = 0;
        for range in covered {
            assert_eq!(range.start, at, "a byte was written twice or never");
            at = range.end;
        }
        assert_eq!(at, self.bytes.lock().unwrap().len() as u64);
        *self.finished.lock().unwrap() = true;
        Ok(())
    }
}

/// Chunks in memory that remember what was put and got.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) chunks: MemoryChunks,
    pub(super) put: Mutex<Vec<(Role, ChunkId)>>,
    pub(super) got: Mutex<Vec<ChunkId>>,
    /// Chunks given wrongly, by their right name.
    pub(super) forged: Mutex<HashSet<ChunkId>>,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            chunks: MemoryChunks::new([7; 32]),
            put: Mutex::default(),
            got: Mutex::default(),
            forged: Mutex::default(),
        }
    }

    /// What was put since this was last asked.
    pub(super) fn puts(&self) -> Vec<(Role, ChunkId)> {
        std::mem::take(&mut self.put.lock().unwrap())
    }
}

#[async_trait]
impl ChunkSource for Watched {
    fn namer(&self) -> &ChunkNamer {
        self.chunks.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        self.got.lock().unwrap().extend(ids);
        let mut found = self.chunks.get(ids).await?;
        for (id, bytes) in ids.iter().zip(&mut found) {
            if self.forged.lock().unwrap().contains(id) {
                let mut forged = bytes.to_vec();
                forged[0] ^= 1;
                *bytes = forged.into();
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl ChunkStore for Watched {
    async fn put(&self, role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>> {
        for chunk in &chunks {
            assert_eq!(self.namer().name(&chunk.bytes), chunk.id);
            self.put.lock().unwrap().push((role, chunk.id));
        }
        self.chunks.put(role, chunks).await
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// Chunkings that are worth testing, small enough for small disks.
pub(super) const CHUNKINGS: [Chunking; 8] = [
    Chunking::DISK,
    Chunking::STREAM,
    Chunking::Fixed { size: 4096 },
    Chunking::Fixed { size: 65536 },
    Chunking::Fixed { size: 2 << 20 },
    Chunking::Aligned {
        min: 4096,
        average: 8192,
        max: 32768,
    },
    Chunking::FastCdc {
        min: 64,
        average: 4096,
        max: 8192,
    },
    Chunking::FastCdc {
        min: 30_000,
        average: 65536,
        max: 90_002,
    },
];

pub(super) fn options(chunking: Chunking) -> IngestOptions {
    IngestOptions {
        chunking,
        segment_size: MIB,
        workers: 3,
        ..IngestOptions::default()
    }
}

/// Ingests with defaults.
pub(super) async fn take_in(disk: &MemoryDisk, store: &Watched, chunking: Chunking) -> Ingested {
    ingest(disk, store, options(chunking)).await.unwrap()
}

/// A budget that has room for one worker in its smallest form.
pub(super) fn tight(chunking: &Chunking) -> Budget {
    Budget::new(IngestOptions::least_memory(chunking))
}
