//! What points take in the target: found out by walking all trees, and so remembered until there are other points.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raksha_core::Result;
use raksha_core::id::PointId;
use raksha_core::repository::{PointSize, Repository};
use tokio::sync::Mutex;

type Found = Arc<BTreeMap<PointId, PointSize>>;

/// The sizes of the points that there were when somebody last asked.
#[derive(Default)]
pub struct Sizes(Mutex<Option<(BTreeSet<PointId>, Found)>>);

impl Sizes {
    /// The sizes of all points. Of many who ask at once one walks, and the others wait.
    pub async fn find(&self, repository: &Repository) -> Result<Found> {
        let mut held = self.0.lock().await;
        let points = repository.points().await?;
        let there: BTreeSet<PointId> = points.iter().map(|point| point.id).collect();
        if let Some((of, found)) = &*held
            && *of == there
        {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(repository.point_sizes("sizes of points").await?);
        *held = Some((found.keys().copied().collect(), Arc::clone(&found)));
        Ok(found)
    }
}
