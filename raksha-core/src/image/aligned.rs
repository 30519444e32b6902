//! Cut points that are chosen by content but lie between blocks of 4 KiB only: [`Chunking::Aligned`](crate::format::Chunking).
//!
//! File systems move data by whole blocks, so cut points need not be looked for anywhere else, and one decision for each block
//! costs a fraction of rolling a hash over every byte. The decision looks at 128 of the block's 4096 bytes: what
//! was inserted or moved is recognised by its blocks either way, and a change that misses the sample leaves the cut where it was.
//!
//! # The algorithm, to the bit
//!
//! A chunk that begins at block 0 ends behind the first block `i` for which, with `n = (i + 1) * 4096`,
//! - `n == max`, or
//! - `n >= min` and `sample(block i) < threshold(n)`.
//!
//! `threshold(n)` is `2^64 / (2 * blocks)` (rounded down) while `n < average` and `2^64 / max(blocks / 2, 1)` from there on (all
//! arithmetic saturating at `2^64 - 1`), where `blocks = average / 4096`: cuts are half as likely before the average and twice
//! as likely behind it, which draws sizes towards it (the "normalised chunking" of FastCDC, Xia et al., USENIX ATC 2016).
//!
//! `sample(block)` reads sixteen little-endian 64-bit words `w[0] .. w[15]`, where `w[k]` lies at byte
//! `8 * (32 * k + (13 * k + 5) mod 32)`: one in each 256 bytes, at a place that differs from stride to stride, so that tables of
//! records whose size is a power of two are not sampled at one field only. With
//! `fold(a, b)` = low 64 bits XOR high 64 bits of the 128-bit product `a * b`,
//! `sum` = wrapping sum over `j = 0 .. 7` of `fold(w[2j] XOR K[2j], w[2j+1] XOR K[2j+1])`, and
//! `sample = fold(sum XOR K[0], K[15])`. `K[k]` is output `k + 1` of SplitMix64 seeded with 0: the first is `e220a8397b1dcdaf`.
//!
//! A last block that is shorter than 4096 bytes decides nothing: its chunk ends with the segment.

use crate::format::BLOCK;

const BLOCK_BYTES: usize = BLOCK as usize;

/// Words sampled from each block.
const WORDS: usize = 16;

/// `K` of the module's documentation.
const KEYS: [u64; WORDS] = keys();

/// Finds cut points between blocks.
#[derive(Debug, Clone)]
pub(super) struct Aligned {
    min: usize,
    average: usize,
    max: usize,
    early: u64,
    late: u64,
}

impl Aligned {
    /// With sizes that [`Chunking::check`](crate::format::Chunking::check) has accepted.
    pub(super) fn new(min: u32, average: u32, max: u32) -> Self {
        let blocks = u64::from(average / BLOCK).max(1);
        Self {
            min: min as usize,
            average: average as usize,
            max: max as usize,
            early: one_in(blocks * 2),
            late: one_in((blocks / 2).max(1)),
        }
    }

    /// The length of the chunk at the front of `bytes`, if a cut ends it there.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        let first = (self.min / BLOCK_BYTES).saturating_sub(1);
        let candidates = blocks.iter().enumerate().skip(first);
        for (i, block) in candidates {
            let length = (i + 1) * BLOCK_BYTES;
            let threshold = if length < self.average {
                self.early
            } else {
                self.late
            };
            if length >= self.max || sample(block) < threshold {
                return Some(length);
            }
        }
        None
    }
}

/// The threshold below which one in `n` uniform 64-bit numbers lies.
fn one_in(n: u64) -> u64 {
    u64::try_from((1u128 << 64) / u128::from(n)).unwrap_or(u64::MAX)
}

/// A hash of sixteen words of a block.
#[inline]
fn sample(block: &[u8; BLOCK_BYTES]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    let (strides, _) = words.as_chunks::<32>();
    let mut picked = [0u64; WORDS];
    for (k, (word, stride)) in picked.iter_mut().zip(strides).enumerate() {
        if let Some(bytes) = stride.get((13 * k + 5) % 32) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    let (words, _) = picked.as_chunks::<2>();
    let (keys, _) = KEYS.as_chunks::<2>();
    let sum = words
        .iter()
        .zip(keys)
        .map(|([a, b], [k, l])| fold(a ^ k, b ^ l))
        .fold(0, u64::wrapping_add);
    let [first, .., last] = KEYS;
    fold(sum ^ first, last)
}

#[inline]
#[allow(clippy::cast_possible_truncation)] // taking both halves of the product is the point
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
#[allow(clippy::indexing_slicing)] // evaluated while compiling
const fn keys() -> [u64; WORDS] {
    let mut keys = [0; WORDS];
    let mut state = 0u64;
    let mut i = 0;
    while i < WORDS {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        keys[i] = z ^ (z >> 31);
        i += 1;
    }
    keys
}
