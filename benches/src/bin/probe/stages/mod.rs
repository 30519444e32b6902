//! What each stage of the data path takes, beside the library calls that it cannot do without.
//!
//! Harnesses for micro-benchmarks go by the wall clock, which on a shared machine measures the others. Here everything runs on one
//! thread, and what counts is the time that the kernel gave it.

mod library;
mod raksha;

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::content::content;

/// How much of an image is worked on.
const SIZE: usize = 128 << 20;

/// Runs of each stage; the fastest counts.
const RUNS: usize = 5;

/// What to work on
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A disk image; its first 128 MiB that are not zero are used. None for bytes that are made up
    image: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let bytes = match &arguments.image {
        Some(path) => part(path)?,
        None => content(SIZE),
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("disk.raw");
    fs::write(&file, &bytes)?;
    let stages = raksha::Stages::new(&file)?;
    let chunks = stages.chunks();
    let megabytes = bytes.len() as f64 / 1e6;
    println!(
        "{megabytes:.0} MB in {} chunks; MB/s of one processor's time",
        chunks.len()
    );
    println!("{:<34}{:>10}{:>10}", "", "library", "raksha");

    let row = |what: &str, library: f64, raksha: f64| {
        let (l, r) = (megabytes / library, megabytes / raksha);
        println!(
            "{what:<34}{l:>10.0}{r:>10.0}   {:.2}x the time",
            raksha / library
        );
    };
    row(
        "read",
        best(|| library::read(&file))?,
        best(|| stages.read())?,
    );
    row(
        "cut, zero test, name",
        best(|| library::name(&chunks))?,
        best(|| stages.ingest())?,
    );
    let kept = library::Kept::new(&chunks)?;
    row(
        "name, compress, seal, hash",
        best(|| library::seal(&chunks, false))?,
        best(|| stages.store(false))?,
    );
    row(
        "the same, each record checked",
        best(|| library::seal(&chunks, true))?,
        best(|| stages.store(true))?,
    );
    row(
        "open, decompress, name",
        best(|| kept.open())?,
        best(|| stages.fetch())?,
    );
    Ok(())
}

fn part(path: &PathBuf) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::with_capacity(SIZE);
    let mut piece = vec![0; 1 << 20];
    while bytes.len() < SIZE && file.read_exact(&mut piece).is_ok() {
        if piece.iter().any(|byte| *byte != 0) {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes)
}

/// The least time in seconds that the kernel gave this thread for `work`.
fn best(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let before = on_processor()?;
        work()?;
        best = best.min((on_processor()? - before) as f64 / 1e9);
    }
    Ok(best)
}

/// Nanoseconds.
fn on_processor() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}
