//! Actions on volumes and snapshots.

use serde_json::{Value, json};

use super::super::call::{Call, truth};
use super::super::image;
use super::super::policy::{action, admin_only};
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Change, Kind, as_map, merge, set};
use super::super::world::{GIB, World};
use super::{attachments, change, find, limits, minor, reimage};

/// `POST /volumes/ID/action`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str) -> Outcome {
    let name = action(call).unwrap_or_default();
    let arguments = call.body.get(name).cloned().unwrap_or_default();
    let volume = find(world, call, Kind::Volume, id)?;
    let status = volume.text("status").to_owned();
    let key = (Kind::Volume, id);
    match name {
        "os-set_bootable" => {
            let bootable = match arguments.get("bootable") {
                Some(Value::Bool(bootable)) => *bootable,
                Some(Value::String(text)) => truth(text),
                _ => return Err(Refusal::bad("Invalid value for bootable")),
            };
            change(
                world,
                call,
                key,
                &json!({"bootable": if bootable { "true" } else { "false" }}),
            );
            Ok(Reply::text(200, "application/json", ""))
        }
        "os-set_image_metadata" => {
            let mut kept = volume.get("volume_image_metadata").clone();
            merge(&mut kept, arguments.get("metadata").unwrap_or(&Value::Null));
            change(world, call, key, &json!({"volume_image_metadata": kept}));
            Ok(Reply::json(200, json!({"metadata": kept})))
        }
        "os-unset_image_metadata" => {
            let mut kept = volume.get("volume_image_metadata").clone();
            let name = arguments
                .get("key")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let removed = as_map(&mut kept).and_then(|map| map.remove(name));
            removed.ok_or_else(|| Refusal::missing("Metadata does not exist."))?;
            change(world, call, key, &json!({"volume_image_metadata": kept}));
            Ok(Reply::text(200, "application/json", ""))
        }
        "os-show_image_metadata" => {
            let kept = volume.get("volume_image_metadata");
            Ok(Reply::json(200, json!({"metadata": kept})))
        }
        "os-extend" => extend(world, call, id, &arguments),
        "os-reimage" => reimage::reimage(world, call, id, &arguments),
        "os-volume_upload_image" => upload(world, call, id, &arguments),
        "os-reserve" => {
            if status != "available" {
                return Err(Refusal::bad(format!(
                    "Invalid volume: Volume status must be available to reserve, but the status is {status}."
                )));
            }
            change(world, call, key, &json!({"status": "attaching"}));
            Ok(accepted())
        }
        "os-unreserve" => {
            change(world, call, key, &json!({"status": "available"}));
            Ok(accepted())
        }
        "os-initialize_connection" => {
            let info = attachments::connection(world, id, None);
            let kind = info.get("driver_volume_type").cloned();
            Ok(Reply::json(
                200,
                json!({"connection_info": {"driver_volume_type": kind, "data": info}}),
            ))
        }
        "os-terminate_connection" | "os-detach" | "os-roll_detaching" => Ok(accepted()),
        "os-begin_detaching" => {
            if status != "in-use" {
                return Err(Refusal::bad(
                    "Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.",
                ));
            }
            Ok(accepted())
        }
        "os-update_readonly_flag" => Ok(accepted()),
        "os-retype" => {
            let wanted = arguments.get("new_type").and_then(Value::as_str);
            let kind = super::types::resolve(world, wanted, None)?;
            change(world, call, key, &json!({"volume_type": kind.name}));
            Ok(accepted())
        }
        "os-reset_status" => {
            admin_only(call, "volume_extension:volume_admin_actions:reset_status")?;
            let status = arguments.get("status").cloned().unwrap_or_default();
            change(world, call, key, &json!({"status": status}));
            Ok(accepted())
        }
        "os-force_delete" => {
            admin_only(call, "volume_extension:volume_admin_actions:force_delete")?;
            change(world, call, key, &json!({"status": "deleting"}));
            world.remove_later(call, key, json!({"status": "error_deleting"}));
            Ok(accepted())
        }
        other => Err(Refusal::bad(format!("There is no such action: {other}"))),
    }
}

fn accepted() -> Reply {
    Reply::text(202, "text/html; charset=UTF-8", "")
}

