//! What is there now, as far as it concerns a request.

use std::collections::BTreeSet;

use raksha_core::Result;
use raksha_core::cloud::{ResourceGraph, ResourceKind as K, RestoreRequest};
use serde_json::Value;

use super::super::Restorer;
use super::super::make::{is, unless_gone};
use super::flavors::{self, LiveFlavor};
use crate::client::{Request, Service};

/// What the principal's project has, in the cloud's words.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) networks: Vec<Value>,
    pub(super) subnets: Vec<Value>,
    pub(super) routers: Vec<Value>,
    pub(super) security_groups: Vec<Value>,
    pub(super) ports: Vec<Value>,
    pub(super) floating_ips: Vec<Value>,
    pub(super) key_pairs: Vec<Value>,
    pub(super) server_groups: Vec<Value>,
    pub(super) servers: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    pub(super) images: Vec<Value>,
    pub(super) flavors: Vec<LiveFlavor>,
    pub(super) volume_types: BTreeSet<String>,
    pub(super) server_zones: BTreeSet<String>,
    pub(super) volume_zones: BTreeSet<String>,
}

impl Live {
    /// Looks at what `request` can meet.
    pub(super) async fn look(restorer: &Restorer, request: &RestoreRequest) -> Result<Self> {
        let graph = &request.graph;
        let mut live = Self::default();
        live.look_at_networks(restorer, graph).await?;
        let client = &restorer.client;
        if !graph.key_pairs.is_empty() {
            let request = Request::get("os-keypairs");
            let pairs = client.list(Service::Compute, request, "keypairs").await?;
            // Each lies in a layer of its own.
            let pairs = pairs
                .into_iter()
                .map(|mut pair| match pair.get_mut("keypair") {
                    Some(inner) => inner.take(),
                    None => pair,
                });
            live.key_pairs = pairs.collect();
        }
        if !graph.server_groups.is_empty() {
            live.server_groups = restorer.server_groups().await?;
        }
        if !graph.servers.is_empty() {
            let request = Request::get("servers/detail");
            live.servers = client.list(Service::Compute, request, "servers").await?;
            live.flavors = flavors::list(client).await?;
            live.server_zones = zones(restorer, Service::Compute).await?;
        }
        if !graph.volumes.is_empty() {
            let request = Request::get("volumes/detail");
            live.volumes = client
                .list(Service::BlockStorage, request, "volumes")
                .await?;
            let types = client.list(Service::BlockStorage, Request::get("types"), "volume_types");
            let types = types.await?;
            let names = types.iter().filter_map(|kind| kind.get("name")?.as_str());
            live.volume_types = names.map(str::to_owned).collect();
            live.volume_zones = zones(restorer, Service::BlockStorage).await?;
        }
        let mapped = request.mapping.resources.iter();
        let mapped = mapped
            .filter(|(key, _)| key.kind == K::Image)
            .map(|(_, id)| id.as_str());
        let of_point = graph.images.iter().map(|image| image.id.as_str());
        for id in of_point.chain(mapped) {
            let request = Request::get(format!("images/{id}"));
            let found = client.send(Service::Image, request).await;
            live.images
                .extend(unless_gone(found)?.map(|answer| answer.body));
        }
        Ok(live)
    }

    async fn look_at_networks(&mut self, restorer: &Restorer, graph: &ResourceGraph) -> Result<()> {
        let project = restorer.client.principal().project.id;
        let list = async |wanted: bool, path: &'static str, key: &'static str| {
            if !wanted {
                return Ok(Vec::new());
            }
            let found = restorer
                .client
                .list(Service::Network, Request::get(path), key);
            found.await
        };
        // An administrator sees everybody's.
        let own = |one: &Value| is(one, "project_id", &project) || is(one, "tenant_id", &project);
        let flag = |one: &Value, key: &str| one.get(key) == Some(&Value::Bool(true));

        let any = !graph.networks.is_empty();
        self.networks = list(any, "networks", "networks").await?;
        self.networks
            .retain(|one| own(one) || flag(one, "shared") || flag(one, "router:external"));
        let on_these = |one: &Value| {
            let network = one.get("network_id").and_then(Value::as_str);
            network.is_some_and(|id| self.networks.iter().any(|network| is(network, "id", id)))
        };
        self.subnets = list(any, "subnets", "subnets").await?;
        self.subnets.retain(on_these);
        self.ports = list(any, "ports", "ports").await?;
        self.ports.retain(|one| own(one) || on_these(one));
        self.routers = list(!graph.routers.is_empty(), "routers", "routers").await?;
        self.routers.retain(own);
        let any = !graph.security_groups.is_empty();
        self.security_groups = list(any, "security-groups", "security_groups").await?;
        self.security_groups.retain(own);
        let any = !graph.floating_ips.is_empty();
        self.floating_ips = list(any, "floatingips", "floatingips").await?;
        self.floating_ips.retain(own);
        Ok(())
    }

    /// All of one kind.
    pub(super) fn of(&self, kind: K) -> &[Value] {
        match kind {
            K::Network => &self.networks,
            K::Subnet => &self.subnets,
            K::Router => &self.routers,
            K::SecurityGroup => &self.security_groups,
            K::KeyPair => &self.key_pairs,
            K::ServerGroup => &self.server_groups,
            K::Image => &self.images,
            K::Volume => &self.volumes,
            K::Port => &self.ports,
            K::Server => &self.servers,
            K::FloatingIp => &self.floating_ips,
            _ => &[],
        }
    }

    /// The one with this id, which is its name for key pairs.
    pub(super) fn get(&self, kind: K, id: &str) -> Option<&Value> {
        let key = if kind == K::KeyPair { "name" } else { "id" };
        self.of(kind).iter().find(|one| is(one, key, id))
    }
}

/// The zones that a service offers; empty where it does not say.
async fn zones(restorer: &Restorer, service: Service) -> Result<BTreeSet<String>> {
    let request = Request::get("os-availability-zone");
    let found = restorer.client.send(service, request).await;
    let Some(found) = unless_gone(found)? else {
        return Ok(BTreeSet::new());
    };
    let zones = found.take("availabilityZoneInfo")?;
    let zones = zones.as_array().into_iter().flatten();
    let names = zones.filter_map(|zone| zone.get("zoneName")?.as_str());
    Ok(names.map(str::to_owned).collect())
}
