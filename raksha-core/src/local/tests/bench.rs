//! A local cloud in a folder that goes with it, as the suites want it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::cloud::{
    DiskId, DiskReader, DiskSource, DiskWriter, IdMap, ResourceDiscovery, ResourceGraph,
    ResourceRef, ResourceRestorer, RestoreRequest, SnapshotProvider, Volume,
};
use crate::env::Env;
use crate::error::Result;
use crate::id::ServerId;
use crate::local::test_files::Scratch;
use crate::local::{LocalCloud, add, layers};
use crate::testkit::cloud::{Notebook, RestoreBench, SnapshotBench, WriterBench};

pub(super) struct Bench {
    pub(super) cloud: LocalCloud,
    pub(super) scratch: Scratch,
}

impl Bench {
    pub(super) async fn empty() -> Self {
        let scratch = Scratch::new();
        let cloud = LocalCloud::create(scratch.join("cloud"), Env::system())
            .await
            .unwrap();
        Self { cloud, scratch }
    }

    /// With these servers, and disks that hold nothing yet.
    pub(super) async fn with(graph: ResourceGraph) -> Self {
        let bench = Self::empty().await;
        bench.cloud.add(graph, Vec::new()).await.unwrap();
        bench
    }

    /// Opens a live disk, which nobody writes.
    pub(super) async fn open(&self, disk: &DiskId) -> Result<Box<dyn DiskReader>> {
        let description = self.cloud.describe().await?;
        let entry = description.disk(disk)?;
        let size = add::check_size(&description, &self.cloud.directory, entry)?;
        let (found, _) = layers::find(&self.cloud.directory, entry)?;
        layers::open(&found, size, &self.cloud.env)
    }
}

#[async_trait]
impl SnapshotBench for Bench {
    fn provider(&self) -> &dyn SnapshotProvider {
        &self.cloud
    }

    async fn graph(&self) -> Result<ResourceGraph> {
        self.cloud.graph().await
    }

    async fn write(&self, disk: &DiskId, offset: u64, data: Bytes) -> Result<()> {
        self.cloud.write_disk(disk, offset, data).await
    }

    async fn temporaries(&self) -> Result<usize> {
        let folder = std::fs::read_dir(self.cloud.path().join("snapshots"));
        Ok(folder.map_or(0, Iterator::count))
    }
}

#[async_trait]
impl RestoreBench for Bench {
    fn restorer(&self) -> &dyn ResourceRestorer {
        &self.cloud
    }

    fn discovery(&self) -> &dyn ResourceDiscovery {
        &self.cloud
    }

    async fn read(&self, server: &ServerId, slot: usize) -> Result<Box<dyn DiskReader>> {
        let graph = self.cloud.graph().await?;
        let found = graph.servers.iter().find(|s| s.id == *server).unwrap();
        let disk = match &found.attachments[slot].source {
            DiskSource::Volume(id) => DiskId::Volume(id.clone()),
            DiskSource::Local { name, .. } => DiskId::Local {
                server: server.clone(),
                name: name.clone(),
            },
        };
        self.open(&disk).await
    }

    fn starts_what_it_creates(&self) -> bool {
        false
    }
}

/// Restores volumes one after the other, each called by how many there are.
#[async_trait]
impl WriterBench for Bench {
    async fn open(&self, size: u64) -> Result<Box<dyn DiskWriter>> {
        let number = self.cloud.graph().await?.volumes.len();
        let volume = volume(&format!("volume {number}/{size}"), size);
        let request = RestoreRequest {
            graph: ResourceGraph {
                volumes: vec![volume.clone()],
                ..ResourceGraph::default()
            },
            ..RestoreRequest::default()
        };
        let mut ids = IdMap::default();
        let notebook = Notebook::new();
        let resource = ResourceRef::Volume(&volume);
        let made = self
            .cloud
            .create(resource, &request, &ids, &notebook)
            .await?;
        ids.insert(made.key, made.id);
        let disk = DiskId::Volume(volume.id);
        self.cloud
            .open_disk(&disk, size, &request, &ids, &notebook)
            .await
    }

    async fn whole(&self) -> Result<Option<Box<dyn DiskReader>>> {
        let graph = self.cloud.graph().await?;
        let last = graph.volumes.last().unwrap();
        let disk = DiskId::Volume(last.id.clone());
        if self.cloud.describe().await?.disk(&disk)?.is_partial() {
            assert!(Bench::open(self, &disk).await.is_err());
            return Ok(None);
        }
        Bench::open(self, &disk).await.map(Some)
    }
}

pub(super) fn volume(id: &str, size: u64) -> Volume {
    let volume = serde_json::json!({ "id": id, "name": id, "size": size });
    serde_json::from_value(volume).unwrap()
}
