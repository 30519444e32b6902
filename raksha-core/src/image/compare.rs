//! What differs between two disks, in time proportional to that.

use std::ops::Range;

use super::items::OldSegment;
use super::ranges::Ranges;
use super::tree::{Tree, WIDTH, nodes_at, segments_below};
use crate::error::Result;
use crate::format::tree::{Item, Root};
use crate::store::ChunkSource;

/// The ranges of bytes in which two disks differ, ascending and disjoint; outside of them they are equal.
///
/// The ranges are of whole chunks: where one byte of a chunk differs, the chunk does. What lies beyond the end of the smaller disk
/// differs. Where disks were cut by different chunkings or into segments of different size, there is nothing to compare, and
/// all that is not a hole in both differs; that takes time proportional to the disks.
///
/// # Errors
/// Those of the source, for nodes that are damaged or missing.
pub async fn compare(a: &Root, b: &Root, source: &dyn ChunkSource) -> Result<Vec<Range<u64>>> {
    if a == b {
        return Ok(Vec::new());
    }
    let mut a = Tree::open(source, a).await?;
    let mut b = Tree::open(source, b).await?;
    let comparable =
        a.root().chunking == b.root().chunking && a.root().segment_size == b.root().segment_size;
    let mut different = if comparable {
        descend(&mut a, &mut b).await?
    } else {
        let mut data = data_of(&mut a).await?;
        data.extend(data_of(&mut b).await?);
        data
    };
    let (size, other) = (a.root().size, b.root().size);
    different.push(size.min(other)..size.max(other));
    Ok(Ranges::collect(different).into_vec())
}

/// Goes down where names differ.
async fn descend(a: &mut Tree<'_>, b: &mut Tree<'_>) -> Result<Vec<Range<u64>>> {
    let mut different = Vec::new();
    let shared = a.segments().min(b.segments());
    let height = a.height().max(b.height());
    let top = nodes_at(shared, height);
    let mut pending: Vec<(u32, u64)> = (0..top).rev().map(|index| (height, index)).collect();
    let mut indices = Vec::new();
    loop {
        let next = pending.pop();
        if let Some((level, index)) = next
            && !same(a, b, level, index).await?
        {
            if level == 0 {
                indices.push(index);
            } else {
                let first = index * WIDTH;
                let end = (first + WIDTH).min(nodes_at(shared, level - 1));
                pending.extend((first..end).rev().map(|child| (level - 1, child)));
            }
        }
        if indices.len() >= a.batch() || next.is_none() {
            let left = a.segment_items(&indices).await?;
            let right = b.segment_items(&indices).await?;
            for ((index, left), right) in indices.drain(..).zip(left).zip(right) {
                let start = a.segment_range(index).start;
                differences(start, &left, &right, &mut different);
            }
        }
        if next.is_none() {
            return Ok(different);
        }
    }
}

/// Whether both trees have the same node in a place, over the same segments.
async fn same(a: &mut Tree<'_>, b: &mut Tree<'_>, level: u32, index: u64) -> Result<bool> {
    let covered = |tree: &Tree<'_>| {
        (level <= tree.height()).then(|| segments_below(tree.segments(), level, index))
    };
    match (covered(a), covered(b)) {
        (Some(x), Some(y)) if x == y => {
            Ok(a.node(level, index).await? == b.node(level, index).await?)
        }
        _ => Ok(false),
    }
}

/// Compares two segments as far as both reach.
fn differences(start: u64, a: &OldSegment, b: &OldSegment, different: &mut Vec<Range<u64>>) {
    let end = a.length().min(b.length());
    let (mut i, mut j, mut at) = (0, 0, 0);
    while at < end
        && let (Some((x, left)), Some((y, right))) = (a.get(i), b.get(j))
    {
        let to = x.end.min(y.end).min(end);
        let same = match (left, right) {
            (Item::Hole { .. }, Item::Hole { .. }) => true,
            (Item::Chunk { id, .. }, Item::Chunk { id: other, .. }) => x == y && id == other,
            _ => false,
        };
        if !same {
            different.push(start + at..start + to);
        }
        at = to;
        i += usize::from(x.end <= at);
        j += usize::from(y.end <= at);
    }
}

/// What is not a hole.
async fn data_of(tree: &mut Tree<'_>) -> Result<Vec<Range<u64>>> {
    let mut data = Ranges::default();
    let batch = tree.batch() as u64;
    let mut first = 0;
    while first < tree.segments() {
        let indices: Vec<u64> = (first..(first + batch).min(tree.segments())).collect();
        for (index, segment) in indices.iter().zip(tree.segment_items(&indices).await?) {
            let start = tree.segment_range(*index).start;
            for (range, item) in segment.iter() {
                if matches!(item, Item::Chunk { .. }) {
                    data.push(start + range.start..start + range.end);
                }
            }
        }
        first += batch;
    }
    Ok(data.into_vec())
}
