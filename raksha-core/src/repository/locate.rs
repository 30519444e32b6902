//! Looking for a great many chunks, off the threads that drive input and output.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::lookup::{Location, View};
use super::names::PackName;
use crate::env::{Env, processors};
use crate::error::Result;
use crate::id::ChunkId;

/// Chunks that one processor looks for at a time: enough to be worth the way there, and few enough for its cache.
const AT_ONCE: usize = 8192;

/// A place of each of these chunks, which are given back with it, in the same order. Looks on all processors.
///
/// # Errors
/// If the local cache cannot be read.
pub(super) async fn locate_many(
    env: &Env,
    view: &Arc<View>,
    ids: Vec<ChunkId>,
) -> Result<Vec<(ChunkId, Option<Location>)>> {
    let share = ids.len().div_ceil(processors()).clamp(1, AT_ONCE);
    let parts: Vec<Vec<ChunkId>> = ids.chunks(share).map(<[_]>::to_vec).collect();
    let parts = parts.into_iter().map(|part| {
        let view = Arc::clone(view);
        env.compute(move || {
            let found = view.locate_many(&part)?;
            Ok(part.into_iter().zip(found).collect::<Vec<_>>())
        })
    });
    let mut parts = stream::iter(parts).buffered(processors());
    let mut all = Vec::with_capacity(ids.len());
    while let Some(part) = parts.next().await {
        let part: Result<Vec<_>> = part?;
        all.extend(part?);
    }
    drop(parts);
    Ok(all)
}

/// The packs that hold these chunks: all of them, where a chunk lies in several.
///
/// # Errors
/// If the local cache cannot be read.
pub(super) async fn packs_that_hold(
    env: &Env,
    view: &Arc<View>,
    ids: Vec<ChunkId>,
) -> Result<BTreeSet<PackName>> {
    let view = Arc::clone(view);
    env.compute(move || {
        let mut packs = BTreeSet::new();
        for id in &ids {
            let places = view.locate_all(id)?;
            packs.extend(places.iter().map(|at| at.place.pack));
        }
        Ok(packs)
    })
    .await?
}
