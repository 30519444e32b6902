//! The target of a repository.

use std::sync::Arc;

use object_store::ObjectStore;

use super::entry::LogHome;
use super::known::KnownEntries;
use crate::store::{ManifestCatalog, MirroredCatalog, ObjectCatalog};

/// Where a repository lies: objects, and the order of commits.
#[derive(Debug, Clone)]
pub struct Target {
    /// Holds chunks and points.
    pub objects: Arc<dyn ObjectStore>,
    /// Holds the log.
    pub catalog: Arc<dyn ManifestCatalog>,
    home: LogHome,
    known: KnownEntries,
}

impl Target {
    /// A target that holds the log as well. Only for object stores that create objects atomically: see [`ObjectCatalog`].
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        let catalog = Arc::new(ObjectCatalog::new(Arc::clone(&objects)));
        Self::with_catalog(objects, catalog)
    }

    /// A target that holds the log as well, reached through a catalog of one's own making.
    pub fn with_catalog(objects: Arc<dyn ObjectStore>, catalog: Arc<dyn ManifestCatalog>) -> Self {
        let home = LogHome::Target;
        Self {
            objects,
            catalog,
            home,
            known: KnownEntries::default(),
        }
    }

    /// A target whose log lies elsewhere, in `catalog`. The target gets a copy of every entry: see [`MirroredCatalog`].
    pub fn mirrored(objects: Arc<dyn ObjectStore>, catalog: Arc<dyn ManifestCatalog>) -> Self {
        let catalog = MirroredCatalog::new(catalog, Arc::clone(&objects));
        Self {
            objects,
            catalog: Arc::new(catalog),
            home: LogHome::Catalog,
            known: KnownEntries::default(),
        }
    }

    /// The same, for a process that need not check again what `known` holds, and leaves there what it checked.
    #[must_use]
    pub fn remembering(mut self, known: &KnownEntries) -> Self {
        self.known = known.clone();
        self
    }

    /// Entries that were read before.
    pub(crate) fn known(&self) -> &KnownEntries {
        &self.known
    }

    /// Where the log lies.
    pub(crate) fn home(&self) -> LogHome {
        self.home
    }
}
