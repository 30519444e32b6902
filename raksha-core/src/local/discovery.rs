//! Finding servers, and what belongs to them.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::LocalCloud;
use crate::cloud::{
    DiskSource, ResourceDiscovery, ResourceGraph, Selection, Server, ServerSelector,
};
use crate::error::{Error, Kind, Result};
use crate::id::{
    ImageId, KeyPairId, NetworkId, PortId, SecurityGroupId, ServerGroupId, ServerId, SubnetId,
    VolumeId,
};

#[async_trait]
impl ResourceDiscovery for LocalCloud {
    async fn discover(&self, selection: &Selection) -> Result<ResourceGraph> {
        let graph = self.graph().await?;
        let servers = select(&graph, selection)?;
        Ok(cut(graph, &servers))
    }

    fn place(&self) -> String {
        format!("directory {}", self.path().display())
    }
}

/// The ids of the selected servers.
fn select(graph: &ResourceGraph, selection: &Selection) -> Result<BTreeSet<ServerId>> {
    let mut found = BTreeSet::new();
    let mut singled_out = BTreeSet::new();
    for selector in &selection.0 {
        let matching: Vec<&Server> = match selector {
            ServerSelector::Id(id) => vec![by_id(graph, id).ok_or_else(|| nobody(selector))?],
            ServerSelector::Name(name) => vec![by_name(graph, name, selector)?],
            ServerSelector::IdOrName(text) => match by_id(graph, text) {
                Some(server) => vec![server],
                None => vec![by_name(graph, text, selector)?],
            },
            ServerSelector::Tag(tag) => graph
                .servers
                .iter()
                .filter(|s| s.tags.contains(tag))
                .collect(),
            ServerSelector::Metadata { key, value } => {
                let has = |s: &&Server| s.metadata.get(key) == Some(value);
                graph.servers.iter().filter(has).collect()
            }
            ServerSelector::All => graph.servers.iter().collect(),
        };
        let one = matches!(
            selector,
            ServerSelector::Id(_) | ServerSelector::Name(_) | ServerSelector::IdOrName(_)
        );
        for server in matching {
            if one && !singled_out.insert(&server.id) {
                let message = "two selectors select the same server: remove one of them";
                return Err(refuse(Kind::Invalid, message, selector));
            }
            found.insert(server.id.clone());
        }
    }
    Ok(found)
}

fn by_id<'a>(graph: &'a ResourceGraph, id: &str) -> Option<&'a Server> {
    graph.servers.iter().find(|s| s.id.as_str() == id)
}

fn by_name<'a>(
    graph: &'a ResourceGraph,
    name: &str,
    selector: &ServerSelector,
) -> Result<&'a Server> {
    let mut named = graph.servers.iter().filter(|s| s.name == name);
    match (named.next(), named.next()) {
        (Some(server), None) => Ok(server),
        (None, _) => Err(nobody(selector)),
        (Some(_), Some(_)) => {
            let message = "several servers have this name: select them by id";
            Err(refuse(Kind::Invalid, message, selector))
        }
    }
}

fn nobody(selector: &ServerSelector) -> Error {
    refuse(Kind::NotFound, "the cloud has no such server", selector)
}

fn refuse(kind: Kind, message: &str, selector: &ServerSelector) -> Error {
    Error::new(kind, "discover servers", message).with("selector", selector)
}

/// `graph` without what none of `servers` uses.
fn cut(mut graph: ResourceGraph, servers: &BTreeSet<ServerId>) -> ResourceGraph {
    graph.servers.retain(|s| servers.contains(&s.id));

    let mut volumes: BTreeSet<VolumeId> = BTreeSet::new();
    let mut ports: BTreeSet<PortId> = BTreeSet::new();
    let mut images: BTreeSet<ImageId> = BTreeSet::new();
    let mut key_pairs: BTreeSet<KeyPairId> = BTreeSet::new();
    let mut server_groups: BTreeSet<ServerGroupId> = BTreeSet::new();
    for server in &graph.servers {
        volumes.extend(server.attachments.iter().filter_map(|a| match &a.source {
            DiskSource::Volume(id) => Some(id.clone()),
            DiskSource::Local { .. } => None,
        }));
        ports.extend(server.ports.iter().cloned());
        images.extend(server.image.clone());
        key_pairs.extend(server.key_pair.clone());
        server_groups.extend(server.server_group.clone());
    }
    graph.volumes.retain(|v| volumes.contains(&v.id));
    graph.ports.retain(|p| ports.contains(&p.id));
    graph.images.retain(|i| images.contains(&i.id));
    graph.key_pairs.retain(|k| key_pairs.contains(&k.id));
    graph
        .server_groups
        .retain(|g| server_groups.contains(&g.id));

    let mut networks: BTreeSet<NetworkId> = BTreeSet::new();
    let mut subnets: BTreeSet<SubnetId> = BTreeSet::new();
    let mut groups: BTreeSet<SecurityGroupId> = BTreeSet::new();
    for port in &graph.ports {
        networks.insert(port.network.clone());
        subnets.extend(port.fixed_ips.iter().map(|ip| ip.subnet.clone()));
        groups.extend(port.security_groups.iter().cloned());
    }
    graph.subnets.retain(|s| subnets.contains(&s.id));

    // A router belongs to the servers as far as it serves their subnets: its other sides are somebody else's.
    for router in &mut graph.routers {
        router.interfaces.retain(|i| subnets.contains(&i.subnet));
    }
    graph.routers.retain(|r| !r.interfaces.is_empty());
    networks.extend(graph.routers.iter().filter_map(|r| r.gateway.clone()));
    let leads_here = |port: &Option<PortId>| port.as_ref().is_some_and(|p| ports.contains(p));
    graph.floating_ips.retain(|f| leads_here(&f.port));
    networks.extend(graph.floating_ips.iter().map(|f| f.network.clone()));
    graph.networks.retain(|n| networks.contains(&n.id));

    follow_groups(&graph, &mut groups);
    graph.security_groups.retain(|g| groups.contains(&g.id));
    graph
}

/// Adds the groups that rules of `groups` refer to, and so on.
fn follow_groups(graph: &ResourceGraph, groups: &mut BTreeSet<SecurityGroupId>) {
    loop {
        let members = graph
            .security_groups
            .iter()
            .filter(|g| groups.contains(&g.id));
        let rules = members.flat_map(|g| &g.rules);
        let further: Vec<_> = rules
            .filter_map(|r| r.remote_group.clone())
            .filter(|id| !groups.contains(id))
            .collect();
        if further.is_empty() {
            return;
        }
        groups.extend(further);
    }
}
