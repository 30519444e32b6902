//! Resources of a point as they will be here: other ids, other names, references to what stands for what.

use super::description::AwaitedRule;
use crate::cloud::{
    DiskSource, IdMap, PowerState, ResourceGraph, ResourceKey, ResourceKind as K, ResourceRef,
    RestoreRequest, SecurityGroup, SecurityGroupRule,
};
use crate::error::{Error, Kind, Result};

/// One resource, ready to be added to the cloud.
#[derive(Debug, Clone)]
pub(super) struct Translated {
    /// The resource and nothing else.
    pub(super) graph: ResourceGraph,
    /// Rules of a security group that refer to groups which are not here yet.
    pub(super) awaited: Vec<AwaitedRule>,
}

/// What `resource` of the point will be here, as `id`.
///
/// # Errors
/// [`Kind::Invalid`] if it refers to something that nothing here stands for.
pub(super) fn translate(
    resource: ResourceRef<'_>,
    id: &str,
    request: &RestoreRequest,
    ids: &IdMap,
) -> Result<Translated> {
    let to = Words {
        from: resource.key(),
        request,
        ids,
    };
    let name = name_here(resource, request);
    let mut graph = ResourceGraph::default();
    let mut awaited = Vec::new();
    match resource {
        ResourceRef::Network(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            graph.networks.push(here);
        }
        ResourceRef::Subnet(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            here.network = to.id(K::Network, point.network.as_str())?.into();
            graph.subnets.push(here);
        }
        ResourceRef::Router(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            if let Some(gateway) = &mut here.gateway {
                *gateway = to.id(K::Network, gateway.as_str())?.into();
            }
            for interface in &mut here.interfaces {
                interface.subnet = to.id(K::Subnet, interface.subnet.as_str())?.into();
            }
            graph.routers.push(here);
        }
        ResourceRef::SecurityGroup(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            (here.rules, awaited) = to.rules(point, id)?;
            graph.security_groups.push(here);
        }
        ResourceRef::KeyPair(point) => {
            let mut here = point.clone();
            here.id = id.into();
            graph.key_pairs.push(here);
        }
        ResourceRef::ServerGroup(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            graph.server_groups.push(here);
        }
        ResourceRef::Image(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            graph.images.push(here);
        }
        ResourceRef::Volume(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            let mapping = &request.mapping;
            rename(&mut here.volume_type, &mapping.volume_types);
            rename(&mut here.availability_zone, &mapping.availability_zones);
            graph.volumes.push(here);
        }
        ResourceRef::Port(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            here.network = to.id(K::Network, point.network.as_str())?.into();
            for ip in &mut here.fixed_ips {
                ip.subnet = to.id(K::Subnet, ip.subnet.as_str())?.into();
            }
            for group in &mut here.security_groups {
                *group = to.id(K::SecurityGroup, group.as_str())?.into();
            }
            graph.ports.push(here);
        }
        ResourceRef::Server(point) => {
            let mut here = point.clone();
            (here.id, here.name) = (id.into(), name);
            here.power = PowerState::Stopped;
            let mapping = &request.mapping;
            if let Some(flavor) = mapping.flavors.get(&here.flavor.name) {
                here.flavor.name.clone_from(flavor);
            }
            rename(&mut here.availability_zone, &mapping.availability_zones);
            if let Some(image) = &mut here.image {
                *image = to.id(K::Image, image.as_str())?.into();
            }
            if let Some(key) = &mut here.key_pair {
                *key = to.id(K::KeyPair, key.as_str())?.into();
            }
            if let Some(group) = &mut here.server_group {
                *group = to.id(K::ServerGroup, group.as_str())?.into();
            }
            for port in &mut here.ports {
                *port = to.id(K::Port, port.as_str())?.into();
            }
            for attachment in &mut here.attachments {
                if let DiskSource::Volume(volume) = &mut attachment.source {
                    *volume = to.id(K::Volume, volume.as_str())?.into();
                }
            }
            graph.servers.push(here);
        }
        ResourceRef::FloatingIp(point) => {
            let mut here = point.clone();
            here.id = id.into();
            here.network = to.id(K::Network, point.network.as_str())?.into();
            if let Some(port) = &mut here.port {
                *port = to.id(K::Port, port.as_str())?.into();
            }
            graph.floating_ips.push(here);
        }
    }
    Ok(Translated { graph, awaited })
}

/// What a resource of the point will be called here.
pub(super) fn name_here(resource: ResourceRef<'_>, request: &RestoreRequest) -> String {
    let new = find(&request.mapping.names, &resource.key());
    new.unwrap_or_else(|| resource.name()).to_owned()
}

/// What a resource of the point is mapped to, if it is.
pub(super) fn mapped<'a>(key: &ResourceKey, request: &'a RestoreRequest) -> Option<&'a str> {
    find(&request.mapping.resources, key)
}

fn find<'a>(pairs: &'a [(ResourceKey, String)], key: &ResourceKey) -> Option<&'a str> {
    let found = pairs.iter().find(|(known, _)| known == key);
    found.map(|(_, text)| text.as_str())
}

fn rename(name: &mut Option<String>, names: &std::collections::BTreeMap<String, String>) {
    if let Some(new) = name.as_ref().and_then(|old| names.get(old)) {
        *name = Some(new.clone());
    }
}

/// What stands for what, for the references of one resource.
struct Words<'a> {
    from: ResourceKey,
    request: &'a RestoreRequest,
    ids: &'a IdMap,
}

impl Words<'_> {
    fn known(&self, key: &ResourceKey) -> Option<&str> {
        self.ids.get(key).or_else(|| mapped(key, self.request))
    }

    fn id(&self, kind: K, id: &str) -> Result<&str> {
        let key = ResourceKey::new(kind, id);
        self.known(&key)
            .ok_or_else(|| nothing_stands_for(&self.from, &key))
    }

    /// The rules of a group that can be written now, and those that wait for another group of the request.
    fn rules(
        &self,
        group: &SecurityGroup,
        id: &str,
    ) -> Result<(Vec<SecurityGroupRule>, Vec<AwaitedRule>)> {
        let mut rules = Vec::new();
        let mut awaited = Vec::new();
        for rule in &group.rules {
            let mut rule = rule.clone();
            if let Some(remote) = &mut rule.remote_group {
                let key = ResourceKey::new(K::SecurityGroup, remote.as_str());
                if *remote == group.id {
                    *remote = id.into();
                } else if let Some(here) = self.known(&key) {
                    *remote = here.into();
                } else if self.request.graph.find(&key).is_some() {
                    let group = id.into();
                    awaited.push(AwaitedRule { group, rule });
                    continue;
                } else {
                    return Err(nothing_stands_for(&self.from, &key));
                }
            }
            rules.push(rule);
        }
        Ok((rules, awaited))
    }
}

fn nothing_stands_for(from: &ResourceKey, key: &ResourceKey) -> Error {
    Error::new(
        Kind::Invalid,
        "restore resource",
        "it refers to something that was neither restored nor mapped: restore that first, or map it",
    )
    .with("resource", from)
    .with("refers to", key)
}
