//! What every tool is asked to do, row by row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;
use crate::environment::Environment;
use crate::measure::{self, Usage};
use crate::report::Report;
use crate::tools::{self, Image, Tool};
use crate::{Result, files};

/// One thing to do.
struct Step {
    title: &'static str,
    /// The file that is backed up, or that what is restored must be like.
    file: &'static str,
    /// The disk that the file is a state of.
    disk: &'static str,
    /// What its backup is called.
    label: &'static str,
    what: What,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// Something that a plain copy does as well as a repository.
    Backup,
    /// Something that shows what a repository remembers; a plain copy only does it all again.
    BackupAgain,
    Restore,
}

const STEPS: [Step; 7] = [
    step("full, gen0", "gen0", "server", "gen0", What::Backup),
    step(
        "the same again, all read",
        "gen0",
        "server",
        "again",
        What::BackupAgain,
    ),
    step("incremental, gen1", "gen1", "server", "gen1", What::Backup),
    step(
        "incremental, gen2",
        "gen2",
        "server",
        "gen2",
        What::BackupAgain,
    ),
    step(
        "after a quiet day, gen3",
        "gen3",
        "server",
        "gen3",
        What::BackupAgain,
    ),
    step(
        "a second server, vm2",
        "vm2",
        "second",
        "vm2",
        What::BackupAgain,
    ),
    step("restore of gen1", "gen1", "server", "gen1", What::Restore),
];

const fn step(
    title: &'static str,
    file: &'static str,
    disk: &'static str,
    label: &'static str,
    what: What,
) -> Step {
    Step {
        title,
        file,
        disk,
        label,
        what,
    }
}

/// Does everything as often as asked, each time from nothing.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let data = arguments
        .data
        .as_deref()
        .ok_or("say where the images are: --data DIR")?;
    let data = data
        .canonicalize()
        .map_err(|e| format!("{}: {e}", data.display()))?;
    let steps: Vec<(&Step, PathBuf)> = STEPS
        .iter()
        .map(|step| (step, data.join(step.file).with_extension("raw")))
        .filter(|(_, file)| file.exists())
        .collect();
    let has = |file: &str| steps.iter().any(|(step, _)| step.file == file);
    if !has("gen0") || !has("gen1") {
        let data = data.display();
        return Err(
            format!("{data}: make gen0.raw and gen1.raw with tests/data/installed-system").into(),
        );
    }
    let mut report: Option<Report> = None;
    for number in 1..=arguments.runs.get() {
        let scratch = scratch(arguments)?;
        let mut tools = tools::all(arguments, scratch.path())?;
        let report = match &mut report {
            Some(report) => report,
            none => none.insert(Report::new(Environment::read(&tools)?, &tools)),
        };
        for tool in &tools {
            tool.init()?;
        }
        for (step, file) in &steps {
            let row = report.row(step.title);
            for tool in &mut tools {
                if step.what == What::BackupAgain && !tool.remembers() {
                    continue;
                }
                let usage = once(step, file, tool.as_mut(), scratch.path())?;
                let (title, name) = (step.title, tool.name());
                eprintln!(
                    "run {number}, {title}, {name}: {:.1} s CPU, {:.1} s",
                    usage.cpu(),
                    usage.wall
                );
                row.add(name, usage);
            }
        }
        for tool in tools.iter().filter(|tool| tool.remembers()) {
            report.add_stored(tool.name(), files::occupied(tool.home())?);
        }
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// One tool does one step.
fn once(step: &Step, file: &Path, tool: &mut dyn Tool, scratch: &Path) -> Result<Usage> {
    // What other tools left to be written is not to be written now, and what this one reads is to lie in memory for all alike.
    measure::run(Command::new("sync").arg("-f").arg(scratch))?;
    if step.what != What::Restore {
        if !tool.remembers() {
            // What a plain copy kept before is of no use to it, and takes room.
            fs::remove_dir_all(tool.home())?;
            tool.init()?;
        }
        files::warm(file)?;
        let image = Image {
            file,
            disk: step.disk,
            label: step.label,
        };
        return tool.backup(&image);
    }
    files::warm_all(tool.home())?;
    let into = scratch.join("restored");
    fs::create_dir(&into)?;
    let (usage, restored) = tool.restore(step.label, file, &into)?;
    files::must_be_same(file, &restored).map_err(|e| format!("{}: {e}", tool.name()))?;
    fs::remove_dir_all(&into)?;
    Ok(usage)
}

fn scratch(arguments: &Arguments) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("raksha-bench-");
    let made = match &arguments.scratch {
        Some(directory) => builder.tempdir_in(directory),
        None => builder.tempdir(),
    };
    made.map_err(|e| format!("scratch directory: {e}").into())
}
