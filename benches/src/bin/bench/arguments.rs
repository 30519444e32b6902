//! What can be said on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Compare Raksha with its peers on disk images, in one run, in turn.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Arguments {
    /// Where gen0.raw, gen1.raw ... lie, as tests/data/installed-system makes them
    #[arg(long, value_name = "DIR", required_unless_present = "load")]
    pub data: Option<PathBuf>,
    /// How often everything is done, from an empty repository each time
    #[arg(long, default_value = "3", value_name = "N")]
    pub runs: NonZeroUsize,
    /// Whom to compare with
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "restic,rustic,borg,qemu-img,qemu-img-synced,cp,cp-synced",
        value_name = "NAMES"
    )]
    pub peers: Vec<Peer>,
    /// Where repositories and restored images go for a while, best on the disk of the data [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// The raksha command [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub raksha: Option<PathBuf>,
    /// Keep what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Measure nothing: show what --save kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "save"])]
    pub load: Option<PathBuf>,
    /// Draw a chart, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// A tool that Raksha is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Restic,
    Borg,
    Rustic,
    QemuImg,
    QemuImgSynced,
    Cp,
    CpSynced,
}
