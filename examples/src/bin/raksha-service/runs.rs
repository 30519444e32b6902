//! Backup runs.

use raksha_core::cloud::DiskId;
use raksha_core::id::{JobId, RunId};
use raksha_core::protect::{Dead, Progress, RunOptions};
use raksha_core::store::{BackupRun, DiskProgress, RunCounts, RunOutcome, RunState};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::background;
use crate::call::{Call, Reply, encode};

/// A run as it is shown; with `restorable` if it is known which points there are.
pub fn view(call: &Call, run: &BackupRun, restorable: Option<bool>) -> Result<Value> {
    let (status, ended, point, error) = match &run.state {
        RunState::Running => ("running", None, None, None),
        RunState::Ended { at, outcome } => match outcome {
            RunOutcome::Succeeded { point } => ("succeeded", Some(at), Some(point), None),
            RunOutcome::Failed { error } => ("failed", Some(at), None, Some(error)),
            RunOutcome::Cancelled => ("cancelled", Some(at), None, None),
        },
    };
    // What lives here tells more than its record, which is some seconds old.
    let progress = call.app.acting.alive.progress(run.id);
    let phase = progress.as_ref().map_or(run.phase, |live| live.phase);
    let mut counts = run.counts;
    if let Some(live) = &progress {
        counts = RunCounts::default();
        for disk in &live.disks {
            counts += disk.counts;
        }
    }
    let mut shown = json!({
        "id": run.id, "job": run.job, "due": run.due, "started": run.started, "seen": run.seen,
        "status": status, "ended": ended, "point": point, "error": error, "phase": phase, "counts": encode(&counts)?,
    });
    if let Some(restorable) = restorable {
        shown["restorable"] = restorable.into();
    }
    Ok(shown)
}

/// The disks of something that goes on or has ended: from this process, or else as they were recorded.
pub fn disks(progress: Option<&Progress>, recorded: &[DiskProgress]) -> Result<Value> {
    let each = |disk: &DiskId, counts: &RunCounts| -> Result<Value> {
        Ok(json!({ "disk": disk.to_string(), "counts": encode(counts)? }))
    };
    let mut shown = Vec::new();
    match progress {
        Some(live) => {
            for disk in &live.disks {
                let mut one = each(&disk.disk, &disk.counts)?;
                one["size"] = disk.size.into();
                one["done"] = disk.done.into();
                shown.push(one);
            }
        }
        None => {
            for disk in recorded {
                shown.push(each(&disk.disk, &disk.counts)?);
            }
        }
    }
    Ok(shown.into())
}

/// The same with each disk, and what its owner should know.
fn details(call: &Call, run: &BackupRun, restorable: bool) -> Result<Value> {
    let progress = call.app.acting.alive.progress(run.id);
    let mut shown = view(call, run, Some(restorable))?;
    shown["disks"] = disks(progress.as_ref(), &run.disks)?;
    let now = |live: &Progress| live.warnings.iter().map(ToString::to_string).collect();
    let warnings: Vec<String> = progress.as_ref().map_or_else(|| run.warnings.clone(), now);
    shown["warnings"] = warnings.into();
    Ok(shown)
}

fn id_of(run: &Value) -> String {
    run.get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

async fn wanted(call: &Call) -> Result<Vec<BackupRun>> {
    let jobs = &call.app.acting.jobs;
    let job: Option<JobId> = match call.option("job") {
        None => None,
        Some(text) => Some(text.parse()?),
    };
    jobs.runs(call.project()?, job).await
}

pub async fn list(call: Call) -> Result<Reply> {
    let runs = wanted(&call).await?;
    let shown = runs.iter().map(|run| view(&call, run, None));
    let shown = shown.collect::<Result<Vec<_>>>()?;
    call.page("backupjobruns", shown, id_of)
}

pub async fn detail(call: Call) -> Result<Reply> {
    let runs = wanted(&call).await?;
    let points = call.app.acting.points(call.project()?).await?;
    let shown = runs.iter().map(|run| {
        let there = points.iter().any(|point| point.summary.run == Some(run.id));
        details(&call, run, there)
    });
    let shown = shown.collect::<Result<Vec<_>>>()?;
    call.page("backupjobruns", shown, id_of)
}

pub async fn show(call: Call) -> Result<Reply> {
    let acting = &call.app.acting;
    let run = acting.jobs.run(call.project()?, call.id("run_id")?).await?;
    let point = acting.point_of(call.project()?, run.id).await?;
    Reply::one(200, "backupjobrun", &details(&call, &run, point.is_some())?)
}

pub async fn begin(call: Call) -> Result<Reply> {
    let id: JobId = call.id("job_id")?;
    let options = match call.flag("prepare")? {
        true => RunOptions::in_full(),
        false => RunOptions::default(),
    };
    let job = call.app.acting.jobs.job(call.project()?, id).await?;
    let raksha = call.app.acting.as_caller(call.caller()?).await?;
    // What died before is in the way of nothing, but it costs: snapshots that somebody has to remove.
    let dead = Dead::SilentFor(call.app.config.workers.dead_after);
    if let Err(error) = raksha.reap(dead).await {
        tracing::warn!(%error, "what died could not be cleaned up");
    }
    let run = raksha.run_with(id, options).await?;
    let begun = run.id();
    background::run(&call.app, raksha, job, run);
    Reply::one(202, "backupjobrun", &json!({ "id": begun }))
}

pub async fn forget(call: Call) -> Result<Reply> {
    let acting = &call.app.acting;
    let run = acting.jobs.run(call.project()?, call.id("run_id")?).await?;
    if run.state == RunState::Running {
        let message = "the run is under way: cancel it, or wait for its end";
        let error = Error::new(Kind::Conflict, "forget run", message).retryable(false);
        return Err(error.with("run", run.id));
    }
    if let Some(point) = acting.point_of(call.project()?, run.id).await? {
        acting.forget(call.caller()?, &point).await?;
    }
    Ok(Reply::nothing())
}

pub async fn cancel(call: Call) -> Result<Reply> {
    let acting = &call.app.acting;
    let id: RunId = call.id("run_id")?;
    let mut run = acting.jobs.run(call.project()?, id).await?;
    if run.state != RunState::Running {
        let message = "the run has ended already";
        let error = Error::new(Kind::Conflict, "cancel run", message).retryable(false);
        return Err(error.with("run", id));
    }
    if !acting.alive.cancel(id) {
        let dead = call.app.config.workers.dead_after;
        if acting.env.now().since(run.seen) >= dead {
            // It died: what it had in the cloud is removed by whoever asks.
            let raksha = acting.as_caller(call.caller()?).await?;
            raksha.reap(Dead::SilentFor(dead)).await?;
            return Ok(Reply {
                status: 202,
                ..Reply::nothing()
            });
        }
        // It lives elsewhere, and finds out there when it next gives a sign of life.
        run.state = RunState::Ended {
            at: acting.env.now(),
            outcome: RunOutcome::Cancelled,
        };
        acting.jobs.update_run(&run).await?;
    }
    Ok(Reply {
        status: 202,
        ..Reply::nothing()
    })
}
