//! `raksha.json`: what a repository is made with. Written once, never changed.

use serde::{Deserialize, Serialize};

use super::compress::Compression;
use super::frame::{frame, unframe};
use super::seal::Cipher;
use super::sign::Verifier;
use crate::error::{Error, Kind, Result};
use crate::format::Chunking;
use crate::format::tree::{DEFAULT_SEGMENT, SEGMENT_SIZES};
use crate::id::RepositoryId;

/// The format version that this library writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Everything that stored data depends on, chosen when a repository is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// How disks are cut into chunks.
    pub chunking: Chunking,
    /// How streams are cut in which data shifts: disks in image files that are backed up as they are.
    pub stream_chunking: Chunking,
    /// The size of a segment in bytes: a power of two from 1 MiB to 1 GiB.
    pub segment_size: u64,
    /// How writers compress chunks.
    pub compression: Compression,
    /// How chunks are sealed.
    pub cipher: Cipher,
    /// The size in bytes at which a pack is closed: 1 MiB to 1 GiB.
    pub pack_size: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            chunking: Chunking::DISK,
            stream_chunking: Chunking::STREAM,
            segment_size: DEFAULT_SEGMENT,
            compression: Compression::default(),
            cipher: Cipher::default(),
            pack_size: 16 << 20,
        }
    }
}

impl Parameters {
    /// Whether a repository can be made with these.
    ///
    /// # Errors
    /// [`Kind::Invalid`] naming what is wrong.
    pub fn check(&self) -> Result<()> {
        self.compression.check()?;
        self.check_layout()
    }

    /// Whether a repository of these can be read. A level of compression that is out of range harms no reader, and the compressor takes the nearest.
    fn check_layout(&self) -> Result<()> {
        self.chunking.check()?;
        self.stream_chunking.check()?;
        let wrong = |why: &str| {
            Err(Error::new(
                Kind::Invalid,
                "check repository parameters",
                why,
            ))
        };
        if !SEGMENT_SIZES.contains(&self.segment_size) || !self.segment_size.is_power_of_two() {
            return wrong("the segment size must be a power of two from 1 MiB to 1 GiB");
        }
        if u64::from(self.chunking.max().max(self.stream_chunking.max())) > self.segment_size {
            return wrong("a chunk must fit into a segment");
        }
        if !(1 << 20..=1 << 30).contains(&self.pack_size) {
            return wrong("the pack size must be from 1 MiB to 1 GiB");
        }
        Ok(())
    }
}

/// The content of `raksha.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    pub(crate) repository: RepositoryId,
    /// How chunks are named: `blake3-keyed`.
    pub(crate) hash: String,
    /// The public half of the key that signs the log.
    pub(crate) verifier: Verifier,
    #[serde(flatten)]
    pub(crate) parameters: Parameters,
}

/// The only way of naming chunks so far.
pub(crate) const HASH: &str = "blake3-keyed";

impl Described {
    /// The object's bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::new(
                Kind::Internal,
                "encode parameters",
                "they cannot be written",
            )
            .caused_by(e)
        })?;
        Ok(frame(&json))
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if they are damaged, [`Kind::Unsupported`] by name for what a newer version wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let newer = |what: &str| {
            Error::new(
                Kind::Unsupported,
                "open repository",
                format!("it was made by a newer version ({what}): use that one"),
            )
        };
        let json = unframe(bytes, "raksha.json")?;
        let corrupt = |e| {
            Error::new(
                Kind::Corrupt,
                "open repository",
                "raksha.json is not what it must be",
            )
            .caused_by(e)
        };
        let Version { format } = serde_json::from_slice(json).map_err(corrupt)?;
        if format != FORMAT {
            return Err(newer(&format!(
                "format {format}; this one reads format {FORMAT}"
            )));
        }
        let described: Self = serde_json::from_slice(json)
            .map_err(|e| newer(&format!("raksha.json says {e}")).caused_by(e))?;
        if described.hash != HASH {
            return Err(newer(&format!("hash {}", described.hash)));
        }
        described.parameters.check_layout()?;
        Ok(described)
    }
}
