//! Bringing resources back through the cloud's APIs.
//!
//! # Two roads for the content of a volume
//! - Who has the storage itself (an operator with a Ceph user, or a machine that sees the NFS export) writes into the empty volume, found by
//!   Cinder's attachments.
//! - Everybody else gives the content as an image: the disk is spooled into a sparse file, uploaded to Glance as qcow2, and Cinder puts it into the
//!   volume (`os-reimage`, from 3.68 on). Where Cinder cannot, the volume is made anew of the image and takes the place of the empty one.
//!
//! A server's own root disk always becomes an image, of which the server is made.
//!
//! # Starting
//! Nova starts what it creates. A server that was running, and shall run again, is left so; any other is stopped as soon as it is there.
//! [`start`](raksha_core::cloud::ResourceRestorer::start) sees to it that it runs.
//!
//! # Never lost, never twice
//! Nova, Cinder and Neutron choose the ids. So everything is made under a marker of its own, recorded before: in the name of a volume, in the
//! description of everything else that has one. The marker gives way to what the point says once the id is recorded. Key pairs and
//! server groups have no room for a marker: a key pair is known by its name and its public key, a group by not having been there before.

mod bodies;
mod connect;
mod disk;
mod make;
mod network;
mod remove;
mod server;
mod survey;
mod there;
mod volume;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use raksha_core::cloud::{
    Created, DiskId, DiskWriter, IdMap, Recorder, ResourceRef, ResourceRestorer, RestoreRequest,
    Server, Survey,
};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Microversion, Service};
use crate::cloud::{CephAccess, OpenStack, OpenStackOptions};
use crate::roads::{RoadOptions, seconds};
use disk::Carrier;
use there::There;

/// How restores go about it. Durations are whole seconds in serde's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RestoreSettings {
    /// How long the cloud may take to create, start or remove one thing; for what it copies, as long again as the [roads](RoadOptions) say.
    #[serde(with = "seconds")]
    pub deadline: Duration,
    /// Whether Cinder may put an image into a volume that is there. If not, or if it cannot, volumes are made of their images.
    pub reimage: bool,
}

impl Default for RestoreSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(900),
            reimage: true,
        }
    }
}

/// Brings resources back as the principal of its client. Cheap to clone; clones share what they know of disks that are being written.
#[derive(Clone)]
pub(crate) struct Restorer {
    client: Client,
    settings: RestoreSettings,
    roads: RoadOptions,
    operator: Option<CephAccess>,
    env: Env,
    /// How the disks get where they belong, from being opened until they are settled.
    carriers: Arc<Mutex<BTreeMap<String, Carrier>>>,
}

impl Restorer {
    pub(crate) fn new(client: &Client, options: &OpenStackOptions, env: &Env) -> Self {
        Self {
            client: client.clone(),
            settings: options.restore.clone(),
            roads: options.roads.clone(),
            operator: options.operator.clone(),
            env: env.clone(),
            carriers: Arc::default(),
        }
    }

    /// Creates one resource, and gives back its id.
    async fn create(
        &self,
        resource: ResourceRef<'_>,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        match resource {
            ResourceRef::Network(point) => self.network(point, there, recorder).await,
            ResourceRef::Subnet(point) => self.subnet(point, there, recorder).await,
            ResourceRef::Router(point) => self.router(point, there, recorder).await,
            ResourceRef::SecurityGroup(point) => self.security_group(point, there, recorder).await,
            ResourceRef::KeyPair(point) => self.key_pair(point, there, recorder).await,
            ResourceRef::ServerGroup(point) => self.server_group(point, there, recorder).await,
            ResourceRef::Image(point) => self.image(point, there, recorder).await,
            ResourceRef::Volume(point) => self.volume(point, there, recorder).await,
            ResourceRef::Port(point) => self.port(point, there, recorder).await,
            ResourceRef::Server(point) => self.server(point, there, recorder).await,
            ResourceRef::FloatingIp(point) => self.floating_ip(point, there, recorder).await,
            _ => {
                let message = "OpenStack has no such thing: leave it out";
                Err(Error::new(Kind::Unsupported, "restore resource", message))
            }
        }
    }

    fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    /// How long the cloud may take for something that it copies `size` bytes for.
    fn patience(&self, size: u64) -> Duration {
        self.settings.deadline + self.roads.patience(size)
    }

    /// The newest microversion of `service` that is not newer than `wanted`.
    async fn speaks(&self, service: Service, wanted: Microversion) -> Result<Microversion> {
        let range = self.client.microversions(service).await?;
        Ok(range.map_or(wanted, |(_, newest)| newest.min(wanted)))
    }
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer")
            .field("client", &self.client)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ResourceRestorer for OpenStack {
    async fn survey(&self, request: &RestoreRequest) -> Result<Survey> {
        survey::survey(self.restorer(), request).await
    }

    async fn create(
        &self,
        resource: ResourceRef<'_>,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Created> {
        let key = resource.key();
        let created = self
            .restorer()
            .create(resource, There::new(request, ids), recorder);
        match created.await {
            Ok(id) => Ok(Created { key, id }),
            Err(error) => Err(error.with("resource", key)),
        }
    }

    async fn open_disk(
        &self,
        disk: &DiskId,
        size: u64,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        let opened = (self.restorer()).open(disk, size, There::new(request, ids), recorder);
        opened.await.map_err(|error| error.with("disk", disk))
    }

    async fn settle_disk(
        &self,
        disk: &DiskId,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Option<Created>> {
        let settled = (self.restorer()).settle(disk, There::new(request, ids), recorder);
        settled.await.map_err(|error| error.with("disk", disk))
    }

    async fn start(&self, server: &Server, ids: &IdMap) -> Result<()> {
        self.restorer().start_server(server, ids).await
    }

    async fn remove(&self, created: &Created) -> Result<()> {
        let removed = (self.restorer())
            .remove_one(created.key.kind, &created.id)
            .await;
        removed.map_err(|error| error.with("resource", &created.key))
    }
}
