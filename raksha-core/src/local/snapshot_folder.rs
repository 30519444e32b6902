//! The folder of a snapshot: the files that the disk consists of, and last of all a record that says what they are.
//!
//! Without the record it is no snapshot. The record holds a random mark, which is the identity that an
//! [`Anchor`](crate::cloud::Anchor) proves.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::description::DiskFormat;
use super::directory::{Directory, SNAPSHOTS, file_name, remove_if_there, sync_directory};
use super::layers::Layer;
use crate::cloud::DiskId;
use crate::error::{Error, Kind, Result};

/// The record in a snapshot's folder.
const RECORD: &str = "snapshot.json";
/// The record until it is whole.
const NEXT_RECORD: &str = "snapshot.json.next";
const OPEN: &str = "open snapshot";

/// What a snapshot's folder holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) disk: DiskId,
    pub(super) size: u64,
    /// What only this snapshot has.
    pub(super) identity: String,
    /// The files of the disk from the top down.
    pub(super) layers: Vec<CopiedLayer>,
}

/// A file of a snapshot, by its name in the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CopiedLayer {
    pub(super) file: String,
    pub(super) format: DiskFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
}

/// Where the snapshot `name` is or will be.
pub(super) fn path(directory: &Directory, name: &str) -> PathBuf {
    directory.place(SNAPSHOTS).join(file_name(&[name]))
}

/// Writes the record that makes the folder a snapshot.
pub(super) fn write_record(folder: &Path, record: &Record, durable: bool) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(record)?;
    let next = folder.join(NEXT_RECORD);
    fs::write(&next, text)?;
    if durable {
        File::open(&next)?.sync_all()?;
    }
    fs::rename(&next, folder.join(RECORD))?;
    if durable {
        sync_directory(folder)
    } else {
        Ok(())
    }
}

/// The record and the files of the snapshot `name`.
pub(super) fn find(directory: &Directory, name: &str) -> Result<(Record, Vec<Layer>)> {
    let folder = path(directory, name);
    let text = fs::read(folder.join(RECORD))
        .map_err(|e| Error::io(OPEN, e).with("snapshot", folder.display()))?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| {
        Error::new(Kind::Corrupt, OPEN, "its record cannot be understood")
            .with("snapshot", folder.display())
            .caused_by(e)
    })?;
    let mut layers = Vec::new();
    for layer in &record.layers {
        layers.push(Layer {
            path: directory.find_from(&folder, &layer.file)?,
            format: layer.format,
            data: match &layer.data {
                Some(data) => Some(directory.find_from(&folder, data)?),
                None => None,
            },
        });
    }
    Ok((record, layers))
}

/// Removes a snapshot's folder; the record first, so that what is left after a crash is no snapshot.
pub(super) fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(about) if !about.is_dir() => return Err(std::io::ErrorKind::NotADirectory.into()),
        Ok(_) => {}
    }
    remove_if_there(&folder.join(RECORD))?;
    fs::remove_dir_all(folder)
}
