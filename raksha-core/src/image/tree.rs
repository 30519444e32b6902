//! Reading disk trees, node by node, as far as needed.

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::format::tree::{FANOUT, Node, Root, RootNode};
use crate::id::ChunkId;
use crate::store::ChunkSource;

use super::items::OldSegment;

/// [`FANOUT`] as it is needed in most places.
pub(super) const WIDTH: u64 = FANOUT as u64;

/// Most segment nodes that are fetched at once.
const NODES_AT_ONCE: u64 = 64;

/// About how many bytes of segment nodes are fetched at once.
const NODE_BYTES_AT_ONCE: u64 = 4 << 20;

/// Fetches nodes and checks their names: whoever follows names from a root then knows that the tree is that root's.
pub(super) async fn fetch(source: &dyn ChunkSource, ids: &[ChunkId]) -> Result<Vec<Node>> {
    let found = source.get(ids).await?;
    if found.len() != ids.len() {
        return Err(Error::new(
            Kind::Internal,
            "fetch tree nodes",
            "the chunk source did not answer for each name",
        ));
    }
    let nodes = ids.iter().zip(found).map(|(id, bytes)| {
        if source.namer().name(&bytes) != *id {
            return Err(Error::new(
                Kind::Corrupt,
                "fetch tree nodes",
                "the bytes are not those that the name stands for",
            )
            .with("chunk", id));
        }
        Node::decode(&bytes).map_err(|e| e.with("chunk", id))
    });
    nodes.collect()
}

/// Fetches one node.
pub(super) async fn fetch_one(source: &dyn ChunkSource, id: &ChunkId) -> Result<Node> {
    let mut nodes = fetch(source, std::slice::from_ref(id)).await?;
    nodes.pop().ok_or_else(|| {
        Error::new(Kind::Internal, "fetch tree nodes", "there is none").with("chunk", id)
    })
}

/// How many nodes a level has above `segments` segments: level 0 are the segments themselves.
pub(super) fn nodes_at(segments: u64, level: u32) -> u64 {
    (0..level).fold(segments, |nodes, _| nodes.div_ceil(WIDTH))
}

/// The segments below node `index` of `level`, of a disk of `segments` segments.
pub(super) fn segments_below(segments: u64, level: u32, index: u64) -> Range<u64> {
    let width = WIDTH.saturating_pow(level);
    let end = (index + 1).saturating_mul(width);
    (index.saturating_mul(width)).min(segments)..end.min(segments)
}

/// A tree of which the root was read, and the branches on the way to where one last was.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    source: &'a dyn ChunkSource,
    root: RootNode,
    /// The branch last read of each level, the lowest (level 1) first.
    path: Vec<Option<(u64, Vec<Option<ChunkId>>)>>,
}

impl<'a> Tree<'a> {
    /// Reads the root.
    pub(super) async fn open(source: &'a dyn ChunkSource, root: &Root) -> Result<Self> {
        let node = fetch_one(source, &root.node).await?.into_root()?;
        if node.size != root.size {
            return Err(Error::new(
                Kind::Corrupt,
                "open disk tree",
                "the root node tells another size than the root",
            )
            .with("root", root.node)
            .with("size", root.size));
        }
        let height = node.height();
        Ok(Self {
            source,
            root: node,
            path: (0..height).map(|_| None).collect(),
        })
    }

    /// What the root says.
    pub(super) fn root(&self) -> &RootNode {
        &self.root
    }

    /// Where the nodes come from.
    pub(super) fn source(&self) -> &'a dyn ChunkSource {
        self.source
    }

    /// How many levels of branches there are.
    pub(super) fn height(&self) -> u32 {
        self.root.height()
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> u64 {
        self.root.segments()
    }

    /// The bytes of segment `index`.
    pub(super) fn segment_range(&self, index: u64) -> Range<u64> {
        segment_range(self.root.segment_size, self.root.size, index)
    }

    /// The name of node `index` of `level`; none if all below it is a hole, or the tree has no such node.
    pub(super) async fn node(&mut self, level: u32, index: u64) -> Result<Option<ChunkId>> {
        let height = self.height();
        if level > height || index >= nodes_at(self.segments(), level) {
            return Ok(None);
        }
        let pick = |children: &[Option<ChunkId>], place: u64| {
            let child = usize::try_from(place).ok().and_then(|i| children.get(i));
            child.copied().flatten()
        };
        let mut id = pick(
            &self.root.children,
            index / WIDTH.saturating_pow(height - level),
        );
        for above in (level + 1..=height).rev() {
            let Some(branch) = id else { return Ok(None) };
            let place = index / WIDTH.saturating_pow(above - level);
            let child = index / WIDTH.saturating_pow(above - 1 - level) % WIDTH;
            id = pick(self.branch(above, place, &branch).await?, child);
        }
        Ok(id)
    }

    async fn branch(&mut self, level: u32, index: u64, id: &ChunkId) -> Result<&[Option<ChunkId>]> {
        let expected = (nodes_at(self.segments(), level - 1) - index * WIDTH).min(WIDTH);
        let source = self.source;
        let slot = self.path.get_mut(level as usize - 1).ok_or_else(|| {
            Error::new(Kind::Internal, "walk disk tree", "there is no such level")
        })?;
        if slot.as_ref().is_none_or(|(at, _)| *at != index) {
            let children = fetch_one(source, id).await?.into_branch()?;
            if children.len() as u64 != expected {
                return Err(Error::new(
                    Kind::Corrupt,
                    "walk disk tree",
                    "a branch has not as many children as its place asks for",
                )
                .with("chunk", id));
            }
            *slot = Some((index, children));
        }
        Ok(slot.as_ref().map_or(&[], |(_, children)| children))
    }

    /// How many segment nodes to fetch at once.
    pub(super) fn batch(&self) -> usize {
        let chunks = self.root.segment_size / u64::from(self.root.chunking.max()).max(1);
        // Chunks may be much smaller than the largest: four times as many is a fair guess, 36 bytes each.
        let node = (chunks * 4 * 36).max(1);
        usize::try_from((NODE_BYTES_AT_ONCE / node).clamp(1, NODES_AT_ONCE)).unwrap_or(1)
    }

    /// The items of these segments.
    pub(super) async fn segment_items(&mut self, indices: &[u64]) -> Result<Vec<OldSegment>> {
        let mut ids = Vec::with_capacity(indices.len());
        for index in indices {
            ids.push(self.node(0, *index).await?);
        }
        let present: Vec<ChunkId> = ids.iter().flatten().copied().collect();
        let mut nodes = if present.is_empty() {
            Vec::new()
        } else {
            fetch(self.source, &present).await?
        }
        .into_iter();
        let segments = indices.iter().zip(ids).map(|(index, id)| {
            let range = self.segment_range(*index);
            let node = id.and_then(|id| nodes.next().map(|node| (id, node)));
            OldSegment::new(node, range.end - range.start)
                .map_err(|e| e.with("disk offset", range.start))
        });
        segments.collect()
    }
}

/// The bytes of segment `index` of a disk.
pub(super) fn segment_range(segment_size: u64, size: u64, index: u64) -> Range<u64> {
    let start = index.saturating_mul(segment_size).min(size);
    start..start.saturating_add(segment_size).min(size)
}
