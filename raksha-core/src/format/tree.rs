//! The disk tree: a root, branches where the disk is large, and one node for each segment.
//!
//! Nodes are stored as chunks of role `Tree`, and refer to each other and to data by chunk id. There is exactly one tree
//! for a content, a chunking and a segment size, so that equal roots mean equal disks and the other way round.
//! A segment or branch that is all hole has no node: it is [`None`] in its parent.

use serde::{Deserialize, Serialize};

use super::{Chunking, Reader};
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;

/// Children of a branch.
pub const FANOUT: usize = 1024;

/// The segment size used unless a repository says otherwise: 64 MiB.
pub const DEFAULT_SEGMENT: u64 = 64 << 20;

/// The smallest and the largest segment size.
pub const SEGMENT_SIZES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

const ROOT: u8 = 1;
const BRANCH: u8 = 2;
const SEGMENT: u8 = 3;

/// Marks an item as a hole; the other bits are its length.
const HOLE_BIT: u32 = 1 << 31;

/// The content of a whole disk, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root {
    /// The chunk that holds the root node.
    pub node: ChunkId,
    /// The disk's exact size in bytes; the root node says the same.
    pub size: u64,
}

/// A root node: everything about the disk but its segments, and the topmost children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootNode {
    /// How segments were cut into chunks.
    pub chunking: Chunking,
    /// The size of a segment in bytes: a power of two. The last segment may be shorter.
    pub segment_size: u64,
    /// The disk's exact size in bytes.
    pub size: u64,
    /// Segments, or branches if there are more than [`FANOUT`] segments.
    pub children: Vec<Option<ChunkId>>,
}

/// A stretch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Reads as zeroes.
    Hole {
        /// Its length in bytes.
        length: u32,
    },
    /// A chunk.
    Chunk {
        /// Its name.
        id: ChunkId,
        /// Its length in bytes.
        length: u32,
    },
}

impl Item {
    /// How many bytes of the disk this is.
    pub fn length(&self) -> u32 {
        match *self {
            Self::Hole { length } | Self::Chunk { length, .. } => length,
        }
    }
}

/// Any node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The top.
    Root(RootNode),
    /// Children that are segments or further branches.
    Branch(Vec<Option<ChunkId>>),
    /// What a segment consists of, in order; the lengths add up to the segment's.
    Segment(Vec<Item>),
}

impl RootNode {
    /// The number of segments of a disk of `size` bytes.
    pub fn segments(&self) -> u64 {
        self.size.div_ceil(self.segment_size)
    }

    /// The levels of branches between the root and the segments; 0 if the root lists segments.
    pub fn height(&self) -> u32 {
        height(self.segments())
    }
}

/// The levels of branches above `segments` segments.
pub fn height(segments: u64) -> u32 {
    let mut height = 0;
    let mut nodes = segments;
    while nodes > FANOUT as u64 {
        nodes = nodes.div_ceil(FANOUT as u64);
        height += 1;
    }
    height
}

impl Node {
    /// The node's bytes. There is exactly one encoding for a node.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Root(root) => {
                out.push(ROOT);
                root.chunking.encode(&mut out);
                out.extend_from_slice(&root.segment_size.to_le_bytes());
                out.extend_from_slice(&root.size.to_le_bytes());
                encode_children(&root.children, &mut out);
            }
            Self::Branch(children) => {
                out.push(BRANCH);
                encode_children(children, &mut out);
            }
            Self::Segment(items) => {
                out.push(SEGMENT);
                for item in items {
                    match item {
                        Item::Hole { length } => {
                            out.extend_from_slice(&(length | HOLE_BIT).to_le_bytes());
                        }
                        Item::Chunk { id, length } => {
                            out.extend_from_slice(&length.to_le_bytes());
                            out.extend_from_slice(id.as_bytes());
                        }
                    }
                }
            }
        }
        out
    }

    /// Reads a node.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the bytes are no node, [`Kind::Unsupported`] for a chunking that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "tree node");
        match reader.u8()? {
            ROOT => decode_root(reader).map(Self::Root),
            BRANCH => {
                let children = decode_children(&mut reader)?;
                if children.is_empty() || children.len() > FANOUT {
                    return Err(reader.corrupt("a branch has an impossible number of children"));
                }
                Ok(Self::Branch(children))
            }
            SEGMENT => decode_segment(reader).map(Self::Segment),
            _ => Err(reader.corrupt("it is of no known kind")),
        }
    }

    /// The chunks that this node refers to, with what they are: nodes of the tree or data.
    pub fn references(&self) -> (Vec<ChunkId>, Vec<ChunkId>) {
        match self {
            Self::Root(RootNode { children, .. }) | Self::Branch(children) => {
                (children.iter().flatten().copied().collect(), Vec::new())
            }
            Self::Segment(items) => {
                let data = items.iter().filter_map(|item| match item {
                    Item::Chunk { id, .. } => Some(*id),
                    Item::Hole { .. } => None,
                });
                (Vec::new(), data.collect())
            }
        }
    }

    /// The root node, if it is one.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is another node.
    pub fn into_root(self) -> Result<RootNode> {
        match self {
            Self::Root(root) => Ok(root),
            _ => Err(misplaced("a root")),
        }
    }

    /// The children, if it is a branch.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is another node.
    pub fn into_branch(self) -> Result<Vec<Option<ChunkId>>> {
        match self {
            Self::Branch(children) => Ok(children),
            _ => Err(misplaced("a branch")),
        }
    }

    /// The items, if it is a segment of `length` bytes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is another node, or its items do not add up to `length`.
    pub fn into_segment(self, length: u64) -> Result<Vec<Item>> {
        let Self::Segment(items) = self else {
            return Err(misplaced("a segment"));
        };
        let sum: u64 = items.iter().map(|item| u64::from(item.length())).sum();
        if sum != length {
            return Err(misplaced("a segment of this length"));
        }
        Ok(items)
    }
}

