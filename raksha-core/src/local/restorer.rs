//! Bringing resources back into the description, and disks into files.

use std::path::PathBuf;

use async_trait::async_trait;

use super::LocalCloud;
use super::add::own_file;
use super::description::{Description, DiskFile, Restoring};
use super::directory::{DISKS, Directory, Hold, remove_if_there};
use super::survey::{self, in_the_way};
use super::translate::{Translated, name_here, translate};
use super::writer::{PARTIAL, RestoreWriter};
use crate::cloud::{
    Created, DiskId, DiskSource, DiskWriter, IdMap, PowerState, Recorder, ResourceGraph,
    ResourceKey, ResourceKind as K, ResourceRef, ResourceRestorer, RestoreRequest, Server, Survey,
    Temporary,
};
use crate::error::{Error, Kind, Result};
use crate::id::ServerId;

#[async_trait]
impl ResourceRestorer for LocalCloud {
    async fn survey(&self, request: &RestoreRequest) -> Result<Survey> {
        Ok(survey::survey(&self.describe().await?, request))
    }

    async fn create(
        &self,
        resource: ResourceRef<'_>,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Created> {
        let description = self.describe().await?;
        may_create(&description, resource, request, ids)?;
        let id = match resource {
            ResourceRef::KeyPair(_) => name_here(resource, request),
            ResourceRef::Server(server) => {
                match reserved(&description, &server.id, &name_here(resource, request)) {
                    Some(id) => id.to_string(),
                    None => self.free_id(&description, &resource.key())?,
                }
            }
            _ => self.free_id(&description, &resource.key())?,
        };
        let translated = translate(resource, &id, request, ids)?;
        let created = Created {
            key: resource.key(),
            id,
        };
        recorder.record(&self.temporary(&created)?).await?;

        let request = request.clone();
        let ids = ids.clone();
        let done = created.clone();
        self.change(move |description, _| {
            let found = request.graph.find(&created.key);
            if let Some(resource) = found {
                may_create(description, resource, &request, &ids)?;
            }
            insert(description, translated, &created, &ids)
        })
        .await?;
        Ok(done)
    }

    async fn open_disk(
        &self,
        disk: &DiskId,
        size: u64,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        let here = match disk {
            DiskId::Volume(id) => {
                let key = ResourceKey::new(K::Volume, id.as_str());
                let id = ids.get(&key).ok_or_else(|| {
                    let message = "the volume does not exist yet: create it first";
                    Error::new(Kind::Invalid, OPEN, message).with("disk", disk)
                })?;
                DiskId::Volume(id.into())
            }
            DiskId::Local { server, name } => {
                let server = self
                    .reserve(server, name, size, (request, ids), recorder)
                    .await?;
                DiskId::Local {
                    server,
                    name: name.clone(),
                }
            }
            DiskId::Named(_) => {
                let message = "a disk that was backed up by itself belongs to no server: write it to a file instead";
                return Err(Error::new(Kind::Unsupported, OPEN, message).with("disk", disk));
            }
        };
        let writer = RestoreWriter::open(self.clone(), here, size).await?;
        Ok(Box::new(writer))
    }

    async fn settle_disk(
        &self,
        _: &DiskId,
        _: &RestoreRequest,
        _: &IdMap,
        _: &dyn Recorder,
    ) -> Result<Option<Created>> {
        Ok(None)
    }

    async fn start(&self, server: &Server, ids: &IdMap) -> Result<()> {
        if server.power != PowerState::Running {
            return Ok(());
        }
        let key = ResourceKey::new(K::Server, server.id.as_str());
        let id = ids.get(&key).unwrap_or(server.id.as_str()).to_owned();
        self.change(move |description, _| {
            let mut servers = description.graph.servers.iter_mut();
            let server = servers.find(|s| s.id.as_str() == id).ok_or_else(|| {
                let message = "the server is not there";
                Error::new(Kind::NotFound, "start server", message).with("server", id)
            })?;
            server.power = PowerState::Running;
            Ok(())
        })
        .await
    }

    async fn remove(&self, created: &Created) -> Result<()> {
        let created = created.clone();
        let remove = move |directory: &Directory, held: &_| {
            let mut description = directory.read()?;
            let before = description.clone();
            let files = take_out(&mut description, &created, directory);
            if description == before {
                return Ok(());
            }
            description.check().map_err(|e| {
                let message = "something else needs it: remove that first";
                Error::new(Kind::Conflict, "remove resource", message)
                    .with("resource", &created.key)
                    .retryable(false)
                    .caused_by(e)
            })?;
            // The files go first: if this is interrupted, doing it again finds what is left.
            for file in files {
                remove_if_there(&file)
                    .map_err(|e| Error::io("remove disk", e).with("file", file.display()))?;
            }
            directory.replace(&description, held)
        };
        self.locked(Hold::Exclusive, remove).await
    }
}

const CREATE: &str = "create resource";
const OPEN: &str = "open disk for restore";

