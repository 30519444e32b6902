//! Trust, but verify: a sample of what a change hint calls unchanged is read and compared with the older disk.
//!
//! Let the hint be wrong about chunks and hole blocks that make up the fraction `f` of the bytes which it calls unchanged. Of these
//! bytes, `k` are drawn at random ([`Sampling`]), and the whole old chunk around each (or the zero block, in a hole) is compared. For
//! up to [`SPREAD`] draws each is independent of the others, so the lie goes unnoticed with probability `(1 - f)^k`: it is found with
//! probability `1 - (1 - f)^k`, which is more than `1 - e^(-f k)`. (64 draws find a hint that misses 5 % in 96 of 100 runs.)
//!
//! Beyond that, to fetch fewer nodes of the old tree, draws come in `s = max(SPREAD, k / 8)` independent groups, each spread over
//! one segment at random. Where lies are spread evenly nothing changes. In the worst case, when they fill whole segments and spare
//! all others, the groups alone count: the lie is found with probability `1 - (1 - f)^s`.
//!
//! A draw whose chunk has bytes that are said to have changed is no draw at all: that chunk is read anyway.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::BytesMut;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::ranges::Ranges;
use super::tree::Tree;
use super::zeroes::is_zero;
use crate::budget::Budget;
use crate::cloud::DiskReader;
use crate::env::Env;
use crate::error::Result;
use crate::format::tree::Item;
use crate::id::ChunkId;

use super::meter::Tally;

/// Draws up to this number are each made in the whole disk.
pub const SPREAD: u64 = 64;

/// Comparisons under way at once.
const AT_ONCE: usize = 8;

/// How much of what a hint calls unchanged is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// So many of each 1000 chunks that are said to be unchanged.
    pub per_mille: u32,
    /// But at least this many, wherever anything is said to be unchanged at all.
    pub at_least: u32,
    /// And at most this many: what goes unnoticed is a matter of how many are drawn, and not of how large the disk is.
    pub at_most: u32,
}

impl Default for Sampling {
    /// One of each 1000 chunks, from 64 to 4096, which are as many as find a hint that misses 0.1 % in 98 of 100 runs.
    fn default() -> Self {
        Self {
            per_mille: 1,
            at_least: 64,
            at_most: 4096,
        }
    }
}

impl Sampling {
    /// For a disk of which so many hints are known to have lied: eight times as much for each lie, up to as many draws as there are chunks.
    pub fn after_lies(lies: u32) -> Self {
        let Self {
            per_mille,
            at_least,
            at_most,
        } = Self::default();
        let more = 8_u32.saturating_pow(lies.min(3));
        Self {
            per_mille: per_mille.saturating_mul(more).min(1000),
            at_least: at_least.saturating_mul(more),
            at_most: at_most.saturating_mul(more),
        }
    }
}

/// What to compare.
struct Probe {
    range: Range<u64>,
    /// The name of what lay there; none for zeroes.
    expected: Option<ChunkId>,
}

/// Looks for lies.
pub(super) struct Check<'a> {
    pub(super) reader: &'a dyn DiskReader,
    pub(super) env: &'a Env,
    pub(super) budget: &'a Budget,
    pub(super) tally: &'a Tally,
    pub(super) sampling: Sampling,
}

