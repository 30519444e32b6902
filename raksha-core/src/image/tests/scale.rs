//! Large disks, small budgets, stores that take their time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::support::*;
use crate::budget::Budget;
use crate::cloud::{ChangeHint, DiskReader, Extent, ExtentKind};
use crate::error::Result;
use crate::format::Chunking;
use crate::format::tree::DEFAULT_SEGMENT;
use crate::id::ChunkId;
use crate::image::{ExportOptions, IngestOptions, Sampling, compare, export, ingest};
use crate::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};

const TIB: u64 = 1 << 40;

/// A disk of any size with a few blocks of 4 KiB on it.
#[derive(Debug, Default)]
struct SparseDisk {
    size: u64,
    blocks: BTreeMap<u64, u8>,
    read: AtomicU64,
}

#[async_trait]
impl DiskReader for SparseDisk {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut at = range.start;
        for (start, _) in self.blocks.range(range.clone()) {
            for (end, kind) in [(*start, ExtentKind::Hole), (start + 4096, ExtentKind::Data)] {
                if at < end {
                    extents.push(Extent {
                        range: at..end,
                        kind,
                    });
                    at = end;
                }
            }
        }
        if at < range.end {
            extents.push(Extent {
                range: at..range.end,
                kind: ExtentKind::Hole,
            });
        }
        Ok(extents)
    }

    async fn read_at(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        for (start, value) in self.blocks.range(offset.saturating_sub(4095)..end) {
            let from = start.max(&offset) - offset;
            let to = (start + 4096).min(end) - offset;
            buffer[from as usize..to as usize].fill(*value);
        }
        Ok(buffer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tebibyte_costs_what_changed() {
    let changes = if cfg!(debug_assertions) {
        8192
    } else {
        262_144
    };
    let mut disk = SparseDisk {
        size: TIB,
        ..SparseDisk::default()
    };
    let store = Watched::new();
    let options = IngestOptions {
        sampling: Sampling {
            per_mille: 0,
            at_least: 16,
            ..Sampling::default()
        },
        ..IngestOptions::default()
    };
    let empty = ingest(&disk, &store, options.clone()).await.unwrap();
    assert_eq!(store.puts().len(), 1, "a root and nothing else");

    let mut dice = Dice(1);
    let mut changed = Vec::new();
    for _ in 0..changes {
        let at = dice.below(TIB / 4096) * 4096;
        disk.blocks.insert(at, 1 + dice.below(255) as u8);
        changed.push(at..at + 4096);
    }
    let hinted = IngestOptions {
        base: Some(empty.root),
        hint: Some(ChangeHint { changed }),
        ..options.clone()
    };
    let written = ingest(&disk, &store, hinted).await.unwrap();
    assert!(written.hint_followed);
    assert!(disk.read.load(Ordering::Relaxed) <= (changes + 16) * 4096);
    let full = ingest(&disk, &store, options.clone()).await.unwrap();
    assert_eq!(written.root, full.root);

    // Nothing changed: nothing but the root is fetched, and what the sample needs.
    store.puts();
    store.got.lock().unwrap().clear();
    let hinted = IngestOptions {
        base: Some(written.root),
        hint: Some(ChangeHint { changed: vec![] }),
        ..options.clone()
    };
    let same = ingest(&disk, &store, hinted.clone()).await.unwrap();
    assert_eq!(same.root, written.root);
    assert!(store.puts().is_empty());
    assert!(store.got.lock().unwrap().len() <= 1 + 2 * 16);

    // One block in one segment.
    let (at, _) = disk.blocks.pop_first().unwrap();
    store.got.lock().unwrap().clear();
    let hinted = IngestOptions {
        hint: Some(ChangeHint {
            changed: vec![at..at + 1],
        }),
        ..hinted
    };
    let one = ingest(&disk, &store, hinted).await.unwrap();
    assert!(store.got.lock().unwrap().len() <= 3 + 2 * 16);
    let found = compare(&one.root, &written.root, &store).await.unwrap();
    assert_eq!(found, [at..at + 4096]);
    assert_eq!(one.counts.logical_bytes, TIB);
    assert_eq!(TIB % DEFAULT_SEGMENT, 0);
}

/// A store that holds on to what was put for a while.
#[derive(Debug)]
struct Lagging(Watched);

#[async_trait]
impl ChunkSource for Lagging {
    fn namer(&self) -> &ChunkNamer {
        self.0.namer()
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        self.0.get(ids).await
    }
}

#[async_trait]
impl ChunkStore for Lagging {
    async fn put(&self, role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>> {
        let held = chunks.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            drop(held);
        });
        self.0.put(role, chunks).await
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_disks_share_the_smallest_budget() {
    let store = Lagging(Watched::new());
    let chunking = Chunking::DISK;
    let budget = tight(&chunking);
    let work = (0..6).map(|seed| {
        let (store, budget) = (&store, budget.clone());
        async move {
            let disk = MemoryDisk::new(Dice(seed).disk(3 * MIB));
            let options = IngestOptions {
                budget: budget.clone(),
                ..options(chunking)
            };
            let root = ingest(&disk, store, options).await.unwrap().root;
            let target = MemoryTarget::new(root.size);
            let options = ExportOptions {
                budget: Budget::new(4096),
                ..ExportOptions::default()
            };
            export(&root, store, &target, options).await.unwrap();
            assert!(*target.bytes.lock().unwrap() == disk.bytes);
        }
    });
    let done = tokio::time::timeout(Duration::from_secs(60), join_all(work)).await;
    assert!(done.is_ok(), "they wait for each other");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(budget.available(), budget.total());
}

#[test]
fn the_work_can_move_between_threads() {
    fn moves(_: impl Send) {}
    let (disk, store) = (SparseDisk::default(), Watched::new());
    let target = MemoryTarget::new(0);
    let root = crate::format::tree::Root {
        node: ChunkId::from_bytes([0; 32]),
        size: 0,
    };
    moves(ingest(&disk, &store, IngestOptions::default()));
    moves(export(&root, &store, &target, ExportOptions::default()));
    moves(compare(&root, &root, &store));
}
