//! The target of a repository.

use std::sync::Arc;

use object_store::ObjectStore;

use crate::store::{ManifestCatalog, ObjectCatalog};

/// Where a repository lies: objects, and the order of commits.
#[derive(Debug, Clone)]
pub struct Target {
    /// Holds chunks and points.
    pub objects: Arc<dyn ObjectStore>,
    /// Holds the log.
    pub catalog: Arc<dyn ManifestCatalog>,
}

impl Target {
    /// A target that holds the log as well. Only for object stores that create objects atomically: see [`ObjectCatalog`].
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        let catalog = Arc::new(ObjectCatalog::new(Arc::clone(&objects)));
        Self { objects, catalog }
    }

    /// A target whose log lies elsewhere.
    pub fn with_catalog(objects: Arc<dyn ObjectStore>, catalog: Arc<dyn ManifestCatalog>) -> Self {
        Self { objects, catalog }
    }
}
