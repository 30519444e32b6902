//! Full reads.

use std::sync::atomic::Ordering;

use super::oracle;
use super::support::*;
use crate::env::{Compute, Env};
use crate::format::Chunking;
use crate::image::{IngestOptions, ingest};
use crate::store::{ChunkSource, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_is_that_of_the_bytes() {
    for seed in seeds(4) {
        let mut dice = Dice(seed);
        let size = dice.below(5 * MIB);
        let bytes = dice.disk(size);
        for chunking in CHUNKINGS {
            let store = Watched::new();
            let expected = oracle::root(&bytes, chunking, MIB, store.namer());
            let plain = MemoryDisk::new(bytes.clone());
            let holed = MemoryDisk::with_holes(bytes.clone(), &mut dice);
            for (disk, workers) in [(&plain, 1), (&holed, 3)] {
                let options = IngestOptions {
                    workers,
                    budget: tight(&chunking),
                    ..options(chunking)
                };
                let ingested = ingest(disk, &store, options).await.unwrap();
                assert_eq!(ingested.root, expected, "seed {seed}, {chunking:?}");
                assert_eq!(ingested.counts.logical_bytes, size);
                let read = disk.read.load(Ordering::Relaxed);
                assert_eq!(ingested.counts.read_bytes, read);
            }
            for read in holed.reads.lock().unwrap().iter() {
                let in_hole = holed
                    .holes
                    .iter()
                    .any(|h| h.start < read.end && read.start < h.end);
                assert!(!in_hole, "seed {seed}: a hole was read");
            }
        }
    }
}

#[tokio::test]
async fn sizes_that_are_multiples_of_nothing() {
    for size in [0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 3 * MIB + 511] {
        let mut bytes = vec![0; size as usize];
        for filled in [false, true] {
            if filled {
                Dice(size).fill(&mut bytes);
            }
            for chunking in CHUNKINGS {
                let store = Watched::new();
                let ingested = take_in(&MemoryDisk::new(bytes.clone()), &store, chunking).await;
                let expected = oracle::root(&bytes, chunking, MIB, store.namer());
                assert_eq!(ingested.root, expected, "size {size}, {chunking:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_disk_of_many_branches() {
    // Three segments more than a root has children, all but a few of them holes.
    let mut bytes = vec![0; 1027 << 20];
    for segment in [0, 5, 1023, 1024, 1026] {
        Dice(segment).fill(&mut bytes[(segment as usize) << 20..][..100_000]);
    }
    let store = Watched::new();
    let mut disk = MemoryDisk::new(bytes);
    disk.holes = vec![(6 << 20)..(1023 << 20)];
    let ingested = take_in(&disk, &store, Chunking::DISK).await;
    let expected = oracle::root(&disk.bytes, Chunking::DISK, MIB, store.namer());
    assert_eq!(ingested.root, expected);
}

#[tokio::test]
async fn what_the_base_has_is_not_offered_again() {
    let mut dice = Dice(3);
    let mut disk = MemoryDisk::new(dice.disk(4 * MIB + 77));
    dice.fill(&mut disk.bytes[2_400_000..2_600_000]);
    for chunking in CHUNKINGS {
        let store = Watched::new();
        let first = take_in(&disk, &store, chunking).await;
        store.puts();
        let again = IngestOptions {
            base: Some(first.root),
            env: Env::system().with_compute(Compute::Inline),
            ..options(chunking)
        };
        let second = ingest(&disk, &store, again.clone()).await.unwrap();
        assert_eq!(second.root, first.root);
        assert_eq!(store.puts(), []);

        disk.bytes[2_500_000] = !disk.bytes[2_500_000];
        let third = ingest(&disk, &store, again).await.unwrap();
        let puts = store.puts();
        let data = puts.iter().filter(|(role, _)| *role == Role::Data).count();
        assert!((1..=3).contains(&data), "{chunking:?}: {data}");
        assert_eq!(puts.len() - data, 2, "a segment node and the root");
        assert_eq!(
            third.root,
            take_in(&disk, &Watched::new(), chunking).await.root
        );
    }
}

#[tokio::test]
async fn errors_name_the_offset() {
    let mut disk = MemoryDisk::new(Dice(1).disk(3 * MIB));
    let middle = MIB + 300_000;
    disk.bytes[middle as usize] = 1;
    disk.broken_at = Some(middle);
    let error = ingest(&disk, &Watched::new(), options(Chunking::DISK))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("disk offset 1048576"), "{error}");

    disk.broken_at = None;
    disk.missing = 10;
    let error = ingest(&disk, &Watched::new(), options(Chunking::DISK))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("disk offset 3145728"), "{error}");
}
