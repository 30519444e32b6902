//! Adding servers to the cloud, and writing to its disks as a guest would.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::description::{Description, DiskFile, DiskFormat};
use super::directory::{DISKS, Directory, Hold, file_name, remove_if_there};
use super::{LocalCloud, layers};
use crate::cloud::{DiskId, DiskSource, ResourceGraph};
use crate::disk_range::{check_range, span};
use crate::error::{Error, Kind, Result};

impl LocalCloud {
    /// Adds all resources of `part`. Disks that `files` says nothing of are created: sparse, raw, and with nothing in them.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the cloud would make no sense with them: an id is taken, an address, a reference leads nowhere, a
    /// file is not of the size described. Nothing is added then.
    pub async fn add(&self, part: ResourceGraph, files: Vec<DiskFile>) -> Result<()> {
        self.change(move |description, directory| {
            let disks = append(description, part, files)?;
            description.check()?;
            directory.make_folder(DISKS)?;
            let mut made = Vec::new();
            let all_there = disks.iter().try_for_each(|disk| {
                if disk.file == own_file(&disk.disk) && directory.find(&disk.file).is_err() {
                    made.push(create_sparse(directory, description, disk)?);
                }
                check_size(description, directory, disk).map(drop)
            });
            if all_there.is_err() {
                for path in made {
                    // What cannot be removed is in nobody's way, and the first error says more.
                    let _ = remove_if_there(&path);
                }
            }
            all_there
        })
        .await
    }

    /// Writes to a raw disk as its guest would, holding the cloud's lock shared.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such disk, [`Kind::Unsupported`] if it is not raw, [`Kind::Invalid`] beyond its end.
    pub async fn write_disk(&self, disk: &DiskId, offset: u64, data: Bytes) -> Result<()> {
        let disk = disk.clone();
        self.locked(Hold::Shared, move |directory, _| {
            let description = directory.read()?;
            let entry = description.disk(&disk)?;
            if entry.format != DiskFormat::Raw {
                let message = "only raw disks are written: convert it with qemu-img";
                return Err(Error::new(Kind::Unsupported, WRITE, message).with("disk", &disk));
            }
            let size = check_size(&description, directory, entry)?;
            check_range(&span(offset, data.len()), size)?;
            let path = directory.find(&entry.file)?;
            let file = File::options().write(true).open(path);
            let written = file.and_then(|file| file.write_all_at(&data, offset));
            written.map_err(|e| Error::io(WRITE, e).with("disk", &disk))
        })
        .await
    }
}

const WRITE: &str = "write to a disk of the local cloud";

/// Appends `part` and gives back the entries of its disks.
fn append(
    description: &mut Description,
    part: ResourceGraph,
    mut files: Vec<DiskFile>,
) -> Result<Vec<DiskFile>> {
    let volumes = part.volumes.iter().map(|v| DiskId::Volume(v.id.clone()));
    let mut disks: Vec<DiskId> = volumes.collect();
    let graph = &mut description.graph;
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
    } = part;
    for server in &servers {
        disks.extend(server.attachments.iter().filter_map(|a| match &a.source {
            DiskSource::Local { name, .. } => Some(DiskId::Local {
                server: server.id.clone(),
                name: name.clone(),
            }),
            DiskSource::Volume(_) => None,
        }));
    }
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

    for disk in disks {
        if !files.iter().any(|f| f.disk == disk) {
            let file = own_file(&disk);
            files.push(DiskFile::raw(disk, file));
        }
    }
    description.disks.extend(files.iter().cloned());
    Ok(files)
}

/// The file of a disk that the library makes, relative to the directory.
pub(super) fn own_file(disk: &DiskId) -> String {
    let name = match disk {
        DiskId::Volume(id) => file_name(&["volume", id.as_str()]),
        DiskId::Local { server, name } => file_name(&["server", server.as_str(), name]),
        DiskId::Named(name) => file_name(&["disk", name]),
    };
    format!("{DISKS}/{name}.raw")
}

fn create_sparse(
    directory: &Directory,
    description: &Description,
    disk: &DiskFile,
) -> Result<PathBuf> {
    let size = description.size_of(&disk.disk).unwrap_or(0);
    let path = directory.place(&disk.file);
    let made = File::create_new(&path).and_then(|file| file.set_len(size));
    match made {
        Ok(()) => Ok(path),
        Err(e) => Err(Error::io("create disk", e).with("file", path.display())),
    }
}

/// The size of a whole disk in bytes, which must be the same in its file and in the description.
///
/// # Errors
/// [`Kind::Invalid`] naming both if they differ, [`Kind::Conflict`] if a restore is still writing it.
pub(super) fn check_size(
    description: &Description,
    directory: &Directory,
    disk: &DiskFile,
) -> Result<u64> {
    if disk.is_partial() {
        let message = "a restore is still writing this disk: wait for it, or undo it";
        return Err(Error::new(Kind::Conflict, "open disk", message).with("disk", &disk.disk));
    }
    let (_, actual) = layers::find(directory, disk)?;
    match description.size_of(&disk.disk) {
        Some(described) if described != actual => Err(Error::new(
            Kind::Invalid,
            "open disk",
            format!("the file holds a disk of {actual} bytes, but {described} are described: correct one of them"),
        )
        .with("disk", &disk.disk)
        .with("file", &disk.file)),
        _ => Ok(actual),
    }
}
