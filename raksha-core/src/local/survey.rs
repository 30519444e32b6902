//! Comparing what shall be restored with what is there.

use serde_json::Value;

use super::description::Description;
use super::translate::{mapped, name_here, translate};
use crate::cloud::{
    Finding, IdMap, Presence, Problem, ResourceKey, ResourceKind as K, ResourceRef, RestoreRequest,
    Survey,
};

/// Compares all of `request` with the cloud.
pub(super) fn survey(description: &Description, request: &RestoreRequest) -> Survey {
    // What probably stands for what, so that references can be compared.
    let mut here = IdMap::default();
    for resource in request.graph.resources() {
        let key = resource.key();
        let id = match mapped(&key, request) {
            Some(id) => Some(id.to_owned()),
            None => counterpart(description, resource, request, &here),
        };
        if let Some(id) = id {
            here.insert(key, id);
        }
    }
    let find = |resource: ResourceRef<'_>| Finding {
        key: resource.key(),
        presence: presence(description, resource, request, &here),
    };
    let findings = request.graph.resources().map(find).collect();

    let named = request
        .mapping
        .resources
        .iter()
        .chain(&request.mapping.names);
    let unknown = named.filter(|(key, _)| request.graph.find(key).is_none());
    let problems = unknown.map(|(key, _)| Problem {
        what: key.to_string(),
        reason: "the mapping names it, but it is not part of what shall be restored: correct the mapping".to_owned(),
    });
    Survey {
        findings,
        problems: problems.collect(),
        notes: Vec::new(),
    }
}

/// Whether servers share resources of this kind, so that an existing one can be used.
fn is_shared(kind: K) -> bool {
    !matches!(kind, K::Server | K::Volume | K::Port | K::FloatingIp)
}

/// The live resource that has the id of a shared resource or, failing that, its name.
fn counterpart(
    description: &Description,
    resource: ResourceRef<'_>,
    request: &RestoreRequest,
    here: &IdMap,
) -> Option<String> {
    let key = resource.key();
    if !is_shared(key.kind) {
        return None;
    }
    if description.graph.find(&key).is_some() && mapped_name(&key, request).is_none() {
        return Some(key.id);
    }
    let name = name_here(resource, request);
    if name.is_empty() {
        return None;
    }
    // Names of subnets need only be unique within their network.
    let within = |live: ResourceRef<'_>| match (resource, live) {
        (ResourceRef::Subnet(point), ResourceRef::Subnet(live)) => {
            let network = ResourceKey::new(K::Network, point.network.as_str());
            here.get(&network) == Some(live.network.as_str())
        }
        _ => true,
    };
    let mut live = description.graph.resources();
    let found = live.find(|l| l.key().kind == key.kind && l.name() == name && within(*l));
    found.map(|l| l.key().id)
}

fn mapped_name<'a>(key: &ResourceKey, request: &'a RestoreRequest) -> Option<&'a str> {
    let found = request.mapping.names.iter().find(|(known, _)| known == key);
    found.map(|(_, name)| name.as_str())
}

fn presence(
    description: &Description,
    resource: ResourceRef<'_>,
    request: &RestoreRequest,
    here: &IdMap,
) -> Presence {
    let key = resource.key();
    if let Some(id) = mapped(&key, request) {
        let id = id.to_owned();
        let live = ResourceKey::new(key.kind, id.as_str());
        return match description.graph.find(&live) {
            Some(_) => Presence::Same { id },
            None => Presence::Conflict {
                id,
                reason: "it is mapped to something that is not there: map it to something else, or not at all".to_owned(),
            },
        };
    }
    if let (true, Some(id)) = (is_shared(key.kind), here.get(&key)) {
        let differing = differences(description, resource, id, request, here);
        if differing.is_empty() {
            return Presence::Same { id: id.to_owned() };
        }
        return Presence::Conflict {
            id: id.to_owned(),
            reason: format!(
                "there is one already, but it differs in {}: map it to that one if it will do, or give the restored one a new name",
                differing.join(", ")
            ),
        };
    }
    match in_the_way(description, resource, request, here) {
        Some((id, reason)) => Presence::Conflict { id, reason },
        None => Presence::Absent,
    }
}

