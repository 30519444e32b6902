//! Whether a description makes sense: ids are unique, references lead somewhere, every disk has a file.

use std::collections::HashSet;
use std::fmt::Display;

use super::description::Description;
use super::directory::check_relative;
use crate::cloud::{DiskId, DiskSource, ResourceKey, ResourceKind as K};
use crate::error::{Error, Kind, Result};

impl Description {
    /// Checks everything that can be checked without looking at the disks' files.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the first thing that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        self.ids_are_unique()?;
        self.graph.check()?;
        self.references_lead_somewhere()?;
        self.addresses_are_unique()?;
        self.attachments_make_sense()?;
        self.disks_have_files()
    }

    fn ids_are_unique(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for resource in self.graph.resources() {
            let key = resource.key();
            if key.id.is_empty() {
                return Err(wrong("a resource has an empty id: give it one", key.kind));
            }
            if let Some(twice) = seen.replace(key) {
                return Err(wrong(
                    "two resources have this id: change one of them",
                    twice,
                ));
            }
        }
        Ok(())
    }

    /// What [`ResourceGraph::check`](crate::cloud::ResourceGraph::check) does not look at.
    fn references_lead_somewhere(&self) -> Result<()> {
        let graph = &self.graph;
        let known: HashSet<ResourceKey> = graph.resources().map(|r| r.key()).collect();
        let lead = |from: &dyn Display, kind: K, id: &str| {
            let key = ResourceKey::new(kind, id);
            if known.contains(&key) {
                return Ok(());
            }
            let message =
                "a resource refers to one that is not described: add that, or remove the reference";
            Err(wrong(message, from).with("refers to", key))
        };
        for server in &graph.servers {
            let from = ResourceKey::new(K::Server, server.id.as_str());
            if let Some(image) = &server.image {
                lead(&from, K::Image, image.as_str())?;
            }
            if let Some(group) = &server.server_group {
                lead(&from, K::ServerGroup, group.as_str())?;
            }
        }
        for router in &graph.routers {
            let from = ResourceKey::new(K::Router, router.id.as_str());
            if let Some(network) = &router.gateway {
                lead(&from, K::Network, network.as_str())?;
            }
            for interface in &router.interfaces {
                lead(&from, K::Subnet, interface.subnet.as_str())?;
            }
        }
        for group in &graph.security_groups {
            let from = ResourceKey::new(K::SecurityGroup, group.id.as_str());
            for remote in group.rules.iter().filter_map(|r| r.remote_group.as_ref()) {
                lead(&from, K::SecurityGroup, remote.as_str())?;
            }
        }
        for address in &graph.floating_ips {
            let from = ResourceKey::new(K::FloatingIp, address.id.as_str());
            lead(&from, K::Network, address.network.as_str())?;
            if let Some(port) = &address.port {
                lead(&from, K::Port, port.as_str())?;
            }
        }
        Ok(())
    }

    fn addresses_are_unique(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for port in &self.graph.ports {
            if !seen.insert(port.mac.to_ascii_lowercase()) {
                let message = "two ports have this hardware address: change one of them";
                return Err(wrong(message, &port.mac).with("port", &port.id));
            }
        }
        let mut seen = HashSet::new();
        for (subnet, address) in self.addresses() {
            if !seen.insert((subnet, address)) {
                let message =
                    "two ports or routers have this address on a subnet: change one of them";
                return Err(wrong(message, address).with("subnet", subnet));
            }
        }
        let mut seen = HashSet::new();
        for floating in &self.graph.floating_ips {
            if !seen.insert(&floating.address) {
                let message = "two floating IPs have this address: change one of them";
                return Err(wrong(message, &floating.address));
            }
        }
        Ok(())
    }

    /// Every address in use, with the id of its subnet.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        let ports = self.graph.ports.iter().flat_map(|p| &p.fixed_ips);
        let routers = self.graph.routers.iter().flat_map(|r| &r.interfaces);
        (ports.map(|ip| (ip.subnet.as_str(), ip.address.as_str())))
            .chain(routers.map(|i| (i.subnet.as_str(), i.address.as_str())))
    }

    fn attachments_make_sense(&self) -> Result<()> {
        let mut attached = HashSet::new();
        let mut ports = HashSet::new();
        for server in &self.graph.servers {
            let mut own = HashSet::new();
            for attachment in &server.attachments {
                if !own.insert(&attachment.source) {
                    let message = "a server has the same disk twice: remove one of the attachments";
                    return Err(wrong(message, &server.id));
                }
                let DiskSource::Volume(id) = &attachment.source else {
                    continue;
                };
                let volume = self.graph.volumes.iter().find(|v| v.id == *id);
                let shared = volume.is_some_and(|v| v.multiattach);
                if !attached.insert(id) && !shared {
                    let message = "a volume is attached to two servers: say `multiattach` of it, or detach it from one";
                    return Err(wrong(message, id));
                }
            }
            for port in &server.ports {
                if !ports.insert(port) {
                    let message =
                        "a port belongs to two servers, or to one twice: give each its own";
                    return Err(wrong(message, port));
                }
            }
        }
        Ok(())
    }

    fn disks_have_files(&self) -> Result<()> {
        let mut disks = HashSet::new();
        let mut files = HashSet::new();
        for entry in &self.disks {
            check_relative(&entry.file).map_err(|e| e.with("disk", &entry.disk))?;
            if !disks.insert(&entry.disk) {
                let message = "a disk has two files: remove one of the entries";
                return Err(wrong(message, &entry.disk));
            }
            if !files.insert(&entry.file) {
                let message = "two disks have this file: give each its own";
                return Err(wrong(message, &entry.file));
            }
            // A restore writes a server's own disks before there is the server.
            if self.size_of(&entry.disk).is_none() && entry.restoring.is_none() {
                let message = "a file is given for a disk that no server and no volume has: remove it, or describe the disk";
                return Err(wrong(message, &entry.disk));
            }
        }
        let volumes = self.graph.volumes.iter();
        let volumes = volumes.map(|v| DiskId::Volume(v.id.clone()));
        for disk in volumes.chain(self.graph.disks()?.into_iter().map(|(disk, _)| disk)) {
            if !disks.contains(&disk) {
                let message = "no file is given for a disk: add it to `disks`";
                return Err(wrong(message, disk));
            }
        }
        Ok(())
    }
}

fn wrong(message: &str, what: impl Display) -> Error {
    Error::new(Kind::Invalid, "check the cloud's description", message).with("name", what)
}
