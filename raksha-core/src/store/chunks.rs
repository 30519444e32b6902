//! Chunks by name.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::ChunkId;

/// Names chunks: BLAKE3 keyed with a key of the repository, so that names tell nothing about content to those without it.
#[derive(Clone)]
pub struct ChunkNamer(zeroize::Zeroizing<[u8; 32]>);

impl ChunkNamer {
    /// Names with this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(zeroize::Zeroizing::new(key))
    }

    /// The name of these bytes.
    pub fn name(&self, bytes: &[u8]) -> ChunkId {
        ChunkId::from_bytes(*blake3::keyed_hash(&self.0, bytes).as_bytes())
    }
}

impl fmt::Debug for ChunkNamer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkNamer")
    }
}

/// What a chunk is for. Chunks of different roles are packed apart, so that trees can be walked without reading data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Bytes of a disk.
    Data,
    /// A node of a disk tree.
    Tree,
}

/// A chunk on its way in. Its name was made by the store's own [namer](ChunkSource::namer); the store takes that on trust.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its name.
    pub id: ChunkId,
    /// Its bytes; cheap to clone, mostly a slice of the buffer that was read.
    pub bytes: Bytes,
}

/// What became of a chunk that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was stored before, or is on its way already.
    Known,
    /// It is new.
    New {
        /// The bytes that it takes in the target, compressed and sealed.
        stored_bytes: u64,
    },
}

/// Gives chunks by name. The right to read.
///
/// # Contract
/// What is returned hashes to its name under [`namer`](Self::namer): it was checked.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) for a chunk that is nowhere, [`Kind::Corrupt`](crate::Kind::Corrupt) for one that is damaged; both name it.
#[async_trait]
pub trait ChunkSource: Send + Sync + fmt::Debug {
    /// Names chunks as this store names them.
    fn namer(&self) -> &ChunkNamer;

    /// The bytes of these chunks, in the order asked for. Asking for many at once lets the store fetch neighbours together;
    /// the caller bounds how many bytes that makes. `lengths` in the caller's tree are advisory and not needed here.
    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>>;
}

/// Takes chunks. The right to write.
///
/// # Contract
/// - Putting a known chunk costs next to nothing and stores nothing. The same chunk put by two callers at once is stored once.
/// - After [`flush`](Self::flush) has succeeded, everything put before it is durable and found by others.
/// - Back pressure: `put` waits while too many bytes are on their way.
///
/// # Errors
/// An error of an upload may surface in a later `put` or in `flush`. After an error the store may be dropped; what was durable stays so.
///
/// # Cancellation
/// A dropped `put` may have stored some of its chunks, which does no harm.
#[async_trait]
pub trait ChunkStore: ChunkSource {
    /// Stores what is not stored yet; one answer a chunk, in order.
    async fn put(&self, role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>>;

    /// Waits until everything put so far is durable.
    async fn flush(&self) -> Result<()>;
}
