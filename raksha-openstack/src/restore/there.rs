//! A request, seen from the cloud that is restored into: other ids, other names.

use raksha_core::cloud::{IdMap, ResourceKey, ResourceKind, ResourceRef, RestoreRequest};
use raksha_core::{Error, Kind, Result};

/// What things of the point are called there.
#[derive(Debug, Clone, Copy)]
pub(super) struct There<'a> {
    pub(super) request: &'a RestoreRequest,
    pub(super) ids: &'a IdMap,
}

impl<'a> There<'a> {
    pub(super) fn new(request: &'a RestoreRequest, ids: &'a IdMap) -> Self {
        Self { request, ids }
    }

    /// The mapping's name, or else the point's.
    pub(super) fn name(&self, resource: ResourceRef<'_>) -> String {
        match self.new_name(&resource.key()) {
            Some(name) => name.to_owned(),
            None => resource.name().to_owned(),
        }
    }

    /// The name that the mapping gives.
    pub(super) fn new_name(&self, key: &ResourceKey) -> Option<&'a str> {
        let mut names = self.request.mapping.names.iter();
        let found = names.find(|(known, _)| known == key);
        found.map(|(_, name)| name.as_str())
    }

    /// The id that the mapping gives.
    pub(super) fn mapped(&self, key: &ResourceKey) -> Option<&'a str> {
        let mut mapped = self.request.mapping.resources.iter();
        let found = mapped.find(|(known, _)| known == key);
        found.map(|(_, id)| id.as_str())
    }

    /// The id there of what the point calls `id`, if anything stands for it.
    pub(super) fn known(&self, kind: ResourceKind, id: &str) -> Option<&'a str> {
        let key = ResourceKey::new(kind, id);
        self.ids.get(&key).or_else(|| self.mapped(&key))
    }

    /// The id there of what the point calls `id`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if nothing stands for it.
    pub(super) fn id(&self, kind: ResourceKind, id: &str) -> Result<&'a str> {
        self.known(kind, id).ok_or_else(|| {
            let message = "it needs something that is neither restored nor mapped: restore that too, or map it";
            let error = Error::new(Kind::Invalid, "restore resource", message);
            error.with("needs", ResourceKey::new(kind, id))
        })
    }

    /// The volume type there; none leaves it to the cloud.
    pub(super) fn volume_type(&self, of_point: Option<&'a str>) -> Option<&'a str> {
        let types = &self.request.mapping.volume_types;
        let there = of_point.map(|t| types.get(t).map_or(t, String::as_str));
        there.filter(|t| !t.is_empty())
    }

    /// The availability zone there; none leaves it to the cloud.
    pub(super) fn zone(&self, of_point: Option<&'a str>) -> Option<&'a str> {
        let zones = &self.request.mapping.availability_zones;
        let there = of_point.map(|z| zones.get(z).map_or(z, String::as_str));
        there.filter(|z| !z.is_empty())
    }
}
