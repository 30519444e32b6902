//! A repository with a great many chunks: opening it, finding chunks, collecting.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use raksha_benches::machine::Machine;

use super::figure::{Figure, Figures, in_a_process};
use super::phase::Phase;
use crate::Result;

/// How large, and where
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Chunks of data; several sizes are measured one after the other
    #[arg(long, default_values_t = [1_000_000, 10_000_000, 100_000_000])]
    chunks: Vec<u64>,
    /// Recovery points
    #[arg(long, default_value_t = 10_000)]
    points: u64,
    /// Chunks that the trees of the points reach, if there are so many
    #[arg(long, default_value_t = 5_000_000)]
    reached: u64,
    /// Where the repositories are made: an index of 100 million chunks takes 4.4 GB there and again 4.4 GB as local cache
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
    for chunks in &arguments.chunks {
        let folder = tempfile::tempdir_in(&arguments.scratch)?;
        for phase in Phase::value_variants() {
            let figure = measure(*phase, folder.path(), *chunks, arguments)?;
            println!("{figure}");
            if *phase == Phase::Make {
                continue;
            }
            figures.add(figure);
            if let Some(file) = &arguments.save {
                figures.save(file)?;
            }
        }
    }
    Ok(())
}

fn measure(phase: Phase, folder: &Path, chunks: u64, arguments: &Arguments) -> Result<Figure> {
    let machine = Machine::read()?;
    let name = phase.to_possible_value().ok_or("a phase without name")?;
    let told = in_a_process(&[
        "phase",
        name.get_name(),
        &folder.display().to_string(),
        "--chunks",
        &chunks.to_string(),
        "--points",
        &arguments.points.to_string(),
        "--reached",
        &arguments.reached.to_string(),
    ])?;
    Ok(Figure {
        what: phase.title().to_owned(),
        chunks,
        points: arguments.points,
        took: serde_json::from_str(&told)?,
        machine,
    })
}
