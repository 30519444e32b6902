//! The work that is counted: on one thread, in memory but for the disk, and the same each time.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use object_store::memory::InMemory;
use raksha_benches::content::{BLOCK, content};
use raksha_core::disk_file::{FileReader, FileWriter};
use raksha_core::env::{Compute, Env};
use raksha_core::id::PointId;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{Compression, EngineOptions, Parameters, Repository, Secret, Target};

use crate::Result;

/// The bytes of the disk.
pub const SIZE: usize = 24 << 20;

/// What is done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Stage {
    /// The disk is made, and a repository.
    Prepare,
    /// The disk is backed up for the first time.
    Full,
    /// It is read again, unchanged.
    Again,
    /// One block in 64 has changed.
    Changed,
    /// The last point is restored.
    Restore,
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::Prepare,
        Self::Full,
        Self::Again,
        Self::Changed,
        Self::Restore,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Full => "full",
            Self::Again => "again",
            Self::Changed => "changed",
            Self::Restore => "restore",
        }
    }
}

/// Does everything up to and including `stage`.
pub fn until(stage: Stage) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(work(stage, folder.path()))
}

async fn work(last: Stage, folder: &Path) -> Result<()> {
    let path = folder.join("disk.raw");
    let mut bytes = content(SIZE);
    fs::write(&path, &bytes)?;
    let mut engine = EngineOptions::default();
    engine.env = Env::system().with_compute(Compute::Inline);
    let env = engine.env.clone();
    let secret = Secret::key_file(&[7; 32]);
    let target = Target::new(Arc::new(InMemory::new()));
    let parameters = Parameters {
        // What is counted must not depend on how busy the target is.
        compression: Compression::Zstd { level: 1 },
        ..Parameters::default()
    };
    let repository = Repository::create(target, parameters, &secret, engine).await?;
    if last >= Stage::Full {
        back_up(&path, &repository, &env).await?;
    }
    if last >= Stage::Again {
        back_up(&path, &repository, &env).await?;
    }
    if last >= Stage::Changed {
        for block in bytes.chunks_mut(64 * BLOCK) {
            block[..8].copy_from_slice(b"changed!");
        }
        fs::write(&path, &bytes)?;
        let point = back_up(&path, &repository, &env).await?;
        if last >= Stage::Restore {
            let restored = folder.join("restored.raw");
            let writer = FileWriter::create(&restored, SIZE as u64, false, env.clone()).await?;
            let point_disk = repository.point(point).await?.disks.remove(0);
            let options = DiskOptions::default();
            disk::restore(&repository, point, &point_disk.disk, &writer, options).await?;
            if fs::read(&restored)? != bytes {
                return Err("the restored disk is not the one that was backed up".into());
            }
        }
    }
    Ok(())
}

async fn back_up(path: &Path, repository: &Repository, env: &Env) -> Result<PointId> {
    let reader = FileReader::open(path, env.clone()).await?;
    let done = disk::backup(&reader, "disk", repository, DiskOptions::default()).await?;
    Ok(done.point)
}
