//! Volumes: made from nothing, a snapshot, a volume or an image; changed; deleted.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image;
use super::super::qcow2;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, merge};
use super::super::world::{GIB, World, cinder_time};
use super::{change, find, is_uuid, limits, show, types};

/// What is copied from an image to the volume that is made of it.
const OF_IMAGE: [&str; 6] = [
    "checksum",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "size",
];

/// Where a volume's first bytes come from.
enum Source {
    Nothing,
    /// A snapshot or a volume: its id.
    Disk(String),
    /// An image's id.
    Image(String),
}

pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let wanted = call.body.get("volume").cloned().unwrap_or_default();
    let id = make(world, call, &wanted)?;
    let volume = find(world, call, Kind::Volume, &id)?;
    let mut body = show::volume(world, call, volume, false)?;
    // The scheduler has not placed it yet.
    if super::minor(call)? >= 48 {
        merge(
            &mut body,
            &json!({"shared_targets": true, "service_uuid": null}),
        );
    }
    Ok(Reply::json(202, json!({"volume": body})))
}

/// Makes a volume as `wanted`, for the caller; its id.
pub(in super::super) fn make(
    world: &mut World,
    call: &Call,
    wanted: &Value,
) -> Result<String, Refusal> {
    let who = call.who()?.clone();
    let text = |key: &str| {
        wanted
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    for (field, key) in [
        ("snapshot_id", "snapshot_id"),
        ("source_volid", "source_volid"),
    ] {
        if let Some(value) = text(key).filter(|value| !is_uuid(value)) {
            return Err(Refusal::bad(format!(
                "Invalid input for field/attribute {field}. Value: {value}. '{value}' is not valid under any of the given schemas"
            )));
        }
    }
    let mut metadata = json!({});
    let mut bootable = false;
    let mut default_type = None;
    let mut least = 0;
    let source = if let Some(id) = text("snapshot_id") {
        let snapshot = find(world, call, Kind::Snapshot, id)?;
        let status = snapshot.text("status");
        if status != "available" {
            return Err(Refusal::bad(
                "Invalid snapshot: Originating snapshot status must be one of 'available' values",
            ));
        }
        least = snapshot.get("size").as_u64().unwrap_or_default();
        metadata = snapshot.inner("volume_image_metadata").clone();
        bootable = snapshot.inner("bootable") == &json!(true);
        default_type = Some(snapshot.inner_text("volume_type").to_owned());
        Source::Disk(id.to_owned())
    } else if let Some(id) = text("source_volid") {
        let volume = find(world, call, Kind::Volume, id)?;
        if !["available", "in-use"].contains(&volume.text("status")) {
            return Err(Refusal::bad(
                "Invalid volume: Originating volume status must be one of 'available', 'in-use' values",
            ));
        }
        least = volume.get("size").as_u64().unwrap_or_default();
        metadata = volume.get("volume_image_metadata").clone();
        bootable = volume.text("bootable") == "true";
        default_type = Some(volume.text("volume_type").to_owned());
        Source::Disk(id.to_owned())
    } else if let Some(id) = text("imageRef").or_else(|| text("image_id")) {
        let found = image::find(world, call, id);
        let found = found.map_err(|_| {
            Refusal::bad("Invalid image identifier or unable to access requested image.")
        })?;
        if found.text("status") != "active" {
            return Err(Refusal::bad(format!(
                "Invalid input received: Image {id} is not active."
            )));
        }
        let bytes = found
            .get("virtual_size")
            .as_u64()
            .max(found.get("size").as_u64());
        least = bytes.unwrap_or_default().div_ceil(GIB);
        let min_disk = found.get("min_disk").as_u64().unwrap_or_default();
        least = least.max(min_disk);
        metadata = image_metadata(&found.body, id);
        bootable = true;
        // An image that names a snapshot has no bytes: its volume is made of the snapshot.
        Source::Image(id.to_owned())
    } else {
        Source::Nothing
    };
    let size = match wanted.get("size") {
        Some(Value::Number(size)) => size.as_u64().filter(|size| *size > 0),
        Some(Value::String(size)) => size.parse::<u64>().ok().filter(|size| *size > 0),
        _ if matches!(source, Source::Disk(_)) => Some(least),
        _ => None,
    };
    let Some(size) = size else {
        return Err(Refusal::bad(
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ));
    };
    if size < least {
        let message = match &source {
            Source::Image(_) => format!(
                "Invalid input received: Size of specified image {least}GB is larger than volume size {size}GB."
            ),
            _ => format!(
                "Invalid input received: Volume size '{size}'GB cannot be smaller than the snapshot size {least}GB. They must be >= original snapshot size."
            ),
        };
        return Err(Refusal::bad(message));
    }
    let kind = types::resolve(world, text("volume_type"), default_type.as_deref())?;
    limits::check(
        world,
        &who.project,
        &kind.name,
        &[("volumes", 1), ("gigabytes", size)],
    )?;
    let multiattach = kind.multiattach;
    let id = world.uuid()?;
    let stamp = cinder_time(call.now / 1000 * 1000);
    let source_of = |key: &str| wanted.get(key).filter(|value| value.is_string()).cloned();
    let body = json!({
        "status": "creating", "size": size, "availability_zone": text("availability_zone").unwrap_or(world.options.zone),
        "created_at": stamp, "updated_at": null, "name": wanted.get("name"), "description": wanted.get("description"),
        "volume_type": kind.name, "snapshot_id": source_of("snapshot_id"), "source_volid": source_of("source_volid"),
        "metadata": wanted.get("metadata").filter(|metadata| metadata.is_object()).unwrap_or(&json!({})),
        "user_id": who.user, "bootable": if bootable && matches!(source, Source::Disk(_)) { "true" } else { "false" }, "encrypted": false, "replication_status": null,
        "consistencygroup_id": null, "multiattach": multiattach, "attachments": [],
        "group_id": wanted.get("group_id"), "service_uuid": "00000000-0000-4000-a000-000000000001",
    });
    let failure = fill(world, &id, &source, size).err();
    let record = world.state.add(Kind::Volume, &who.project, &id, body);
    record.set_inner("volume_type_id", kind.id);
    if let Some(failure) = failure {
        // Cinder takes the request and fails later, where the client sees only the state.
        record.set_inner("why", failure.to_string());
        record.set("status", "error");
        return Ok(id);
    }
    let mut done =
        json!({"status": "available", "bootable": if bootable { "true" } else { "false" }});
    if metadata.is_object() {
        merge(&mut done, &json!({"volume_image_metadata": metadata}));
    }
    let pace = world.options.pace.volume;
    world.settle(
        call,
        (Kind::Volume, &id),
        pace,
        done,
        json!({"status": "error"}),
    );
    Ok(id)
}

/// Puts the bytes there.
fn fill(world: &World, id: &str, source: &Source, size: u64) -> std::io::Result<()> {
    match source {
        Source::Nothing => world.disks.create(id, size * GIB),
        Source::Disk(from) => world.disks.copy(from, id, size * GIB),
        Source::Image(from) => unpack(world, from, id, size * GIB),
    }
}

/// Makes a raw disk of an image.
pub(in super::super) fn unpack(
    world: &World,
    image: &str,
    disk: &str,
    size: u64,
) -> std::io::Result<()> {
    let record = world.state.get(Kind::Image, image);
    match record.map(|image| image.text("disk_format")) {
        Some("qcow2") => qcow2::read(&world.disks.path(image), &world.disks.path(disk), size),
        _ => world.disks.copy(image, disk, size),
    }
}

/// What Cinder keeps of an image that a volume was made of.
pub(super) fn image_metadata(image: &Value, id: &str) -> Value {
    let own = [
        "name",
        "status",
        "visibility",
        "virtual_size",
        "os_hash_algo",
        "os_hash_value",
        "owner",
        "created_at",
        "updated_at",
        "protected",
        "os_hidden",
        "tags",
        "direct_url",
        "stores",
        "block_device_mapping",
        "bdm_v2",
    ];
    let text = |value: &Value| match value {
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    };
    let mut kept = json!({"image_id": id, "image_name": image.get("name")});
    for (key, value) in image.as_object().into_iter().flatten() {
        if OF_IMAGE.contains(&key.as_str()) || !own.contains(&key.as_str()) {
            super::super::state::set(&mut kept, key, text(value));
        }
    }
    kept
}

pub(super) fn update(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, Kind::Volume, id)?;
    let wanted = call.body.get("volume").cloned().unwrap_or_default();
    let mut fields = json!({});
    for (key, as_key) in [
        ("name", "name"),
        ("display_name", "name"),
        ("description", "description"),
        ("display_description", "description"),
        ("metadata", "metadata"),
    ] {
        if let Some(value) = wanted.get(key) {
            super::super::state::set(&mut fields, as_key, value.clone());
        }
    }
    change(world, call, (Kind::Volume, id), &fields);
    let volume = find(world, call, Kind::Volume, id)?;
    Ok(Reply::json(
        200,
        json!({"volume": show::volume(world, call, volume, false)?}),
    ))
}

