//! Restores: planned, approved, carried out.

use raksha_core::id::{PointId, RestoreId, RunId};
use raksha_core::protect::{Raksha, RestoreOptions, RestorePlan};
use raksha_core::store::{RestoreOutcome, RestoreRun, RestoreState};
use raksha_core::{Error, Kind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::background;
use crate::call::{Call, Reply, encode};
use crate::runs::disks;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    options: Option<RestoreOptions>,
    /// One that was looked at.
    plan: Option<RestorePlan>,
}

/// The point that the run of the path made, and the verbs as whoever asks.
async fn of_run(call: &Call) -> Result<(Raksha, PointId)> {
    let run: RunId = call.id("run_id")?;
    call.app.acting.jobs.run(call.project()?, run).await?;
    let raksha = call.app.acting.as_caller(call.caller()?).await?;
    let point = raksha.resolve(run).await?;
    Ok((raksha, point))
}

pub async fn plan(call: Call) -> Result<Reply> {
    let options = call.json::<Wanted>()?;
    if options.plan.is_some() {
        let message = "a plan is made from options: leave `plan` out";
        return Err(Error::new(Kind::Invalid, "plan restore", message));
    }
    let (raksha, point) = of_run(&call).await?;
    let plan = raksha
        .plan_restore(point, options.options.unwrap_or_default())
        .await?;
    let refused = plan.check().err();
    let planned = json!({
        "plan": encode(&plan)?,
        "bytes": plan.bytes(),
        "in_words": plan.to_string(),
        "refused": refused.map(|error| error.reason().to_owned()),
    });
    Ok(Reply::json(200, planned))
}

pub async fn begin(call: Call) -> Result<Reply> {
    let wanted = call.json::<Wanted>()?;
    if wanted.plan.is_some() && wanted.options.is_some() {
        let message = "a plan has its options in it: leave `options` out, or `plan`";
        return Err(Error::new(Kind::Invalid, "restore", message));
    }
    let (raksha, point) = of_run(&call).await?;
    let plan = match wanted.plan {
        Some(plan) if plan.point == point => plan,
        Some(plan) => {
            let message = "the plan is for another point than the run made";
            let error = Error::new(Kind::Invalid, "restore", message);
            return Err(error.with("plan", plan.point).with("run", point));
        }
        None => {
            raksha
                .plan_restore(point, wanted.options.unwrap_or_default())
                .await?
        }
    };
    let restore = raksha.restore(plan).await?;
    let id = restore.id();
    background::restore(&call.app, restore);
    Reply::one(202, "restore", &json!({ "id": id }))
}

/// A restore as it is shown.
fn view(call: &Call, restore: &RestoreRun) -> Result<Value> {
    let (status, ended, error) = match &restore.state {
        RestoreState::Running => ("running", None, None),
        RestoreState::Ended { at, outcome } => match outcome {
            RestoreOutcome::Succeeded => ("succeeded", Some(at), None),
            RestoreOutcome::Failed { error } => ("failed", Some(at), Some(error)),
            RestoreOutcome::Cancelled => ("cancelled", Some(at), None),
        },
    };
    let progress = call.app.acting.alive.progress(restore.id);
    let phase = progress.as_ref().map_or(restore.phase, |live| live.phase);
    Ok(json!({
        "id": restore.id, "point": restore.point, "started": restore.started, "seen": restore.seen,
        "status": status, "ended": ended, "error": error, "phase": phase,
        "created": encode(&restore.created)?, "disks": disks(progress.as_ref(), &restore.disks)?,
    }))
}

pub async fn list(call: Call) -> Result<Reply> {
    let restores = call.app.acting.jobs.restores(call.project()?).await?;
    let shown = restores.iter().map(|restore| view(&call, restore));
    let shown = shown.collect::<Result<Vec<_>>>()?;
    call.page("restores", shown, |one| {
        one.get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    })
}

pub async fn show(call: Call) -> Result<Reply> {
    let id: RestoreId = call.id("restore_id")?;
    let restore = call.app.acting.jobs.restore(call.project()?, id).await?;
    Reply::one(200, "restore", &view(&call, &restore)?)
}

pub async fn cancel(call: Call) -> Result<Reply> {
    let id: RestoreId = call.id("restore_id")?;
    let restore = call.app.acting.jobs.restore(call.project()?, id).await?;
    let refuse = |why: &str| {
        let error = Error::new(Kind::Conflict, "cancel restore", why).with("restore", id);
        Err(error.retryable(false))
    };
    if restore.state != RestoreState::Running {
        return refuse("the restore has ended already");
    }
    if !call.app.acting.alive.cancel(id) {
        let silent = call.app.acting.env.now().since(restore.seen);
        if silent < call.app.config.workers.dead_after {
            return refuse(
                "the restore lives in another process than the one that was asked, or died a moment ago: ask that one, or try again later",
            );
        }
        // It died: what it created is removed by whoever asks.
        let raksha = call.app.acting.as_caller(call.caller()?).await?;
        for left in raksha.undo_restore(id).await? {
            tracing::warn!(restore = %id, what = left.what, error = %left.error, "left in the cloud until it is cleaned up");
        }
    }
    Ok(Reply {
        status: 202,
        ..Reply::nothing()
    })
}
