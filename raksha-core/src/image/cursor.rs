//! Walks through a segment, cutting and naming what was read. Pure computing: what it lacks it asks for.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::cut::{Cutter, Piece, Then};
use super::items::{ItemList, OldSegment};
use super::script::{Step, margin};
use super::zeroes::is_zero;
use crate::error::{Error, Kind, Result};
use crate::format::tree::{Item, Node};
use crate::store::{Chunk, ChunkNamer};

/// What is read beyond the next old item once cutting has fallen out of step with the old segment and did not come back with it.
const FIRST_STRIDE: u64 = 64 << 10;

/// It doubles up to this.
pub(super) const LONGEST_STRIDE: u64 = 1 << 20;

/// A place in a segment, everything to its left being done.
#[derive(Debug)]
pub(super) struct Cursor {
    cutter: Arc<Cutter>,
    namer: ChunkNamer,
    /// The segment's length in bytes.
    length: u64,
    old: Option<Arc<OldSegment>>,
    items: ItemList,
    /// The place: an item begins here, or goes on if it is a hole.
    at: u64,
    /// What was read from the place on and could not be cut yet.
    rest: Bytes,
    in_hole: bool,
    /// How much to read beyond what is needed, when out of step.
    stride: u64,
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Chunks that are not in the old segment at the same place.
    pub(super) chunks: Vec<Chunk>,
    /// What must be read before the walk can go on, if it is not at the end of its steps.
    pub(super) wanted: Option<Range<u64>>,
}

/// Whether a step could be done.
enum Done {
    Yes,
    /// Not before these bytes were read.
    Wants(Range<u64>),
}

impl Cursor {
    /// At the beginning of a segment of `length` bytes. Items are kept from `old`.
    pub(super) fn new(
        cutter: Arc<Cutter>,
        namer: ChunkNamer,
        length: u64,
        old: Option<Arc<OldSegment>>,
    ) -> Self {
        Self {
            cutter,
            namer,
            length,
            old,
            items: ItemList::default(),
            at: 0,
            rest: Bytes::new(),
            in_hole: false,
            stride: 0,
        }
    }

    /// What was read last and could not be cut yet, if the bytes from `next` on continue it: taken, to be put in front of them.
    pub(super) fn take_rest(&mut self, next: u64) -> Bytes {
        if self.at + self.rest.len() as u64 == next {
            std::mem::take(&mut self.rest)
        } else {
            Bytes::new()
        }
    }