/// The fields in which a shared resource of the point differs from its counterpart `id`, in what matters to a server.
fn differences(
    description: &Description,
    resource: ResourceRef<'_>,
    id: &str,
    request: &RestoreRequest,
    here: &IdMap,
) -> Vec<String> {
    let live = ResourceKey::new(resource.key().kind, id);
    let (Ok(point), Some(live)) = (
        translate(resource, id, request, here),
        description.graph.find(&live),
    ) else {
        return vec!["what it refers to".to_owned()];
    };
    if !point.awaited.is_empty() {
        return vec!["rules".to_owned()];
    }
    let Some(point) = point.graph.resources().next().map(fields) else {
        return Vec::new();
    };
    let live = fields(live);
    let names = point.keys().chain(live.keys());
    let mut differing: Vec<String> = Vec::new();
    for name in names {
        if matches!(
            name.as_str(),
            "id" | "name" | "description" | "tags" | "raw"
        ) {
            continue;
        }
        let same = match (name.as_str(), point.get(name), live.get(name)) {
            // The point holds the sides of a router that its servers need.
            ("interfaces", Some(Value::Array(point)), Some(Value::Array(live))) => {
                point.iter().all(|side| live.contains(side))
            }
            ("rules", Some(Value::Array(point)), Some(Value::Array(live))) => {
                point.len() == live.len() && point.iter().all(|rule| live.contains(rule))
            }
            (_, point, live) => point == live,
        };
        if !same && !differing.contains(name) {
            differing.push(name.clone());
        }
    }
    differing
}

fn fields(resource: ResourceRef<'_>) -> serde_json::Map<String, Value> {
    let value = match resource {
        ResourceRef::Network(r) => serde_json::to_value(r),
        ResourceRef::Subnet(r) => serde_json::to_value(r),
        ResourceRef::Router(r) => serde_json::to_value(r),
        ResourceRef::SecurityGroup(r) => serde_json::to_value(r),
        ResourceRef::KeyPair(r) => serde_json::to_value(r),
        ResourceRef::ServerGroup(r) => serde_json::to_value(r),
        ResourceRef::Image(r) => serde_json::to_value(r),
        ResourceRef::Volume(r) => serde_json::to_value(r),
        ResourceRef::Port(r) => serde_json::to_value(r),
        ResourceRef::Server(r) => serde_json::to_value(r),
        ResourceRef::FloatingIp(r) => serde_json::to_value(r),
    };
    match value {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

/// What keeps `resource` from being created: something with its name, unless it is in `ids` and so belongs to the same restore,
/// or something with its address. The id of that, and the reason with what to do.
pub(super) fn in_the_way(
    description: &Description,
    resource: ResourceRef<'_>,
    request: &RestoreRequest,
    ids: &IdMap,
) -> Option<(String, String)> {
    let graph = &description.graph;
    let key = resource.key();
    let here = |kind, id: &str| {
        let key = ResourceKey::new(kind, id);
        ids.get(&key)
            .or_else(|| mapped(&key, request))
            .map(str::to_owned)
    };
    let taken = |subnet: &str, address: &str| {
        let subnet = here(K::Subnet, subnet)?;
        let mut addresses = description.addresses();
        let taken = addresses.any(|a| a == (subnet.as_str(), address));
        let reason = format!(
            "the address {address} is in use: remove what uses it, or map the resource to that"
        );
        taken.then_some((subnet, reason))
    };
    let on_other_network = |live: ResourceRef<'_>| match (resource, live) {
        (ResourceRef::Subnet(point), ResourceRef::Subnet(live)) => {
            here(K::Network, point.network.as_str()).as_deref() != Some(live.network.as_str())
        }
        _ => false,
    };
    match resource {
        // People tell volumes apart by id.
        ResourceRef::Volume(_) => None,
        ResourceRef::Port(port) => {
            let same_mac = graph
                .ports
                .iter()
                .find(|p| p.mac.eq_ignore_ascii_case(&port.mac));
            let same_mac = same_mac.map(|live| {
                let reason = format!(
                    "the hardware address {} is in use: remove the port that has it, or map to that",
                    port.mac
                );
                (live.id.to_string(), reason)
            });
            let mut ips = port.fixed_ips.iter();
            same_mac.or_else(|| ips.find_map(|ip| taken(ip.subnet.as_str(), &ip.address)))
        }
        ResourceRef::FloatingIp(floating) => {
            let mut live = graph.floating_ips.iter();
            let live = live.find(|f| f.address == floating.address)?;
            let reason = format!(
                "the address {} is in use: release it, or map the floating IP to the one that has it",
                floating.address
            );
            Some((live.id.to_string(), reason))
        }
        _ => {
            let name = name_here(resource, request);
            let ours = |id: &str| ids.iter().any(|(k, i)| k.kind == key.kind && i == id);
            let named = graph.resources().find(|live| {
                let live_key = live.key();
                let same_server = key.kind == K::Server
                    && live_key.id == key.id
                    && mapped_name(&key, request).is_none();
                live_key.kind == key.kind
                    && (live.name() == name && !name.is_empty() || same_server)
                    && !ours(&live_key.id)
                    && !on_other_network(*live)
            });
            if let Some(live) = named {
                let reason = format!(
                    "there is a {} called {} already: give the restored one a new name, or map it to that one",
                    key.kind,
                    live.name()
                );
                return Some((live.key().id, reason));
            }
            let ResourceRef::Router(router) = resource else {
                return None;
            };
            let mut sides = router.interfaces.iter();
            sides.find_map(|side| taken(side.subnet.as_str(), &side.address))
        }
    }
}
