//! `probe`: parts of the data path by themselves.
//!
//! ```text
//! probe instructions         how many instructions a fixed small backup and restore take; fails if they are more than recorded
//! probe hints                1 TiB, sparse, 1 GiB of it changed in blocks of 4 KiB all over it, and with nothing changed
//! probe distance             a target with 0, 20 and 100 ms a request and a capped bandwidth
//! probe chunking IMAGE...     what becomes of disks that are cut in one way or another
//! probe reads IMAGE          reads of 64 KiB anywhere in a disk, from a point opened just now and from one that is warm
//! probe index --scratch DIR  a repository of 1, 10 and 100 million chunks: opened, searched, marked for collection
//! probe catalog --scratch DIR  up to a million recovery points: opened, listed, found, committed
//! probe plot FIGURES         growth curves of what the last two found
//! ```

mod growth;
mod instructions;
mod scale;

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use growth::{catalog, index, phase, plot};
use scale::{chunking, distance, hints, reads};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Measures parts of the data path
#[derive(Debug, Parser)]
enum Arguments {
    /// Count the instructions of a small backup and restore, and compare them with what was recorded
    Instructions(instructions::Arguments),
    /// An incremental backup of a large disk that goes by a change hint
    Hints(hints::Arguments),
    /// Backup and restore over a distance
    Distance(distance::Arguments),
    /// What becomes of disks that are cut in one way or another
    Chunking(chunking::Arguments),
    /// Small reads anywhere
    Reads(reads::Arguments),
    /// A repository with a great many chunks
    Index(index::Arguments),
    /// A catalog with a great many recovery points
    Catalog(catalog::Arguments),
    /// Draw growth curves
    Plot(plot::Arguments),
    /// One thing done to a repository with a great many chunks
    #[command(hide = true)]
    Phase(phase::Arguments),
    /// One thing done to a catalog with a great many recovery points
    #[command(hide = true)]
    Deed(catalog::DeedArguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Instructions(arguments) => instructions::run(&arguments),
        Arguments::Hints(arguments) => on_all_processors(hints::run(&arguments)),
        Arguments::Distance(arguments) => on_all_processors(distance::run(&arguments)),
        Arguments::Chunking(arguments) => on_all_processors(chunking::run(&arguments)),
        Arguments::Reads(arguments) => on_all_processors(reads::run(&arguments)),
        Arguments::Index(arguments) => index::run(&arguments),
        Arguments::Catalog(arguments) => catalog::run(&arguments),
        Arguments::Plot(arguments) => plot::run(&arguments),
        Arguments::Phase(arguments) => on_all_processors(phase::run(&arguments)),
        Arguments::Deed(arguments) => on_all_processors(catalog::act(&arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_all_processors(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?
        .block_on(work)
}
