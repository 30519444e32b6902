//! Looking for a great many chunks: off the threads that drive input and output, and on all processors.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::lookup::{Location, View};
use super::names::PackName;
use crate::env::{Env, processors};
use crate::error::Result;
use crate::id::ChunkId;

/// As many chunks are worth a processor of their own.
const WORTH_A_PROCESSOR: usize = 1024;

/// A place of each of these chunks, which are given back with it, in the same order.
///
/// # Errors
/// If the local cache cannot be read.
pub(super) async fn locate_many(
    env: &Env,
    view: &Arc<View>,
    ids: Vec<ChunkId>,
) -> Result<Vec<(ChunkId, Option<Location>)>> {
    let share = ids.len().div_ceil(processors()).max(WORTH_A_PROCESSOR);
    let parts = ids.chunks(share).map(|part| {
        let (view, part) = (Arc::clone(view), part.to_vec());
        env.compute(move || {
            let found = view.locate_many(&part)?;
            Ok(part.into_iter().zip(found).collect::<Vec<_>>())
        })
    });
    let parts: Vec<Result<Vec<_>>> = try_join_all(parts).await?;
    parts.into_iter().try_fold(Vec::new(), |mut all, part| {
        all.extend(part?);
        Ok(all)
    })
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
