//! The resource graph: a set of servers together with everything they need to be servers again.

use serde::{Deserialize, Serialize};

use super::{
    DiskId, DiskSource, FloatingIp, Image, KeyPair, Network, Port, ResourceKey, ResourceKind,
    ResourceRef, Router, SecurityGroup, Server, ServerGroup, Subnet, Volume,
};
use crate::error::{Error, Kind, Result};

/// Servers, volumes, images, ports, networks, subnets, routers, security groups ... and their relations.
///
/// Resources refer to each other by the ids that they had in the cloud they were discovered in. Order within each
/// list is the order of discovery and carries no meaning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // each field is a list of its type
pub struct ResourceGraph {
    #[serde(default)]
    pub servers: Vec<Server>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub networks: Vec<Network>,
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    #[serde(default)]
    pub routers: Vec<Router>,
    #[serde(default)]
    pub security_groups: Vec<SecurityGroup>,
    #[serde(default)]
    pub floating_ips: Vec<FloatingIp>,
    #[serde(default)]
    pub key_pairs: Vec<KeyPair>,
    #[serde(default)]
    pub server_groups: Vec<ServerGroup>,
    /// What the principal may not see, and so is not here.
    #[serde(default)]
    pub omissions: Vec<Omission>,
}

/// Something that discovery left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// What it is, or of what kind.
    pub what: String,
    /// Why it is not in the graph, and what would change that.
    pub reason: String,
}

impl ResourceGraph {
    /// All resources in the order in which a restore creates them.
    pub fn resources(&self) -> impl Iterator<Item = ResourceRef<'_>> {
        let Self {
            servers,
            volumes,
            images,
            ports,
            networks,
            subnets,
            routers,
            security_groups,
            floating_ips,
            key_pairs,
            server_groups,
            omissions: _,
        } = self;
        (networks.iter().map(ResourceRef::Network))
            .chain(subnets.iter().map(ResourceRef::Subnet))
            .chain(routers.iter().map(ResourceRef::Router))
            .chain(security_groups.iter().map(ResourceRef::SecurityGroup))
            .chain(key_pairs.iter().map(ResourceRef::KeyPair))
            .chain(server_groups.iter().map(ResourceRef::ServerGroup))
            .chain(images.iter().map(ResourceRef::Image))
            .chain(volumes.iter().map(ResourceRef::Volume))
            .chain(ports.iter().map(ResourceRef::Port))
            .chain(servers.iter().map(ResourceRef::Server))
            .chain(floating_ips.iter().map(ResourceRef::FloatingIp))
    }

    /// The resource with this key.
    pub fn find(&self, key: &ResourceKey) -> Option<ResourceRef<'_>> {
        self.resources().find(|r| r.key() == *key)
    }

    /// The server with this id or, failing that, the only one with this name.
    pub fn server(&self, id_or_name: &str) -> Option<&Server> {
        let by_id = self.servers.iter().find(|s| s.id.as_str() == id_or_name);
        by_id.or_else(|| {
            let mut named = self.servers.iter().filter(|s| s.name == id_or_name);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// Every disk of every server with its size in bytes, each once, in the order of servers and slots.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if a server has a volume that the graph does not hold.
    pub fn disks(&self) -> Result<Vec<(DiskId, u64)>> {
        let mut disks: Vec<(DiskId, u64)> = Vec::new();
        for server in &self.servers {
            for attachment in &server.attachments {
                let disk = match &attachment.source {
                    DiskSource::Local { name, size } => (
                        DiskId::Local {
                            server: server.id.clone(),
                            name: name.clone(),
                        },
                        *size,
                    ),
                    DiskSource::Volume(id) => {
                        let volume =
                            self.volumes.iter().find(|v| v.id == *id).ok_or_else(|| {
                                Error::new(
                                    Kind::Invalid,
                                    "list disks",
                                    "the server has a volume that the graph does not hold",
                                )
                                .with("server", &server.id)
                                .with("volume", id)
                            })?;
                        (DiskId::Volume(id.clone()), volume.size)
                    }
                };
                if !disks.iter().any(|(known, _)| *known == disk.0) {
                    disks.push(disk);
                }
            }
        }
        Ok(disks)
    }

    /// Checks that every reference leads to a resource of this graph.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the first reference that leads nowhere.
    pub fn check(&self) -> Result<()> {
        use ResourceKind as K;
        for server in &self.servers {
            let from = ResourceKey::new(K::Server, server.id.as_str());
            for port in &server.ports {
                self.must_have(&from, K::Port, port.as_str())?;
            }
            if let Some(key) = &server.key_pair {
                self.must_have(&from, K::KeyPair, key.as_str())?;
            }
        }
        for port in &self.ports {
            let from = ResourceKey::new(K::Port, port.id.as_str());
            self.must_have(&from, K::Network, port.network.as_str())?;
            for ip in &port.fixed_ips {
                self.must_have(&from, K::Subnet, ip.subnet.as_str())?;
            }
            for group in &port.security_groups {
                self.must_have(&from, K::SecurityGroup, group.as_str())?;
            }
        }
        for subnet in &self.subnets {
            let from = ResourceKey::new(K::Subnet, subnet.id.as_str());
            self.must_have(&from, K::Network, subnet.network.as_str())?;
        }
        self.disks().map(drop)
    }

    fn must_have(&self, from: &ResourceKey, kind: ResourceKind, id: &str) -> Result<()> {
        let key = ResourceKey::new(kind, id);
        match self.find(&key) {
            Some(_) => Ok(()),
            None => Err(Error::new(
                Kind::Invalid,
                "check resource graph",
                "a resource refers to one that is not in the graph",
            )
            .with("resource", from)
            .with("refers to", key)),
        }
    }
}