fn extend(world: &mut World, call: &Call, id: &str, arguments: &Value) -> Outcome {
    let volume = find(world, call, Kind::Volume, id)?;
    let status = volume.text("status").to_owned();
    let size = volume.get("size").as_u64().unwrap_or_default();
    let wanted = arguments
        .get("new_size")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if status != "available" && !(status == "in-use" && minor(call)? >= 42) {
        return Err(Refusal::bad(format!(
            "Invalid volume: Volume {id} status must be '('available',)' to extend, currently {status}."
        )));
    }
    if wanted <= size {
        return Err(Refusal::bad(format!(
            "Invalid input received: New size for extend must be greater than current size. (current: {size}, extended: {wanted})."
        )));
    }
    let kind = volume.text("volume_type").to_owned();
    let project = volume.project.clone();
    limits::check(world, &project, &kind, &[("gigabytes", wanted - size)])?;
    world.disks.grow(id, wanted * GIB)?;
    change(
        world,
        call,
        (Kind::Volume, id),
        &json!({"status": "extending"}),
    );
    let pace = world.options.pace.volume;
    let done = json!({"status": status, "size": wanted});
    world.settle(
        call,
        (Kind::Volume, id),
        pace,
        done,
        json!({"status": "error_extending"}),
    );
    Ok(accepted())
}

/// `os-volume_upload_image`: the volume's bytes become an image.
fn upload(world: &mut World, call: &Call, id: &str, arguments: &Value) -> Outcome {
    let who = call.who()?.clone();
    let volume = find(world, call, Kind::Volume, id)?.clone();
    // `force` helps nothing: `enable_force_upload` is off, as it is by default.
    if volume.text("status") != "available" {
        return Err(Refusal::bad(format!(
            "Invalid volume: Volume {id} status must be available"
        )));
    }
    let text = |key: &str| arguments.get(key).and_then(Value::as_str);
    let name = text("image_name").unwrap_or_default();
    let format = text("disk_format").unwrap_or("raw");
    let container = text("container_format").unwrap_or("bare");
    if text("visibility") == Some("public") {
        admin_only(call, "volume_extension:volume_actions:upload_public")?;
    }
    let visibility = text("visibility").unwrap_or("private");
    let mut properties = json!({"name": name, "disk_format": format, "container_format": container,
        "visibility": visibility, "protected": arguments.get("protected").unwrap_or(&json!(false))});
    let glance = [
        "image_id",
        "image_name",
        "checksum",
        "container_format",
        "disk_format",
        "min_disk",
        "min_ram",
        "size",
    ];
    for (key, value) in volume
        .get("volume_image_metadata")
        .as_object()
        .into_iter()
        .flatten()
    {
        if !glance.contains(&key.as_str()) {
            set(&mut properties, key, value.clone());
        }
    }
    let image = world.uuid()?;
    image::add(world, (&who.project, call.now), &image, &properties);
    let done = image::fill(world, id, &image, format)?;
    let pace = world.options.pace.image;
    let saving = Change::Set(json!({"status": "saving"}));
    world.later(call.now, Kind::Image, &image, pace / 2, saving);
    world.settle(
        call,
        (Kind::Image, &image),
        pace,
        done,
        json!({"status": "killed"}),
    );
    change(
        world,
        call,
        (Kind::Volume, id),
        &json!({"status": "uploading"}),
    );
    let back = Change::Set(json!({"status": "available"}));
    world.later(call.now, Kind::Volume, id, pace, back);
    let kind = super::types::of(world, volume.text("volume_type"));
    Ok(Reply::json(
        202,
        json!({"os-volume_upload_image": {"id": id, "updated_at": volume.get("updated_at"), "status": "uploading",
            "display_description": volume.get("description"), "size": volume.get("size"), "volume_type": kind,
            "image_id": image, "container_format": container, "disk_format": format, "image_name": name,
            "protected": properties.get("protected"), "visibility": visibility}}),
    ))
}

/// `POST /snapshots/ID/action`.
pub(super) fn on_snapshot(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, Kind::Snapshot, id)?;
    let key = (Kind::Snapshot, id);
    match action(call) {
        Some(name @ "os-reset_status") => {
            admin_only(call, "volume_extension:snapshot_admin_actions:reset_status")?;
            let status = call.body.pointer(&format!("/{name}/status")).cloned();
            change(world, call, key, &json!({"status": status}));
            Ok(accepted())
        }
        Some("os-force_delete") => {
            admin_only(call, "volume_extension:snapshot_admin_actions:force_delete")?;
            world.remove_later(call, key, json!({"status": "error_deleting"}));
            Ok(accepted())
        }
        _ => Err(Refusal::bad("There is no such action")),
    }
}
