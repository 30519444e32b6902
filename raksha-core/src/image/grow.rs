//! Growing a disk tree from its segments, in about the order of the disk, with no more of it in memory than what is unfinished.

use std::collections::BTreeMap;

use super::meter::Tally;
use super::tree::{WIDTH, nodes_at};
use crate::error::{Error, Kind, Result};
use crate::format::Chunking;
use crate::format::tree::{Node, Root, RootNode, height};
use crate::id::ChunkId;
use crate::store::{Chunk, ChunkStore, Role, Stored};

/// A branch of which some children are still to come.
#[derive(Debug)]
struct Unfinished {
    children: Vec<Option<ChunkId>>,
    missing: u64,
}

impl Unfinished {
    fn new(children: u64) -> Self {
        let room = usize::try_from(children).unwrap_or(usize::MAX);
        Self {
            children: vec![None; room],
            missing: children,
        }
    }

    fn set(&mut self, place: u64, id: Option<ChunkId>) -> Result<()> {
        let child = usize::try_from(place)
            .ok()
            .and_then(|i| self.children.get_mut(i))
            .filter(|_| self.missing > 0)
            .ok_or_else(|| unfit("a node has no such place"))?;
        *child = id;
        self.missing -= 1;
        Ok(())
    }
}

fn unfit(why: &'static str) -> Error {
    Error::new(Kind::Internal, "grow disk tree", why)
}

/// A tree that grows. Each segment, or a branch above segments, is set exactly once.
#[derive(Debug)]
pub(super) struct Growing {
    chunking: Chunking,
    segment_size: u64,
    size: u64,
    segments: u64,
    height: u32,
    branches: BTreeMap<(u32, u64), Unfinished>,
    top: Unfinished,
}

impl Growing {
    /// A tree for a disk of `size` bytes.
    pub(super) fn new(chunking: Chunking, segment_size: u64, size: u64) -> Self {
        let segments = size.div_ceil(segment_size);
        let height = height(segments);
        Self {
            chunking,
            segment_size,
            size,
            segments,
            height,
            branches: BTreeMap::new(),
            top: Unfinished::new(nodes_at(segments, height)),
        }
    }

    /// Says what node `index` of `level` is; none if it is a hole. Branches that this completes are stored.
    pub(super) async fn set(
        &mut self,
        level: u32,
        index: u64,
        id: Option<ChunkId>,
        store: &dyn ChunkStore,
        tally: &Tally,
    ) -> Result<()> {
        let (mut level, mut index, mut id) = (level, index, id);
        while level < self.height {
            let parent = (level + 1, index / WIDTH);
            let children = (nodes_at(self.segments, level) - parent.1 * WIDTH).min(WIDTH);
            let branch = self
                .branches
                .entry(parent)
                .or_insert_with(|| Unfinished::new(children));
            branch.set(index % WIDTH, id)?;
            if branch.missing > 0 {
                return Ok(());
            }
            let children = self.branches.remove(&parent).map(|done| done.children);
            let children = children.unwrap_or_default();
            id = if children.iter().all(Option::is_none) {
                None
            } else {
                Some(store_node(&Node::Branch(children), store, tally).await?)
            };
            (level, index) = parent;
        }
        self.top.set(index, id)
    }

    /// The root, once everything was set. A root that is `known` is not stored again.
    pub(super) async fn finish(
        self,
        known: Option<Root>,
        store: &dyn ChunkStore,
        tally: &Tally,
    ) -> Result<Root> {
        if self.top.missing > 0 {
            return Err(unfit("a segment is missing"));
        }
        let node = Node::Root(RootNode {
            chunking: self.chunking,
            segment_size: self.segment_size,
            size: self.size,
            children: self.top.children,
        });
        let size = self.size;
        if let Some(known) = known
            && known.size == size
            && known.node == store.namer().name(&node.encode())
        {
            return Ok(known);
        }
        let node = store_node(&node, store, tally).await?;
        Ok(Root { node, size })
    }
}

/// Stores a node.
pub(super) async fn store_node(
    node: &Node,
    store: &dyn ChunkStore,
    tally: &Tally,
) -> Result<ChunkId> {
    let bytes = node.encode();
    let id = store.namer().name(&bytes);
    let chunk = Chunk {
        id,
        bytes: bytes.into(),
    };
    for outcome in store.put(Role::Tree, vec![chunk]).await? {
        if let Stored::New { stored_bytes } = outcome {
            tally.stored(stored_bytes);
        }
    }
    Ok(id)
}
