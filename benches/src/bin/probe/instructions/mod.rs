//! How many instructions a fixed small backup and restore take.
//!
//! Time depends on what else the machine does; the number of instructions hardly does, so that a regression of a few percent shows on
//! any machine. Each stage of the work is run under callgrind, with all stages before it, and the difference is what it took.
//! Counts depend on compiler and libraries, too: whoever changes those on purpose records anew, with `--record`.

mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use work::Stage;

use crate::Result;

/// What a stage may take more than was recorded, in percent. Two runs on one machine differ by less than a tenth of it.
const TOLERANCE: f64 = 3.0;

/// What to do with the counts
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write what was counted into the file, instead of comparing with it
    #[arg(long)]
    record: bool,
    /// The file with the counts
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))]
    file: PathBuf,
    /// Do the work up to this stage, without counting
    #[arg(long, value_enum, hide = true)]
    work: Option<Stage>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(stage) = arguments.work {
        return work::until(stage);
    }
    let counts = measure()?;
    if arguments.record {
        let text = serde_json::to_string_pretty(&counts)? + "\n";
        std::fs::write(&arguments.file, text)
            .map_err(|e| format!("{}: {e}", arguments.file.display()))?;
        return Ok(());
    }
    compare(&counts, &recorded(&arguments.file)?)
}

/// The instructions of each stage.
type Counts = BTreeMap<String, u64>;

fn recorded(file: &Path) -> Result<Counts> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?)
}

fn measure() -> Result<Counts> {
    let mut counts = Counts::new();
    let mut before = 0;
    for stage in Stage::ALL {
        let all = count(stage)?;
        counts.insert(stage.name().to_owned(), all.saturating_sub(before));
        before = all;
    }
    Ok(counts)
}

/// The instructions of all stages up to this one.
fn count(stage: Stage) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(std::env::current_exe()?);
    command.args(["instructions", "--work", stage.name()]);
    let output = command
        .output()
        .map_err(|e| format!("valgrind, from the package of that name: {e}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} failed under callgrind:\n{told}", stage.name()).into());
    }
    let collected = told.lines().rev().find_map(|line| {
        let (_, count) = line.split_once("Collected : ")?;
        count.trim().parse().ok()
    });
    collected.ok_or_else(|| format!("callgrind said no count:\n{told}").into())
}

fn compare(counts: &Counts, recorded: &Counts) -> Result<()> {
    println!("stage               instructions   a byte   recorded");
    let mut worse = Vec::new();
    for stage in Stage::ALL {
        let name = stage.name();
        let now = counts.get(name).copied().unwrap_or(0);
        let before = *recorded
            .get(name)
            .ok_or_else(|| format!("nothing was recorded for '{name}': use --record"))?;
        let change = (now as f64 / before as f64 - 1.0) * 100.0;
        let byte = now as f64 / work::SIZE as f64;
        println!("{name:<18} {now:>13} {byte:>8.2}   {change:>+7.2} %");
        if change > TOLERANCE {
            worse.push(name);
        }
    }
    match worse.as_slice() {
        [] => Ok(()),
        _ => Err(format!(
            "more than {TOLERANCE} % above what was recorded: {}. If it has to be, say why and use --record",
            worse.join(", ")
        )
        .into()),
    }
}
