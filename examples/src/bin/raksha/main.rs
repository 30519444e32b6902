//! `raksha`: servers and disks backed up and brought back, from the command line.
//!
//! A thin layer over `raksha_core::protect`: every file beside this one is one group of verbs.
//!
//! Results go to stdout (with `--json`, exactly one JSON object or array), everything else to stderr. Exit codes: 0 done, 1 failed, 2
//! wrong usage. Ctrl-C stops what is under way and leaves nothing behind; a second one stops at once.

mod args;
mod authority;
mod catalog;
mod cloud;
mod context;
mod damage;
mod disk;
mod history;
mod interrupt;
mod job;
mod key;
mod output;
mod point;
mod progress;
mod repository;
mod restore;
mod run;
mod schedule;
mod secret;
mod target;
mod values;

use std::process::ExitCode;

use clap::Parser;
use raksha_core::Result;

use args::{Arguments, Verb};
use context::Context;

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { common, verb } = Arguments::parse();
    match carry_out(Context::new(common), verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raksha: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(context: Context, verb: Verb) -> Result<()> {
    match verb {
        Verb::Init(options) => repository::init(&context, options).await,
        Verb::Discover { servers } => job::discover(&context, &servers).await,
        Verb::Job(verb) => job::carry_out(&context, verb).await,
        Verb::Run(verb) => run::carry_out(&context, verb).await,
        Verb::Schedule(verb) => schedule::carry_out(&context, verb).await,
        Verb::Authority(verb) => authority::carry_out(&context, verb).await,
        Verb::Restore(options) => restore::carry_out(&context, options).await,
        Verb::Points => repository::points(&context).await,
        Verb::Point { point } => point::show(&context, &point).await,
        Verb::Forget { points } => repository::forget(&context, &points).await,
        Verb::Hold { point, lift } => history::hold(&context, &point, !lift).await,
        Verb::Log { from } => history::log(&context, from).await,
        Verb::Fence { session } => history::fence(&context, session).await,
        Verb::Cloud(verb) => cloud::carry_out(&context, verb).await,
        Verb::Target(verb) => target::carry_out(&context, verb).await,
        Verb::Collect(options) => repository::collect(&context, options).await,
        Verb::Verify(arguments) => damage::verify(&context, arguments).await,
        Verb::Repair(arguments) => damage::repair(&context, arguments).await,
        Verb::Replicate(options) => damage::copy(&context, options).await,
        Verb::Keep(arguments) => damage::keep(&context, arguments).await,
        Verb::Rebuild(options) => catalog::rebuild(&context, options).await,
        Verb::Stats => repository::stats(&context).await,
        Verb::Reap(options) => run::reap(&context, options).await,
        Verb::Key(verb) => key::carry_out(&context, verb).await,
        Verb::Disk(verb) => disk::carry_out(&context, verb).await,
    }
}
