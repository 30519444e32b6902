//! A server whose disks are wanted, as it is now.

use std::collections::BTreeMap;
use std::sync::Arc;

use raksha_core::cloud::{
    Consistency, DiskId, DiskSource, ResourceGraph, Server, SnapshotRequest, Volume,
};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::grouped::GroupSnapshot;
use super::plan::{Agent, Facts, Plan, plans};
use crate::client::{Client, Request, Service};
use crate::things::{is_yes, text};

const LOOK: &str = "look at server";

/// A disk that is wanted, and what its snapshot will be called.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) disk: DiskId,
    pub(super) size: u64,
    pub(super) marker: String,
    pub(super) encrypted: bool,
}

/// The disks of one server, or volumes that no server of the graph has.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) server: Option<&'a Server>,
    pub(super) disks: Vec<Wanted>,
    pub(super) agent: Agent,
    /// Cinder's group, if all the disks are volumes of one.
    pub(super) volume_group: Option<Arc<VolumeGroup>>,
    /// Its place among the subjects, which is part of names.
    pub(super) number: usize,
}

/// A group of Cinder's that has all the disks of one subject or of several.
#[derive(Debug)]
pub(super) struct VolumeGroup {
    pub(super) id: String,
    /// How many subjects those are.
    pub(super) subjects: usize,
    /// What is taken of it, for all of them.
    pub(super) snapshot: OnceCell<GroupSnapshot>,
}

/// Divides what is asked for by servers.
///
/// # Errors
/// [`Kind::Invalid`] if a disk is asked for twice or is none of the graph's.
pub(super) fn subjects<'a>(request: &SnapshotRequest<'a>) -> Result<Vec<Subject<'a>>> {
    let refused = |disk: &DiskId, message: &str| {
        Err(Error::new(Kind::Invalid, "take snapshots", message).with("disk", disk))
    };
    let sizes = request.graph.disks()?;
    let mut subjects: Vec<Subject<'a>> = Vec::new();
    for (i, disk) in request.disks.iter().enumerate() {
        if request.disks.iter().take(i).any(|known| known == disk) {
            return refused(disk, "a disk is asked for twice: ask once");
        }
        let Some((_, size)) = sizes.iter().find(|(known, _)| known == disk) else {
            return refused(disk, "no server of the graph has this disk");
        };
        let encrypted = volume(request.graph, disk).is_some_and(|volume| volume.encrypted);
        let wanted = Wanted {
            disk: disk.clone(),
            size: *size,
            marker: format!("{}-{i}", request.marker),
            encrypted,
        };
        let server = request.graph.servers.iter().find(|s| has(s, disk));
        let same = |known: &&mut Subject<'_>| known.server.map(|s| &s.id) == server.map(|s| &s.id);
        match subjects.iter_mut().find(same) {
            Some(subject) => subject.disks.push(wanted),
            None => subjects.push(Subject {
                server,
                disks: vec![wanted],
                agent: server.map_or(Agent::None, |server| agent(request.graph, server)),
                volume_group: None,
                number: subjects.len(),
            }),
        }
    }
    find_groups(request.graph, &mut subjects);
    Ok(subjects)
}

/// Tells subjects of the groups that their disks are in.
fn find_groups(graph: &ResourceGraph, subjects: &mut [Subject<'_>]) {
    let of_each = subjects.iter().map(|one| volume_group(graph, &one.disks));
    let ids: Vec<Option<String>> = of_each.collect();
    let mut groups = BTreeMap::new();
    for (subject, id) in subjects.iter_mut().zip(&ids) {
        let group = id.as_ref().map(|id| {
            let known = groups.entry(id).or_insert_with(|| {
                Arc::new(VolumeGroup {
                    id: id.clone(),
                    subjects: ids.iter().flatten().filter(|other| *other == id).count(),
                    snapshot: OnceCell::new(),
                })
            });
            Arc::clone(known)
        });
        subject.volume_group = group;
    }
}

fn volume<'a>(graph: &'a ResourceGraph, disk: &DiskId) -> Option<&'a Volume> {
    match disk {
        DiskId::Volume(id) => graph.volumes.iter().find(|volume| volume.id == *id),
        _ => None,
    }
}

