//! The files that a disk consists of: one for a raw disk, several for a qcow2 image that builds on others.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::description::{DiskFile, DiskFormat};
use super::directory::Directory;
use crate::cloud::DiskReader;
use crate::disk_file::FileReader;
use crate::env::Env;
use crate::error::{Error, Kind, Result};

/// A file of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// The file, within the cloud's directory.
    pub(super) path: PathBuf,
    /// How the bytes lie in it.
    pub(super) format: DiskFormat,
    /// The file with the image's data, if that is apart.
    pub(super) data: Option<PathBuf>,
}

/// A file of a disk, opened.
#[derive(Debug)]
pub(super) enum OpenLayer {
    Raw(File),
    #[cfg_attr(not(feature = "qcow2"), allow(dead_code))] // made, but nobody can read it
    Qcow2 {
        file: File,
        data: Option<File>,
    },
}

impl Layer {
    pub(super) fn open(&self) -> Result<OpenLayer> {
        let open = |path: &Path| {
            File::open(path)
                .map_err(|e| Error::io("open disk file", e).with("file", path.display()))
        };
        let file = open(&self.path)?;
        Ok(match self.format {
            DiskFormat::Raw => OpenLayer::Raw(file),
            DiskFormat::Qcow2 => OpenLayer::Qcow2 {
                file,
                data: self.data.as_deref().map(open).transpose()?,
            },
        })
    }
}

/// The files of `disk` from the top down, and its size in bytes as they have it.
pub(super) fn find(directory: &Directory, disk: &DiskFile) -> Result<(Vec<Layer>, u64)> {
    let path = directory.find(&disk.file)?;
    let found = match disk.format {
        DiskFormat::Raw => {
            let about = std::fs::metadata(&path)
                .map_err(|e| Error::io("find disk file", e).with("file", path.display()))?;
            let layer = Layer {
                path,
                format: DiskFormat::Raw,
                data: None,
            };
            Ok((vec![layer], about.len()))
        }
        DiskFormat::Qcow2 => find_images(directory, disk, path),
    };
    found.map_err(|e| e.with("disk", &disk.disk))
}

/// A reader of what `layers` hold together. Blocks.
pub(super) fn open(layers: &[Layer], size: u64, env: &Env) -> Result<Box<dyn DiskReader>> {
    let mut opened = Vec::new();
    for layer in layers {
        opened.push(layer.open()?);
    }
    if let [OpenLayer::Raw(_)] = opened.as_slice()
        && let Some(OpenLayer::Raw(file)) = opened.pop()
    {
        let path = layers.first().map(|layer| layer.path.clone());
        let reader = FileReader::beginning_of(file, path.unwrap_or_default(), size, env.clone());
        return Ok(Box::new(reader));
    }
    open_images(opened, size, env)
}

#[cfg(not(feature = "qcow2"))]
fn find_images(_: &Directory, _: &DiskFile, _: PathBuf) -> Result<(Vec<Layer>, u64)> {
    Err(no_qcow2())
}

#[cfg(not(feature = "qcow2"))]
fn open_images(_: Vec<OpenLayer>, _: u64, _: &Env) -> Result<Box<dyn DiskReader>> {
    Err(no_qcow2())
}

#[cfg(not(feature = "qcow2"))]
fn no_qcow2() -> Error {
    Error::new(
        Kind::Unsupported,
        "open qcow2 image",
        "this build does not read qcow2: enable the feature `qcow2`, or convert the disk to raw with qemu-img",
    )
}

#[cfg(feature = "qcow2")]
fn open_images(layers: Vec<OpenLayer>, size: u64, env: &Env) -> Result<Box<dyn DiskReader>> {
    use crate::qcow2::{Layer, Qcow2Reader};

    let opened = layers.into_iter().map(|layer| match layer {
        OpenLayer::Raw(file) => Layer::Raw(file),
        OpenLayer::Qcow2 { file, data } => Layer::Qcow2 { file, data },
    });
    let reader = Qcow2Reader::open(opened.collect(), env.clone())?;
    if reader.size() != size {
        return Err(Error::new(
            Kind::Corrupt,
            "open qcow2 image",
            format!(
                "the image says that it has {} bytes, and said {size} before",
                reader.size()
            ),
        ));
    }
    Ok(Box::new(reader))
}

/// More images than this do not stand on each other in practice.
#[cfg(feature = "qcow2")]
const MOST_LAYERS: usize = 64;

#[cfg(feature = "qcow2")]
fn find_images(directory: &Directory, disk: &DiskFile, top: PathBuf) -> Result<(Vec<Layer>, u64)> {
    use crate::qcow2::header::Header;

    let mut layers: Vec<Layer> = Vec::new();
    let mut size = None;
    let mut next = Some((top, DiskFormat::Qcow2));
    while let Some((path, format)) = next.take() {
        if layers.len() >= MOST_LAYERS || layers.iter().any(|l| l.path == path) {
            return Err(Error::new(
                Kind::Corrupt,
                "open qcow2 image",
                format!("its backing files go in a circle, or there are more than {MOST_LAYERS}"),
            )
            .with("file", path.display()));
        }
        let mut layer = Layer {
            path,
            format,
            data: None,
        };
        if let (DiskFormat::Qcow2, OpenLayer::Qcow2 { file, .. }) = (format, layer.open()?) {
            let named = |e: Error| e.with("file", layer.path.display());
            let header = Header::read(&file).map_err(named)?;
            size.get_or_insert(header.size);
            let folder = layer
                .path
                .parent()
                .unwrap_or(directory.root())
                .to_path_buf();
            if let Some(data) = &header.data_file {
                consent(
                    disk.data_file,
                    "an external data file",
                    "data_file",
                    data.as_deref(),
                )
                .map_err(named)?;
                let name = data.as_deref().ok_or_else(|| {
                    let message =
                        "the image's data is in another file, but it does not say in which";
                    named(Error::new(Kind::Invalid, "open qcow2 image", message))
                })?;
                layer.data = Some(directory.find_from(&folder, name).map_err(named)?);
            }
            if let Some(backing) = &header.backing {
                consent(
                    disk.backing,
                    "a backing file",
                    "backing",
                    Some(&backing.file),
                )
                .map_err(named)?;
                let format = match backing.format.as_deref() {
                    Some("raw" | "file") => DiskFormat::Raw,
                    Some("qcow2") => DiskFormat::Qcow2,
                    other => return Err(named(unclear_format(other))),
                };
                let path = directory.find_from(&folder, &backing.file).map_err(named)?;
                next = Some((path, format));
            }
        }
        layers.push(layer);
    }
    Ok((layers, size.unwrap_or(0)))
}

#[cfg(feature = "qcow2")]
fn consent(given: bool, what: &str, field: &str, named: Option<&str>) -> Result<()> {
    if given {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        "open qcow2 image",
        format!(
            "the image refers to {what}, and that is not followed without consent: \
             say `\"{field}\": true` of the disk, or make the image whole with qemu-img convert"
        ),
    )
    .with("refers to", named.unwrap_or("a file that it does not name")))
}

#[cfg(feature = "qcow2")]
fn unclear_format(format: Option<&str>) -> Error {
    match format {
        Some(format) => Error::new(
            Kind::Unsupported,
            "open qcow2 image",
            format!("its backing file is in format {format}, and only raw and qcow2 are read"),
        ),
        None => Error::new(
            Kind::Invalid,
            "open qcow2 image",
            "the image does not say which format its backing file is in, and guessing is not safe: \
             say it with qemu-img rebase -u -F",
        ),
    }
}
