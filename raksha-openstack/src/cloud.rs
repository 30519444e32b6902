//! An OpenStack cloud as Raksha sees it.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use raksha_core::Result;
use raksha_core::cloud::{ResourceDiscovery, ResourceGraph, Selection};
use raksha_core::env::Env;
use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientOptions};
use crate::config::CloudConfig;
use crate::discovery;

/// What embedders hold: one cloud, as one principal. Cheap to clone.
#[derive(Clone)]
pub struct OpenStack {
    client: Client,
    options: OpenStackOptions,
    env: Env,
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
        Self {
            client,
            options,
            env,
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
}
