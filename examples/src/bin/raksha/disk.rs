//! Single disks, without any cloud.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Subcommand;
use raksha_core::cloud::DiskReader;
use raksha_core::disk_file::{FileReader, FileWriter};
use raksha_core::protect::disk::{self, Changes, DiskOptions, pick};
use raksha_core::store::RunCounts;
use raksha_core::{Error, Kind, Result};
use serde::Deserialize;
use serde_json::json;

use crate::context::Context;
use crate::interrupt;
use crate::output::table;
use crate::progress::{Progress, Way};

#[derive(Debug, Subcommand)]
pub enum DiskVerb {
    /// Back up a file or block device that does not change meanwhile; prints the point's id
    Backup {
        /// The disk
        path: PathBuf,
        /// What to call it; points of the same name go by each other
        #[arg(long)]
        name: String,
        /// A file of JSON that tells what changed, as `rbd diff --format json` and `raksha disk diff --json` print it: nothing else is read but samples
        #[arg(long, value_name = "FILE", requires = "since")]
        changed: Option<PathBuf>,
        /// The point that it changed since, which must be the newest of that name
        #[arg(long, value_name = "POINT", requires = "changed")]
        since: Option<String>,
    },
    /// Write a disk of a point to a sparse file or a block device
    Restore {
        /// The point: its id, or the beginning of it
        point: String,
        /// Where to
        path: PathBuf,
        /// Which disk, if the point holds several
        #[arg(long)]
        disk: Option<String>,
        /// Write over what is there
        #[arg(long)]
        force: bool,
    },
    /// Show which bytes differ between two points
    Diff {
        /// The older point
        old: String,
        /// The newer point
        new: String,
        /// Which disk, if the points hold several
        #[arg(long)]
        disk: Option<String>,
    },
}

pub async fn carry_out(context: &Context, verb: DiskVerb) -> Result<()> {
    match verb {
        DiskVerb::Backup {
            path,
            name,
            changed,
            since,
        } => {
            backup(
                context,
                &path,
                &name,
                changed.as_deref().zip(since.as_deref()),
            )
            .await
        }
        DiskVerb::Restore {
            point,
            path,
            disk,
            force,
        } => restore(context, &point, disk.as_deref(), &path, force).await,
        DiskVerb::Diff { old, new, disk } => diff(context, &old, &new, disk.as_deref()).await,
    }
}

async fn backup(
    context: &Context,
    path: &Path,
    name: &str,
    told: Option<(&Path, &str)>,
) -> Result<()> {
    let began = Instant::now();
    let repository = context.open().await?;
    let reader = FileReader::open(path, context.env.clone()).await?;
    let changes = match told {
        Some((file, since)) => Some(Changes {
            since: context.point(&repository, since).await?,
            ranges: ranges(file)?,
        }),
        None => None,
    };
    let options = DiskOptions::default();
    interrupt::cancels(options.cancel.clone());
    let meter = options.meter.clone();
    let work = async {
        match changes {
            Some(changes) => {
                disk::backup_changed(&reader, name, changes, &repository, options).await
            }
            None => disk::backup(&reader, name, &repository, options).await,
        }
    };
    let progress = Progress::new(Way::In, context.common.quiet);
    let done = progress.during(name, reader.size(), meter, work).await?;
    if done.hint_lied {
        eprintln!("raksha: not all that had changed was told, so all of the disk was read");
    }
    let RunCounts {
        logical_bytes,
        read_bytes,
        new_bytes,
        stored_bytes,
    } = done.counts;
    let result = json!({
        "point": done.point,
        "logical_bytes": logical_bytes,
        "read_bytes": read_bytes,
        "new_bytes": new_bytes,
        "stored_bytes": stored_bytes,
        "hint_lied": done.hint_lied,
        "seconds": began.elapsed().as_secs_f64(),
    });
    context.output.show(&result, || done.point.to_string())
}

/// The offsets and lengths in a file of changes.
fn ranges(file: &Path) -> Result<Vec<(u64, u64)>> {
    #[derive(Deserialize)]
    struct Range {
        offset: u64,
        length: u64,
    }
    let wrong = |message: &str| Error::new(Kind::Invalid, "read changes", message);
    let text = std::fs::read(file).map_err(|error| {
        let message = "the file cannot be read";
        wrong(message).with("file", file.display()).caused_by(error)
    })?;
    let ranges: Vec<Range> = serde_json::from_slice(&text).map_err(|error| {
        let message =
            "this is no list of changes: write JSON such as [{\"offset\": 0, \"length\": 4096}]";
        wrong(message).with("file", file.display()).caused_by(error)
    })?;
    Ok(ranges
        .iter()
        .map(|range| (range.offset, range.length))
        .collect())
}

async fn restore(
    context: &Context,
    point: &str,
    which: Option<&str>,
    path: &Path,
    force: bool,
) -> Result<()> {
    let began = Instant::now();
    let repository = context.open().await?;
    let id = context.point(&repository, point).await?;
    let point = repository.point(id).await?;
    let wanted = pick(&point, which)?;
    let size = wanted.root.size;
    let writer = FileWriter::create(path, size, force, context.env.clone()).await?;
    let options = DiskOptions::default();
    interrupt::cancels(options.cancel.clone());
    let meter = options.meter.clone();
    let work = disk::restore(&repository, id, &wanted.disk, &writer, options);
    let progress = Progress::new(Way::Out, context.common.quiet);
    let name = wanted.disk.to_string();
    let counts = progress.during(&name, size, meter, work).await?;
    let result = json!({
        "point": id,
        "logical_bytes": counts.logical_bytes,
        "read_bytes": counts.read_bytes,
        "seconds": began.elapsed().as_secs_f64(),
    });
    context.output.show(&result, String::new)
}

async fn diff(context: &Context, old: &str, new: &str, which: Option<&str>) -> Result<()> {
    let repository = context.open().await?;
    let (old, new) = (
        context.point(&repository, old).await?,
        context.point(&repository, new).await?,
    );
    let (old_point, new_point) = (repository.point(old).await?, repository.point(new).await?);
    let (old_disk, new_disk) = (
        &pick(&old_point, which)?.disk,
        &pick(&new_point, which)?.disk,
    );
    let changed = disk::diff(&repository, (old, old_disk), (new, new_disk)).await?;
    let ranges: Vec<_> = changed
        .iter()
        .map(|r| json!({ "offset": r.start, "length": r.end - r.start }))
        .collect();
    context.output.show(&ranges, || {
        let rows = changed
            .iter()
            .map(|r| [r.start.to_string(), (r.end - r.start).to_string()]);
        table(["OFFSET", "LENGTH"], rows)
    })
}