    /// Does `steps` from the front. If bytes are wanted, they are to be put in front of what is left.
    pub(super) fn walk(&mut self, steps: &mut VecDeque<Step<Bytes>>) -> Walked {
        let mut walked = Walked::default();
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Read { range, bytes } => {
                    let then = if matches!(steps.front(), Some(Step::Gap(gap)) if gap.start <= range.end)
                    {
                        Then::End
                    } else {
                        Then::Unknown
                    };
                    self.read(range, bytes, then, &mut walked.chunks);
                }
                Step::Gap(range) => self.gap(range, &mut walked.chunks),
                Step::Keep { items, doubtful } => {
                    let next = steps.front().filter(|_| doubtful);
                    match self.keep(items.clone(), next, &mut walked.chunks) {
                        Done::Yes => {}
                        Done::Wants(range) => {
                            walked.wanted = Some(range);
                            steps.push_front(Step::Keep { items, doubtful });
                            break;
                        }
                    }
                }
            }
        }
        // What is left over may be small beside the window it lies in, which is wanted back.
        self.rest = Bytes::copy_from_slice(&self.rest);
        walked
    }

    /// Ends the walk at the segment's end, and answers the node for what was found; none if it is all hole.
    ///
    /// # Errors
    /// The steps have not led to the segment's end.
    pub(super) fn finish(self) -> Result<Option<Node>> {
        if self.at == self.length && self.rest.is_empty() {
            Ok(self.items.into_node())
        } else {
            Err(Error::new(
                Kind::Internal,
                "cut segment",
                "the steps did not lead to its end",
            )
            .with("reached", self.at)
            .with("length", self.length))
        }
    }

    /// How far the segment is read.
    fn known(&self) -> u64 {
        self.at + self.rest.len() as u64
    }

    fn read(&mut self, range: Range<u64>, bytes: Bytes, then: Then, chunks: &mut Vec<Chunk>) {
        // What was read already, because cutting was out of step, is not needed twice.
        let known = usize::try_from(self.known().saturating_sub(range.start)).unwrap_or(usize::MAX);
        if known >= bytes.len() {
            return;
        }
        let then = if range.end == self.length {
            Then::End
        } else {
            then
        };
        self.feed(bytes.slice(known..), then, chunks);
    }

    fn gap(&mut self, range: Range<u64>, chunks: &mut Vec<Chunk>) {
        if self.known() >= range.end {
            return;
        }
        self.feed(Bytes::new(), Then::End, chunks);
        self.items.push_hole(range.end.saturating_sub(self.at));
        self.at = range.end;
        self.in_hole = true;
    }

    /// Cuts what is left over together with `more`, which follows it.
    fn feed(&mut self, more: Bytes, then: Then, chunks: &mut Vec<Chunk>) {
        let bytes = if self.rest.is_empty() {
            more
        } else if more.is_empty() {
            std::mem::take(&mut self.rest)
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + more.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&more);
            joined.freeze()
        };
        let Self {
            cutter,
            namer,
            old,
            items,
            at,
            in_hole,
            ..
        } = self;
        let decided = cutter.cut(*at, &bytes, then, in_hole, |piece| match piece {
            Piece::Hole(range) => items.push_hole(range.len() as u64),
            Piece::Chunk(range) => {
                let place = *at + range.start as u64;
                let slice = bytes.slice(range);
                let id = namer.name(&slice);
                let length = u32::try_from(slice.len()).unwrap_or(u32::MAX);
                items.push(Item::Chunk { id, length });
                if old.as_ref().is_none_or(|old| !old.has_chunk(place, &id)) {
                    chunks.push(Chunk { id, bytes: slice });
                }
            }
        });
        self.at += decided as u64;
        self.rest = bytes.slice(decided..);
    }

    /// Keeps old items from where the cursor is in step with them.
    fn keep(
        &mut self,
        kept: Range<usize>,
        doubted_by: Option<&Step<Bytes>>,
        chunks: &mut Vec<Chunk>,
    ) -> Done {
        let Some(old) = self.old.clone() else {
            return Done::Yes;
        };
        let end = old.border(kept.end);
        loop {
            if self.at >= end {
                return Done::Yes;
            }
            let border = old.border_at(self.at).filter(|i| *i >= kept.start);
            match border {
                Some(first) if self.is_in_step(&old, first) => {
                    let hole_followed = old.is_hole(kept.end);
                    if doubted_by.is_some_and(|next| self.overturns(next, hole_followed)) {
                        return if self.known() < end {
                            self.want(&old, kept, end)
                        } else {
                            Done::Yes
                        };
                    }
                    for item in old.slice(first..kept.end) {
                        self.items.push(*item);
                    }
                    self.rest = Bytes::new();
                    self.at = end;
                    self.in_hole = old.is_hole(kept.end - 1);
                    self.stride = 0;
                    return Done::Yes;
                }
                _ => {}
            }
            let known = self.known();
            if known >= end {
                return Done::Yes;
            }
            let next = old.holding(known);
            if !old.is_hole(next) {
                let wish = old.border(next + 1) + self.stride;
                self.stride = (self.stride * 2).clamp(FIRST_STRIDE, LONGEST_STRIDE);
                return self.want(&old, kept, wish);
            }
            // Nothing changed in this hole, so it need not be read: it ends what is left over, and goes on to its own end.
            self.gap(known..old.border(next + 1), chunks);
        }
    }

    /// Whether cutting from here on finds the old item `first`, whose bytes did not change, again.
    ///
    /// The one thing to the left that matters: a hole that ends here has to end here, which it does if the item is a hole that
    /// continues it, if a hole ended here before, or if a chunk cannot begin with zeroes.
    fn is_in_step(&self, old: &OldSegment, first: usize) -> bool {
        !self.in_hole
            || !self.cutter.chunks_may_begin_with_zeroes()
            || old.is_hole(first)
            || first.checked_sub(1).is_some_and(|i| old.is_hole(i))
    }

    /// Whether what follows doubtful chunks may give the last of them another end: it begins with zeroes, which may belong to a
    /// hole that begins earlier, or the chunk ended at a hole that may not be one any more.
    fn overturns(&self, next: &Step<Bytes>, hole_followed: bool) -> bool {
        let (range, bytes) = match next {
            Step::Read { range, bytes } if !hole_followed => (range, bytes),
            // The hole still begins where it did.
            Step::Gap(_) if hole_followed => return false,
            _ => return true,
        };
        let block = self.cutter.block();
        let ahead = range.start.next_multiple_of(block) - range.start;
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        let Some((head, rest)) = bytes.split_at_checked(ahead) else {
            return true;
        };
        let first = rest.chunks(self.cutter.block_len()).next();
        (!head.is_empty() && is_zero(head)) || first.is_none_or(is_zero)
    }

    /// Asks for what comes next of the old items `kept`, to `wish` or more, but no further than the next hole among them.
    fn want(&self, old: &OldSegment, kept: Range<usize>, wish: u64) -> Done {
        let from = self.known();
        let mut item = old.holding(from);
        while item + 1 < kept.end && !old.is_hole(item + 1) && old.border(item + 1) < wish {
            item += 1;
        }
        let border = old.border(item + 1);
        let end = if old.is_hole(item + 1) {
            border
        } else {
            margin(&self.cutter, border, self.length)
        };
        Done::Wants(from..end)
    }
}