impl LocalCloud {
    /// The point's id if nobody has it, else a new one.
    fn free_id(&self, description: &Description, key: &ResourceKey) -> Result<String> {
        let in_use = match key.kind {
            K::Server => server_is_known(description, &ServerId::new(key.id.as_str())),
            _ => description.graph.find(key).is_some(),
        };
        if in_use {
            self.new_id()
        } else {
            Ok(key.id.clone())
        }
    }

    fn temporary(&self, created: &Created) -> Result<Temporary> {
        let detail = serde_json::to_value(created).map_err(|e| {
            Error::new(Kind::Internal, CREATE, "it cannot be noted as JSON").caused_by(e)
        })?;
        Ok(Temporary {
            marker: format!(
                "restored {} {} {}",
                created.key.kind,
                created.id,
                self.new_id()?
            ),
            kind: created.key.kind.to_string(),
            id: Some(created.id.clone()),
            detail,
        })
    }

    /// Reserves the id of a server that is still to be created, and a place for its disk `name`. The same server asked for again
    /// gets the same id.
    async fn reserve(
        &self,
        server: &ServerId,
        name: &str,
        size: u64,
        (request, ids): (&RestoreRequest, &IdMap),
        recorder: &dyn Recorder,
    ) -> Result<ServerId> {
        let key = ResourceKey::new(K::Server, server.as_str());
        let Some(point @ ResourceRef::Server(of_point)) = request.graph.find(&key) else {
            let message = "the disk belongs to a server that shall not be restored";
            return Err(Error::new(Kind::Invalid, OPEN, message).with("resource", key));
        };
        let described = of_point.attachments.iter().any(|a| {
            matches!(&a.source, DiskSource::Local { name: own, size: s } if own == name && *s == size)
        });
        if !described {
            let message =
                format!("the server has no disk of its own called {name} with {size} bytes");
            return Err(Error::new(Kind::Invalid, OPEN, message).with("resource", key));
        }
        let description = self.describe().await?;
        let name_of_server = name_here(point, request);
        let id = match reserved(&description, server, &name_of_server) {
            Some(id) => id.clone(),
            None => {
                may_create(&description, point, request, ids)?;
                ServerId::new(self.free_id(&description, &key)?)
            }
        };
        let created = Created {
            key,
            id: id.to_string(),
        };
        recorder.record(&self.temporary(&created)?).await?;

        let place = DiskId::Local {
            server: id.clone(),
            name: name.to_owned(),
        };
        let reservation = (server.clone(), name_of_server);
        self.change(move |description, directory| {
            directory.make_folder(DISKS)?;
            let DiskId::Local { server: id, .. } = &place else {
                return Ok(());
            };
            let before = reserved(description, &reservation.0, &reservation.1);
            if before.map_or_else(|| server_is_known(description, id), |before| before != id) {
                return Err(id_was_taken(&created));
            }
            if description.disk(&place).is_err() {
                let file = own_file(&place);
                let mut entry = DiskFile::raw(place, file);
                entry.restoring = Some(Restoring {
                    written: false,
                    server: Some(reservation),
                });
                description.disks.push(entry);
            }
            Ok(())
        })
        .await?;
        Ok(id)
    }
}

/// The id reserved for a server of the point that will be called `name` here.
fn reserved<'a>(
    description: &'a Description,
    server: &ServerId,
    name: &str,
) -> Option<&'a ServerId> {
    description
        .disks
        .iter()
        .find_map(|d| match (&d.disk, &d.restoring) {
            (
                DiskId::Local { server: id, .. },
                Some(Restoring {
                    server: Some((of, called)),
                    ..
                }),
            ) if of == server && called == name => Some(id),
            _ => None,
        })
}

/// Whether there is a server with this id, or will be.
fn server_is_known(description: &Description, id: &ServerId) -> bool {
    let is_disk = |d: &DiskFile| matches!(&d.disk, DiskId::Local { server, .. } if server == id);
    description.graph.servers.iter().any(|s| s.id == *id) || description.disks.iter().any(is_disk)
}

fn may_create(
    description: &Description,
    resource: ResourceRef<'_>,
    request: &RestoreRequest,
    ids: &IdMap,
) -> Result<()> {
    match in_the_way(description, resource, request, ids) {
        None => Ok(()),
        Some((id, reason)) => Err(Error::new(Kind::AlreadyExists, CREATE, reason)
            .with("resource", resource.key())
            .with("in the way", id)),
    }
}

fn id_was_taken(created: &Created) -> Error {
    Error::new(
        Kind::Conflict,
        CREATE,
        "somebody else took its id: try again",
    )
    .with("resource", &created.key)
    .with("id", &created.id)
}

