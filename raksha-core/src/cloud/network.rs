//! Networks and everything that hangs on them. Addresses are text, as the cloud writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resource::Raw;
use crate::id::{FloatingIpId, NetworkId, PortId, RouterId, SecurityGroupId, SubnetId};

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its id in the cloud in which it was discovered.
    pub id: NetworkId,
    /// What its owner calls it.
    pub name: String,
    /// Free text of its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The largest packet in bytes; none where the cloud decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it leads outside: such networks are the operator's and are mapped, never created.
    #[serde(default)]
    pub external: bool,
    /// Whether other projects can use it.
    #[serde(default)]
    pub shared: bool,
    /// Whether ports on it are guarded by security groups unless they say otherwise.
    #[serde(default = "yes")]
    pub port_security: bool,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// A range of addresses on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id in the cloud in which it was discovered.
    pub id: SubnetId,
    /// What its owner calls it.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Its range, such as `10.0.0.0/24`.
    pub cidr: String,
    /// The way out; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Whether addresses are handed out by DHCP.
    #[serde(default = "yes")]
    pub dhcp: bool,
    /// Name servers told to guests.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Parts of the range that addresses are taken from; empty means all of it.
    #[serde(default)]
    pub pools: Vec<AddressPool>,
    /// Further routes told to guests.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// A range of addresses, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// The first address.
    pub first: String,
    /// The last address.
    pub last: String,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to, such as `192.168.0.0/16`.
    pub destination: String,
    /// By which neighbour.
    pub next_hop: String,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Router {
    /// Its id in the cloud in which it was discovered.
    pub id: RouterId,
    /// What its owner calls it.
    pub name: String,
    /// The external network it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<NetworkId>,
    /// The subnets it connects.
    pub interfaces: Vec<RouterInterface>,
    /// Further routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// A router's place on a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterInterface {
    /// The subnet.
    pub subnet: SubnetId,
    /// The router's address on it.
    pub address: String,
}

/// A server's place on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its id in the cloud in which it was discovered.
    pub id: PortId,
    /// What its owner calls it; mostly nothing.
    #[serde(default)]
    pub name: String,
    /// The network.
    pub network: NetworkId,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses.
    pub fixed_ips: Vec<FixedIp>,
    /// The security groups that guard it.
    #[serde(default)]
    pub security_groups: Vec<SecurityGroupId>,
    /// Whether it is guarded at all.
    #[serde(default = "yes")]
    pub port_security: bool,
    /// Further addresses that its server may speak for.
    #[serde(default)]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// The name of its quality-of-service policy, noted but the operator's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy: Option<String>,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// An address on a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    /// The subnet.
    pub subnet: SubnetId,
    /// The address.
    pub address: String,
}

/// An address that a port may speak for beside its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    /// The address or range.
    pub address: String,
    /// Its hardware address; none means the port's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A set of rules on traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id in the cloud in which it was discovered.
    pub id: SecurityGroupId,
    /// What its owner calls it.
    pub name: String,
    /// Free text of its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it lets through; everything else is dropped.
    pub rules: Vec<SecurityGroupRule>,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// What a security group lets through. An absent field means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// Into the server or out of it.
    pub direction: Direction,
    /// `IPv4` or `IPv6`.
    pub ethertype: String,
    /// The protocol, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The lowest port, or the type for ICMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_min: Option<u32>,
    /// The highest port, or the code for ICMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_max: Option<u32>,
    /// The other side, as a range of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cidr: Option<String>,
    /// The other side, as the members of a security group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_group: Option<SecurityGroupId>,
}

/// Which way traffic goes, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Into the server.
    Ingress,
    /// Out of the server.
    Egress,
}

/// An address of the outside world that leads to a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloatingIp {
    /// Its id in the cloud in which it was discovered.
    pub id: FloatingIpId,
    /// The address outside.
    pub address: String,
    /// The external network it belongs to.
    pub network: NetworkId,
    /// The port it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortId>,
    /// Which of the port's addresses it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_address: Option<String>,
    /// Key-value pairs of its owner.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

fn yes() -> bool {
    true
}
