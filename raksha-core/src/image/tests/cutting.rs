//! Cutting is a function of the bytes, however they are offered.

use super::oracle;
use super::support::{CHUNKINGS, Dice, seeds};
use crate::format::Chunking;
use crate::image::cut::{Cutter, Piece, Then};

/// Cuts `segment`, offered in windows of random size.
fn cut_in_windows(segment: &[u8], chunking: &Chunking, dice: &mut Dice) -> Vec<(bool, usize)> {
    let cutter = Cutter::new(chunking);
    let block = chunking.block() as usize;
    let mut pieces: Vec<(bool, usize)> = Vec::new();
    let (mut at, mut known, mut in_hole) = (0, 0, false);
    while at < segment.len() {
        let more = (1 + dice.below(100) as usize) * block;
        known = (known + more).min(segment.len());
        let then = if known == segment.len() && dice.below(2) == 0 {
            Then::End
        } else {
            Then::Unknown
        };
        let decided = cutter.cut(
            at as u64,
            &segment[at..known],
            then,
            &mut in_hole,
            |piece| match (piece, pieces.last_mut()) {
                (Piece::Hole(range), Some((true, last))) => *last += range.len(),
                (Piece::Hole(range), _) => pieces.push((true, range.len())),
                (Piece::Chunk(range), _) => pieces.push((false, range.len())),
            },
        );
        at += decided;
        assert!(known == segment.len() || known - at <= cutter.longest_rest());
    }
    pieces
}

#[test]
fn windows_do_not_matter() {
    for seed in seeds(10) {
        let mut dice = Dice(seed);
        let size = 1 + dice.below(1 << 20);
        let segment = dice.disk(size);
        for chunking in CHUNKINGS {
            let expected = oracle::pieces(&segment, &chunking);
            let cut = cut_in_windows(&segment, &chunking, &mut dice);
            assert_eq!(cut, expected, "seed {seed}, {chunking:?}");
        }
    }
}

/// One MiB from a fixed seed, with a short run of zeroes in it and a long one.
fn golden() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    Dice(2024).fill(&mut bytes);
    bytes[300_000..340_000].fill(0);
    bytes[600_000..700_000].fill(0);
    bytes
}

fn lengths(chunking: Chunking) -> Vec<usize> {
    cut_in_windows(&golden(), &chunking, &mut Dice(1))
        .into_iter()
        .map(|(_, length)| length)
        .collect()
}

/// Where cuts fall is part of the stored format: these numbers may never change.
#[test]
fn golden_cut_points() {
    assert_eq!(
        lengths(Chunking::DISK),
        [
            61_440, 57_344, 40_960, 131_072, 12_288, 36_864, 28_672, 16_384, 28_672, 36_864,
            49_152, 16_384, 32_768, 32_768, 20_480, 94_208, 32_768, 32_768, 32_768, 32_768, 24_576,
            40_960, 32_768, 40_960, 45_056, 20_480, 16_384
        ]
    );
    assert_eq!(
        lengths(Chunking::STREAM),
        [
            82_789, 80_443, 179_082, 73_142, 93_993, 35_990, 56_673, 94_208, 135_934, 25_876,
            36_523, 68_991, 45_664, 39_268
        ]
    );
    assert_eq!(
        lengths(Chunking::Fixed { size: 256 << 10 }),
        [262_144, 262_144, 262_144, 262_144]
    );
}