impl Check<'_> {
    /// Whether everything that was drawn is as it was on the `old` disk. `size` is the disk's size now.
    pub(super) async fn holds(
        &self,
        old: &mut Tree<'_>,
        changed: &Ranges,
        size: u64,
    ) -> Result<bool> {
        let unchanged = Ranges::collect(changed.gaps(0..size.min(old.root().size)));
        let draws = self.draw(old, &unchanged)?;
        let segments: Vec<u64> = draws.keys().copied().collect();
        for indices in segments.chunks(old.batch()) {
            let items = old.segment_items(indices).await?;
            let mut probes = Vec::new();
            for (index, segment) in indices.iter().zip(items) {
                let start = old.segment_range(*index).start;
                for at in draws.get(index).into_iter().flatten() {
                    let Some((range, item)) = segment.get(segment.holding(at - start)) else {
                        continue;
                    };
                    let range = range.start + start..range.end + start;
                    probes.extend(probe(*at, range, item, &unchanged));
                }
            }
            let mut answers = stream::iter(probes)
                .map(|probe| self.compare(old, probe))
                .buffer_unordered(AT_ONCE);
            while let Some(same) = answers.try_next().await? {
                if !same {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Draws bytes to look at, by segment.
    fn draw(&self, old: &Tree<'_>, unchanged: &Ranges) -> Result<BTreeMap<u64, Vec<u64>>> {
        let mut draws: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let bytes = unchanged.bytes();
        if bytes == 0 {
            return Ok(draws);
        }
        let mut dice = Dice(u64::from_le_bytes(self.env.random()?));
        let chunk = u64::from(old.root().chunking.hole());
        let share = u128::from(bytes / chunk) * u128::from(self.sampling.per_mille) / 1000;
        let wanted = u64::try_from(share)
            .unwrap_or(u64::MAX)
            .min(u64::from(self.sampling.at_most))
            .max(u64::from(self.sampling.at_least));
        let groups = wanted.min(SPREAD.max(wanted / 8));
        let whole = Places::new(unchanged.as_slice().to_vec());
        for group in 0..groups {
            let at = whole.get(dice.below(bytes));
            let index = at / old.root().segment_size;
            let drawn = draws.entry(index).or_default();
            drawn.push(at);
            let more = wanted / groups + u64::from(group < wanted % groups) - 1;
            if more > 0 {
                let inside = Places::new(unchanged.within(old.segment_range(index)).collect());
                drawn.extend((0..more).map(|_| inside.get(dice.below(inside.bytes))));
            }
        }
        Ok(draws)
    }

    async fn compare(&self, old: &Tree<'_>, probe: Probe) -> Result<bool> {
        let Probe { range, expected } = probe;
        let bytes = range.end - range.start;
        let permit = self.budget.take(bytes).await;
        let buffer = BytesMut::zeroed(usize::try_from(bytes).unwrap_or(usize::MAX));
        let buffer = self
            .reader
            .read_at(range.start, buffer)
            .await
            .map_err(|e| e.with("disk offset", range.start))?;
        self.tally.read(bytes);
        let namer = old.source().namer().clone();
        let same = self
            .env
            .compute(move || match expected {
                Some(id) => namer.name(&buffer) == id,
                None => is_zero(&buffer),
            })
            .await;
        drop(permit);
        same
    }
}

/// What to read for byte `at`, which lies in `item` at `range`; nothing if that is read anyway.
fn probe(at: u64, range: Range<u64>, item: Item, unchanged: &Ranges) -> Option<Probe> {
    let around = unchanged.holding(at)?;
    match item {
        Item::Chunk { id, .. } => {
            let whole = around.start <= range.start && range.end <= around.end;
            whole.then_some(Probe {
                range,
                expected: Some(id),
            })
        }
        Item::Hole { .. } => {
            let block = u64::from(crate::format::BLOCK);
            let begin = at / block * block;
            let from = begin.max(range.start).max(around.start);
            let to = (begin + block).min(range.end).min(around.end);
            Some(Probe {
                range: from..to,
                expected: None,
            })
        }
    }
}

/// Ranges as one row of bytes.
struct Places {
    ranges: Vec<Range<u64>>,
    /// How many bytes lie in front of each range.
    before: Vec<u64>,
    bytes: u64,
}

impl Places {
    fn new(ranges: Vec<Range<u64>>) -> Self {
        let mut bytes = 0;
        let mut before = Vec::with_capacity(ranges.len());
        for range in &ranges {
            before.push(bytes);
            bytes += range.end - range.start;
        }
        Self {
            ranges,
            before,
            bytes,
        }
    }

    /// Byte `n` of the row.
    fn get(&self, n: u64) -> u64 {
        let i = self.before.partition_point(|b| *b <= n).saturating_sub(1);
        match (self.ranges.get(i), self.before.get(i)) {
            (Some(range), Some(before)) => range.start + (n - before),
            _ => 0,
        }
    }
}

/// SplitMix64: enough for drawing samples, from a seed that nobody can foresee.
struct Dice(u64);

impl Dice {
    /// A number below `n`, which is not 0. The tiny preference for small numbers does no harm here.
    #[allow(clippy::cast_possible_truncation)] // the upper half of a product with a u64 is below it
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(n)) >> 64) as u64
    }
}
