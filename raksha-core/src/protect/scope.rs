//! How much of a recovery point is restored: choosing, and cutting its graph down to what was chosen.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cloud::{
    DiskSource, Port, ResourceGraph, ResourceKey, ResourceKind as K, ResourceMapping,
    RestoreRequest, Server,
};
use crate::error::{Error, Kind, Result};

/// What to restore, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreOptions {
    /// The servers, by id or name; empty means all of the point.
    pub servers: Vec<String>,
    /// How much of them.
    pub scope: Scope,
    /// What stands for what in the cloud restored into.
    pub mapping: ResourceMapping,
    /// Whether servers that were running stay stopped.
    pub leave_stopped: bool,
}

/// How much of the chosen servers is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The servers with all that belongs to them.
    #[default]
    Servers,
    /// Only their volumes. Disks that come and go with a server are left out.
    Disks,
    /// Only the networks they are on, with subnets, routers and security groups.
    Networks,
}

/// What a restorer is asked: the point's `graph` cut down to what was chosen.
///
/// # Errors
/// [`Kind::NotFound`] if the point has no such server, [`Kind::Invalid`] if a name stands for several.
pub(super) fn request(graph: &ResourceGraph, options: &RestoreOptions) -> Result<RestoreRequest> {
    let servers = choose(graph, &options.servers)?;
    Ok(RestoreRequest {
        graph: cut_down(graph, &servers, options.scope),
        mapping: options.mapping.clone(),
        leave_stopped: options.leave_stopped,
    })
}

fn choose<'a>(graph: &'a ResourceGraph, wanted: &[String]) -> Result<Vec<&'a Server>> {
    if wanted.is_empty() {
        return Ok(graph.servers.iter().collect());
    }
    let mut chosen: Vec<&Server> = Vec::new();
    for text in wanted {
        let server = graph.server(text).ok_or_else(|| {
            let several = graph.servers.iter().any(|server| server.name == *text);
            let (kind, message) = match several {
                true => (
                    Kind::Invalid,
                    "several servers of the point have this name: use an id",
                ),
                false => (Kind::NotFound, "the point does not hold this server"),
            };
            Error::new(kind, "plan restore", message).with("server", text)
        })?;
        if !chosen.iter().any(|known| known.id == server.id) {
            chosen.push(server);
        }
    }
    Ok(chosen)
}

/// The part of `graph` that `servers` need, as far as `scope` goes.
fn cut_down(graph: &ResourceGraph, servers: &[&Server], scope: Scope) -> ResourceGraph {
    let needed = Needed::by(graph, servers);
    let all = matches!(scope, Scope::Servers);
    let disks = all || scope == Scope::Disks;
    let networks = all || scope == Scope::Networks;
    // The full list of fields, so that a new kind of resource is not forgotten here.
    ResourceGraph {
        servers: only(&graph.servers, all, |r| {
            servers.iter().any(|s| s.id == r.id)
        }),
        volumes: only(&graph.volumes, disks, |r| {
            needed.has(K::Volume, r.id.as_str())
        }),
        images: only(&graph.images, all, |r| needed.has(K::Image, r.id.as_str())),
        ports: only(&graph.ports, all, |r| needed.has(K::Port, r.id.as_str())),
        networks: only(&graph.networks, networks, |r| {
            needed.has(K::Network, r.id.as_str())
        }),
        subnets: only(&graph.subnets, networks, |r| {
            needed.has(K::Subnet, r.id.as_str())
        }),
        routers: only(&graph.routers, networks, |r| {
            needed.has(K::Router, r.id.as_str())
        }),
        security_groups: only(&graph.security_groups, networks, |r| {
            needed.has(K::SecurityGroup, r.id.as_str())
        }),
        floating_ips: only(&graph.floating_ips, all, |r| {
            needed.has(K::FloatingIp, r.id.as_str())
        }),
        key_pairs: only(&graph.key_pairs, all, |r| {
            needed.has(K::KeyPair, r.id.as_str())
        }),
        server_groups: only(&graph.server_groups, all, |r| {
            needed.has(K::ServerGroup, r.id.as_str())
        }),
        omissions: graph.omissions.clone(),
    }
}

