//! What the servers hang on: ports, and from there everything else of Neutron's.

use std::collections::{BTreeMap, BTreeSet};

use raksha_core::Result;
use raksha_core::cloud::{FloatingIp, Network, Port, Router, SecurityGroup, Subnet};
use serde_json::Value;

use super::fields::Fields;
use super::gather::by_filter;
use super::networking::{self, gateway, remote_groups};
use super::notes::Notes;
use crate::client::Client;

/// Who owns the ports by which routers are on subnets: plain, highly available, distributed.
const INTERFACES: [(&str, &str); 3] = [
    ("device_owner", "network:router_interface"),
    ("device_owner", "network:ha_router_replicated_interface"),
    ("device_owner", "network:router_interface_distributed"),
];

/// The network side of a graph; every list in the order of ids.
pub(super) struct Surroundings {
    pub(super) ports: Vec<Port>,
    pub(super) networks: Vec<Network>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) routers: Vec<Router>,
    pub(super) security_groups: Vec<SecurityGroup>,
    pub(super) floating_ips: Vec<FloatingIp>,
}

/// Everything around the ports of `servers`.
pub(super) async fn around(
    client: &Client,
    servers: &BTreeSet<String>,
    notes: &Notes,
) -> Result<Surroundings> {
    let asking = Asking { client, notes };
    let ports = by_filter(client, "ports", "ports", "device_id", servers, &[]).await?;
    let on = all_of(&ports, "network_id");
    let ids = all_of(&ports, "id");
    let groups: BTreeSet<String> = ports
        .iter()
        .flat_map(|port| Fields::of("port", port).words("security_groups"))
        .collect();
    let policies = all_of(&ports, "qos_policy_id");
    let (networks, subnets, leading_out, addresses, groups, policies) = futures_util::try_join!(
        asking.list("networks", "id", &on),
        asking.list("subnets", "network_id", &on),
        asking.interfaces("network_id", &on),
        asking.list("floatingips", "port_id", &ids),
        asking.groups(groups),
        asking.policies(&policies),
    )?;
    let router_ids = all_of(&leading_out, "device_id");
    let (routers, interfaces) = futures_util::try_join!(
        asking.list("routers", "id", &router_ids),
        asking.interfaces("device_id", &router_ids),
    )?;
    let outside: BTreeSet<String> = routers
        .iter()
        .filter_map(gateway)
        .chain(all_of(&addresses, "floating_network_id"))
        .filter(|id| !on.contains(id))
        .collect();
    let outside = asking.list("networks", "id", &outside).await?;
    let found = Found {
        ports,
        networks: networks.into_iter().chain(outside).collect(),
        subnets,
        routers,
        interfaces,
        addresses,
        groups,
        policies,
    };
    let surroundings = found.into_surroundings(notes)?;
    note_shared(&surroundings, client, notes);
    Ok(surroundings)
}

struct Asking<'a> {
    client: &'a Client,
    notes: &'a Notes,
}

impl Asking<'_> {
    /// What is listed at `path`, which is also the key, for any of `values`.
    async fn list(
        &self,
        path: &'static str,
        filter: &str,
        values: &BTreeSet<String>,
    ) -> Result<Vec<Value>> {
        let found = by_filter(self.client, path, path, filter, values, &[]).await;
        self.notes.visible(path, found)
    }

    async fn interfaces(&self, filter: &str, values: &BTreeSet<String>) -> Result<Vec<Value>> {
        by_filter(self.client, "ports", "ports", filter, values, &INTERFACES).await
    }

    /// The security groups and those that their rules refer to, and so on.
    async fn groups(&self, mut wanted: BTreeSet<String>) -> Result<Vec<Value>> {
        let mut asked = BTreeSet::new();
        let mut found = BTreeMap::new();
        while !wanted.is_empty() {
            let path = "security-groups";
            let listed = by_filter(self.client, path, "security_groups", "id", &wanted, &[]);
            let listed = self.notes.visible("security groups", listed.await)?;
            asked.append(&mut wanted);
            for group in listed {
                let remote = remote_groups(&group).into_iter();
                wanted.extend(remote.filter(|id| !asked.contains(id)));
                found.insert(
                    Fields::of("security group", &group).text("id")?.to_owned(),
                    group,
                );
            }
        }
        Ok(found.into_values().collect())
    }

    /// The names of quality-of-service policies.
    async fn policies(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        let listed = by_filter(self.client, "qos/policies", "policies", "id", ids, &[]).await;
        let listed = self.notes.visible("quality-of-service policies", listed)?;
        let names = listed.iter().filter_map(|policy| {
            let policy = Fields::of("QoS policy", policy);
            Some((policy.maybe("id")?, policy.maybe("name")?))
        });
        Ok(names.collect())
    }
}

/// As Neutron has it.
struct Found {
    ports: Vec<Value>,
    networks: Vec<Value>,
    subnets: Vec<Value>,
    routers: Vec<Value>,
    /// All interface ports of the routers.
    interfaces: Vec<Value>,
    addresses: Vec<Value>,
    groups: Vec<Value>,
    policies: BTreeMap<String, String>,
}

