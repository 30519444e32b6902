//! How one resource stands in the live cloud.

use raksha_core::cloud::{
    FloatingIp, Network, Port, Presence, ResourceKey, ResourceKind as K, ResourceRef, Router,
    Subnet,
};
use serde_json::Value;

use super::super::make::is;
use super::super::there::There;
use super::live::Live;
use super::{addresses, compare};

/// How `resource` stands. What will be other, but does not stand in the way, is added to `notes`.
pub(super) fn of(
    resource: ResourceRef<'_>,
    live: &Live,
    there: There<'_>,
    notes: &mut Vec<String>,
) -> Presence {
    let key = resource.key();
    if let Some(id) = there.mapped(&key) {
        return mapped(&key, id, live);
    }
    match resource {
        ResourceRef::Network(point) if point.external => external(point, live),
        ResourceRef::Network(point) => {
            if point.shared {
                notes.push(format!("the network {} was shared with other projects: the restored one is the project's own", point.name));
            }
            shared(resource, live, there, |one| {
                compare::network(point, one, live, there)
            })
        }
        ResourceRef::Subnet(point) => subnet(point, live, there),
        ResourceRef::Router(point) => router(point, resource, live, there, notes),
        ResourceRef::SecurityGroup(point) => shared(resource, live, there, |one| {
            compare::security_group(point, one, there)
        }),
        ResourceRef::KeyPair(point) => {
            shared(resource, live, there, |one| compare::key_pair(point, one))
        }
        ResourceRef::ServerGroup(point) => shared(resource, live, there, |one| {
            compare::server_group(point, one)
        }),
        ResourceRef::Image(point) => {
            let found = live.get(K::Image, point.id.as_str());
            match found.filter(|_| there.new_name(&key).is_none()) {
                Some(one) => verdict(one, &key, &compare::image(point, one, there)),
                None => {
                    notes.push(format!("the image {} is gone: it is registered with its properties, and its bytes are its owner's to upload", point.name));
                    Presence::Absent
                }
            }
        }
        ResourceRef::Volume(point) => {
            let found = live.get(K::Volume, point.id.as_str());
            match found.filter(|_| there.new_name(&key).is_none()) {
                Some(_) => Presence::Conflict {
                    id: point.id.to_string(),
                    reason: "the volume is there still, and nothing existing is overwritten: map it if its content will do, remove it, or give the restored one a new name".to_owned(),
                },
                None => Presence::Absent,
            }
        }
        ResourceRef::Port(point) => port(point, live, there),
        ResourceRef::Server(_) => server(resource, live, there),
        ResourceRef::FloatingIp(point) => floating_ip(point, live, there, notes),
        _ => Presence::Absent,
    }
}

fn mapped(key: &ResourceKey, id: &str, live: &Live) -> Presence {
    let id = id.to_owned();
    match live.get(key.kind, &id) {
        Some(_) => Presence::Same { id },
        None => Presence::Conflict {
            id,
            reason: "it is mapped to something that is not there, or that the user may not see: map it to something else, or not at all".to_owned(),
        },
    }
}

/// An external network is the operator's: the same one, or one of the same name.
fn external(point: &Network, live: &Live) -> Presence {
    let mut externals = live
        .networks
        .iter()
        .filter(|one| one.get("router:external") == Some(&Value::Bool(true)));
    let same = externals
        .clone()
        .find(|one| is(one, "id", point.id.as_str()));
    match same.or_else(|| externals.find(|one| is(one, "name", &point.name))) {
        Some(one) => Presence::Same { id: id_of(one) },
        None => Presence::Conflict {
            id: point.id.to_string(),
            reason: "no external network has its id or name, and only the operator can make one: map it to one that is there".to_owned(),
        },
    }
}

/// Things that several servers share: the one with its id, or else the one of its name that is the same.
fn shared(
    resource: ResourceRef<'_>,
    live: &Live,
    there: There<'_>,
    differences: impl Fn(&Value) -> Vec<String>,
) -> Presence {
    let key = resource.key();
    if there.new_name(&key).is_none()
        && let Some(one) = live.get(key.kind, &key.id)
    {
        return verdict(one, &key, &differences(one));
    }
    let name = there.name(resource);
    let named = live.of(key.kind).iter();
    let named: Vec<_> = named
        .filter(|one| !name.is_empty() && is(one, "name", &name))
        .collect();
    if let Some(one) = named.iter().find(|one| differences(one).is_empty()) {
        return verdict(one, &key, &[]);
    }
    match named.first() {
        Some(one) => verdict(one, &key, &differences(one)),
        None => Presence::Absent,
    }
}

/// The same if nothing differs, and else in the way.
fn verdict(live: &Value, key: &ResourceKey, differing: &[String]) -> Presence {
    let id = match key.kind {
        K::KeyPair => key_of(live, "name"),
        _ => id_of(live),
    };
    if differing.is_empty() {
        return Presence::Same { id };
    }
    let reason = format!(
        "there is one already, but it differs in {}: map it to that one if it will do, or give the restored one a new name",
        differing.join(", ")
    );
    Presence::Conflict { id, reason }
}

