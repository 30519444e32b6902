//! What becomes of disks in a repository when they are cut in one way or another, and what it takes to get them back.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use raksha_core::cloud::DiskWriter;
use raksha_core::disk_file::FileReader;
use raksha_core::env::Env;
use raksha_core::format::Chunking;
use raksha_core::protect::disk::{self, DiskOptions};
use raksha_core::repository::{Compression, Parameters};
use raksha_targets::GuardOptions;

use super::disk::repository_with;
use super::usage::Usage;
use crate::Result;

/// Which disks
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Disk images, which go into one repository in this order, each after the one before as what became of it
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "MiB that are new with each image; MiB in packs, compressed at level 1; CPU seconds of all backups, and of restoring the last to nowhere"
    );
    let mut head = format!("{:<20}", "cut");
    for image in &arguments.images {
        let name = image.file_stem().unwrap_or_default();
        head += &format!("{:>8}", name.display());
    }
    println!("{head}    packs   chunks  index KiB  CPU s in CPU s out");
    for (name, chunking) in schemes() {
        println!("{name:<20}{}", measure(chunking, &arguments.images).await?);
    }
    Ok(())
}

/// A row of the table.
async fn measure(chunking: Chunking, images: &[PathBuf]) -> Result<String> {
    let parameters = Parameters {
        chunking,
        compression: Compression::Zstd { level: 1 },
        ..Parameters::default()
    };
    let (repository, metrics) = repository_with(
        Arc::new(InMemory::new()),
        GuardOptions::default(),
        parameters,
    )
    .await?;
    let mut row = String::new();
    let mut last = None;
    let usage = Usage::begin(&metrics)?;
    for image in images {
        let reader = FileReader::open(image, Env::system()).await?;
        let done = disk::backup(&reader, "disk", &repository, DiskOptions::default()).await?;
        row += &format!("{:>8}", done.counts.new_bytes >> 20);
        last = Some(done.point);
    }
    let put_in = usage.end()?;
    let point = last.ok_or("no image was given")?;

    let usage = Usage::begin(&metrics)?;
    let disk = &repository.point(point).await?.disks[0].disk;
    let options = DiskOptions::default();
    disk::restore(&repository, point, disk, &Nowhere, options).await?;
    let got_out = usage.end()?;

    let stored = repository.stats().await?;
    row += &format!(
        "{:>9}{:>9}{:>11}{:>10.1}{:>10.1}",
        stored.pack_bytes >> 20,
        stored.chunks,
        stored.index_bytes >> 10,
        put_in.cpu.as_secs_f64(),
        got_out.cpu.as_secs_f64()
    );
    Ok(row)
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

/// A disk that takes everything and keeps nothing, so that only reading is measured.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl DiskWriter for Nowhere {
    async fn write_at(&self, _: u64, _: Bytes) -> raksha_core::Result<()> {
        Ok(())
    }

    async fn write_zeroes(&self, _: Range<u64>) -> raksha_core::Result<()> {
        Ok(())
    }

    async fn finish(&self) -> raksha_core::Result<()> {
        Ok(())
    }
}