pub(super) fn delete(world: &mut World, call: &Call, id: &str) -> Outcome {
    let volume = find(world, call, Kind::Volume, id)?;
    let cascade = call.query("cascade").is_some_and(super::super::call::truth);
    let snapshots = world
        .state
        .ids(Kind::Snapshot, |snapshot| snapshot.text("volume_id") == id);
    let idle = [
        "available",
        "error",
        "error_restoring",
        "error_extending",
        "error_managing",
    ];
    let attached = volume
        .get("attachments")
        .as_array()
        .is_some_and(|all| !all.is_empty());
    let in_group = volume.get("group_id").is_string();
    let fine = idle.contains(&volume.text("status")) && !attached && !in_group;
    if !fine || (!snapshots.is_empty() && !cascade) {
        return Err(Refusal::bad(
            "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer.",
        ));
    }
    for snapshot in snapshots {
        change(
            world,
            call,
            (Kind::Snapshot, &snapshot),
            &json!({"status": "deleting"}),
        );
        world.remove_later(
            call,
            (Kind::Snapshot, &snapshot),
            json!({"status": "error_deleting"}),
        );
    }
    change(
        world,
        call,
        (Kind::Volume, id),
        &json!({"status": "deleting"}),
    );
    world.remove_later(
        call,
        (Kind::Volume, id),
        json!({"status": "error_deleting"}),
    );
    Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
}
