//! What a disk tree reaches.

use std::collections::HashSet;

use crate::error::Result;
use crate::format::tree::{Node, Root};
use crate::id::ChunkId;
use crate::store::{ChunkSource, Role};

/// Nodes fetched together.
const BATCH: usize = 128;

/// Visits every chunk that `roots` reach: nodes of the trees and data. `visit` says whether the chunk is new to it; what is below a node that
/// is not new is not visited again. Data chunks are visited as often as they occur.
///
/// Memory is bounded by the fan-out and the height of the trees, not by the size of the disks.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) or [`Kind::Corrupt`](crate::Kind::Corrupt) for a node that cannot be read.
pub(crate) async fn walk(
    source: &dyn ChunkSource,
    roots: impl IntoIterator<Item = Root>,
    mut visit: impl FnMut(&ChunkId, Role) -> Result<bool>,
) -> Result<()> {
    let mut stack = Vec::new();
    for root in roots {
        if visit(&root.node, Role::Tree)? {
            stack.push(root.node);
        }
    }
    // Depth first, a batch at a time: the last pushed are the deepest.
    while !stack.is_empty() {
        let batch = stack.split_off(stack.len().saturating_sub(BATCH));
        for bytes in source.get(&batch).await? {
            let (nodes, data) = Node::decode(&bytes)?.references();
            for id in &data {
                visit(id, Role::Data)?;
            }
            for id in nodes {
                if visit(&id, Role::Tree)? {
                    stack.push(id);
                }
            }
        }
    }
    Ok(())
}

/// The chunks among those that `roots` reach for which `is_stored` is false.
pub(crate) async fn missing(
    source: &dyn ChunkSource,
    roots: impl IntoIterator<Item = Root>,
    is_stored: impl Fn(&ChunkId) -> Result<bool>,
) -> Result<HashSet<ChunkId>> {
    let mut seen = HashSet::new();
    let mut missing = HashSet::new();
    walk(source, roots, |id, role| {
        if !is_stored(id)? {
            missing.insert(*id);
            return Ok(false);
        }
        Ok(role == Role::Data || seen.insert(*id))
    })
    .await?;
    Ok(missing)
}