fn only<T: Clone>(all: &[T], in_scope: bool, needed: impl Fn(&T) -> bool) -> Vec<T> {
    all.iter()
        .filter(|one| in_scope && needed(one))
        .cloned()
        .collect()
}

/// The resources that some servers need.
struct Needed(BTreeSet<ResourceKey>);

impl Needed {
    fn by(graph: &ResourceGraph, servers: &[&Server]) -> Self {
        let mut needed = Self(BTreeSet::new());
        for server in servers {
            for attachment in &server.attachments {
                if let DiskSource::Volume(id) = &attachment.source {
                    needed.add(K::Volume, id.as_str());
                }
            }
            for port in &server.ports {
                needed.add(K::Port, port.as_str());
            }
            if let Some(image) = &server.image {
                needed.add(K::Image, image.as_str());
            }
            if let Some(key_pair) = &server.key_pair {
                needed.add(K::KeyPair, key_pair.as_str());
            }
            if let Some(group) = &server.server_group {
                needed.add(K::ServerGroup, group.as_str());
            }
        }
        for port in &graph.ports {
            if needed.has(K::Port, port.id.as_str()) {
                needed.add_of_port(port);
            }
        }
        for floating in &graph.floating_ips {
            let of_port = floating.port.as_ref();
            if of_port.is_some_and(|port| needed.has(K::Port, port.as_str())) {
                needed.add(K::FloatingIp, floating.id.as_str());
                needed.add(K::Network, floating.network.as_str());
            }
        }
        needed.add_subnets_and_routers(graph);
        needed.add_remote_groups(graph);
        needed
    }

    fn has(&self, kind: K, id: &str) -> bool {
        self.0.contains(&ResourceKey::new(kind, id))
    }

    /// Whether it was not there before.
    fn add(&mut self, kind: K, id: &str) -> bool {
        self.0.insert(ResourceKey::new(kind, id))
    }

    fn add_of_port(&mut self, port: &Port) {
        self.add(K::Network, port.network.as_str());
        for ip in &port.fixed_ips {
            self.add(K::Subnet, ip.subnet.as_str());
        }
        for group in &port.security_groups {
            self.add(K::SecurityGroup, group.as_str());
        }
    }

    /// All subnets of the networks, the routers that join them, and the networks that these lead to.
    fn add_subnets_and_routers(&mut self, graph: &ResourceGraph) {
        for subnet in &graph.subnets {
            if self.has(K::Network, subnet.network.as_str()) {
                self.add(K::Subnet, subnet.id.as_str());
            }
        }
        for router in &graph.routers {
            let mut sides = router.interfaces.iter();
            if !sides.any(|side| self.has(K::Subnet, side.subnet.as_str())) {
                continue;
            }
            self.add(K::Router, router.id.as_str());
            if let Some(gateway) = &router.gateway {
                self.add(K::Network, gateway.as_str());
            }
            // The router cannot be what it was without its other sides.
            for side in &router.interfaces {
                self.add(K::Subnet, side.subnet.as_str());
                let of_side = graph.subnets.iter().find(|subnet| subnet.id == side.subnet);
                if let Some(subnet) = of_side {
                    self.add(K::Network, subnet.network.as_str());
                }
            }
        }
    }

    /// The groups that rules of needed groups name, and those that theirs name, and so on.
    fn add_remote_groups(&mut self, graph: &ResourceGraph) {
        loop {
            let mut grown = false;
            for group in &graph.security_groups {
                if !self.has(K::SecurityGroup, group.id.as_str()) {
                    continue;
                }
                for remote in group
                    .rules
                    .iter()
                    .filter_map(|rule| rule.remote_group.as_ref())
                {
                    grown |= self.add(K::SecurityGroup, remote.as_str());
                }
            }
            if !grown {
                return;
            }
        }
    }
}
