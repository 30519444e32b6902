//! Raksha's stages, on this thread.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::memory::InMemory;
use raksha_core::cloud::DiskReader;
use raksha_core::disk_file::FileReader;
use raksha_core::env::{Compute, Env};
use raksha_core::id::ChunkId;
use raksha_core::image::{IngestOptions, ingest};
use raksha_core::repository::{Compression, EngineOptions, Parameters, Repository, Secret, Target};
use raksha_core::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};
use tokio::runtime::Runtime;

use super::Result;

/// Chunks that are put or asked for at once: about what a window of the data path has.
const AT_ONCE: usize = 32;

/// The data path, to be walked in part.
pub struct Stages {
    runtime: Runtime,
    env: Env,
    file: PathBuf,
    /// What the disk is cut into, each chunk once.
    chunks: Vec<Chunk>,
    /// A repository that has them.
    full: Repository,
}

impl Stages {
    pub fn new(file: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let env = Env::system().with_compute(Compute::Inline);
        let full = runtime.block_on(repository(&env, true))?;
        let sink = Sink::default();
        runtime.block_on(cut(file, &env, &sink))?;
        let mut chunks = sink.chunks.into_inner().unwrap_or_default();
        let namer = runtime.block_on(full.write(&[], "stages"))?.namer().clone();
        for chunk in &mut chunks {
            chunk.id = namer.name(&chunk.bytes);
        }
        chunks.sort_by_key(|chunk| chunk.id);
        chunks.dedup_by_key(|chunk| chunk.id);
        let stages = Self {
            runtime,
            env,
            file: file.to_owned(),
            chunks,
            full,
        };
        stages.runtime.block_on(put(&stages.full, &stages.chunks))?;
        Ok(stages)
    }

    pub fn chunks(&self) -> Vec<Bytes> {
        self.chunks
            .iter()
            .map(|chunk| chunk.bytes.clone())
            .collect()
    }

    pub fn read(&self) -> Result<()> {
        self.runtime.block_on(async {
            let reader = FileReader::open(&self.file, self.env.clone()).await?;
            let mut buffers = vec![BytesMut::zeroed(1 << 20); 4];
            for (n, at) in (0..reader.size()).step_by(1 << 20).enumerate() {
                let buffer = std::mem::take(&mut buffers[n % 4]);
                buffers[n % 4] = reader.read_at(at, buffer).await?;
            }
            Ok(())
        })
    }

    /// Everything up to the store, which knows all chunks.
    pub fn ingest(&self) -> Result<()> {
        let known = Known(ChunkNamer::new([7; 32]));
        self.runtime.block_on(cut(&self.file, &self.env, &known))
    }

    /// Everything from the look-up on, into an empty repository in memory.
    pub fn store(&self, check: bool) -> Result<()> {
        self.runtime.block_on(async {
            let repository = repository(&self.env, check).await?;
            put(&repository, &self.chunks).await
        })
    }

    pub fn fetch(&self) -> Result<()> {
        self.runtime.block_on(async {
            let reader = self.full.read(&[], "stages").await?;
            let ids: Vec<ChunkId> = self.chunks.iter().map(|chunk| chunk.id).collect();
            for ids in ids.chunks(AT_ONCE) {
                std::hint::black_box(reader.get(ids).await?);
            }
            reader.close().await?;
            Ok(())
        })
    }
}

async fn repository(env: &Env, check: bool) -> Result<Repository> {
    let mut options = EngineOptions::default();
    options.env = env.clone();
    options.check_new_chunks = check;
    let target = Target::new(Arc::new(InMemory::new()));
    let secret = Secret::key_file(&[7; 32]);
    let parameters = Parameters {
        // The level of the bare calls that this is compared with.
        compression: Compression::Zstd { level: 1 },
        ..Parameters::default()
    };
    Ok(Repository::create(target, parameters, &secret, options).await?)
}

/// Stores chunks under the names that this repository gives them.
async fn put(repository: &Repository, chunks: &[Chunk]) -> Result<()> {
    let writer = repository.write(&[], "stages").await?;
    for chunks in chunks.chunks(AT_ONCE) {
        let named = chunks.iter().map(|chunk| Chunk {
            id: writer.namer().name(&chunk.bytes),
            bytes: chunk.bytes.clone(),
        });
        writer.put(Role::Data, named.collect()).await?;
    }
    writer.flush().await?;
    writer.close().await?;
    Ok(())
}

async fn cut(file: &Path, env: &Env, store: &dyn ChunkStore) -> Result<()> {
    let reader = FileReader::open(file, env.clone()).await?;
    let options = IngestOptions {
        env: env.clone(),
        workers: 1,
        ..IngestOptions::default()
    };
    ingest(&reader, store, options).await?;
    Ok(())
}

/// Takes everything and forgets it: all chunks are known.
#[derive(Debug)]
struct Known(ChunkNamer);

/// Keeps what it is given.
#[derive(Debug)]
struct Sink {
    namer: ChunkNamer,
    chunks: Mutex<Vec<Chunk>>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            namer: ChunkNamer::new([7; 32]),
            chunks: Mutex::default(),
        }
    }
}

#[async_trait]
impl ChunkSource for Known {
    fn namer(&self) -> &ChunkNamer {
        &self.0
    }

    async fn get(&self, _: &[ChunkId]) -> raksha_core::Result<Vec<Bytes>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ChunkStore for Known {
    async fn put(&self, _: Role, chunks: Vec<Chunk>) -> raksha_core::Result<Vec<Stored>> {
        Ok(vec![Stored::Known; chunks.len()])
    }

    async fn flush(&self) -> raksha_core::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ChunkSource for Sink {
    fn namer(&self) -> &ChunkNamer {
        &self.namer
    }

    async fn get(&self, _: &[ChunkId]) -> raksha_core::Result<Vec<Bytes>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ChunkStore for Sink {
    async fn put(&self, role: Role, chunks: Vec<Chunk>) -> raksha_core::Result<Vec<Stored>> {
        let known = vec![Stored::Known; chunks.len()];
        if role == Role::Data
            && let Ok(mut kept) = self.chunks.lock()
        {
            // Copied, since slices would hold on to the windows that the disk is read into.
            let copies = chunks.into_iter().map(|chunk| Chunk {
                id: chunk.id,
                bytes: Bytes::copy_from_slice(&chunk.bytes),
            });
            kept.extend(copies);
        }
        Ok(known)
    }

    async fn flush(&self) -> raksha_core::Result<()> {
        Ok(())
    }
}