impl Found {
    /// Translates, and leaves out references to what may not be seen.
    fn into_surroundings(self, notes: &Notes) -> Result<Surroundings> {
        let networks = each(self.networks, networking::network)?;
        let mut subnets = each(self.subnets, networking::subnet)?;
        // A network that may not be seen is noted where a port is on it.
        subnets.retain(|subnet| networks.iter().any(|n| n.id == subnet.network));
        let mut security_groups = Vec::new();
        for group in self.groups {
            let (group, left_out) = networking::security_group(group)?;
            if left_out > 0 {
                notes.add(
                    format!("{left_out} rules of security group {} ({})", group.name, group.id),
                    "their other side is an address group, which has no equivalent here: add them by hand after a restore",
                );
            }
            security_groups.push(group);
        }
        let known = Known {
            networks: networks.iter().map(|n| n.id.as_str()).collect(),
            subnets: subnets.iter().map(|s| s.id.as_str()).collect(),
            groups: security_groups.iter().map(|g| g.id.as_str()).collect(),
            notes,
        };
        for group in &security_groups {
            for remote in group.rules.iter().filter_map(|r| r.remote_group.as_ref()) {
                known.group(remote.as_str());
            }
        }
        let mut ports = Vec::new();
        for raw in self.ports {
            let policy = Fields::of("port", &raw).maybe("qos_policy_id");
            let policy = policy.map(|id| self.policies.get(&id).cloned().unwrap_or(id));
            let mut port = networking::port(raw, policy)?;
            if !known.network(port.network.as_str(), &format!("port {}", port.id)) {
                continue;
            }
            port.fixed_ips.retain(|ip| known.subnet(ip.subnet.as_str()));
            port.security_groups.retain(|id| known.group(id.as_str()));
            if port.raw.get("trunk_details").is_some_and(|t| !t.is_null()) {
                notes.add(
                    format!("the trunk of port {}", port.id),
                    "trunks and their subports are not in the graph: make them by hand after a restore",
                );
            }
            ports.push(port);
        }
        let mut routers = Vec::new();
        for raw in self.routers {
            let id = Fields::of("router", &raw).text("id")?.to_owned();
            let interfaces = networking::interfaces(&self.interfaces, &id)?;
            let mut router = networking::router(raw, interfaces)?;
            let name = format!("router {} ({})", router.name, router.id);
            router.interfaces.retain(|interface| {
                let subnet = interface.subnet.as_str();
                let here = known.subnets.contains(subnet);
                if !here {
                    notes.add(
                        format!("the interface of {name} on subnet {subnet}"),
                        "none of the servers is there: select one that is, to have that subnet too",
                    );
                }
                here
            });
            router.gateway = router
                .gateway
                .filter(|id| known.network(id.as_str(), &name));
            routers.push(router);
        }
        let addresses = each(self.addresses, networking::floating_ip)?.into_iter();
        let floating_ips = addresses
            .filter(|ip| known.network(ip.network.as_str(), &format!("floating IP {}", ip.address)))
            .collect();
        Ok(Surroundings {
            floating_ips,
            ports,
            routers,
            networks,
            subnets,
            security_groups,
        })
    }
}

/// What there is to refer to.
struct Known<'a> {
    networks: BTreeSet<&'a str>,
    subnets: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    notes: &'a Notes,
}

impl Known<'_> {
    const HIDDEN: &'static str = "it belongs to another project, and is not shown to this user";

    fn network(&self, id: &str, of: &str) -> bool {
        let known = self.networks.contains(id);
        if !known {
            self.notes
                .add(format!("network {id} of {of}"), Self::HIDDEN);
        }
        known
    }

    fn subnet(&self, id: &str) -> bool {
        let known = self.subnets.contains(id);
        if !known {
            self.notes.add(format!("subnet {id}"), Self::HIDDEN);
        }
        known
    }

    fn group(&self, id: &str) -> bool {
        let known = self.groups.contains(id);
        if !known {
            self.notes.add(format!("security group {id}"), Self::HIDDEN);
        }
        known
    }
}

/// On a network that somebody else shares, routers are theirs and not shown.
fn note_shared(surroundings: &Surroundings, client: &Client, notes: &Notes) {
    let own = client.principal().project.id;
    let foreign = surroundings.networks.iter().filter(|network| {
        let owner = Fields::of("network", &network.raw).maybe("project_id");
        !network.external && owner.is_some_and(|owner| owner != own)
    });
    for network in foreign {
        notes.add(
            format!("routers of network {} ({})", network.name, network.id),
            "the network belongs to another project, which shares it: its routers are not shown",
        );
    }
}

fn all_of(items: &[Value], key: &str) -> BTreeSet<String> {
    let fields = items.iter().map(|item| Fields::of("resource", item));
    fields.filter_map(|fields| fields.maybe(key)).collect()
}

fn each<T>(items: Vec<Value>, translate: impl Fn(Value) -> Result<T>) -> Result<Vec<T>> {
    items.into_iter().map(translate).collect()
}
