//! Backup runs, and cleaning up after those that died.

use raksha_core::protect::{Dead, Raksha};
use raksha_core::store::{BackupRun, RunOutcome, RunState};
use raksha_core::{Error, Kind, Result};
use serde_json::json;

use crate::args::{ReapOptions, RunVerb};
use crate::context::Context;
use crate::output::{short, size, table};

pub async fn carry_out(context: &Context, verb: RunVerb) -> Result<()> {
    let jobs = context.jobs().await?;
    let project = context.project().await?;
    match verb {
        RunVerb::List { job } => {
            let job = match job {
                Some(text) => Some(context.raksha().await?.find_job(&text).await?.id),
                None => None,
            };
            let runs = jobs.runs(&project, job).await?;
            context.output.show(&runs, || runs_table(&runs))
        }
        RunVerb::Show { run } => {
            let runs = jobs.runs(&project, None).await?;
            let mut found = runs.iter().filter(|r| r.id.to_string().starts_with(&run));
            let run = match (found.next(), found.next()) {
                (Some(only), None) => only,
                (first, _) => {
                    let (kind, why) = match first {
                        Some(_) => (
                            Kind::Invalid,
                            "several ids begin like this: write more of it",
                        ),
                        None => (Kind::NotFound, "the project has no such run"),
                    };
                    return Err(Error::new(kind, "find run", why).with("run", run));
                }
            };
            context.output.show(run, || {
                let disks = run.disks.iter().map(|disk| {
                    [
                        disk.disk.to_string(),
                        size(disk.counts.logical_bytes),
                        size(disk.counts.read_bytes),
                        size(disk.counts.new_bytes),
                        size(disk.counts.stored_bytes),
                    ]
                });
                let mut lines = vec![
                    format!("run      {}", run.id),
                    format!("job      {}", run.job),
                    format!("started  {}", run.started),
                    format!("state    {}", state(run)),
                ];
                lines.extend(run.warnings.iter().map(|why| format!("warning  {why}")));
                lines.push(table(["DISK", "SIZE", "READ", "NEW", "STORED"], disks));
                lines.join("\n")
            })
        }
    }
}

/// Runs as a table.
pub fn runs_table(runs: &[BackupRun]) -> String {
    let rows = runs.iter().map(|run| {
        [
            short(run.id),
            run.started.to_string(),
            size(run.counts.logical_bytes),
            size(run.counts.read_bytes),
            size(run.counts.stored_bytes),
            state(run),
        ]
    });
    table(["RUN", "STARTED", "SIZE", "READ", "STORED", "STATE"], rows)
}

fn state(run: &BackupRun) -> String {
    match &run.state {
        RunState::Running => format!("running, last seen {}", run.seen),
        RunState::Ended { outcome, .. } => match outcome {
            RunOutcome::Succeeded { point } => format!("succeeded: point {}", short(point)),
            RunOutcome::Failed { error } => format!("failed: {error}"),
            RunOutcome::Cancelled => "cancelled".to_owned(),
        },
    }
}

/// Cleans up.
pub async fn reap(context: &Context, options: ReapOptions) -> Result<()> {
    let ReapOptions {
        all,
        silent_for,
        undo,
        into,
    } = options;
    let raksha = context.raksha_into(into.as_deref()).await?;
    if let Some(restore) = undo {
        return undo_restore(context, &raksha, &restore).await;
    }
    let dead = match all {
        true => Dead::All,
        false => Dead::SilentFor(silent_for),
    };
    let reaped = raksha.reap(dead).await?;
    let left: Vec<String> = reaped
        .left
        .iter()
        .map(|l| format!("{}: {}", l.what, l.error))
        .collect();
    let result = json!({
        "runs": reaped.runs,
        "restores": reaped.restores,
        "released": reaped.released,
        "left": left,
    });
    context.output.show(&result, || {
        let runs = reaped
            .runs
            .iter()
            .map(|run| format!("run {}: {}", short(run.id), state(run)));
        let restores = reaped
            .restores
            .iter()
            .map(|r| format!("restore {}: interrupted", short(r.id)));
        let mut lines: Vec<String> = runs.chain(restores).collect();
        lines.push(format!("removed {} things from the cloud", reaped.released));
        lines.join("\n")
    })?;
    still_there(&left)
}

async fn undo_restore(context: &Context, raksha: &Raksha, text: &str) -> Result<()> {
    let restores = raksha.restores().await?;
    let mut found = restores
        .iter()
        .filter(|r| r.id.to_string().starts_with(text));
    let (Some(restore), None) = (found.next(), found.next()) else {
        let why = "the project has not exactly one restore whose id begins like this";
        return Err(Error::new(Kind::NotFound, "find restore", why).with("restore", text));
    };
    let left = raksha.undo_restore(restore.id).await?;
    let left: Vec<String> = left
        .iter()
        .map(|l| format!("{}: {}", l.what, l.error))
        .collect();
    context
        .output
        .show(&json!({ "restore": restore.id, "left": left }), String::new)?;
    still_there(&left)
}

fn still_there(left: &[String]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let message = format!(
        "not everything could be removed, try again later: {}",
        left.join("; ")
    );
    Err(Error::new(Kind::Unavailable, "reap", message))
}
