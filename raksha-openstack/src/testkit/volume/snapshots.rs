//! Snapshots of volumes.

use serde_json::{Value, json};

use super::super::call::{Call, truth};
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, set};
use super::super::world::{World, cinder_time};
use super::{change, find, is_uuid, limits, minor, show};

/// The `force` of a request: since 3.66 it is no more, unless true.
fn force(call: &Call, wanted: &Value) -> Result<bool, Refusal> {
    let stated = wanted.get("force").map(|force| match force {
        Value::Bool(force) => *force,
        Value::String(text) => truth(text),
        _ => false,
    });
    if minor(call)? < 66 {
        return Ok(stated.unwrap_or(false));
    }
    if stated == Some(false) {
        return Err(Refusal::bad(
            "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, when the 'force' flag is passed with a value evaluating to True, it is silently ignored.",
        ));
    }
    Ok(true)
}

pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let wanted = call.body.get("snapshot").cloned().unwrap_or_default();
    let volume_id = wanted
        .get("volume_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !is_uuid(volume_id) {
        return Err(Refusal::bad(format!(
            "Invalid input for field/attribute volume_id. Value: {volume_id}. '{volume_id}' is not valid under any of the given schemas"
        )));
    }
    let force = force(call, &wanted)?;
    let volume = find(world, call, Kind::Volume, volume_id)?;
    let status = volume.text("status");
    let fine = status == "available" || (force && status == "in-use");
    if !fine {
        let message = if force {
            format!(
                "Invalid volume: Volume {volume_id} status must be available or in-use, but current status is: {status}."
            )
        } else {
            format!(
                "Invalid volume: Volume {volume_id} status must be available, but current status is: {status}."
            )
        };
        return Err(Refusal::bad(message));
    }
    let id = take(world, call, volume_id, &wanted)?;
    let snapshot = find(world, call, Kind::Snapshot, &id)?;
    Ok(Reply::json(
        202,
        json!({"snapshot": show::snapshot(call, snapshot, false)?}),
    ))
}

/// Takes a snapshot of a volume now, in whatever state it is; `wanted` has its name, description and metadata.
pub(in super::super) fn take(
    world: &mut World,
    call: &Call,
    volume_id: &str,
    wanted: &Value,
) -> Result<String, Refusal> {
    let who = call.who()?.clone();
    let volume = find(world, call, Kind::Volume, volume_id)?.clone();
    let size = volume.get("size").as_u64().unwrap_or_default();
    let amounts = [("snapshots", 1), ("gigabytes", size)];
    limits::check(world, &volume.project, volume.text("volume_type"), &amounts)?;
    let id = world.uuid()?;
    world.disks.copy(volume_id, &id, 0)?;
    let stamp = cinder_time(call.now / 1000 * 1000);
    let metadata = wanted
        .get("metadata")
        .filter(|metadata| metadata.is_object());
    let body = json!({"created_at": stamp, "updated_at": null, "name": wanted.get("name"),
        "description": wanted.get("description"), "volume_id": volume_id, "status": "creating", "size": size,
        "metadata": metadata.unwrap_or(&json!({})), "group_snapshot_id": wanted.get("group_snapshot_id"),
        "user_id": who.user});
    let record = world.state.add(Kind::Snapshot, &volume.project, &id, body);
    record.inner = json!({"volume_type": volume.text("volume_type"),
        "volume_image_metadata": volume.get("volume_image_metadata"),
        "bootable": volume.text("bootable") == "true"});
    let pace = world.options.pace.snapshot;
    let done = json!({"status": "available"});
    world.settle(
        call,
        (Kind::Snapshot, &id),
        pace,
        done,
        json!({"status": "error"}),
    );
    Ok(id)
}

pub(super) fn update(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, Kind::Snapshot, id)?;
    let mut fields = json!({});
    for key in ["name", "description", "metadata"] {
        if let Some(value) = call.body.pointer(&format!("/snapshot/{key}")) {
            set(&mut fields, key, value.clone());
        }
    }
    change(world, call, (Kind::Snapshot, id), &fields);
    let snapshot = find(world, call, Kind::Snapshot, id)?;
    Ok(Reply::json(
        200,
        json!({"snapshot": show::snapshot(call, snapshot, false)?}),
    ))
}

pub(super) fn delete(world: &mut World, call: &Call, id: &str) -> Outcome {
    let snapshot = find(world, call, Kind::Snapshot, id)?;
    let in_group = !snapshot.text("group_snapshot_id").is_empty();
    if in_group || !["available", "error"].contains(&snapshot.text("status")) {
        return Err(Refusal::bad(
            "Invalid snapshot: Snapshot status must be available or error and must not be part of a group, and must not be in-use",
        ));
    }
    change(
        world,
        call,
        (Kind::Snapshot, id),
        &json!({"status": "deleting"}),
    );
    world.remove_later(
        call,
        (Kind::Snapshot, id),
        json!({"status": "error_deleting"}),
    );
    Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
}
