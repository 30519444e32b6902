//! `bench`: Raksha and its peers on the same disk images, in one run, in turn.
//!
//! The machine this runs on is seldom idle, so the figure to go by is CPU time, and only figures of one run may be
//! compared: each row of the scenario is done by every tool before the next row begins.

mod arguments;
mod environment;
mod files;
mod measure;
mod plot;
mod report;
mod scenario;
mod tools;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use report::Report;

/// What went wrong is read by a person; nothing here acts on its kind.
type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let report = match &arguments.load {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?
        }
        None => measure(arguments)?,
    };
    print!("{}", report.table());
    if let Some(file) = &arguments.plot {
        fs::write(file, plot::svg(&report)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<Report> {
    let report = scenario::run(arguments)?;
    if let Some(file) = &arguments.save {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(report)
}