fn misplaced(expected: &'static str) -> Error {
    Error::new(
        Kind::Corrupt,
        "walk disk tree",
        "a node is not what its place in the tree asks for",
    )
    .with("expected", expected)
}

fn encode_children(children: &[Option<ChunkId>], out: &mut Vec<u8>) {
    out.reserve(children.len() * 32);
    for child in children {
        match child {
            Some(id) => out.extend_from_slice(id.as_bytes()),
            None => out.extend_from_slice(&[0; 32]),
        }
    }
}

fn decode_children(reader: &mut Reader<'_>) -> Result<Vec<Option<ChunkId>>> {
    let mut children = Vec::with_capacity(reader.remaining() / 32);
    while reader.remaining() > 0 {
        let id = reader.array::<32>()?;
        children.push((id != [0; 32]).then(|| ChunkId::from_bytes(id)));
    }
    Ok(children)
}

fn decode_root(mut reader: Reader<'_>) -> Result<RootNode> {
    let chunking = Chunking::decode(&mut reader)?;
    let segment_size = reader.u64()?;
    let size = reader.u64()?;
    if !SEGMENT_SIZES.contains(&segment_size) || !segment_size.is_power_of_two() {
        return Err(reader.corrupt("its segment size is impossible"));
    }
    let children = decode_children(&mut reader)?;
    let root = RootNode {
        chunking,
        segment_size,
        size,
        children,
    };
    let mut expected = root.segments();
    for _ in 0..root.height() {
        expected = expected.div_ceil(FANOUT as u64);
    }
    if root.children.len() as u64 != expected {
        return Err(reader.corrupt("its children do not fit its size"));
    }
    Ok(root)
}

fn decode_segment(mut reader: Reader<'_>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    while reader.remaining() > 0 {
        let word = reader.u32()?;
        let length = word & !HOLE_BIT;
        if length == 0 {
            return Err(reader.corrupt("an item is empty"));
        }
        items.push(if word & HOLE_BIT != 0 {
            Item::Hole { length }
        } else {
            let id = ChunkId::from_bytes(reader.array()?);
            Item::Chunk { id, length }
        });
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ChunkId {
        ChunkId::from_bytes([n; 32])
    }

    #[test]
    fn nodes_go_both_ways() {
        let nodes = [
            Node::Root(RootNode {
                chunking: Chunking::DISK,
                segment_size: DEFAULT_SEGMENT,
                size: 2 * DEFAULT_SEGMENT + 1,
                children: vec![Some(id(1)), None, Some(id(2))],
            }),
            Node::Branch(vec![None, Some(id(7))]),
            Node::Segment(vec![
                Item::Chunk {
                    id: id(9),
                    length: 5,
                },
                Item::Hole { length: 1 << 30 },
            ]),
        ];
        for node in nodes {
            let bytes = node.encode();
            assert_eq!(Node::decode(&bytes).unwrap(), node);
            for cut in 1..bytes.len() {
                // A shorter one is either refused or another node, but never a panic.
                if let Ok(other) = Node::decode(&bytes[..cut]) {
                    assert_ne!(other, node);
                }
            }
        }
    }

    #[test]
    fn height_grows_by_powers_of_the_fanout() {
        assert_eq!(height(0), 0);
        assert_eq!(height(1024), 0);
        assert_eq!(height(1025), 1);
        assert_eq!(height(1024 * 1024), 1);
        assert_eq!(height(1024 * 1024 + 1), 2);
    }
}
