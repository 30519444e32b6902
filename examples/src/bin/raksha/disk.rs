//! `raksha disk`: files and block devices, without any cloud.

use std::path::{Path, PathBuf};
use std::time::Instant;

use raksha_core::Result;
use raksha_core::cloud::DiskReader;
use raksha_core::disk_file::{FileReader, FileWriter};
use raksha_core::protect::disk::{self, DiskOptions};
use serde::Serialize;

use crate::arguments::Disk;
use crate::context::Context;
use crate::{output, progress};

/// What `disk backup --json` prints.
#[derive(Serialize)]
struct BackedUp {
    point: String,
    logical_bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
}

pub async fn disk(context: &Context, command: Disk) -> Result<()> {
    match command {
        Disk::Backup { path, name } => backup(context, path, &name).await,
        Disk::Restore {
            point,
            path,
            disk,
            force,
        } => restore(context, &point, &path, disk.as_deref(), force).await,
        Disk::Diff { a, b, disk } => diff(context, &a, &b, disk.as_deref()).await,
    }
}

async fn backup(context: &Context, path: PathBuf, name: &str) -> Result<()> {
    let began = Instant::now();
    let repository = context.repository().await?;
    let reader = FileReader::open(path, repository.env().clone()).await?;
    let options = options(context);
    let meter = options.meter.clone();
    let work = disk::backup(&reader, name, &repository, options);
    let done = progress::meter(name, reader.size(), meter, work).await?;
    if !context.json {
        println!("{}", done.point);
        eprintln!(
            "{} logical, {} read, {} new, {} stored, {:.1} s",
            output::bytes(done.counts.logical_bytes),
            output::bytes(done.counts.read_bytes),
            output::bytes(done.counts.new_bytes),
            output::bytes(done.counts.stored_bytes),
            began.elapsed().as_secs_f64(),
        );
        return Ok(());
    }
    output::json(&BackedUp {
        point: done.point.to_string(),
        logical_bytes: done.counts.logical_bytes,
        read_bytes: done.counts.read_bytes,
        new_bytes: done.counts.new_bytes,
        stored_bytes: done.counts.stored_bytes,
        seconds: began.elapsed().as_secs_f64(),
    })
}

async fn restore(
    context: &Context,
    point: &str,
    path: &Path,
    disk: Option<&str>,
    force: bool,
) -> Result<()> {
    let repository = context.repository().await?;
    let id = repository.find_point(point).await?;
    let point = repository.point(id).await?;
    let chosen = disk::pick(&point, disk)?;
    let size = chosen.root.size;
    let writer = FileWriter::create(path, size, force, repository.env().clone()).await?;
    let options = options(context);
    let meter = options.meter.clone();
    let work = disk::restore(&repository, id, &chosen.disk, &writer, options);
    progress::meter(&chosen.disk.to_string(), size, meter, work).await?;
    eprintln!(
        "{}: {} bytes, byte for byte as they were",
        path.display(),
        size
    );
    Ok(())
}

async fn diff(context: &Context, a: &str, b: &str, disk: Option<&str>) -> Result<()> {
    let repository = context.repository().await?;
    let (a, b) = (
        repository.find_point(a).await?,
        repository.find_point(b).await?,
    );
    let (of_a, of_b) = (repository.point(a).await?, repository.point(b).await?);
    let (disk_a, disk_b) = (disk::pick(&of_a, disk)?, disk::pick(&of_b, disk)?);
    let changed = disk::diff(&repository, (a, &disk_a.disk), (b, &disk_b.disk)).await?;
    if context.json {
        let ranges: Vec<[u64; 2]> = changed.iter().map(|r| [r.start, r.end]).collect();
        return output::json(&ranges);
    }
    for range in &changed {
        println!("{:>16} {:>12}", range.start, range.end - range.start);
    }
    let bytes: u64 = changed.iter().map(|r| r.end - r.start).sum();
    eprintln!("{} ranges, {} differ", changed.len(), output::bytes(bytes));
    Ok(())
}

fn options(context: &Context) -> DiskOptions {
    let mut options = DiskOptions::default();
    options.cancel = context.cancel.clone();
    options
}
