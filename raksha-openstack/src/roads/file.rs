//! The road of those who see the storage: a volume made from the snapshot, read where it lies.
//!
//! # What a tenant cannot do here
//!
//! Whoever owns a volume chooses every byte of it, also bytes that look like the header of a qcow2 image that builds on another file. So nothing
//! is ever concluded from the content: the format is what Cinder says it is. A volume that Cinder makes from a snapshot builds on nothing, so an image
//! that names a backing file or a data file is refused, wherever that file lies. The name of the volume's file must be a plain
//! name in the export, and the file no link.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use raksha_core::cloud::{DiskReader, Recorder, Temporary};
use raksha_core::disk_file::FileReader;
use raksha_core::qcow2::Qcow2Reader;
use raksha_core::{Error, Kind, Result};
use rustix::fs::OFlags;
use serde_json::Value;

use super::temporaries::{Leased, Releases};
use super::{Held, RoadOptions, Roads};
use crate::things::text;

const OPEN: &str = "open disk as a file";

/// Where the bytes of a volume are.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    format: Format,
    device: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Raw,
    Qcow2,
}

impl Roads {
    pub(super) async fn open_file(
        &self,
        held: &Held,
        marker: &str,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskReader>> {
        let mut made: Vec<Temporary> = Vec::new();
        match self.reach_file(held, marker, recorder, &mut made).await {
            Ok(reader) => {
                let releases = Releases {
                    client: self.client.clone(),
                    deadline: self.options.transfer,
                };
                Ok(Box::new(Leased::new(reader, releases, made)))
            }
            Err(error) => {
                if let Err(second) = self.give_back(&made, recorder).await {
                    tracing::warn!(error = %second, "what was made to read a disk is left for later");
                }
                Err(error)
            }
        }
    }

    async fn reach_file(
        &self,
        held: &Held,
        marker: &str,
        recorder: &dyn Recorder,
        made: &mut Vec<Temporary>,
    ) -> Result<Box<dyn DiskReader>> {
        let volume = self.volume_of(held, marker, recorder, made).await?;
        let connection = self.attach(&volume, marker, recorder, made).await?;
        let found = locate(&connection, &self.options)?;
        let (path, device) = (found.path.clone(), found.device);
        let opened = self.env.compute(move || open(&path, device)).await??;
        let reader: Box<dyn DiskReader> = match found.format {
            Format::Raw => {
                let reader = FileReader::of(opened, &found.path, self.env.clone());
                Box::new(reader.await?)
            }
            Format::Qcow2 => {
                let reader = Qcow2Reader::alone(opened, self.env.clone()).await;
                Box::new(reader.map_err(|error| error.with("file", found.path.display()))?)
            }
        };
        match held {
            Held::VolumeSnapshot { size, .. } if reader.size() != *size => {
                let message = "the file is not as long as the volume";
                let error = Error::new(Kind::Corrupt, OPEN, message);
                let error = error.with("file", found.path.display());
                Err(error.with("bytes", reader.size()).with("expected", size))
            }
            _ => Ok(reader),
        }
    }
}

/// Where a connection leads on this machine.
///
/// # Errors
/// [`Kind::Unsupported`] if it leads elsewhere.
fn locate(connection: &Value, options: &RoadOptions) -> Result<Found> {
    let elsewhere = |message: String| Err(Error::new(Kind::Unsupported, OPEN, message));
    match text(connection, "driver_volume_type") {
        "nfs" => {
            let (export, name) = (text(connection, "export"), text(connection, "name"));
            let Some(directory) = options.exports.get(export) else {
                return elsewhere(format!(
                    "the volume lies in the NFS export {export}: mount that here and name it in the options"
                ));
            };
            let plain = !name.is_empty() && name != ".." && name != "." && !name.contains('/');
            if !plain {
                let message = "the volume's file has a name that leads out of the export";
                return Err(Error::new(Kind::Denied, OPEN, message).with("name", name));
            }
            let format = match text(connection, "format") {
                "" | "raw" => Format::Raw,
                "qcow2" => Format::Qcow2,
                other => return elsewhere(format!("the volume is in the format {other}")),
            };
            Ok(Found {
                path: directory.join(name),
                format,
                device: false,
            })
        }
        "local" if options.devices => {
            let path = PathBuf::from(text(connection, "device_path"));
            let plain = path.components().all(|part| part.as_os_str() != "..");
            if !path.starts_with("/dev") || !plain {
                return elsewhere(format!("{} is no device of this machine", path.display()));
            }
            Ok(Found {
                path,
                format: Format::Raw,
                device: true,
            })
        }
        kind => elsewhere(format!(
            "storage of the kind {kind:?} is not seen by this machine"
        )),
    }
}

/// Opens a file that is no link, and really a file, or a block device if that is wanted.
fn open(path: &Path, device: bool) -> Result<File> {
    let failed = |e| Error::io(OPEN, e).with("file", path.display());
    let flags = match device {
        // Names in /dev are links as a rule, made by the system.
        true => OFlags::empty(),
        false => OFlags::NOFOLLOW,
    };
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() != device && kind.is_block_device() == device {
        return Ok(file);
    }
    let message = "what the cloud calls the volume's file is something else";
    Err(Error::new(Kind::Denied, OPEN, message).with("file", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(directory: &Path) -> RoadOptions {
        RoadOptions {
            exports: [("nfs1:/vols".to_owned(), directory.to_owned())].into(),
            ..RoadOptions::default()
        }
    }

    fn nfs(name: &str, format: &str) -> Value {
        json!({ "driver_volume_type": "nfs", "export": "nfs1:/vols", "name": name, "format": format })
    }

    #[test]
    fn connections_lead_into_exports_and_nowhere_else() {
        let options = options(Path::new("/mnt/vols"));
        let found = locate(&nfs("volume-1", "qcow2"), &options).unwrap();
        assert_eq!(found.path, Path::new("/mnt/vols/volume-1"));
        assert_eq!(found.format, Format::Qcow2);
        for name in ["", "..", "../volume-1", "/etc/passwd", "a/../../b"] {
            assert_eq!(
                locate(&nfs(name, "raw"), &options).unwrap_err().kind(),
                Kind::Denied,
                "{name}"
            );
        }
        let mut other = nfs("volume-1", "raw");
        other["export"] = "nfs2:/vols".into();
        let error = locate(&other, &options).unwrap_err();
        assert!(error.to_string().contains("nfs2:/vols"), "{error}");
        for connection in [
            nfs("volume-1", "vmdk"),
            json!({ "driver_volume_type": "rbd", "name": "volumes/volume-1" }),
            json!({ "driver_volume_type": "local", "device_path": "/dev/vda" }),
            Value::Null,
        ] {
            let error = locate(&connection, &options).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{connection}");
        }
        let devices = RoadOptions {
            devices: true,
            ..options
        };
        let local = |path: &str| json!({ "driver_volume_type": "local", "device_path": path });
        assert!(
            locate(&local("/dev/mapper/vg-volume"), &devices)
                .unwrap()
                .device
        );
        assert!(locate(&local("/dev/../etc/passwd"), &devices).is_err());
        assert!(locate(&local("/etc/passwd"), &devices).is_err());
    }

    #[test]
    fn links_and_directories_are_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(open(&file, false).is_ok());
        assert_eq!(open(&file, true).unwrap_err().kind(), Kind::Denied);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open(&link, false).is_err());
        assert_eq!(
            open(directory.path(), false).unwrap_err().kind(),
            Kind::Denied
        );
    }
}