/// Adds one translated resource to the description.
fn insert(
    description: &mut Description,
    translated: Translated,
    created: &Created,
    ids: &IdMap,
) -> Result<()> {
    let here = ResourceKey::new(created.key.kind, created.id.as_str());
    if description.graph.find(&here).is_some() {
        return Err(id_was_taken(created));
    }
    let Translated { graph, awaited } = translated;
    let ResourceGraph {
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
    } = graph;
    for server in &servers {
        adopt_disks(description, server)?;
    }
    for volume in &volumes {
        let disk = DiskId::Volume(volume.id.clone());
        let file = own_file(&disk);
        let mut entry = DiskFile::raw(disk, file);
        entry.restoring = Some(Restoring {
            written: false,
            server: None,
        });
        description.disks.push(entry);
    }
    let graph = &mut description.graph;
    graph.servers.extend(servers);
    graph.volumes.extend(volumes);
    graph.images.extend(images);
    graph.ports.extend(ports);
    graph.networks.extend(networks);
    graph.subnets.extend(subnets);
    graph.routers.extend(routers);
    graph.security_groups.extend(security_groups);
    graph.floating_ips.extend(floating_ips);
    graph.key_pairs.extend(key_pairs);
    graph.server_groups.extend(server_groups);
    description.awaited_rules.extend(awaited);
    if created.key.kind == K::SecurityGroup {
        complete_rules(description, created, ids);
    }
    Ok(())
}

/// Makes the disks that were written for `server` its own.
fn adopt_disks(description: &mut Description, server: &Server) -> Result<()> {
    for attachment in &server.attachments {
        let disk = match &attachment.source {
            DiskSource::Volume(id) => DiskId::Volume(id.clone()),
            DiskSource::Local { name, .. } => DiskId::Local {
                server: server.id.clone(),
                name: name.clone(),
            },
        };
        let entry = description.disks.iter_mut().find(|d| d.disk == disk);
        let entry = entry.filter(|d| !d.is_partial()).ok_or_else(|| {
            let message = "not all of its disks are written: write them first";
            Error::new(Kind::Invalid, "create server", message)
                .with("server", &server.id)
                .with("disk", &disk)
        })?;
        entry.restoring = None;
    }
    Ok(())
}

/// Adds the rules that waited for the security group which was just created.
fn complete_rules(description: &mut Description, created: &Created, ids: &IdMap) {
    let of_this_restore = |group: &str| {
        let mut groups = ids.iter().filter(|(key, _)| key.kind == K::SecurityGroup);
        groups.any(|(_, id)| id == group)
    };
    let (ready, waiting) = std::mem::take(&mut description.awaited_rules)
        .into_iter()
        .partition(|awaited| {
            let remote = awaited.rule.remote_group.as_ref();
            remote.is_some_and(|r| r.as_str() == created.key.id)
                && of_this_restore(awaited.group.as_str())
        });
    description.awaited_rules = waiting;
    for mut awaited in ready {
        awaited.rule.remote_group = Some(created.id.as_str().into());
        let mut groups = description.graph.security_groups.iter_mut();
        if let Some(group) = groups.find(|g| g.id == awaited.group) {
            group.rules.push(awaited.rule);
        }
    }
}

/// Takes a resource out of the description; gives back the files that go with it.
fn take_out(
    description: &mut Description,
    created: &Created,
    directory: &Directory,
) -> Vec<PathBuf> {
    let id = created.id.as_str();
    let graph = &mut description.graph;
    let mut gone: Vec<DiskFile> = Vec::new();
    let mut lose_disks = |of_it: &dyn Fn(&DiskId) -> bool| {
        let (lost, kept) = std::mem::take(&mut description.disks)
            .into_iter()
            .partition(|d| of_it(&d.disk));
        description.disks = kept;
        gone = lost;
    };
    match created.key.kind {
        K::Network => graph.networks.retain(|r| r.id.as_str() != id),
        K::Subnet => graph.subnets.retain(|r| r.id.as_str() != id),
        K::Router => graph.routers.retain(|r| r.id.as_str() != id),
        K::SecurityGroup => {
            graph.security_groups.retain(|r| r.id.as_str() != id);
            description.awaited_rules.retain(|a| a.group.as_str() != id);
            // Groups that refer to each other could never be removed otherwise.
            for group in &mut graph.security_groups {
                group
                    .rules
                    .retain(|r| r.remote_group.as_ref().is_none_or(|g| g.as_str() != id));
            }
        }
        K::KeyPair => graph.key_pairs.retain(|r| r.id.as_str() != id),
        K::ServerGroup => graph.server_groups.retain(|r| r.id.as_str() != id),
        K::Image => graph.images.retain(|r| r.id.as_str() != id),
        K::Volume => {
            graph.volumes.retain(|r| r.id.as_str() != id);
            lose_disks(&|disk| matches!(disk, DiskId::Volume(v) if v.as_str() == id));
        }
        K::Port => graph.ports.retain(|r| r.id.as_str() != id),
        K::Server => {
            graph.servers.retain(|r| r.id.as_str() != id);
            lose_disks(
                &|disk| matches!(disk, DiskId::Local { server, .. } if server.as_str() == id),
            );
        }
        K::FloatingIp => graph.floating_ips.retain(|r| r.id.as_str() != id),
    }
    let files = gone.iter().flat_map(|d| {
        let file = directory.place(&d.file);
        let partial = directory.place(&format!("{}{PARTIAL}", d.file));
        [file, partial]
    });
    files.collect()
}
