//! What `cloud.json` says, and how it is read: strictly, so that a slip of the pen is told and not dropped.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cloud::{DiskId, ResourceGraph, SecurityGroupRule};
use crate::error::{Error, Kind, Result};
use crate::id::{SecurityGroupId, ServerId};

/// The version of the file's format that this library reads and writes.
pub(super) const VERSION: u32 = 1;

/// The whole of `cloud.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Description {
    /// [`VERSION`].
    pub(super) version: u32,
    /// The servers and all that belongs to them.
    #[serde(default)]
    pub(super) graph: ResourceGraph,
    /// Where the bytes of each disk are.
    #[serde(default)]
    pub(super) disks: Vec<DiskFile>,
    /// Rules that wait for the other group to be restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) awaited_rules: Vec<AwaitedRule>,
}

/// The file in which the bytes of a disk are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// The disk.
    pub disk: DiskId,
    /// The file, relative to the cloud's directory.
    pub file: String,
    /// How the bytes lie in the file. It is never guessed: a guest can write anything into a raw disk.
    pub format: DiskFormat,
    /// Consent to read the backing files that a qcow2 image names, as long as they are in the cloud's directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backing: bool,
    /// Consent to read the external data file that a qcow2 image names, as long as it is in the cloud's directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub data_file: bool,
    /// Set by the library while a restore fills the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restoring: Option<Restoring>,
}

/// How the bytes of a disk lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskFormat {
    /// Byte for byte; the file may be sparse.
    Raw,
    /// QEMU's format, version 2 or 3. Read only, with the feature `qcow2`.
    Qcow2,
}

/// How far a restore has come with a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restoring {
    /// Whether everything is written. Until then the disk's bytes are in a file beside its own.
    pub(super) written: bool,
    /// For a disk of a server that does not exist yet: which server of the point it belongs to, and what that will be called here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<(ServerId, String)>,
}

/// A rule of a restored security group that refers to a group which is still to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AwaitedRule {
    /// The group, as it is called here.
    pub(super) group: SecurityGroupId,
    /// The rule; the group that it refers to is the point's.
    pub(super) rule: SecurityGroupRule,
}

impl DiskFile {
    /// `disk` lies in `file` byte for byte.
    pub fn raw(disk: DiskId, file: impl Into<String>) -> Self {
        Self {
            disk,
            file: file.into(),
            format: DiskFormat::Raw,
            backing: false,
            data_file: false,
            restoring: None,
        }
    }

    /// `disk` lies in the qcow2 image `file`, which may refer to no other file.
    pub fn qcow2(disk: DiskId, file: impl Into<String>) -> Self {
        Self {
            format: DiskFormat::Qcow2,
            ..Self::raw(disk, file)
        }
    }

    /// The same with consent to read the backing files that the image names.
    #[must_use]
    pub fn with_backing(mut self) -> Self {
        self.backing = true;
        self
    }

    /// The same with consent to read the external data file that the image names.
    #[must_use]
    pub fn with_data_file(mut self) -> Self {
        self.data_file = true;
        self
    }

    /// Whether a restore has still to write some of it.
    pub(super) fn is_partial(&self) -> bool {
        self.restoring.as_ref().is_some_and(|r| !r.written)
    }
}

impl Description {
    /// A cloud with nothing in it.
    pub(super) fn empty() -> Self {
        Self {
            version: VERSION,
            graph: ResourceGraph::default(),
            disks: Vec::new(),
            awaited_rules: Vec::new(),
        }
    }

    /// Reads `text`, which is the content of the file at `path`.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for another version, [`Kind::Invalid`] for everything else, naming line or field.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let invalid = |e: serde_json::Error| {
            refuse(
                path,
                format!("the file cannot be understood: {e}; correct it there"),
            )
        };
        let Version { version } = serde_json::from_str(text).map_err(invalid)?;
        if version != VERSION {
            return Err(Error::new(
                Kind::Unsupported,
                READ,
                format!("this library reads version {VERSION} of the file's format, not {version}"),
            )
            .with("file", path.display()));
        }

        let mut unknown = None;
        let mut json = serde_json::Deserializer::from_str(text);
        let description: Self = serde_ignored::deserialize(&mut json, |field| {
            unknown.get_or_insert_with(|| field.to_string());
        })
        .map_err(invalid)?;
        if let Some(field) = unknown {
            return Err(refuse(
                path,
                format!(
                    "nothing is known of the field {field}: correct its name, or put what is yours under `raw`"
                ),
            ));
        }
        description
            .check()
            .map_err(|e| e.with("file", path.display()))?;
        Ok(description)
    }

    /// The text of the file.
    pub(super) fn render(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|e| {
            Error::new(
                Kind::Internal,
                "write the cloud's description",
                "it cannot be written as JSON",
            )
            .caused_by(e)
        })?;
        text.push('\n');
        Ok(text)
    }

    /// Where the bytes of `disk` are.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the cloud has no such disk.
    pub(super) fn disk(&self, disk: &DiskId) -> Result<&DiskFile> {
        self.disks.iter().find(|d| d.disk == *disk).ok_or_else(|| {
            Error::new(Kind::NotFound, "find disk", "the cloud has no such disk").with("disk", disk)
        })
    }

    /// The size in bytes that the description gives `disk`; none if it is of no server and no volume.
    pub(super) fn size_of(&self, disk: &DiskId) -> Option<u64> {
        use crate::cloud::DiskSource;
        match disk {
            DiskId::Volume(id) => {
                let found = self.graph.volumes.iter().find(|v| v.id == *id);
                found.map(|v| v.size)
            }
            DiskId::Local { server, name } => {
                let server = self.graph.servers.iter().find(|s| s.id == *server)?;
                server.attachments.iter().find_map(|a| match &a.source {
                    DiskSource::Local { name: own, size } if own == name => Some(*size),
                    _ => None,
                })
            }
            DiskId::Named(_) => None,
        }
    }
}

const READ: &str = "read the cloud's description";

fn refuse(path: &Path, message: String) -> Error {
    Error::new(Kind::Invalid, READ, message).with("file", path.display())
}

fn is_false(value: &bool) -> bool {
    !value
}
