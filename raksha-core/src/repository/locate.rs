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

#[cfg(test)]
mod tests {
    use super::super::index::{IndexObject, IndexPack};
    use super::super::lookup::Lookup;
    use super::super::pack::PackEntry;
    use super::*;
    use crate::id::{ObjectHash, SessionId};
    use crate::store::Role;

    #[tokio::test]
    async fn each_of_a_great_many_chunks_has_its_answer() {
        let id = |n: u32| ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes());
        let ids: Vec<ChunkId> = (0..40_000).map(id).collect();
        let entries: Vec<PackEntry> = (ids.iter().step_by(2).zip((8..).step_by(100)))
            .map(|(id, offset)| PackEntry {
                id: *id,
                offset,
                length: 100,
            })
            .collect();
        let pack = IndexPack {
            name: PackName::new(SessionId(1), ObjectHash::from_bytes([1; 32])),
            role: Role::Data,
            length: 4 << 20,
        };
        let index = IndexObject::build([(pack, &entries[..])].into_iter()).unwrap();
        let lookup = Lookup::new(64 << 20, None).unwrap();
        lookup.add(vec![index]).unwrap();
        let found = locate_many(&Env::system(), &lookup.view(), ids.clone()).await;
        let found = found.unwrap();
        assert_eq!(found.len(), ids.len());
        for (n, ((id, at), asked)) in (0u32..).zip(found.iter().zip(&ids)) {
            assert_eq!(id, asked);
            let offset = at.map(|at| at.place.offset);
            assert_eq!(offset, (n % 2 == 0).then_some(8 + n / 2 * 100));
        }
    }
}
