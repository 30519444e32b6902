//! What becomes of disks in a repository when they are cut in one way or another.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use raksha_core::disk_file::FileReader;
use raksha_core::env::Env;
use raksha_core::format::Chunking;
use raksha_core::id::ChunkId;
use raksha_core::image::{IngestOptions, ingest};
use raksha_core::store::{Chunk, ChunkNamer, ChunkSource, ChunkStore, Role, Stored};

use crate::Result;

/// Which disks
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Disk images, which go into one repository in this order
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

/// What an entry of an index takes, in memory and in the target.
const INDEX_ENTRY: u64 = 44;

pub async fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "bytes in MiB that are new with each image; all of it compressed at level 1; chunks; KiB of their index"
    );
    for (name, chunking) in schemes() {
        let store = Counting::new();
        let mut row = format!("{name:<26}");
        for image in &arguments.images {
            let before = store.counts().raw;
            let reader = FileReader::open(image, Env::system()).await?;
            let options = IngestOptions {
                chunking,
                ..IngestOptions::default()
            };
            ingest(&reader, &store, options).await?;
            row += &format!("{:>8}", (store.counts().raw - before) >> 20);
        }
        let Counts {
            chunks, compressed, ..
        } = store.counts();
        let index = chunks * INDEX_ENTRY / 1024;
        println!("{row}{:>9}{chunks:>9}{index:>8}", compressed >> 20);
    }
    Ok(())
}

fn schemes() -> Vec<(&'static str, Chunking)> {
    let kib = |n: u32| n << 10;
    let aligned = |min, average, max| Chunking::Aligned {
        min: kib(min),
        average: kib(average),
        max: kib(max),
    };
    let rolling = |min, average, max| Chunking::FastCdc {
        min: kib(min),
        average: kib(average),
        max: kib(max),
    };
    vec![
        ("fixed 32", Chunking::Fixed { size: kib(32) }),
        ("fixed 64", Chunking::Fixed { size: kib(64) }),
        ("fixed 1024", Chunking::Fixed { size: kib(1024) }),
        ("fastcdc 16/64/256", rolling(16, 64, 256)),
        ("fastcdc 16/32/128", rolling(16, 32, 128)),
        ("aligned 8/16/64", aligned(8, 16, 64)),
        ("aligned 16/32/128", aligned(16, 32, 128)),
        ("aligned 16/64/256", aligned(16, 64, 256)),
        ("aligned 32/128/512", aligned(32, 128, 512)),
    ]
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    chunks: u64,
    raw: u64,
    compressed: u64,
}

/// Remembers names, and how much was new under them.
#[derive(Debug)]
struct Counting {
    namer: ChunkNamer,
    known: Mutex<(HashSet<ChunkId>, Counts)>,
}

impl Counting {
    fn new() -> Self {
        Self {
            namer: ChunkNamer::new([7; 32]),
            known: Mutex::default(),
        }
    }

    fn counts(&self) -> Counts {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[async_trait]
impl ChunkSource for Counting {
    fn namer(&self) -> &ChunkNamer {
        &self.namer
    }

    async fn get(&self, _: &[ChunkId]) -> raksha_core::Result<Vec<Bytes>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ChunkStore for Counting {
    async fn put(&self, _: Role, chunks: Vec<Chunk>) -> raksha_core::Result<Vec<Stored>> {
        let known = vec![Stored::Known; chunks.len()];
        let new: Vec<Chunk> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let new = |chunk: &Chunk| known.0.insert(chunk.id);
            chunks.into_iter().filter(new).collect()
        };
        for chunk in new {
            let length = chunk.bytes.len() as u64;
            // What cannot be compressed is stored as it is.
            let compressed = zstd::bulk::compress(&chunk.bytes, 1)
                .map_or(length, |bytes| length.min(bytes.len() as u64));
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.1.chunks += 1;
            known.1.raw += length;
            known.1.compressed += compressed;
        }
        Ok(known)
    }

    async fn flush(&self) -> raksha_core::Result<()> {
        Ok(())
    }
}