fn subnet(point: &Subnet, live: &Live, there: There<'_>) -> Presence {
    let key = ResourceKey::new(K::Subnet, point.id.as_str());
    let Some(network) = there.known(K::Network, point.network.as_str()) else {
        return Presence::Absent;
    };
    let on_it = live
        .subnets
        .iter()
        .filter(|one| is(one, "network_id", network));
    let on_it: Vec<_> = on_it.collect();
    let networks = &there.request.graph.networks;
    if networks.iter().any(|n| n.id == point.network && n.external) {
        // The operator's, which tenants need not see. Nothing refers to it.
        let same = on_it.iter().find(|one| is(one, "cidr", &point.cidr));
        let id = same.or(on_it.first()).map(|one| id_of(one));
        return Presence::Same {
            id: id.unwrap_or_else(|| point.id.to_string()),
        };
    }
    let same = on_it.iter().find(|one| is(one, "id", point.id.as_str()));
    match same.or_else(|| on_it.iter().find(|one| is(one, "cidr", &point.cidr))) {
        Some(one) => verdict(one, &key, &compare::subnet(point, one, there)),
        None => Presence::Absent,
    }
}

fn router(
    point: &Router,
    resource: ResourceRef<'_>,
    live: &Live,
    there: There<'_>,
    notes: &mut Vec<String>,
) -> Presence {
    let presence = shared(resource, live, there, |one| {
        compare::router(point, one, there)
    });
    let own = match &presence {
        Presence::Absent => "",
        Presence::Same { id } => id,
        Presence::Conflict { .. } => return presence,
    };
    for side in &point.interfaces {
        let Some(subnet) = there.known(K::Subnet, side.subnet.as_str()) else {
            continue;
        };
        let holder = addresses::holder(live, subnet, &side.address);
        match holder {
            Some(port) if own.is_empty() || !is(port, "device_id", own) => {
                return addresses::taken(port, &side.address);
            }
            _ => {}
        }
    }
    if !own.is_empty() && there.request.graph.servers.is_empty() {
        notes.push(format!("the router {} is used as it is: a new subnet is joined to it when a server is restored, or by its owner", point.name));
    }
    presence
}

fn port(point: &Port, live: &Live, there: There<'_>) -> Presence {
    let key = ResourceKey::new(K::Port, point.id.as_str());
    if there.new_name(&key).is_none()
        && let Some(one) = live.get(K::Port, point.id.as_str())
    {
        let user = one
            .get("device_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !user.is_empty() {
            return Presence::Conflict {
                id: point.id.to_string(),
                reason: format!(
                    "the port is there still, and {user} has it: remove that, or map the port to another one"
                ),
            };
        }
        return verdict(one, &key, &compare::port(point, one, there));
    }
    let network = there.known(K::Network, point.network.as_str());
    let same_mac = network.and_then(|network| {
        let on_it = live
            .ports
            .iter()
            .filter(|one| is(one, "network_id", network));
        let mut on_it = on_it.filter_map(|one| Some((one, one.get("mac_address")?.as_str()?)));
        on_it.find(|(_, mac)| mac.eq_ignore_ascii_case(&point.mac))
    });
    if let Some((one, mac)) = same_mac {
        return Presence::Conflict {
            id: id_of(one),
            reason: format!(
                "the hardware address {mac} is in use: remove the port that has it, or map to that"
            ),
        };
    }
    for ip in &point.fixed_ips {
        if let Some(subnet) = there.known(K::Subnet, ip.subnet.as_str())
            && let Some(one) = addresses::holder(live, subnet, &ip.address)
        {
            return addresses::taken(one, &ip.address);
        }
    }
    Presence::Absent
}

fn server(resource: ResourceRef<'_>, live: &Live, there: There<'_>) -> Presence {
    let key = resource.key();
    let name = there.name(resource);
    let same = live
        .get(K::Server, &key.id)
        .filter(|_| there.new_name(&key).is_none());
    let mut named = live.servers.iter().filter(|one| is(one, "name", &name));
    match same.or_else(|| named.next()) {
        Some(one) => Presence::Conflict {
            id: id_of(one),
            reason: format!(
                "there is a server called {} already, and nothing existing is overwritten: remove it, or give the restored one a new name",
                key_of(one, "name")
            ),
        },
        None => Presence::Absent,
    }
}

/// A floating IP that the project has kept, and nothing uses, is used again. Any other is asked for, and may be another address.
fn floating_ip(
    point: &FloatingIp,
    live: &Live,
    there: There<'_>,
    notes: &mut Vec<String>,
) -> Presence {
    let address = &point.address;
    let mut kept = live.floating_ips.iter();
    let kept = kept.find(|one| is(one, "floating_ip_address", address));
    let Some(one) = kept else {
        notes.push(format!("the floating IP {address} is asked for again: if the cloud does not give that address to this user, it is another one"));
        return Presence::Absent;
    };
    let leads_to = one.get("port_id").and_then(Value::as_str);
    let port = point
        .port
        .as_ref()
        .and_then(|port| there.known(K::Port, port.as_str()));
    if leads_to.is_none() || leads_to == port {
        return Presence::Same { id: id_of(one) };
    }
    notes.push(format!("the floating IP {address} leads to something else now: the restored server gets another address"));
    Presence::Absent
}

pub(super) fn id_of(live: &Value) -> String {
    key_of(live, "id")
}

fn key_of(live: &Value, key: &str) -> String {
    live.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
