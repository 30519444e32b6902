//! How much a project may have.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::policy::denied;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, set};
use super::super::world::World;
use super::nothing_here;

fn used(world: &World, project: &str, resource: &str) -> u64 {
    let of = |kind| world.state.of(kind, project);
    let size = |kind| -> u64 {
        of(kind)
            .iter()
            .filter_map(|one| one.get("size").as_u64())
            .sum()
    };
    let count = |kind| of(kind).len() as u64;
    match resource {
        "volumes" => count(Kind::Volume),
        "snapshots" => count(Kind::Snapshot),
        "gigabytes" => size(Kind::Volume) + size(Kind::Snapshot),
        "groups" => count(Kind::Group),
        _ => 0,
    }
}

/// Refuses so much more than the project may have, in Cinder's words.
pub(in super::super) fn check(
    world: &World,
    project: &str,
    volume_type: &str,
    amounts: &[(&str, u64)],
) -> Result<(), Refusal> {
    for (resource, amount) in amounts {
        let used = used(world, project, resource);
        for resource in [(*resource).to_owned(), format!("{resource}_{volume_type}")] {
            let limit = world.limit(project, &resource);
            let Ok(limit) = u64::try_from(limit) else {
                continue;
            };
            if used + amount <= limit {
                continue;
            }
            let message = if resource.starts_with("gigabytes") {
                format!(
                    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {resource} quota. Requested {amount}G, quota is {limit}G and {used}G has been consumed."
                )
            } else if resource.starts_with("snapshots") {
                format!(
                    "SnapshotLimitExceeded: Maximum number of snapshots allowed ({limit}) exceeded"
                )
            } else {
                format!(
                    "VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota '{resource}'."
                )
            };
            return Err(Refusal::new(413, message).retry_after(0));
        }
    }
    Ok(())
}

/// `GET /limits`.
pub(super) fn absolute(world: &World, project: &str) -> Outcome {
    let limit = |resource: &str| world.limit(project, resource);
    let used = |resource: &str| used(world, project, resource);
    Ok(Reply::json(
        200,
        json!({"limits": {"rate": [], "absolute": {
            "maxTotalVolumes": limit("volumes"), "maxTotalSnapshots": limit("snapshots"),
            "maxTotalVolumeGigabytes": limit("gigabytes"), "maxTotalBackups": 100, "maxTotalBackupGigabytes": 2000,
            "totalVolumesUsed": used("volumes"), "totalGigabytesUsed": used("gigabytes"),
            "totalSnapshotsUsed": used("snapshots"), "totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0}}}),
    ))
}

/// `/os-quota-sets/PROJECT`.
pub(super) fn sets(world: &World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?;
    let ("GET", [project]) = (call.method.as_str(), path) else {
        return Err(nothing_here());
    };
    if *project != who.project && !who.is_admin() {
        return Err(denied(call.area, "volume_extension:quotas:show"));
    }
    let usage = call.query("usage").is_some_and(super::super::call::truth);
    let mut quota = Map::new();
    let mut add = |resource: String, in_use: u64| {
        let limit = match resource.as_str() {
            "backups" => 100,
            "backup_gigabytes" => 2000,
            other => world.limit(project, other),
        };
        let value = if usage {
            json!({"limit": limit, "in_use": in_use, "reserved": 0})
        } else {
            json!(limit)
        };
        quota.insert(resource, value);
    };
    for resource in [
        "volumes",
        "per_volume_gigabytes",
        "snapshots",
        "gigabytes",
        "backups",
        "backup_gigabytes",
        "groups",
    ] {
        add(resource.to_owned(), used(world, project, resource));
    }
    for kind in world.state.all(Kind::VolumeType) {
        for resource in ["volumes", "gigabytes", "snapshots"] {
            add(format!("{resource}_{}", kind.text("name")), 0);
        }
    }
    let mut quota = Value::Object(quota);
    set(&mut quota, "id", json!(project));
    Ok(Reply::json(200, json!({"quota_set": quota})))
}
