//! What is to be done with a segment, from left to right: what is read, what is known to be zero, and what is kept from an older
//! disk.
//!
//! The script decides only what is *read*; what comes out is a function of the segment's bytes alone. Reading too much costs time,
//! and where too little was planned the [cursor](super::cursor) asks for more.
//!
//! # What may be kept
//!
//! Between an older disk and a newer one, of which only the bytes in `changed` may differ, an old item stays as long as it would be
//! found again. The decisions at its beginning were made from the item's own bytes, perhaps a byte behind them
//! ([`Cutter::peek`]), and from whether a hole begins within a chunk or right behind it, for which up to
//! [`Cutter::look_ahead`] bytes behind the chunk must be looked at. So an item that has changes in its own bytes is cut anew, and a
//! chunk that has changes only in what follows it is *doubtful*: a new hole that begins at or before the chunk's end would have to
//! cover everything from there to the change, and an old hole that the chunk ended at may be one no more. Doubtful chunks are cut
//! anew if what is read behind them begins with zeroes or was a hole, and are kept otherwise.
//!
//! Where the older segment had another length, everything from the last byte that both have is taken as changed, so that what
//! ended with the segment is cut anew.

use std::collections::VecDeque;
use std::ops::Range;

use super::cut::Cutter;
use super::items::OldSegment;
use super::ranges::Ranges;
use crate::format::tree::Item;

/// A step through a segment. Places are bytes from the segment's beginning; `B` is what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<B> {
    /// These bytes, which begin and end on the zero grid or with the segment, unless they begin where an old item does. They may
    /// reach into what the next step covers.
    Read { range: Range<u64>, bytes: B },
    /// Zeroes, in whole blocks, enough of them to be a hole.
    Gap(Range<u64>),
    /// Items of the old segment, by number. Doubtful ones are judged by the step behind them.
    Keep { items: Range<usize>, doubtful: bool },
}

/// A script before anything was read.
pub(super) type Script = VecDeque<Step<()>>;

/// Reads the whole segment of `length` bytes, except `zeroes`.
pub(super) fn everything(cutter: &Cutter, length: u64, zeroes: &Ranges) -> Script {
    let mut script = Script::new();
    push_range(&mut script, cutter, 0..length, length, zeroes);
    script
}

/// Brings an old segment up to date, given the bytes that may have `changed` (within `length`). `zeroes` are known from the disk.
pub(super) fn patch(
    cutter: &Cutter,
    length: u64,
    zeroes: &Ranges,
    old: &OldSegment,
    changed: &Ranges,
) -> Script {
    let changed = with_resize(changed, old.length(), length);
    let zeroes = with_old_holes(zeroes, old, &changed, length);
    let dirty = |range: Range<u64>| changed.touch(range.start..range.end + cutter.peek());

    let mut script = Script::new();
    let mut kept_from = 0;
    let mut item = 0;
    while let Some((range, _)) = old.get(item) {
        if !dirty(range.clone()) {
            item += 1;
            continue;
        }
        push_kept(&mut script, cutter, old, kept_from..item, &changed);
        let mut last = item;
        while old.get(last + 1).is_some_and(|(r, _)| dirty(r)) {
            last += 1;
        }
        item = last + 1;
        kept_from = item;
        let mut end = old.border(item);
        if item == old.len() {
            end = length;
        } else if !old.is_hole(item) {
            end = margin(cutter, end, length);
        }
        push_range(&mut script, cutter, range.start..end, length, &zeroes);
    }
    push_kept(&mut script, cutter, old, kept_from..old.len(), &changed);
    script
}

/// As far as must be read for the cut at `border` to be found: the border itself, or past what the algorithm peeks at.
pub(super) fn margin(cutter: &Cutter, border: u64, length: u64) -> u64 {
    (border + cutter.peek())
        .next_multiple_of(cutter.block())
        .min(length)
}

/// Which bytes may have changed, resizing included.
fn with_resize(changed: &Ranges, old: u64, new: u64) -> Ranges {
    let mut all: Vec<_> = changed.as_slice().to_vec();
    if old != new {
        all.push(old.min(new).saturating_sub(1)..u64::MAX);
    }
    Ranges::collect(all)
}

/// What is zero: what the disk says, and old holes as far as nothing changed in them.
fn with_old_holes(zeroes: &Ranges, old: &OldSegment, changed: &Ranges, length: u64) -> Ranges {
    let mut all: Vec<_> = zeroes.as_slice().to_vec();
    for (range, item) in old.iter() {
        if matches!(item, Item::Hole { .. }) {
            all.extend(changed.gaps(range.start..range.end.min(length)));
        }
    }
    Ranges::collect(all)
}

fn push_kept(
    script: &mut Script,
    cutter: &Cutter,
    old: &OldSegment,
    items: Range<usize>,
    changed: &Ranges,
) {
    let doubtful = items.clone().rev().take_while(|i| {
        old.get(*i).is_some_and(|(range, item)| {
            matches!(item, Item::Chunk { .. })
                && changed.touch(range.end..range.end + cutter.look_ahead())
        })
    });
    let sure = items.end - doubtful.count();
    for (items, doubtful) in [(items.start..sure, false), (sure..items.end, true)] {
        if !items.is_empty() {
            script.push_back(Step::Keep { items, doubtful });
        }
    }
}

/// Covers `range` by reads, and by gaps where enough of it is zero to be a hole whatever lies around.
fn push_range(
    script: &mut Script,
    cutter: &Cutter,
    range: Range<u64>,
    length: u64,
    zeroes: &Ranges,
) {
    let read = |range: Range<u64>| Step::Read { range, bytes: () };
    let block = cutter.block();
    let mut at = range.start;
    for zero in zeroes.within(range.clone()) {
        let start = zero.start.next_multiple_of(block);
        let end = if zero.end == length {
            length
        } else {
            zero.end / block * block
        };
        if start < end && (end - start >= cutter.hole() || end == length) {
            if at < start {
                script.push_back(read(at..start));
            }
            script.push_back(Step::Gap(start..end));
            at = end;
        }
    }
    if at < range.end {
        script.push_back(read(at..range.end));
    }
}
