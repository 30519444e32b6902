//! Disks that come out as they went in, or not at all.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use super::support::*;
use crate::budget::Budget;
use crate::cloud::{ChangeHint, DiskReader, ExtentKind};
use crate::env::{Compute, Env};
use crate::error::Kind;
use crate::format::Chunking;
use crate::format::tree::Root;
use crate::id::ChunkId;
use crate::image::{
    ExportOptions, ImageReader, IngestOptions, Visitor, compare, export, ingest, walk,
};
use crate::store::{ChunkSource, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_out_is_what_went_in() {
    for seed in seeds(3) {
        let mut dice = Dice(seed);
        let size = dice.below(4 * MIB);
        let disk = MemoryDisk::new(dice.disk(size));
        for chunking in CHUNKINGS {
            let store = Watched::new();
            let root = take_in(&disk, &store, chunking).await.root;
            let target = MemoryTarget::new(size);
            let options = ExportOptions {
                budget: Budget::new(1 << 20),
                workers: 1 + dice.below(3) as usize,
                ..ExportOptions::default()
            };
            let exported = export(&root, &store, &target, options).await.unwrap();
            assert_eq!(exported.counts.logical_bytes, size);
            assert!(*target.finished.lock().unwrap());
            assert!(*target.bytes.lock().unwrap() == disk.bytes, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn damage_is_named_and_the_disk_not_finished() {
    let mut bytes = vec![0; 3 << 20];
    Dice(4).fill(&mut bytes[1 << 20..2 << 20]);
    let disk = MemoryDisk::new(bytes);
    let store = Watched::new();
    let root = take_in(&disk, &store, Chunking::Fixed { size: 65536 })
        .await
        .root;
    let victim = store
        .namer()
        .name(&disk.bytes[(1 << 20) + 131_072..][..65536]);
    let puts = store.puts();
    let segment = puts.iter().find(|(role, _)| *role == Role::Tree).unwrap().1;
    for (id, offset) in [(victim, "1179648"), (segment, "1048576"), (root.node, "0")] {
        *store.forged.lock().unwrap() = HashSet::from([id]);
        let forged = failure(&root, &store).await;
        store.forged.lock().unwrap().clear();
        store.chunks.lose(&id);
        let lost = failure(&root, &store).await;
        for error in [forged, lost] {
            assert_eq!(error.kind(), Kind::Corrupt);
            let text = error.to_string();
            assert!(text.contains(&format!("disk offset {offset}")), "{text}");
            assert!(text.contains(&format!("chunk {id}")), "{text}");
        }
        take_in(&disk, &store, Chunking::Fixed { size: 65536 }).await;
    }
}

async fn failure(root: &Root, store: &Watched) -> crate::Error {
    let target = MemoryTarget::new(root.size);
    let result = export(root, store, &target, ExportOptions::default()).await;
    assert!(!*target.finished.lock().unwrap());
    result.unwrap_err()
}

#[tokio::test]
async fn comparing_finds_every_difference() {
    for seed in seeds(6) {
        let mut dice = Dice(seed);
        let size = dice.below(4 * MIB);
        let mut bytes = dice.disk(size);
        for chunking in CHUNKINGS {
            let store = Watched::new();
            let a = take_in(&MemoryDisk::new(bytes.clone()), &store, chunking)
                .await
                .root;
            assert_eq!(compare(&a, &a, &store).await.unwrap(), []);
            let old = bytes.clone();
            for _ in 0..dice.below(4) {
                dice.scribble(&mut bytes);
            }
            bytes.resize(dice.below(4 * MIB) as usize, 1);
            let b = take_in(&MemoryDisk::new(bytes.clone()), &store, chunking)
                .await
                .root;
            let found = compare(&a, &b, &store).await.unwrap();
            let mut at = 0;
            for range in &found {
                let (start, end) = (range.start as usize, range.end as usize);
                assert!(start >= at && end > start);
                assert!(
                    old.get(at..start) == bytes.get(at..start),
                    "seed {seed}, {chunking:?}"
                );
                at = end;
            }
            assert!(
                old[at.min(old.len())..] == bytes[at.min(bytes.len())..],
                "seed {seed}"
            );
            // Following it like a hint brings one to the other.
            let options = IngestOptions {
                base: Some(a),
                hint: Some(ChangeHint { changed: found }),
                ..options(chunking)
            };
            let hinted = ingest(&MemoryDisk::new(bytes.clone()), &store, options)
                .await
                .unwrap();
            assert_eq!(hinted.root, b);
            assert!(!hinted.hint_lied);
        }
    }
}

#[tokio::test]
async fn comparing_costs_what_differs() {
    let mut disk = MemoryDisk::new(vec![0; 64 << 20]);
    Dice(1).fill(&mut disk.bytes);
    let store = Watched::new();
    let a = take_in(&disk, &store, Chunking::DISK).await.root;
    disk.bytes[33 << 20] ^= 1;
    let b = take_in(&disk, &store, Chunking::DISK).await.root;
    store.got.lock().unwrap().clear();
    let found = compare(&a, &b, &store).await.unwrap();
    assert_eq!(
        store.got.lock().unwrap().len(),
        4,
        "two roots and two segments"
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].contains(&(33 << 20)) && found[0].end - found[0].start <= 256 << 10);

    // Cut otherwise, there is nothing to compare.
    let c = take_in(&disk, &store, Chunking::STREAM).await.root;
    assert_eq!(compare(&b, &c, &store).await.unwrap(), [0..64 << 20]);
}

#[derive(Default)]
struct Collect {
    nodes: HashSet<ChunkId>,
    data: HashSet<ChunkId>,
    asked: usize,
}

impl Visitor for Collect {
    fn node(&mut self, id: &ChunkId) -> bool {
        self.asked += 1;
        self.nodes.insert(*id)
    }

    fn data(&mut self, id: &ChunkId) {
        self.data.insert(*id);
    }
}

#[tokio::test]
async fn walking_visits_what_was_put_and_nothing_twice() {
    let mut disk = MemoryDisk::new(Dice(9).disk(6 * MIB));
    let store = Watched::new();
    let first = take_in(&disk, &store, Chunking::DISK).await.root;
    disk.bytes[3 << 20] ^= 1;
    let second = take_in(&disk, &store, Chunking::DISK).await.root;
    let mut seen = Collect::default();
    walk(&first.node, &store, &mut seen).await.unwrap();
    let before = (seen.asked, store.got.lock().unwrap().len());
    walk(&second.node, &store, &mut seen).await.unwrap();
    let put: HashSet<_> = store.puts().into_iter().collect();
    let visited: HashSet<_> = seen
        .nodes
        .iter()
        .map(|id| (Role::Tree, *id))
        .chain(seen.data.iter().map(|id| (Role::Data, *id)))
        .collect();
    assert_eq!(visited, put);
    let fetched = store.got.lock().unwrap().len() - before.1;
    assert_eq!(
        fetched, 2,
        "the second root, and the one segment that differs"
    );
}

#[tokio::test]
async fn reading_anywhere() {
    for seed in seeds(3) {
        let mut dice = Dice(seed);
        let size = 1 + dice.below(5 * MIB);
        let disk = MemoryDisk::new(dice.disk(size));
        for chunking in CHUNKINGS {
            let store = Arc::new(Watched::new());
            let options = IngestOptions {
                env: Env::system().with_compute(Compute::Inline),
                ..options(chunking)
            };
            let root = ingest(&disk, store.as_ref(), options).await.unwrap().root;
            let source: Arc<dyn ChunkSource> = Arc::clone(&store) as _;
            let reader = ImageReader::open(&root, source).await.unwrap();
            assert_eq!(reader.size(), size);
            for _ in 0..10 {
                let start = dice.below(size);
                let end = (start + dice.below(2 * MIB)).min(size);
                let expected = &disk.bytes[start as usize..end as usize];
                let buffer = BytesMut::zeroed(expected.len());
                let read = reader.read_at(start, buffer).await.unwrap();
                assert!(read == expected, "seed {seed}, {chunking:?}");
                let mut at = start;
                for extent in reader.extents(start..end).await.unwrap() {
                    assert_eq!(extent.range.start, at);
                    at = extent.range.end;
                    let bytes = &disk.bytes[extent.range.start as usize..at as usize];
                    assert!(extent.kind == ExtentKind::Data || bytes.iter().all(|b| *b == 0));
                }
                assert_eq!(at, end);
            }
            let beyond = reader.read_at(size, BytesMut::zeroed(1)).await;
            assert_eq!(beyond.unwrap_err().kind(), Kind::Invalid);

            // Reading on and on does not fetch the same again.
            store.got.lock().unwrap().clear();
            let mut at = 0;
            while at < size {
                let length = (size - at).min(10_000);
                reader
                    .read_at(at, BytesMut::zeroed(length as usize))
                    .await
                    .unwrap();
                at += length;
            }
            let got = store.got.lock().unwrap();
            let distinct: HashSet<_> = got.iter().collect();
            assert_eq!(got.len(), distinct.len(), "seed {seed}, {chunking:?}");
            assert_eq!(disk.missing, 0);
            assert!(disk.read.load(Ordering::Relaxed) > 0);
        }
    }
}
