//! Repositories for tests: small, cheap to open, and easily filled.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::Result;
use raksha_core::cloud::DiskReader;
use raksha_core::id::PointId;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{EngineOptions, Parameters, PassphraseCost, Repository};

use crate::{MemoryDisk, MemorySink};

/// Little memory, and passphrases that cost nothing.
pub fn options() -> EngineOptions {
    let mut options = EngineOptions::default();
    options.memory = 64 << 20;
    options.passphrase_cost = PassphraseCost {
        memory_kib: 64,
        iterations: 1,
        lanes: 1,
    };
    options
}

/// Small in everything that can be, so that segments and packs are many.
pub fn small() -> Parameters {
    Parameters {
        segment_size: 1 << 20,
        pack_size: 1 << 20,
        ..Parameters::default()
    }
}

/// Backs up `bytes` as the disk `name`.
pub async fn back_up(repository: &Repository, name: &str, bytes: &[u8]) -> Result<PointId> {
    let reader = MemoryDisk::new(Arc::new(bytes.to_vec()), true);
    back_up_disk(repository, name, &reader).await
}

/// Backs up a disk.
pub async fn back_up_disk(
    repository: &Repository,
    name: &str,
    reader: &dyn DiskReader,
) -> Result<PointId> {
    let done = disk::backup(reader, name, repository, DiskOptions::default()).await?;
    Ok(done.point)
}

/// The only disk of a point; none if it was not finished.
pub async fn restore(repository: &Repository, id: PointId) -> Result<Option<Vec<u8>>> {
    let point = repository.point(id).await?;
    let only = disk::pick(&point, None)?;
    let sink = MemorySink::new(only.root.size);
    disk::restore(repository, id, &only.disk, &sink, DiskOptions::default()).await?;
    Ok(sink.content())
}

/// All objects of a target, in the order of their names.
pub async fn objects(store: &dyn ObjectStore) -> Vec<(Path, Bytes)> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for meta in listed {
        let got = store.get(&meta.location).await.unwrap();
        found.push((meta.location, got.bytes().await.unwrap()));
    }
    found.sort();
    found
}
