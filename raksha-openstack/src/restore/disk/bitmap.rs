//! Which clusters of a disk are used.

use std::ops::Range;

/// A set of numbers below a bound that was given when it was made, one bit each.
#[derive(Debug, Clone)]
pub(super) struct Bitmap(Vec<u64>);

impl Bitmap {
    /// Room for `bits` numbers, none of them in it.
    pub(super) fn new(bits: u64) -> Self {
        let words = usize::try_from(bits.div_ceil(64)).unwrap_or(usize::MAX);
        Self(vec![0; words])
    }

    /// Puts all of `range` in; what lies beyond the bound is left out.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let mut bit = range.start;
        while bit < range.end {
            let whole = bit.is_multiple_of(64) && range.end - bit >= 64;
            let (bits, step) = if whole {
                (u64::MAX, 64)
            } else {
                (1 << (bit % 64), 1)
            };
            let Some(word) = word(bit).and_then(|at| self.0.get_mut(at)) else {
                return;
            };
            *word |= bits;
            bit += step;
        }
    }

    pub(super) fn has(&self, bit: u64) -> bool {
        let found = word(bit).and_then(|at| self.0.get(at));
        found.is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    /// How many of `range`, which begins and ends at multiples of 64, are in.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        let words = (range.start / 64..range.end / 64).filter_map(|at| {
            let at = usize::try_from(at).ok()?;
            self.0.get(at)
        });
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// The least that is in, from `bit` on.
    pub(super) fn next(&self, bit: u64) -> Option<u64> {
        let first = word(bit)?;
        let words = self.0.iter().enumerate().skip(first);
        for (at, word) in words {
            let from = if at == first { bit % 64 } else { 0 };
            let rest = word >> from;
            if rest != 0 {
                return Some(at as u64 * 64 + from + u64::from(rest.trailing_zeros()));
            }
        }
        None
    }
}

fn word(bit: u64) -> Option<usize> {
    usize::try_from(bit / 64).ok()
}
