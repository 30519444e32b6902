//! Merging many small index objects into one, so that opening a repository takes few requests.

use std::sync::Arc;

use super::entry::Action;
use super::lookup::merge_indexes as merge;
use super::names::{IndexName, ObjectKind};
use super::session::Session;
use crate::error::{Kind, Result};

/// Index objects are merged when there are more than this many small ones.
const MANY: usize = 8;

/// An index object of fewer bytes is small.
pub(super) const SMALL: u64 = 16 << 20;

/// The most bytes that are merged at once, since they are held in memory.
const AT_ONCE: u64 = 64 << 20;

/// The most index objects that are merged at once, since a log entry names them all.
const NAMED: usize = 4096;

/// Merges small index objects if there are many. Losing the race against another collector is fine.
pub(super) async fn merge_indexes(session: &Arc<Session>) -> Result<()> {
    let shared = &session.shared;
    let state = shared.refresh().await?;
    let mut sum = 0;
    let small = state
        .indexes
        .iter()
        .filter(|(_, index)| index.bytes < SMALL);
    let some = small.take(NAMED).take_while(|(_, index)| {
        sum += index.bytes;
        sum <= AT_ONCE
    });
    let replaced: Vec<IndexName> = some.map(|(name, _)| *name).collect();
    if replaced.len() <= MANY {
        return Ok(());
    }
    let mut objects = Vec::with_capacity(replaced.len());
    for name in &replaced {
        match shared.fetch_index(name).await {
            Ok(object) => objects.push(object),
            // Another collector was faster.
            Err(e) if e.kind() == Kind::NotFound => {
                return match shared.refresh().await?.indexes.contains_key(name) {
                    true => Err(e),
                    false => Ok(()),
                };
            }
            Err(e) => return Err(e),
        }
    }
    let live = Arc::clone(&state);
    let merged = move || merge(objects, &|pack| live.packs.contains_key(pack));
    let merged = shared.env.compute(merged).await??;
    let name = IndexName::new(session.id, merged.hash);
    shared
        .put_new(name, ObjectKind::Index, merged.bytes.clone().into())
        .await?;
    let append = session.append(|_| {
        Ok(Action::IndexesMerged {
            index: merged.hash,
            index_bytes: merged.bytes.len() as u64,
            replaced: replaced.clone(),
        })
    });
    match append.await {
        Ok(_) => shared.refresh().await.map(drop),
        Err(e) if e.kind() == Kind::Conflict => Ok(()),
        Err(e) => Err(e),
    }
}
