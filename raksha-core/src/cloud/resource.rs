//! What every resource has in common: a kind, an id, and what the cloud said of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    FloatingIp, Image, KeyPair, Network, Port, Router, SecurityGroup, Server, ServerGroup, Subnet,
    Volume,
};

/// Everything that the cloud said of a resource, as it said it, so that nothing is lost in translation.
/// Null where there is nothing beyond the typed fields.
pub type Raw = serde_json::Value;

/// The kinds of resources, in the order in which a restore creates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResourceKind {
    /// A [`Network`].
    Network,
    /// A [`Subnet`].
    Subnet,
    /// A [`Router`].
    Router,
    /// A [`SecurityGroup`].
    SecurityGroup,
    /// A [`KeyPair`].
    KeyPair,
    /// A [`ServerGroup`].
    ServerGroup,
    /// An [`Image`].
    Image,
    /// A [`Volume`].
    Volume,
    /// A [`Port`].
    Port,
    /// A [`Server`].
    Server,
    /// A [`FloatingIp`].
    FloatingIp,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::Router => "router",
            Self::SecurityGroup => "security group",
            Self::KeyPair => "key pair",
            Self::ServerGroup => "server group",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Port => "port",
            Self::Server => "server",
            Self::FloatingIp => "floating IP",
        })
    }
}

/// Names one resource of a graph: its kind and the id that it had in the cloud it was discovered in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// What it is.
    pub kind: ResourceKind,
    /// Its id in the cloud in which it was discovered.
    pub id: String,
}

impl ResourceKey {
    /// The resource of `kind` with this `id`.
    pub fn new(kind: ResourceKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// One resource of a graph, borrowed.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // each variant is its type
#[non_exhaustive]
pub enum ResourceRef<'a> {
    Network(&'a Network),
    Subnet(&'a Subnet),
    Router(&'a Router),
    SecurityGroup(&'a SecurityGroup),
    KeyPair(&'a KeyPair),
    ServerGroup(&'a ServerGroup),
    Image(&'a Image),
    Volume(&'a Volume),
    Port(&'a Port),
    Server(&'a Server),
    FloatingIp(&'a FloatingIp),
}

impl ResourceRef<'_> {
    /// Its kind and id.
    pub fn key(&self) -> ResourceKey {
        use ResourceKind as K;
        match self {
            Self::Network(r) => ResourceKey::new(K::Network, r.id.as_str()),
            Self::Subnet(r) => ResourceKey::new(K::Subnet, r.id.as_str()),
            Self::Router(r) => ResourceKey::new(K::Router, r.id.as_str()),
            Self::SecurityGroup(r) => ResourceKey::new(K::SecurityGroup, r.id.as_str()),
            Self::KeyPair(r) => ResourceKey::new(K::KeyPair, r.id.as_str()),
            Self::ServerGroup(r) => ResourceKey::new(K::ServerGroup, r.id.as_str()),
            Self::Image(r) => ResourceKey::new(K::Image, r.id.as_str()),
            Self::Volume(r) => ResourceKey::new(K::Volume, r.id.as_str()),
            Self::Port(r) => ResourceKey::new(K::Port, r.id.as_str()),
            Self::Server(r) => ResourceKey::new(K::Server, r.id.as_str()),
            Self::FloatingIp(r) => ResourceKey::new(K::FloatingIp, r.id.as_str()),
        }
    }

    /// What people call it; empty where it has no name.
    pub fn name(&self) -> &str {
        match self {
            Self::Network(r) => &r.name,
            Self::Subnet(r) => &r.name,
            Self::Router(r) => &r.name,
            Self::SecurityGroup(r) => &r.name,
            Self::KeyPair(r) => r.id.as_str(),
            Self::ServerGroup(r) => &r.name,
            Self::Image(r) => &r.name,
            Self::Volume(r) => &r.name,
            Self::Port(r) => &r.name,
            Self::Server(r) => &r.name,
            Self::FloatingIp(r) => &r.address,
        }
    }
}
