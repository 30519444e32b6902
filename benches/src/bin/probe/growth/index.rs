//! A repository with a great many chunks: opening it, finding chunks, collecting.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use raksha_benches::machine::Machine;

use super::figure::{Figure, Figures, in_a_process};
use super::phase::Phase;
use crate::Result;

/// How large, and where
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Chunks of data; a repository that grows is measured at each of these sizes, the smallest first
    #[arg(long, default_values_t = [1_000_000, 10_000_000, 100_000_000])]
    chunks: Vec<u64>,
    /// Recovery points
    #[arg(long, default_value_t = 10_000)]
    points: u64,
    /// Where the repository is made: of 100 million chunks the index takes 4.4 GB there and again 4.4 GB as local cache, and trees that reach 90 million of them 3.3 GB
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// Keep the figures there, beside others that the file has
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut figures = match &arguments.save {
        Some(file) => Figures::load(file)?,
        None => Figures::default(),
    };
    let folder = tempfile::tempdir_in(&arguments.scratch)?;
    let mut had = 0;
    for chunks in &arguments.chunks {
        for phase in Phase::value_variants() {
            let figure = measure(*phase, folder.path(), had..*chunks, arguments)?;
            println!("{figure}");
            if *phase == Phase::Make {
                continue;
            }
            figures.add(figure);
            if let Some(file) = &arguments.save {
                figures.save(file)?;
            }
        }
        had = *chunks;
    }
    Ok(())
}

/// Does one thing to a repository of so many chunks, of which it had some before.
fn measure(
    phase: Phase,
    folder: &Path,
    chunks: Range<u64>,
    arguments: &Arguments,
) -> Result<Figure> {
    let machine = Machine::read()?;
    let name = phase.to_possible_value().ok_or("a phase without name")?;
    let told = in_a_process(&[
        "phase",
        name.get_name(),
        &folder.display().to_string(),
        "--had",
        &chunks.start.to_string(),
        "--chunks",
        &chunks.end.to_string(),
        "--points",
        &arguments.points.to_string(),
    ])?;
    Ok(Figure {
        what: phase.title().to_owned(),
        chunks: chunks.end,
        points: arguments.points,
        took: serde_json::from_str(&told)?,
        machine,
    })
}
