//! What a disk tree reaches.

use std::collections::HashSet;

use async_trait::async_trait;

use super::locate::locate_many;
use super::shared::Shared;
use crate::error::Result;
use crate::format::tree::{Node, Root};
use crate::id::ChunkId;
use crate::store::{ChunkSource, Role};

/// Nodes fetched together.
const BATCH: usize = 128;

/// Data chunks that are visited together, or a few more: a great many would take memory.
const TOGETHER: usize = 16 << 10;

/// Is told what is reached.
#[async_trait]
pub(crate) trait Visit: Send {
    /// Takes chunks, of one role, in the order in which they were found, and returns the nodes among them that are new to it: what is below the others is not visited again.
    /// Data chunks come as often as they occur.
    async fn visit(&mut self, ids: Vec<ChunkId>, role: Role) -> Result<Vec<ChunkId>>;
}

/// Visits every chunk that `roots` reach: nodes of the trees and data, those of many nodes together.
///
/// Memory is bounded by the fan-out and the height of the trees, not by the size of the disks.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) or [`Kind::Corrupt`](crate::Kind::Corrupt) for a node that cannot be read.
pub(crate) async fn walk(
    source: &dyn ChunkSource,
    roots: impl IntoIterator<Item = Root>,
    visitor: &mut dyn Visit,
) -> Result<()> {
    let roots = roots.into_iter().map(|root| root.node).collect();
    let mut stack = visitor.visit(roots, Role::Tree).await?;
    // Depth first, a batch at a time: the last pushed are the deepest.
    while !stack.is_empty() {
        let batch = stack.split_off(stack.len().saturating_sub(BATCH));
        let (mut nodes, mut data) = (Vec::new(), Vec::new());
        for bytes in source.get(&batch).await? {
            let (below, chunks) = Node::decode(&bytes)?.references();
            nodes.extend(below);
            data.extend(chunks);
            if data.len() >= TOGETHER {
                visitor.visit(std::mem::take(&mut data), Role::Data).await?;
            }
        }
        visitor.visit(data, Role::Data).await?;
        stack.extend(visitor.visit(nodes, Role::Tree).await?);
    }
    Ok(())
}

/// How many of the chunks that `roots` reach the lookup does not know, each counted once.
pub(crate) async fn missing(
    shared: &Shared,
    source: &dyn ChunkSource,
    roots: impl IntoIterator<Item = Root>,
) -> Result<usize> {
    let mut missing = Missing {
        shared,
        seen: HashSet::new(),
        missing: HashSet::new(),
    };
    walk(source, roots, &mut missing).await?;
    Ok(missing.missing.len())
}

struct Missing<'a> {
    shared: &'a Shared,
    seen: HashSet<ChunkId>,
    missing: HashSet<ChunkId>,
}

#[async_trait]
impl Visit for Missing<'_> {
    async fn visit(&mut self, ids: Vec<ChunkId>, role: Role) -> Result<Vec<ChunkId>> {
        let view = self.shared.lookup.view();
        let mut new = Vec::new();
        for (id, found) in locate_many(&self.shared.env, &view, ids).await? {
            if found.is_none() {
                self.missing.insert(id);
            } else if role == Role::Tree && self.seen.insert(id) {
                new.push(id);
            }
        }
        Ok(new)
    }
}
