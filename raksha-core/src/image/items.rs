//! What a segment consists of, with places.

use std::ops::Range;

use crate::error::Result;
use crate::format::tree::{Item, Node};
use crate::id::ChunkId;

/// A segment's items as they are found, from the left. Adjacent holes become one, so that there is one list for one content.
#[derive(Debug, Default)]
pub(super) struct ItemList {
    items: Vec<Item>,
}

impl ItemList {
    /// Adds an item.
    pub(super) fn push(&mut self, item: Item) {
        if let (Some(Item::Hole { length: last }), Item::Hole { length }) =
            (self.items.last_mut(), item)
        {
            *last += length;
        } else {
            self.items.push(item);
        }
    }

    /// Adds zeroes.
    pub(super) fn push_hole(&mut self, length: u64) {
        // A segment has 1 GiB at most.
        if let Ok(length) = u32::try_from(length)
            && length > 0
        {
            self.push(Item::Hole { length });
        }
    }

    /// The node for these items; none if they are one hole.
    pub(super) fn into_node(self) -> Option<Node> {
        match self.items.as_slice() {
            [] | [Item::Hole { .. }] => None,
            _ => Some(Node::Segment(self.items)),
        }
    }
}

/// A segment of an older disk: its items and where each begins.
#[derive(Debug)]
pub(super) struct OldSegment {
    id: Option<ChunkId>,
    items: Vec<Item>,
    /// Where each item begins, and where the last ends.
    borders: Vec<u64>,
}

impl OldSegment {
    /// The segment of `length` bytes that `node` describes; without a node it is a hole.
    pub(super) fn new(node: Option<(ChunkId, Node)>, length: u64) -> Result<Self> {
        let (id, items) = match node {
            Some((id, node)) => (Some(id), node.into_segment(length)?),
            None => {
                let mut hole = ItemList::default();
                hole.push_hole(length);
                (None, hole.items)
            }
        };
        let mut borders = Vec::with_capacity(items.len() + 1);
        borders.push(0);
        let mut at = 0;
        for item in &items {
            at += u64::from(item.length());
            borders.push(at);
        }
        Ok(Self { id, items, borders })
    }

    /// Its node.
    pub(super) fn id(&self) -> Option<ChunkId> {
        self.id
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.borders.last().copied().unwrap_or(0)
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Item `i` and where it lies.
    pub(super) fn get(&self, i: usize) -> Option<(Range<u64>, Item)> {
        let start = *self.borders.get(i)?;
        let end = *self.borders.get(i + 1)?;
        Some((start..end, *self.items.get(i)?))
    }

    /// All items and where they lie.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (Range<u64>, Item)> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// The items in `range`.
    pub(super) fn slice(&self, range: Range<usize>) -> &[Item] {
        self.items.get(range).unwrap_or_default()
    }

    /// Where item `i` begins; for the number of items, where the last ends.
    pub(super) fn border(&self, i: usize) -> u64 {
        self.borders.get(i).copied().unwrap_or(u64::MAX)
    }

    /// Which item holds byte `at`.
    pub(super) fn holding(&self, at: u64) -> usize {
        self.borders.partition_point(|b| *b <= at).saturating_sub(1)
    }

    /// Which border lies exactly at `at`.
    pub(super) fn border_at(&self, at: u64) -> Option<usize> {
        self.borders.binary_search(&at).ok()
    }

    /// Whether item `i` exists and is a hole.
    pub(super) fn is_hole(&self, i: usize) -> bool {
        matches!(self.items.get(i), Some(Item::Hole { .. }))
    }

    /// Whether a chunk named `id` begins at `at`.
    pub(super) fn has_chunk(&self, at: u64, id: &ChunkId) -> bool {
        let item = self.border_at(at).and_then(|i| self.items.get(i));
        matches!(item, Some(Item::Chunk { id: old, .. }) if old == id)
    }
}
