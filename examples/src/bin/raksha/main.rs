//! The `raksha` command: the library's public interface, from a shell.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. What was asked for goes to standard output, everything else to standard error.

mod arguments;
mod context;
mod disk;
mod jobs;
mod keys;
mod output;
mod progress;
mod repository;
mod restore;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use context::Context;
use raksha_core::Result;
use raksha_core::protect::Cancel;

#[tokio::main]
async fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let Arguments { global, command } = Arguments::parse();
    let cancel = Cancel::new();
    tokio::spawn(cancel_on_interrupt(cancel.clone()));
    match carry_out(Context::new(global, cancel), command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raksha: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(context: Context, command: Command) -> Result<()> {
    match command {
        Command::Init(options) => repository::init(&context, options).await,
        Command::Points => repository::points(&context).await,
        Command::Forget { points } => repository::forget(&context, &points).await,
        Command::Hold { point, lift } => repository::hold(&context, &point, !lift).await,
        Command::Collect(options) => repository::collect(&context, options).await,
        Command::Verify { keyless } => repository::verify(&context, keyless).await,
        Command::Stats => repository::stats(&context).await,
        Command::Log { from } => repository::log(&context, from).await,
        Command::Key(command) => keys::key(&context, command).await,
        Command::Disk(command) => disk::disk(&context, command).await,
        Command::Discover { servers } => jobs::discover(&context, servers).await,
        Command::Job(command) => jobs::job(&context, command).await,
        Command::Run(command) => jobs::run(&context, command).await,
        Command::Restore(options) => restore::restore(&context, options).await,
        Command::Reap { all } => jobs::reap(&context, all).await,
    }
}

/// The first Ctrl-C asks everything to stop and clean up; the second one ends the process.
async fn cancel_on_interrupt(cancel: Cancel) {
    if tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("raksha: stopping; again to stop at once");
        cancel.cancel();
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(1);
    }
}
