//! The services that protecting servers involves.

use std::fmt;

/// A service of a cloud. Displayed as its official type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Keystone: users, projects, roles, tokens.
    Identity,
    /// Nova: servers, flavors, key pairs, server groups.
    Compute,
    /// Cinder: volumes, snapshots, attachments.
    BlockStorage,
    /// Glance: images.
    Image,
    /// Neutron: networks, ports, routers, security groups, floating IPs.
    Network,
    /// Swift: objects. It has neither API versions nor JSON to speak of; see [`Client::token_source`](super::Client::token_source).
    ObjectStore,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Identity,
        Self::Compute,
        Self::BlockStorage,
        Self::Image,
        Self::Network,
        Self::ObjectStore,
    ];

    /// The official type, under which [`crate::service::names`] knows the aliases.
    pub fn official(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Compute => "compute",
            Self::BlockStorage => "block-storage",
            Self::Image => "image",
            Self::Network => "network",
            Self::ObjectStore => "object-store",
        }
    }

    /// The API version spoken here, as the paths of URLs have it.
    pub(super) fn version(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::BlockStorage => Some("v3"),
            Self::Compute => Some("v2.1"),
            Self::Image => Some("v2"),
            Self::Network => Some("v2.0"),
            Self::ObjectStore => None,
        }
    }

    /// What the header `OpenStack-API-Version` calls it, where it has microversions.
    pub(super) fn microversion_name(self) -> Option<&'static str> {
        match self {
            Self::Compute => Some("compute"),
            Self::BlockStorage => Some("volume"),
            Self::Identity | Self::Image | Self::Network | Self::ObjectStore => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.official())
    }
}
