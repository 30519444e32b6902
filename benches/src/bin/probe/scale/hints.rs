//! A large disk of which little has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::memory::InMemory;
use raksha_core::cloud::ChangeHint;
use raksha_core::format::tree::Root;
use raksha_core::image::{IngestOptions, Ingested, ingest};
use raksha_core::repository::{Repository, Writer};
use raksha_core::store::ChunkStore;
use raksha_targets::GuardOptions;

use super::disk::{BLOCK, Made, repository};
use super::usage::{Usage, peak};
use crate::Result;

/// How large the disk is, and how much of it changes
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The size of the disk in GiB
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// What changes, in MiB
    #[arg(long, default_value_t = 1024)]
    changed: u64,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let size = arguments.size << 30;
    let (repository, metrics) =
        repository(Arc::new(InMemory::new()), GuardOptions::default()).await?;

    let usage = Usage::begin(&metrics)?;
    let empty = back_up(&repository, &Made::new(size, []), None).await?;
    println!("all of it, empty    {}", usage.end()?);

    let mut random = 1u64;
    let mut blocks = BTreeSet::new();
    while (blocks.len() as u64) < (arguments.changed << 20) / BLOCK {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        blocks.insert((random >> 16) % (size / BLOCK));
    }
    let disk = Made::new(size, blocks);
    let usage = Usage::begin(&metrics)?;
    let changed = back_up(&repository, &disk, Some((empty.root, disk.written()))).await?;
    println!("changed all over    {}", usage.end()?);
    println!("                    {:?}", changed.counts);

    let usage = Usage::begin(&metrics)?;
    let same = back_up(&repository, &disk, Some((changed.root, Vec::new()))).await?;
    println!("nothing changed     {}", usage.end()?);
    println!("                    {:?}", same.counts);
    if same.root != changed.root || !same.hint_followed || !changed.hint_followed {
        return Err("the hint was not followed to the same root".into());
    }
    println!("peak memory {} MiB, the target's own included", peak()?);
    Ok(())
}

type Base = (Root, Vec<std::ops::Range<u64>>);

async fn back_up(repository: &Repository, disk: &Made, base: Option<Base>) -> Result<Ingested> {
    let writer: Writer = repository.write(&[], "scale").await?;
    let (base, hint) = match base {
        Some((root, changed)) => (Some(root), Some(ChangeHint { changed })),
        None => (None, None),
    };
    let options = IngestOptions {
        base,
        hint,
        ..IngestOptions::default()
    };
    let done = ingest(disk, &writer, options).await?;
    writer.flush().await?;
    writer.close().await?;
    Ok(done)
}
