//! Everything that a disk consists of.

use super::tree::fetch;
use crate::error::Result;
use crate::id::ChunkId;
use crate::store::ChunkSource;

/// Nodes fetched at once.
const AT_ONCE: usize = 32;

/// Looks at the chunks of disks.
pub trait Visitor {
    /// A node of the tree: the root, a branch or a segment. Answers whether to go on below it; whoever has been here before, perhaps
    /// on the way through another disk, answers no.
    fn node(&mut self, id: &ChunkId) -> bool;

    /// A chunk of data. It comes up as often as segments that are gone into have it.
    fn data(&mut self, id: &ChunkId);
}

/// Shows the visitor everything below the root node `root`, the root included. Only nodes are fetched, no data.
///
/// Nodes come before what is below them; otherwise in no particular order. Memory is bounded by the tree's height.
///
/// # Errors
/// Those of the source, for nodes that are damaged or missing.
pub async fn walk(
    root: &ChunkId,
    source: &dyn ChunkSource,
    visitor: &mut (dyn Visitor + Send),
) -> Result<()> {
    let mut pending = Vec::new();
    if visitor.node(root) {
        pending.push(*root);
    }
    while !pending.is_empty() {
        let ids = pending.split_off(pending.len().saturating_sub(AT_ONCE));
        for node in fetch(source, &ids).await? {
            let (nodes, data) = node.references();
            for id in &data {
                visitor.data(id);
            }
            pending.extend(nodes.into_iter().filter(|id| visitor.node(id)));
        }
    }
    Ok(())
}
