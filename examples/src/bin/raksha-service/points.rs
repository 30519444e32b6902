//! Recovery points and what they take, quotas, and who one is.

use raksha_core::id::PointId;
use raksha_core::repository::PointSize;
use raksha_core::{ListedPoint, Result};
use serde_json::{Value, json};

use crate::call::{Call, Reply, encode};

/// A point as it is shown.
fn view(point: &ListedPoint, size: Option<&PointSize>) -> Result<Value> {
    let summary = &point.summary;
    let mut shown = json!({
        "id": point.id, "name": summary.name, "taken": summary.taken, "job": summary.job, "run": summary.run,
        "principal": summary.principal, "servers": summary.servers, "held": point.held,
        "logical_bytes": summary.counts.logical_bytes, "counts": encode(&summary.counts)?,
    });
    if let Some(size) = size {
        shown["unique_bytes"] = size.unique_bytes.into();
        shown["shared_bytes"] = size.shared_bytes.into();
    }
    Ok(shown)
}

pub async fn list(call: Call) -> Result<Reply> {
    let points = call.app.acting.points(call.project()?).await?;
    let sizes = match call.flag("sizes")? {
        true => Some(call.app.sizes.find(&call.app.acting.repository).await?),
        false => None,
    };
    let shown = points.iter().map(|point| {
        let size = sizes.as_ref().and_then(|sizes| sizes.get(&point.id));
        view(point, size)
    });
    let shown = shown.collect::<Result<Vec<_>>>()?;
    call.page("points", shown, |one| {
        one.get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    })
}

pub async fn show(call: Call) -> Result<Reply> {
    let id: PointId = call.id("point_id")?;
    let acting = &call.app.acting;
    let listed = acting.point(call.project()?, id).await?;
    let point = acting.repository.point(id).await?;
    let sizes = call.app.sizes.find(&acting.repository).await?;
    let mut shown = view(&listed, sizes.get(&id))?;
    let servers = point.graph.servers.iter();
    shown["server_names"] = servers.map(|server| server.name.clone()).collect();
    let disks = point.disks.iter().map(|disk| -> Result<Value> {
        let reached = point.ledger.disks.iter().find(|one| one.disk == disk.disk);
        Ok(json!({
            "disk": disk.disk.to_string(), "size": disk.root.size, "counts": encode(&disk.counts)?,
            "consistency": reached.map(|one| one.level), "means": reached.map(|one| one.means.clone()),
        }))
    });
    shown["disks"] = disks.collect::<Result<Vec<_>>>()?.into();
    let omitted = point.graph.omissions.iter();
    shown["omissions"] = omitted
        .map(|one| format!("{}: {}", one.what, one.reason))
        .collect();
    Reply::one(200, "point", &shown)
}

pub async fn quotas(call: Call) -> Result<Reply> {
    let acting = &call.app.acting;
    let may = call.app.config.quotas.of(call.project()?.as_str());
    let has = acting.usage(call.project()?).await?;
    let quota = |allowed: Option<u64>, used: u64| json!({ "allowed": allowed, "used": used });
    Reply::one(
        200,
        "quotas",
        &json!({
            "points": quota(may.points, has.points),
            "stored_bytes": quota(may.stored_bytes, has.stored_bytes),
            "runs_per_day": quota(may.runs_per_day, has.runs_per_day),
        }),
    )
}

pub async fn session(call: Call) -> Result<Reply> {
    let caller = call.caller()?;
    let may = caller
        .roles
        .iter()
        .any(|role| call.app.config.tokens.roles.contains(role));
    Reply::one(
        200,
        "session",
        &json!({
            "project": { "id": caller.project, "name": caller.project_name },
            "user": { "name": caller.user_name },
            "expires": caller.expires, "may_change": may,
        }),
    )
}

pub async fn health(call: Call) -> Result<Reply> {
    call.app.acting.jobs.now().await?;
    Ok(Reply::json(200, json!({ "status": "ok" })))
}
