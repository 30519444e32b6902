//! The tree of a disk, made in the most simple-minded way from all its bytes at once.

use crate::format::Chunking;
use crate::format::tree::{FANOUT, Item, Node, Root, RootNode, height};
use crate::store::ChunkNamer;

/// What a segment is cut into: lengths, and whether it is a hole.
pub(super) fn pieces(segment: &[u8], chunking: &Chunking) -> Vec<(bool, usize)> {
    let block = chunking.block() as usize;
    let zero: Vec<bool> = segment
        .chunks(block)
        .map(|b| b.iter().all(|b| *b == 0))
        .collect();
    let place = |i: usize| (i * block).min(segment.len());
    let mut pieces = Vec::new();
    let mut data_from = 0;
    let mut i = 0;
    while i < zero.len() {
        let run = zero[i..].iter().take_while(|z| **z).count();
        let (start, end) = (place(i), place(i + run));
        if run > 0 && (end - start >= chunking.hole() as usize || end == segment.len()) {
            data(&segment[data_from..start], chunking, &mut pieces);
            pieces.push((true, end - start));
            data_from = end;
        }
        i += run.max(1);
    }
    data(&segment[data_from..], chunking, &mut pieces);
    pieces
}

fn data(bytes: &[u8], chunking: &Chunking, pieces: &mut Vec<(bool, usize)>) {
    match *chunking {
        Chunking::Fixed { size } => {
            pieces.extend(bytes.chunks(size as usize).map(|c| (false, c.len())));
        }
        Chunking::FastCdc { min, average, max } => {
            let cdc =
                fastcdc::v2020::FastCDC::new(bytes, min as usize, average as usize, max as usize);
            pieces.extend(cdc.map(|chunk| (false, chunk.length)));
        }
        Chunking::Aligned { min, average, max } => {
            let mut length = 0;
            for block in bytes.chunks(4096) {
                length += block.len();
                let blocks = u128::from(average / 4096);
                let odds = if length < average as usize {
                    2 * blocks
                } else {
                    (blocks / 2).max(1)
                };
                let likely = block.len() == 4096
                    && length >= min as usize
                    && u128::from(sample(block)) < ((1u128 << 64) / odds).min(u128::from(u64::MAX));
                if likely || length == max as usize {
                    pieces.push((false, length));
                    length = 0;
                }
            }
            if length > 0 {
                pieces.push((false, length));
            }
        }
    }
}

/// As the documentation of `aligned` says.
fn sample(block: &[u8]) -> u64 {
    let mut state = 0u64;
    let mut split_mix = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let key: Vec<u64> = (0..16).map(|_| split_mix()).collect();
    assert_eq!(key[0], 0xe220_a839_7b1d_cdaf);
    let word = |k: usize| {
        let at = 8 * (32 * k + (13 * k + 5) % 32);
        u64::from_le_bytes(block[at..at + 8].try_into().unwrap())
    };
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut sum = 0u64;
    for j in 0..8 {
        sum = sum.wrapping_add(fold(
            word(2 * j) ^ key[2 * j],
            word(2 * j + 1) ^ key[2 * j + 1],
        ));
    }
    fold(sum ^ key[0], key[15])
}

/// The root of a disk.
pub(super) fn root(disk: &[u8], chunking: Chunking, segment_size: u64, namer: &ChunkNamer) -> Root {
    let mut level: Vec<_> = disk
        .chunks(segment_size as usize)
        .map(|segment| {
            let mut at = 0;
            let items: Vec<Item> = pieces(segment, &chunking)
                .into_iter()
                .map(|(hole, length)| {
                    let bytes = &segment[at..at + length];
                    at += length;
                    let length = length as u32;
                    if hole {
                        Item::Hole { length }
                    } else {
                        let id = namer.name(bytes);
                        Item::Chunk { id, length }
                    }
                })
                .collect();
            assert_eq!(at, segment.len());
            let all_hole = matches!(items.as_slice(), [Item::Hole { .. }]);
            (!all_hole).then(|| namer.name(&Node::Segment(items).encode()))
        })
        .collect();
    for _ in 0..height(level.len() as u64) {
        level = level
            .chunks(FANOUT)
            .map(|children| {
                let any = children.iter().any(Option::is_some);
                any.then(|| namer.name(&Node::Branch(children.to_vec()).encode()))
            })
            .collect();
    }
    let size = disk.len() as u64;
    let node = Node::Root(RootNode {
        chunking,
        segment_size,
        size,
        children: level,
    });
    Root {
        node: namer.name(&node.encode()),
        size,
    }
}
