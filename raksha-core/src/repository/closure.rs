//! What points need: every object without which they cannot be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;

use super::handle::Repository;
use super::names::{KEYS, ObjectKind, PARAMETERS, point_location};
use super::reach;
use super::reader::PointReader;
use super::verify::list;
use crate::error::Result;
use crate::id::PointId;
use crate::store::{ObjectCatalog, Role};

/// The objects that points need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closures {
    /// What all of them need: what the repository was made with, its key slots, its log, and its index objects.
    pub common: BTreeSet<Path>,
    /// What each needs besides: its own object, and the packs that hold what it reaches.
    pub points: BTreeMap<PointId, BTreeSet<Path>>,
}

impl Repository {
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
            let mut packs = BTreeSet::new();
            let mut seen = BTreeSet::new();
            let roots = point.disks.iter().map(|disk| disk.root);
            let view = shared.lookup.view();
            reach::walk(reader, roots, |chunk, role| {
                // Wherever it lies: another process may find it at another of its places first.
                for location in view.locate_all(chunk)? {
                    packs.insert(location.place.pack);
                }
                Ok(role == Role::Data || seen.insert(*chunk))
            })
            .await?;
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
