//! Reads that follow a hint.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::oracle;
use super::support::*;
use crate::budget::Budget;
use crate::cloud::ChangeHint;
use crate::env::Env;
use crate::format::Chunking;
use crate::image::hint::Check;
use crate::image::meter::Tally;
use crate::image::ranges::Ranges;
use crate::image::tree::Tree;
use crate::image::{IngestOptions, Sampling, ingest};
use crate::store::ChunkSource;

/// Changes a disk, perhaps its size too, and says where, more or less.
fn change(dice: &mut Dice, bytes: &mut Vec<u8>) -> Vec<Range<u64>> {
    let mut changed: Vec<_> = (0..dice.below(6)).map(|_| dice.scribble(bytes)).collect();
    let size = bytes.len() as u64;
    match dice.below(6) {
        0 => bytes.truncate(dice.below(size) as usize),
        1 => bytes.truncate((size - size.min(dice.below(9000))) as usize),
        2 => {
            let more = if dice.below(2) == 0 { 5000 } else { 3 * MIB };
            let more = dice.below(more);
            let tail = dice.disk(more);
            bytes.extend(tail);
        }
        _ => {}
    }
    // What is claimed may be more than what is true, in any order, and reach beyond the end.
    for _ in 0..dice.below(3) {
        let start = dice.below(size + 4096);
        changed.push(start..start + dice.below(200_000));
    }
    for range in &mut changed {
        if dice.below(2) == 0 {
            range.start -= range.start % 4096;
            range.end = range.end.next_multiple_of(4096);
        }
    }
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_changes_the_work_and_not_the_result() {
    let (mut read, mut full) = (0, 0);
    for seed in seeds(4) {
        let mut dice = Dice(seed);
        let size = 1 + dice.below(3 * MIB);
        let original = dice.disk(size);
        for chunking in CHUNKINGS {
            let mut bytes = original.clone();
            let store = Watched::new();
            let mut base = take_in(&MemoryDisk::new(bytes.clone()), &store, chunking)
                .await
                .root;
            for round in 0..4 {
                let changed = change(&mut dice, &mut bytes);
                let disk = if dice.below(2) == 0 {
                    MemoryDisk::new(bytes.clone())
                } else {
                    MemoryDisk::with_holes(bytes.clone(), &mut dice)
                };
                let expected = oracle::root(&bytes, chunking, MIB, store.namer());
                let options = IngestOptions {
                    base: Some(base),
                    hint: Some(ChangeHint { changed }),
                    sampling: Sampling {
                        per_mille: 0,
                        at_least: 3,
                        ..Sampling::default()
                    },
                    budget: tight(&chunking),
                    ..options(chunking)
                };
                let ingested = ingest(&disk, &store, options).await.unwrap();
                let context = format!("seed {seed}, round {round}, {chunking:?}");
                assert_eq!(ingested.root, expected, "{context}");
                assert!(ingested.hint_followed && !ingested.hint_lied, "{context}");
                read += disk.read.load(Ordering::Relaxed);
                full += bytes.len() as u64;
                base = ingested.root;
            }
        }
    }
    assert!(read < full / 2, "read {read} of {full}");
}

/// A full read, and then one with a hint of these changes.
async fn again(
    before: &MemoryDisk,
    after: &MemoryDisk,
    changed: Vec<Range<u64>>,
    sampling: Sampling,
) -> crate::image::Ingested {
    let store = Watched::new();
    let base = take_in(before, &store, Chunking::DISK).await.root;
    after.read.store(0, Ordering::Relaxed);
    let options = IngestOptions {
        base: Some(base),
        hint: Some(ChangeHint { changed }),
        sampling,
        ..options(Chunking::DISK)
    };
    ingest(after, &store, options).await.unwrap()
}

const NO_SAMPLE: Sampling = Sampling {
    per_mille: 0,
    at_least: 0,
    at_most: 0,
};

#[tokio::test]
async fn only_what_changed_is_read() {
    let mut bytes = vec![0; 16 << 20];
    Dice(5).fill(&mut bytes);
    let before = MemoryDisk::new(bytes);
    let mut after = MemoryDisk::new(before.bytes.clone());
    after.bytes[7_000_000] ^= 1;
    let changed = vec![7_000_000..7_000_001];
    let ingested = again(&before, &after, changed, NO_SAMPLE).await;
    assert!(ingested.hint_followed);
    assert!(
        ingested.counts.read_bytes <= 512 << 10,
        "{:?}",
        ingested.counts
    );
    assert!(
        ingested.counts.new_bytes <= 256 << 10,
        "{:?}",
        ingested.counts
    );

    let unchanged = again(&after, &after, Vec::new(), NO_SAMPLE).await;
    assert_eq!(unchanged.counts.read_bytes, 0);
}

#[tokio::test]
async fn a_lie_is_found_and_the_disk_read_in_full() {
    let mut bytes = vec![0; 8 << 20];
    Dice(6).fill(&mut bytes[..5 << 20]);
    let before = MemoryDisk::new(bytes);
    let sampling = Sampling {
        per_mille: 0,
        at_least: 40,
        ..Sampling::default()
    };
    // In data, and in what was a hole: 40 draws miss a lie about half of the disk once in 2^40 times.
    for lie in [(0, 4 << 20), (4 << 20, 8 << 20)] {
        let mut after = MemoryDisk::new(before.bytes.clone());
        for block in after.bytes[lie.0..lie.1].chunks_mut(4096) {
            block[17] ^= 1;
        }
        let ingested = again(&before, &after, vec![0..4096], sampling).await;
        assert!(ingested.hint_lied && !ingested.hint_followed);
        let honest = take_in(&after, &Watched::new(), Chunking::DISK).await;
        assert_eq!(ingested.root, honest.root);
    }
    let honest = again(&before, &before, vec![0..4096], sampling).await;
    assert!(!honest.hint_lied && honest.hint_followed);
    assert!(honest.counts.read_bytes > 0);
}

#[tokio::test]
async fn a_base_that_was_cut_otherwise_is_of_no_use() {
    let disk = MemoryDisk::new(Dice(8).disk(2 * MIB));
    let store = Watched::new();
    let base = take_in(&disk, &store, Chunking::STREAM).await.root;
    let options = IngestOptions {
        base: Some(base),
        hint: Some(ChangeHint { changed: vec![] }),
        ..options(Chunking::DISK)
    };
    let ingested = ingest(&disk, &store, options).await.unwrap();
    assert!(!ingested.hint_followed && !ingested.hint_lied);
    assert_eq!(
        ingested.root,
        take_in(&disk, &store, Chunking::DISK).await.root
    );
}

/// Ingests `before`, then `after` with this hint, and compares with the oracle.
async fn follows(before: Vec<u8>, after: Vec<u8>, changed: Range<u64>, chunking: Chunking) {
    let store = Watched::new();
    let expected = oracle::root(&after, chunking, MIB, store.namer());
    let base = take_in(&MemoryDisk::new(before), &store, chunking).await;
    let options = IngestOptions {
        base: Some(base.root),
        hint: Some(ChangeHint {
            changed: vec![changed.clone()],
        }),
        sampling: NO_SAMPLE,
        ..options(chunking)
    };
    let ingested = ingest(&MemoryDisk::new(after), &store, options).await;
    assert_eq!(ingested.unwrap().root, expected, "changed {changed:?}");
}

const SMALL: Chunking = Chunking::Aligned {
    min: 4096,
    average: 8192,
    max: 32768,
};

fn borders(bytes: &[u8], chunking: &Chunking) -> Vec<usize> {
    let mut at = 0;
    let pieces = oracle::pieces(bytes, chunking).into_iter();
    let mut borders: Vec<usize> = pieces
        .map(|(_, length)| {
            at += length;
            at
        })
        .collect();
    borders.pop();
    borders
}

#[tokio::test]
async fn a_new_hole_goes_on_into_the_zeroes_that_an_old_chunk_begins_with() {
    let mut before = vec![0; 300_000];
    Dice(1).fill(&mut before);
    let border = borders(&before, &SMALL)[3];
    before[border..border + 4096].fill(0);
    assert!(borders(&before, &SMALL).contains(&border));
    let mut after = before.clone();
    after[border - 16384..border].fill(0);
    let changed = border as u64 - 16384..border as u64;
    follows(before, after, changed, SMALL).await;
}

#[tokio::test]
async fn a_new_hole_begins_with_the_zeroes_that_an_old_chunk_ends_with() {
    // Blocks that are no reason to cut before the average, where a cut is certain with an average as small as this.
    let mut before = vec![0; 300_000];
    for n in 0u8..=255 {
        let candidate = vec![n; 300_000];
        if borders(&candidate, &SMALL).first() == Some(&8192) {
            before = candidate;
        }
    }
    before[4096..8192].fill(0);
    assert_eq!(borders(&before, &SMALL)[..2], [8192, 16384]);
    let mut after = before.clone();
    after[8192..12288].fill(0);
    assert_eq!(borders(&after, &SMALL)[..2], [4096, 12288]);
    follows(before, after, 8192..12288, SMALL).await;
}

#[tokio::test]
async fn a_cut_goes_with_the_byte_behind_it() {
    let chunking = Chunking::FastCdc {
        min: 64,
        average: 4096,
        max: 65536,
    };
    let mut before = vec![0; 100_000];
    Dice(1).fill(&mut before);
    for border in &borders(&before, &chunking)[..5] {
        let mut after = before.clone();
        after[*border] ^= 0xff;
        assert!(!borders(&after, &chunking).contains(border));
        let changed = *border as u64..*border as u64 + 1;
        follows(before.clone(), after, changed, chunking).await;
    }
}

/// Chunks of 4 KiB, so that a lie about one is a known share of the disk.
const EVEN: Chunking = Chunking::Fixed { size: 4096 };

/// How many of `rounds` lies about `lied` random chunks of `chunks` are found by looking at `draws`.
async fn found(dice: &mut Dice, rounds: u64, lied: usize, chunks: usize, draws: u32) -> u64 {
    let mut bytes = vec![0; chunks * 4096];
    // The last quarter is a hole.
    let data = bytes.len() / 4 * 3;
    dice.fill(&mut bytes[..data]);
    let store = Watched::new();
    let base = take_in(&MemoryDisk::new(bytes.clone()), &store, EVEN).await;
    let (env, budget) = (Env::system(), Budget::new(1 << 20));
    let mut found = 0;
    for _ in 0..rounds {
        let mut after = MemoryDisk::new(bytes.clone());
        let mut lies = std::collections::HashSet::new();
        while lies.len() < lied {
            let chunk = dice.below(chunks as u64) as usize;
            if lies.insert(chunk) {
                after.bytes[chunk * 4096 + dice.below(4096) as usize] ^= 0x40;
            }
        }
        let tally = Tally::new(Default::default());
        let check = Check {
            reader: &after,
            env: &env,
            budget: &budget,
            tally: &tally,
            sampling: Sampling {
                per_mille: 0,
                at_least: draws,
                ..Sampling::default()
            },
        };
        let mut old = Tree::open(&store, &base.root).await.unwrap();
        let size = after.bytes.len() as u64;
        let holds = check.holds(&mut old, &Ranges::collect([]), size).await;
        found += u64::from(!holds.unwrap());
    }
    found
}

/// `1 - (1 - f)^k` within what chance allows: five standard deviations, which is passed by mistake once in a million times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_found_at_the_promised_rate() {
    let mut dice = Dice(77);
    for (lied, draws, rounds) in [(1, 16, 3000), (4, 16, 2000), (2, 64, 1500), (13, 64, 400)] {
        let chunks = 256;
        let found = found(&mut dice, rounds, lied, chunks, draws).await as f64;
        let share = lied as f64 / chunks as f64;
        let promised = 1.0 - (1.0 - share).powi(draws as i32);
        let (n, expected) = (rounds as f64, rounds as f64 * promised);
        let chance = 5.0 * (n * promised * (1.0 - promised)).sqrt();
        println!(
            "{lied} of {chunks} chunks, {draws} draws: found {found} of {rounds}, promised {expected:.0} give or take {chance:.0}"
        );
        assert!((found - expected).abs() <= chance, "{found} of {rounds}");
    }
}

#[test]
fn a_disk_whose_hints_lied_is_looked_at_more_closely() {
    let looks: Vec<_> = (0..6).map(Sampling::after_lies).collect();
    assert_eq!(looks[0], Sampling::default());
    for pair in looks[..4].windows(2) {
        assert!(pair[1].per_mille > pair[0].per_mille && pair[1].at_least > pair[0].at_least);
    }
    assert!(looks.iter().all(|look| look.per_mille <= 1000));
}
