//! Bringing resources back.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{DiskId, DiskWriter, Recorder, ResourceGraph, ResourceKey, ResourceRef};
use crate::error::Result;

/// What a restore is asked to bring back, and into what.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// The graph of the recovery point, cut down to what shall be restored.
    pub graph: ResourceGraph,
    /// What stands for what in the cloud restored into.
    pub mapping: ResourceMapping,
    /// Whether servers that were running stay stopped, and so are never asked to [start](ResourceRestorer::start).
    pub leave_stopped: bool,
}

/// What stands for what in the cloud restored into.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceMapping {
    /// Resources of the point that are not created because an existing one, by id, takes their place.
    #[serde(default)]
    pub resources: Vec<(ResourceKey, String)>,
    /// New names for resources of the point.
    #[serde(default)]
    pub names: Vec<(ResourceKey, String)>,
    /// Volume types: the point's to the cloud's.
    #[serde(default)]
    pub volume_types: BTreeMap<String, String>,
    /// Flavors: the point's name to the cloud's.
    #[serde(default)]
    pub flavors: BTreeMap<String, String>,
    /// Availability zones: the point's to the cloud's.
    #[serde(default)]
    pub availability_zones: BTreeMap<String, String>,
}

/// What the live cloud says to a restore, before anything is touched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// One for every resource of the request's graph.
    pub findings: Vec<Finding>,
    /// What stands in the way of the whole: a quota, a right, a missing service.
    pub problems: Vec<Problem>,
    /// What will be other than it was, without standing in the way: an address that may have to change, a flavor of another name.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What the live cloud says to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The resource of the point.
    pub key: ResourceKey,
    /// How it stands in the live cloud.
    pub presence: Presence,
}

/// How a resource of a point stands in the live cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is not there and can be created.
    Absent,
    /// It is there, the same in all that matters, and can be used as it is.
    Same {
        /// The live one's id.
        id: String,
    },
    /// Something is there that stands in its way: the same name or address, but not the same thing.
    Conflict {
        /// The live one's id.
        id: String,
        /// What is in the way, and what to do.
        reason: String,
    },
}

/// Something that stands in the way of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it concerns.
    pub what: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// The ids that resources of a point have in the cloud restored into.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap(Vec<(ResourceKey, String)>);

impl IdMap {
    /// Notes that `key` of the point is `id` now.
    pub fn insert(&mut self, key: ResourceKey, id: impl Into<String>) {
        self.0.retain(|(known, _)| *known != key);
        self.0.push((key, id.into()));
    }

    /// What `key` of the point is now.
    pub fn get(&self, key: &ResourceKey) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, id)| id.as_str())
    }

    /// All of them, in the order in which they were noted.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKey, &str)> {
        self.0.iter().map(|(key, id)| (key, id.as_str()))
    }
}

/// Something that a restore made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The resource of the point.
    pub key: ResourceKey,
    /// Its id now.
    pub id: String,
}

/// Creates resources as the principal that the implementation was made for.
///
/// The caller decides what is created, in the order of [`ResourceKind`](super::ResourceKind); the implementation knows how. The disks of a server are
/// written before the server is created: volumes right after they exist, a server's own disks into whatever the cloud makes servers from.
///
/// # Contract
/// - [`survey`](Self::survey) changes nothing.
/// - What is created is recorded with the [`Recorder`] first, so that a restore that dies can be undone; undoing is
///   [`remove`](Self::remove), and only what this restore created is ever removed.
/// - Nothing existing is overwritten.
#[async_trait]
pub trait ResourceRestorer: Send + Sync + fmt::Debug {
    /// Compares the request with the live cloud.
    async fn survey(&self, request: &RestoreRequest) -> Result<Survey>;

    /// Creates one resource; `ids` holds the ids of all that it refers to. A server is created with its disks and ports attached, and is not
    /// started yet; a cloud that cannot create one without starting it may leave those running that shall be started anyway. Its name in the
    /// cloud is the mapping's or the point's. What servers need of live resources that the restore uses as they are (a router's place on a
    /// new subnet, a floating IP that leads to a new port) is made with the server, and recorded on its own.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`](crate::Kind::AlreadyExists) if something of that name or address is there already.
    async fn create(
        &self,
        resource: ResourceRef<'_>,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Created>;

    /// Opens a disk for writing its first content: a volume that was just created, or a server's own disk before the server is.
    async fn open_disk(
        &self,
        disk: &DiskId,
        size: u64,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>>;

    /// Says what a disk belongs to once its writer has finished: nothing new, or what the cloud had to make of its content in place of
    /// what was created for it before, which is gone then. It is asked once for each disk, before any server is created.
    async fn settle_disk(
        &self,
        disk: &DiskId,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Option<Created>>;

    /// Starts a restored server if it was running when the point was made.
    async fn start(&self, server: &super::Server, ids: &IdMap) -> Result<()>;

    /// Removes something that this restore created. Removing what is not there succeeds.
    async fn remove(&self, created: &Created) -> Result<()>;
}
