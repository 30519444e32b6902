//! Which parts of a disk have to be worked on, given an older one: a walk down the older tree that turns back wherever nothing
//! below can have changed.

use std::collections::VecDeque;
use std::ops::Range;

use futures_util::stream::{self, BoxStream, StreamExt};

use super::ranges::Ranges;
use super::segment::Task;
use super::tree::{Tree, WIDTH, nodes_at, segment_range, segments_below};
use crate::error::Result;
use crate::format::tree::{FANOUT, height};
use crate::id::ChunkId;

/// What is to be done about a node of the new tree.
#[derive(Debug)]
pub(super) enum Part {
    /// It is the old one's: nothing below has changed.
    Same {
        level: u32,
        index: u64,
        id: Option<ChunkId>,
    },
    /// A segment to be worked on.
    Segment { index: u64, task: Task },
}

/// Plans the parts of a disk in order, fetching old segments in batches.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    segment_size: u64,
    size: u64,
    segments: u64,
    /// The older disk, cut in the same way.
    old: Option<Tree<'a>>,
    /// What may have changed since; none if nobody knows.
    changed: Option<Ranges>,
    /// Nodes still to be looked at, the next one last.
    pending: Vec<(u32, u64)>,
    ready: VecDeque<Part>,
}

impl<'a> Plan<'a> {
    /// A plan for a disk of `size` bytes.
    pub(super) fn new(
        segment_size: u64,
        size: u64,
        old: Option<Tree<'a>>,
        changed: Option<Ranges>,
    ) -> Self {
        let segments = size.div_ceil(segment_size);
        let height = height(segments);
        let top = nodes_at(segments, height);
        Self {
            segment_size,
            size,
            segments,
            old,
            changed,
            pending: (0..top).rev().map(|index| (height, index)).collect(),
            ready: VecDeque::new(),
        }
    }

    /// The parts in order.
    pub(super) fn stream(self) -> BoxStream<'a, Result<Part>> {
        let parts = stream::try_unfold(self, |mut plan| async move {
            let part = plan.next().await?;
            Ok(part.map(|part| (part, plan)))
        });
        parts.boxed()
    }

    async fn next(&mut self) -> Result<Option<Part>> {
        if self.ready.is_empty() {
            self.prepare().await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn prepare(&mut self) -> Result<()> {
        let batch = self.old.as_ref().map_or(1, Tree::batch);
        let mut fetched = Vec::new();
        while fetched.len() < batch
            && self.ready.len() < 4 * batch.max(FANOUT)
            && let Some((level, index)) = self.pending.pop()
        {
            let below = segments_below(self.segments, level, index);
            if let Some(id) = self.unchanged(level, index, &below).await? {
                self.ready.push_back(Part::Same { level, index, id });
            } else if level > 0 {
                let first = index * WIDTH;
                let end = (first + WIDTH).min(nodes_at(self.segments, level - 1));
                self.pending
                    .extend((first..end).rev().map(|child| (level - 1, child)));
            } else {
                let range = self.segment_range(index);
                let changed = self.changed.as_ref().map(|changed| {
                    let inside = changed.within(range.clone());
                    Ranges::collect(inside.map(|r| r.start - range.start..r.end - range.start))
                });
                let task = Task {
                    range,
                    old: None,
                    changed,
                };
                self.ready.push_back(Part::Segment { index, task });
                if self.old.as_ref().is_some_and(|old| index < old.segments()) {
                    fetched.push(index);
                }
            }
        }
        let Some(old) = &mut self.old else {
            return Ok(());
        };
        let mut items = old.segment_items(&fetched).await?.into_iter();
        for part in &mut self.ready {
            if let Part::Segment { index, task } = part
                && *index < old.segments()
            {
                task.old = items.next();
            }
        }
        Ok(())
    }

    /// The old node at this place, if nothing below it can have changed.
    #[allow(clippy::option_option)] // the inner one is a hole, the outer one "it may have"
    async fn unchanged(
        &mut self,
        level: u32,
        index: u64,
        below: &Range<u64>,
    ) -> Result<Option<Option<ChunkId>>> {
        let (Some(old), Some(changed)) = (&mut self.old, &self.changed) else {
            return Ok(None);
        };
        if level > old.height() || segments_below(old.segments(), level, index) != *below {
            return Ok(None);
        }
        let Some(last) = below.end.checked_sub(1) else {
            return Ok(None);
        };
        let end = segment_range(self.segment_size, self.size, last).end;
        let bytes = below.start * self.segment_size..end;
        if old.segment_range(last).end != end || changed.touch(bytes) {
            return Ok(None);
        }
        old.node(level, index).await.map(Some)
    }

    fn segment_range(&self, index: u64) -> Range<u64> {
        segment_range(self.segment_size, self.size, index)
    }
}
