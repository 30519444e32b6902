//! The header of a qcow2 image, checked before anything else looks at the image.
//!
//! Images come from guests and strangers. What is checked here is what a reader would otherwise have to believe: that
//! nothing is encrypted, that no feature is needed that the reader does not know, that the tables are there, and which other files the image names. The
//! format is QEMU's `docs/interop/qcow2.txt`; the limits are those of its `block/qcow2.c`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::tables::Tables;
use crate::error::{Error, Kind, Result};

/// "QFI" and 0xfb.
const MAGIC: u32 = 0x5146_49fb;
/// The length of version 2's header, and the least of version 3's.
const LENGTH_OF_V2: u32 = 72;
const LENGTH_OF_V3: u32 = 104;
/// The longest name of another file.
const LONGEST_NAME: u32 = 1023;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const OTHER_COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The size of the disk in bytes.
    pub(crate) size: u64,
    /// What leads to its clusters.
    pub(crate) tables: Tables,
    /// The image that shows through where this one has nothing.
    pub(crate) backing: Option<Backing>,
    /// Whether the data is in another file and, if the header tells, in which.
    pub(crate) data_file: Option<Option<String>>,
}

/// The backing file as the header names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    pub(crate) file: String,
    /// `raw`, `qcow2` ...; without it a reader would have to guess.
    pub(crate) format: Option<String>,
}

impl Header {
    /// Reads and checks the header and the first table of the image in `file`.
    pub(crate) fn read(file: &File) -> Result<Self> {
        let length = file.metadata().map_err(|e| Error::io(OPEN, e))?.len();
        let head = read(file, 0, u64::from(LENGTH_OF_V3).min(length))?;
        let head = Fields(&head);
        if head.u32(0).ok() != Some(MAGIC) {
            let message = "the file does not begin as a qcow2 image does: if it is a raw disk, describe it as raw";
            return Err(corrupt(message));
        }
        let version = head.u32(4)?;
        if version != 2 && version != 3 {
            return Err(unsupported(format!(
                "this is version {version} of the format, not 2 or 3"
            )));
        }
        let cluster_bits = head.u32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(corrupt(format!(
                "clusters of 2^{cluster_bits} bytes do not exist"
            )));
        }
        let cluster = 1u64 << cluster_bits;
        if head.u32(32)? != 0 {
            return Err(unsupported(
                "the image is encrypted: decrypt it first, with qemu-img convert",
            ));
        }
        let features = if version == 3 { head.u64(72)? } else { 0 };
        check_features(features)?;
        let header_length = if version == 3 {
            head.u32(100)?
        } else {
            LENGTH_OF_V2
        };
        if version == 3 && (header_length < LENGTH_OF_V3 || u64::from(header_length) > cluster) {
            return Err(corrupt(format!(
                "the header cannot be {header_length} bytes long"
            )));
        }

        let size = head.u64(24)?;
        let tables = Tables {
            cluster_bits,
            entries: u64::from(head.u32(36)?),
            offset: head.u64(40)?,
            length,
        };
        tables.check(file, size)?;

        // The names are all in the first cluster.
        let first = read(file, 0, cluster.min(length))?;
        let first = Fields(&first);
        let (backing_at, backing_length) = (head.u64(8)?, head.u32(16)?);
        let end = if backing_at == 0 { cluster } else { backing_at };
        let extensions = first.extensions(u64::from(header_length), end.min(cluster))?;
        let backing = match backing_at {
            0 => None,
            at => Some(Backing {
                file: first.text(at, backing_length)?,
                format: extensions.backing_format,
            }),
        };
        let data_file = (features & DATA_FILE != 0).then_some(extensions.data_file);
        Ok(Self {
            size,
            tables,
            backing,
            data_file,
        })
    }
}

fn check_features(features: u64) -> Result<()> {
    if features & DIRTY != 0 {
        return Err(unsupported(
            "the image was not closed cleanly or is in use: stop its user, then run qemu-img check -r all",
        ));
    }
    if features & CORRUPT != 0 {
        return Err(corrupt(
            "the image is marked as corrupt: run qemu-img check -r all",
        ));
    }
    if features & OTHER_COMPRESSION != 0 {
        return Err(unsupported(
            "the image is compressed by another method than zlib: convert it with qemu-img convert",
        ));
    }
    if features & EXTENDED_L2 != 0 {
        return Err(unsupported(
            "the image has subclusters (extended L2 entries): convert it with qemu-img convert",
        ));
    }
    match features & !DATA_FILE {
        0 => Ok(()),
        unknown => Err(unsupported(format!(
            "the image needs features that are not known: {unknown:#x}"
        ))),
    }
}

/// Big-endian fields of a stretch of bytes.
struct Fields<'a>(&'a [u8]);

#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: Option<String>,
}

impl Fields<'_> {
    fn bytes(&self, at: u64, length: u64) -> Result<&[u8]> {
        let range = usize::try_from(at).ok().zip(usize::try_from(length).ok());
        let found = range.and_then(|(at, length)| self.0.get(at..at.checked_add(length)?));
        found.ok_or_else(|| truncated("the header", at))
    }

    fn u32(&self, at: u64) -> Result<u32> {
        let bytes = self.bytes(at, 4)?;
        Ok(bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn u64(&self, at: u64) -> Result<u64> {
        Ok(u64::from(self.u32(at)?) << 32 | u64::from(self.u32(at.saturating_add(4))?))
    }

    fn text(&self, at: u64, length: u32) -> Result<String> {
        if length > LONGEST_NAME {
            return Err(corrupt(
                "the name of another file is longer than 1023 bytes",
            ));
        }
        let bytes = self.bytes(at, u64::from(length))?;
        String::from_utf8(bytes.to_vec())
            .map_err(|e| corrupt("the name of another file is not UTF-8").caused_by(e))
    }

    /// The extensions of the header between `at` and `end`.
    fn extensions(&self, mut at: u64, end: u64) -> Result<Extensions> {
        let mut found = Extensions::default();
        while at.saturating_add(8) <= end {
            let (kind, length) = (self.u32(at)?, self.u32(at + 4)?);
            at += 8;
            match kind {
                EXTENSION_END => break,
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(self.text(at, length)?),
                EXTENSION_DATA_FILE => found.data_file = Some(self.text(at, length)?),
                _ => {}
            }
            at = at.saturating_add(u64::from(length).next_multiple_of(8));
        }
        Ok(found)
    }
}

pub(crate) fn read(file: &File, at: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_exact_at(&mut bytes, at);
    read.map_err(|e| Error::io(OPEN, e)).map(|()| bytes)
}

const OPEN: &str = "open qcow2 image";

pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(Kind::Corrupt, OPEN, message)
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, OPEN, message)
}

pub(crate) fn truncated(what: &str, at: u64) -> Error {
    corrupt(format!(
        "{what} does not lie where it must, within the file: it is damaged or was cut short"
    ))
    .with("offset", at)
}
