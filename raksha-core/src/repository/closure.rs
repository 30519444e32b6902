//! What points need: every object without which they cannot be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;

use super::handle::Repository;
use super::locate::packs_that_hold;
use super::lookup::View;
use super::names::{KEYS, ObjectKind, PARAMETERS, PackName, point_location};
use super::reach;
use super::reader::PointReader;
use super::shared::Shared;
use super::verify::list;
use crate::error::Result;
use crate::id::{ChunkId, PointId};
use crate::store::{ObjectCatalog, Role};

/// The objects that points need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closures {
    /// What all of them need: what the repository was made with, its key slots, its log, and its index objects.
    pub common: BTreeSet<Path>,
    /// What each needs besides: its own object, and the packs that hold what it reaches.
    pub points: BTreeMap<PointId, BTreeSet<Path>>,
}

/// What a point takes in the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PointSize {
    /// Bytes of the packs that no other point needs: what can be had back if it is forgotten.
    pub unique_bytes: u64,
    /// Bytes of the packs that others need as well.
    pub shared_bytes: u64,
}

impl Repository {
    /// What each point takes in the target, by the packs that hold what it reaches. A pack is shared as soon as another point needs anything in it, so what
    /// is unique is the least that forgetting gives back; collecting with rewriting gives back more. Costs as much as [`closures`](Self::closures).
    ///
    /// # Errors
    /// As [`closures`](Self::closures).
    pub async fn point_sizes(&self, who: &str) -> Result<BTreeMap<PointId, PointSize>> {
        let found = self.closures(who).await?;
        let state = self.shared.log.seen().await;
        let bytes: BTreeMap<Path, u64> = (state.packs.iter())
            .map(|(name, pack)| (name.location(ObjectKind::Pack), pack.bytes))
            .collect();
        let mut needed: BTreeMap<&Path, u32> = BTreeMap::new();
        for object in found.points.values().flatten() {
            *needed.entry(object).or_default() += 1;
        }
        let sizes = found.points.iter().map(|(id, objects)| {
            let mut size = PointSize::default();
            for object in objects {
                let bytes = bytes.get(object).copied().unwrap_or(0);
                match needed.get(object) {
                    Some(1) => size.unique_bytes += bytes,
                    _ => size.shared_bytes += bytes,
                }
            }
            (*id, size)
        });
        Ok(sizes.collect())
    }

    /// What the points need that there are. Walks all their trees, so it costs about as much as reading all their nodes; points that share most of
    /// their trees are still walked one by one. They stay whole meanwhile.
    ///
    /// # Errors
    /// Those of the target, and of a repository that is damaged.
    pub async fn closures(&self, who: &str) -> Result<Closures> {
        let points = self.points().await?;
        let ids: Vec<PointId> = points.iter().map(|point| point.id).collect();
        let reader = self.read(&ids, who).await?;
        let found = self.walk_closures(&reader, &ids).await;
        if let Err(error) = reader.close().await {
            tracing::warn!(%error, "the session was not closed");
        }
        found
    }

    async fn walk_closures(&self, reader: &PointReader, ids: &[PointId]) -> Result<Closures> {
        let shared = &self.shared;
        let mut found = Closures::default();
        for id in ids {
            let state = shared.log.seen().await;
            let point = shared.load_point(&state, id).await?;
            let roots = point.disks.iter().map(|disk| disk.root);
            let mut holders = Holders {
                shared,
                view: shared.lookup.view(),
                packs: BTreeSet::new(),
                seen: BTreeSet::new(),
            };
            reach::walk(reader, roots, &mut holders).await?;
            let packs = holders.packs;
            let packs = packs.iter().map(|pack| pack.location(ObjectKind::Pack));
            let mut objects: BTreeSet<Path> = packs.collect();
            if let Some(committed) = state.points.get(id) {
                objects.insert(point_location(committed.session, id));
            }
            found.points.insert(*id, objects);
        }
        let state = Arc::clone(&shared.log.seen().await);
        let slots = list(&*shared.target.objects, KEYS).await?;
        let indexes = state.indexes.keys();
        found.common = slots
            .into_iter()
            .chain([Path::from(PARAMETERS)])
            .chain((0..state.next).map(ObjectCatalog::location))
            .chain(indexes.map(|index| index.location(ObjectKind::Index)))
            .collect();
        Ok(found)
    }
}

/// Gathers the packs that hold what is reached.
struct Holders<'a> {
    shared: &'a Shared,
    view: Arc<View>,
    packs: BTreeSet<PackName>,
    seen: BTreeSet<ChunkId>,
}

#[async_trait]
impl reach::Visit for Holders<'_> {
    async fn visit(&mut self, ids: Vec<ChunkId>, role: Role) -> Result<Vec<ChunkId>> {
        // Wherever a chunk lies: another process may find it at another of its places first.
        self.packs
            .extend(packs_that_hold(&self.shared.env, &self.view, ids.clone()).await?);
        let new = |id: &ChunkId| role == Role::Tree && self.seen.insert(*id);
        Ok(ids.into_iter().filter(new).collect())
    }
}
