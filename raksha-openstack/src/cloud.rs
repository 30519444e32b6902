//! An OpenStack cloud as Raksha sees it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use raksha_core::Result;
use raksha_core::cloud::{
    Anchor, DiskId, DiskWriter, OpenedDisk, Recorder, ResourceDiscovery, ResourceGraph, Selection,
    SnapshotCapabilities, SnapshotProvider, SnapshotRequest, SnapshotSet, Temporary,
};
use raksha_core::env::Env;
use raksha_core::id::VolumeId;
use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientOptions};
use crate::config::CloudConfig;
use crate::discovery;
use crate::restore::{RestoreSettings, Restorer};
use crate::roads::RoadOptions;
use crate::snapshots::{SnapshotOptions, Snapshots};

/// What embedders hold: one cloud, as one principal. Cheap to clone.
#[derive(Clone)]
pub struct OpenStack {
    client: Client,
    snapshots: Arc<Snapshots>,
    options: OpenStackOptions,
    env: Env,
    restorer: Restorer,
}

/// How a cloud is used. Data: what grows here has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OpenStackOptions {
    /// Deadlines, attempts and connections.
    pub client: ClientOptions,
    /// The operator's own way to the storage, where there is one; tenants have none.
    pub operator: Option<CephAccess>,
    /// How the bytes of disks may be reached.
    pub roads: RoadOptions,
    /// How snapshots may be taken.
    pub snapshots: SnapshotOptions,
    /// How restores go about it.
    pub restore: RestoreSettings,
}

/// An operator's access to the Ceph cluster that volumes and server disks lie in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephAccess {
    /// The cluster's `ceph.conf`.
    pub conf: PathBuf,
    /// The Ceph user, without `client.`.
    pub user: String,
    /// The file with the user's key.
    pub keyring: PathBuf,
    /// The pools that may be read and written; empty means those that the cloud names.
    #[serde(default)]
    pub pools: Vec<String>,
}

impl OpenStack {
    /// Connects as `config` says.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(
        config: &CloudConfig,
        options: OpenStackOptions,
        env: Env,
    ) -> Result<Self> {
        let client = Client::connect_with(config, options.client.clone(), env.clone()).await?;
        Ok(Self::with_client(client, options, env))
    }

    /// The same over a client that stands already.
    pub fn with_client(client: Client, options: OpenStackOptions, env: Env) -> Self {
        let snapshots = Snapshots::new(
            client.clone(),
            options.snapshots.clone(),
            options.roads.clone(),
            options.operator.clone(),
            env.clone(),
        );
        let restorer = Restorer::new(&client, &options, &env);
        Self {
            client,
            snapshots: Arc::new(snapshots),
            options,
            env,
            restorer,
        }
    }

    /// What speaks to the cloud.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How the cloud is used.
    pub fn options(&self) -> &OpenStackOptions {
        &self.options
    }

    /// What brings resources back.
    pub(crate) fn restorer(&self) -> &Restorer {
        &self.restorer
    }

    /// Opens a volume of `size` bytes that no server uses for writing, by the cheapest road there is: straight into the Ceph cluster at present. If it
    /// is `blank`, it is known to read as zeroes, and zeroes are not written.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](raksha_core::Kind::Unsupported) if no road leads there, saying why.
    pub async fn volume_writer(
        &self,
        volume: &VolumeId,
        size: u64,
        blank: bool,
    ) -> Result<Box<dyn DiskWriter>> {
        self.snapshots.roads().writer(volume, size, blank).await
    }

    /// Time and randomness.
    pub fn env(&self) -> &Env {
        &self.env
    }
}

impl fmt::Debug for OpenStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStack")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ResourceDiscovery for OpenStack {
    async fn discover(&self, selection: &Selection) -> Result<ResourceGraph> {
        discovery::discover(&self.client, selection).await
    }

    fn place(&self) -> String {
        // Keystone draws these ids at random, so no two clouds have the same; addresses differ from user to user.
        format!("project {}", self.client.principal().project.id)
    }
}

#[async_trait]
impl SnapshotProvider for OpenStack {
    async fn capabilities(&self, graph: &ResourceGraph) -> Result<SnapshotCapabilities> {
        self.snapshots.capabilities(graph).await
    }

    async fn snapshot(
        &self,
        request: SnapshotRequest<'_>,
        recorder: &dyn Recorder,
    ) -> Result<SnapshotSet> {
        self.snapshots.take(request, recorder).await
    }

    async fn open(
        &self,
        set: &SnapshotSet,
        disk: &DiskId,
        since: Option<&Anchor>,
        recorder: &dyn Recorder,
    ) -> Result<OpenedDisk> {
        self.snapshots.open(set, disk, since, recorder).await
    }

    async fn release(&self, temporary: &Temporary) -> Result<()> {
        match Restorer::made(temporary) {
            true => self.restorer.release(temporary).await,
            false => self.snapshots.release(temporary).await,
        }
    }
}
