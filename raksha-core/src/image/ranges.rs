//! Sets of bytes, as ranges.

use std::ops::Range;

/// Ranges in ascending order, none empty, no two touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// From ranges in any order, overlapping or not.
    pub(super) fn collect(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|r| r.start < r.end).collect();
        sorted.sort_unstable_by_key(|r| r.start);
        let mut merged = Self::default();
        for range in sorted {
            merged.push(range);
        }
        merged
    }

    /// Adds a range that begins at or behind the beginning of the last.
    pub(super) fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => self.0.push(range),
        }
    }

    /// The ranges.
    pub(super) fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The ranges.
    pub(super) fn into_vec(self) -> Vec<Range<u64>> {
        self.0
    }

    /// How many bytes these are.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// What of the set lies in `bounds`.
    pub(super) fn within(&self, bounds: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.0.partition_point(|r| r.end <= bounds.start);
        self.0
            .iter()
            .skip(first)
            .take_while(move |r| r.start < bounds.end)
            .map(move |r| r.start.max(bounds.start)..r.end.min(bounds.end))
            .filter(|r| !r.is_empty())
    }

    /// Whether any byte of `bounds` is in the set.
    pub(super) fn touch(&self, bounds: Range<u64>) -> bool {
        self.within(bounds).next().is_some()
    }

    /// The bytes of `bounds` that are not in the set.
    pub(super) fn gaps(&self, bounds: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = bounds.start;
        for range in self.within(bounds.clone()) {
            if at < range.start {
                gaps.push(at..range.start);
            }
            at = range.end;
        }
        if at < bounds.end {
            gaps.push(at..bounds.end);
        }
        gaps
    }

    /// The range that holds byte `at`.
    pub(super) fn holding(&self, at: u64) -> Option<Range<u64>> {
        let i = self.0.partition_point(|r| r.end <= at);
        self.0.get(i).filter(|r| r.start <= at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_agree_with_a_table_of_bytes() {
        let set = Ranges::collect([7..9, 1..3, 2..4, 9..9, 12..20]);
        assert_eq!(set.as_slice(), [1..4, 7..9, 12..20]);
        let member = |at: u64| [1..4, 7..9, 12..20].iter().any(|r| r.contains(&at));
        for start in 0..22 {
            assert_eq!(set.holding(start).is_some(), member(start));
            for end in start..22 {
                let inside: Vec<u64> = set.within(start..end).flatten().collect();
                let outside: Vec<u64> = set.gaps(start..end).into_iter().flatten().collect();
                assert_eq!(
                    inside,
                    (start..end).filter(|at| member(*at)).collect::<Vec<_>>()
                );
                assert_eq!(
                    outside,
                    (start..end).filter(|at| !member(*at)).collect::<Vec<_>>()
                );
                assert_eq!(set.touch(start..end), !inside.is_empty());
            }
        }
    }
}