/// The group of Cinder's that all these disks are in, if there is one.
fn volume_group(graph: &ResourceGraph, disks: &[Wanted]) -> Option<String> {
    let mut groups = disks.iter().map(|wanted| {
        let volume = volume(graph, &wanted.disk);
        volume.map_or("", |volume| text(&volume.raw, "group_id"))
    });
    let first = groups.next().filter(|group| !group.is_empty())?;
    groups.all(|other| other == first).then(|| first.to_owned())
}

fn has(server: &Server, disk: &DiskId) -> bool {
    let same = |source: &DiskSource| match (source, disk) {
        (DiskSource::Volume(volume), DiskId::Volume(id)) => volume == id,
        (
            DiskSource::Local { name, .. },
            DiskId::Local {
                server: of,
                name: wanted,
            },
        ) => *of == server.id && name == wanted,
        _ => false,
    };
    server.attachments.iter().any(|a| same(&a.source))
}

/// What the properties say that Nova gave the server from its image, or from the volume that it boots from.
pub(super) fn agent(graph: &ResourceGraph, server: &Server) -> Agent {
    let boots_from = server.attachments.iter().find(|a| a.boot_index == Some(0));
    let root = boots_from.and_then(|attachment| match &attachment.source {
        DiskSource::Volume(id) => graph.volumes.iter().find(|volume| volume.id == *id),
        DiskSource::Local { .. } => None,
    });
    let image =
        (server.image.as_ref()).and_then(|id| graph.images.iter().find(|image| image.id == *id));
    let properties =
        (root.map(|volume| &volume.image_metadata)).or(image.map(|image| &image.properties));
    let says = |name: &str| {
        properties
            .and_then(|properties| properties.get(name))
            .is_some_and(|value| is_yes(value))
    };
    Agent::of(says("hw_qemu_guest_agent"), says("os_require_quiesce"))
}

/// A server as Nova has it now.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) status: String,
    pub(super) busy: bool,
    pub(super) boots_from_volume: bool,
}

impl Now {
    /// Asks Nova.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the server is gone.
    pub(super) async fn of(client: &Client, server: &str) -> Result<Self> {
        let request = Request::get(format!("servers/{server}")).operation(LOOK);
        let answer = client.send(Service::Compute, request).await?;
        let server = answer.take("server")?;
        Ok(Self {
            status: text(&server, "status").to_owned(),
            busy: server
                .get("OS-EXT-STS:task_state")
                .is_some_and(|task| !task.is_null()),
            boots_from_volume: !matches!(server.get("image"), Some(Value::Object(_))),
        })
    }

    fn is_still(&self) -> bool {
        let still = [
            "SHUTOFF",
            "PAUSED",
            "SUSPENDED",
            "SHELVED",
            "SHELVED_OFFLOADED",
        ];
        still.contains(&self.status.as_str()) && !self.busy
    }
}

impl Subject<'_> {
    pub(super) fn id(&self) -> Option<&str> {
        self.server.map(|server| server.id.as_str())
    }

    /// The means to try.
    pub(super) fn plans(
        &self,
        now: Option<&Now>,
        demanded: Consistency,
        pause: bool,
        grouped: bool,
    ) -> Vec<Plan> {
        let local = |wanted: &Wanted| matches!(wanted.disk, DiskId::Local { .. });
        let facts = Facts {
            running: now.is_some_and(|now| now.status == "ACTIVE" && !now.busy),
            // Volumes that no server has are written by nobody; but that they have none is only known of this graph.
            still: now.is_some_and(Now::is_still),
            boots_from_volume: now.is_some_and(|now| now.boots_from_volume)
                && !self.disks.iter().any(local),
            wanted: self.disks.len(),
            disks: self.server.map_or(1, |server| server.attachments.len()),
            agent: self.agent,
            grouped,
            may_pause: pause,
        };
        plans(&facts, demanded)
    }
}

/// The newest thing that was done to a server: what distinguishes a server that was left alone from one that was not.
pub(super) async fn last_action(client: &Client, server: &str) -> Result<Option<Value>> {
    let request = Request::get(format!("servers/{server}/os-instance-actions")).operation(LOOK);
    let answer = client.send(Service::Compute, request).await?;
    let mut actions = answer.take("instanceActions")?;
    Ok(actions.get_mut(0).map(Value::take))
}
