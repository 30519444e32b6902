//! A chunk store in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};

/// Keeps chunks in memory as they are, and counts what it is asked.
#[derive(Debug)]
pub struct MemoryChunks {
    namer: ChunkNamer,
    chunks: Mutex<HashMap<ChunkId, Bytes>>,
}

impl MemoryChunks {
    /// An empty one that names chunks with `key`.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            namer: ChunkNamer::new(key),
            chunks: Mutex::default(),
        }
    }

    /// How many chunks it holds.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Drops a chunk, as a damaged target would.
    pub fn lose(&self, id: &ChunkId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ChunkId, Bytes>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChunkSource for MemoryChunks {
    fn namer(&self) -> &ChunkNamer {
        &self.namer
    }

    async fn get(&self, ids: &[ChunkId]) -> Result<Vec<Bytes>> {
        let chunks = self.lock();
        let found = ids.iter().map(|id| {
            chunks.get(id).cloned().ok_or_else(|| {
                Error::new(Kind::NotFound, "get chunk", "the store does not hold it")
                    .with("chunk", id)
            })
        });
        found.collect()
    }
}

#[async_trait]
impl ChunkStore for MemoryChunks {
    async fn put(&self, _role: Role, chunks: Vec<Chunk>) -> Result<Vec<Stored>> {
        let mut held = self.lock();
        let outcomes = chunks.into_iter().map(|chunk| {
            if held.contains_key(&chunk.id) {
                return Stored::Known;
            }
            let stored_bytes = chunk.bytes.len() as u64;
            // A copy, so that a slice does not keep the whole buffer it came from alive.
            held.insert(chunk.id, Bytes::copy_from_slice(&chunk.bytes));
            Stored::New { stored_bytes }
        });
        Ok(outcomes.collect())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}
