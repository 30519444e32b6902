//! `createImage`: snapshots of servers.
//!
//! Of a server that is booted from a volume Nova makes an image without bytes, whose property `block_device_mapping` names a snapshot
//! of each volume, all taken while the guest is frozen. Of any other server it makes an image of the root disk alone.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::call::{Call, Fate};
use super::super::image;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Change, Kind, Record, merge, set};
use super::super::volume;
use super::super::world::World;
use super::actions::state_is;
use super::{devices, minor};

/// What quiescing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quiesced {
    /// The guest is frozen.
    Yes,
    /// It is not, and need not be.
    No,
}

pub(super) fn serve(
    world: &mut World,
    call: &Call,
    server: &Record,
    arguments: &Value,
    pause: &mut Duration,
) -> Outcome {
    state_is(
        server,
        "createImage",
        &["active", "stopped", "paused", "suspended"],
    )?;
    let Some(name) = arguments.get("name").and_then(Value::as_str) else {
        return Err(Refusal::bad(
            "Invalid input for field/attribute createImage. 'name' is a required property",
        ));
    };
    let metadata = arguments
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let root_is_volume = devices::of(server)
        .first()
        .is_some_and(|root| root.get("volume_id").is_some());
    let image = if root_is_volume {
        volume_backed(world, call, server, name, &metadata, pause)?
    } else {
        image_backed(world, call, server, name, &metadata, pause)?
    };
    if minor(call)? >= 45 {
        return Ok(Reply::json(202, json!({"image_id": image})));
    }
    let location = format!("{}/image/images/{image}", world.base);
    Ok(Reply::text(202, "text/html; charset=UTF-8", "").header("location", location))
}

/// The properties of the image that a server was booted from, directly or by way of its root volume.
fn boot_properties(world: &World, server: &Record) -> Value {
    let root = devices::of(server)
        .first()
        .and_then(|root| root.get("volume_id")?.as_str());
    let mut all = match root.and_then(|root| world.state.get(Kind::Volume, root)) {
        Some(volume) => volume.get("volume_image_metadata").clone(),
        None => server.inner("image_properties").clone(),
    };
    if all.as_object().is_none_or(serde_json::Map::is_empty) {
        let image = world.state.get(Kind::Image, server.inner_text("image"));
        all = image.map(|image| image.body.clone()).unwrap_or_default();
    }
    let mut kept = json!({});
    for (key, value) in all.as_object().into_iter().flatten() {
        let property = [
            "hw_",
            "os_type",
            "os_require_quiesce",
            "os_distro",
            "os_version",
            "os_admin_user",
        ];
        if value.is_string() && property.iter().any(|prefix| key.starts_with(prefix)) {
            set(&mut kept, key, value.clone());
        }
    }
    kept
}

fn yes(properties: &Value, key: &str) -> bool {
    let text = properties.get(key).and_then(Value::as_str).unwrap_or("no");
    super::super::call::truth(text)
}

/// Freezes the guest if that is wanted and possible.
fn quiesce(
    world: &mut World,
    server: &Record,
    properties: &Value,
    pause: &mut Duration,
) -> Result<Quiesced, Refusal> {
    if server.text("OS-EXT-STS:vm_state") != "active" {
        return Ok(Quiesced::No);
    }
    let required = yes(properties, "os_require_quiesce");
    if !yes(properties, "hw_qemu_guest_agent") {
        if required {
            return Err(Refusal::conflict("QEMU guest agent is not enabled"));
        }
        return Ok(Quiesced::No);
    }
    let guest = world.state.guests.entry(server.id.clone()).or_default();
    if guest.agent_hangs {
        *pause = world.options.agent_timeout;
        if required {
            return Err(Refusal::new(
                500,
                "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log if possible.\n<class 'oslo_messaging.exceptions.MessagingTimeout'>",
            ));
        }
        return Ok(Quiesced::No);
    }
    guest.frozen += 1;
    Ok(Quiesced::Yes)
}

fn thaw(world: &mut World, server: &str, quiesced: Quiesced) {
    if quiesced == Quiesced::Yes {
        world
            .state
            .guests
            .entry(server.to_owned())
            .or_default()
            .thawed += 1;
    }
}

/// What every image of a server says.
fn properties(
    world: &World,
    call: &Call,
    server: &Record,
    metadata: &Value,
) -> Result<Value, Refusal> {
    let who = call.who()?;
    let name_of = |kind, id: &str| {
        world
            .state
            .get(kind, id)
            .map(|one| one.text("name").to_owned())
    };
    let mut all = boot_properties(world, server);
    // Nova adds what libvirt chose.
    for (key, value) in [
        ("hw_machine_type", "pc"),
        ("hw_cdrom_bus", "ide"),
        ("hw_disk_bus", "virtio"),
        ("hw_input_bus", "usb"),
        ("hw_pointer_model", "usbtablet"),
        ("hw_video_model", "virtio"),
        ("hw_vif_model", "virtio"),
    ] {
        if all.get(key).is_none() {
            set(&mut all, key, json!(value));
        }
    }
    let mut roles = who.roles.clone();
    roles.sort_unstable();
    merge(
        &mut all,
        &json!({"base_image_ref": server.inner_text("image"), "owner_user_name": name_of(Kind::User, &who.user),
        "owner_project_name": name_of(Kind::Project, &who.project), "boot_roles": roles.join(",")}),
    );
    merge(&mut all, metadata);
    Ok(all)
}

fn volume_backed(
    world: &mut World,
    call: &Call,
    server: &Record,
    name: &str,
    metadata: &Value,
    pause: &mut Duration,
) -> Result<String, Refusal> {
    let mut all = properties(world, call, server, metadata)?;
    check_limit(world, server)?;
    let quiesced = quiesce(world, server, &all, pause)?;
    let mapping = snapshots(world, call, server, name, quiesced);
    thaw(world, &server.id, quiesced);
    // What was snapshotted before stays, as with the real one.
    let mapping = mapping.map_err(|refusal| match refusal.status {
        413 => over_quota(),
        _ => refusal,
    })?;
    merge(
        &mut all,
        &json!({"name": name, "visibility": "private", "root_device_name": "/dev/vda", "bdm_v2": "True",
        "block_device_mapping": Value::Array(mapping).to_string(), "min_ram": 0,
        "min_disk": min_disk(world, server)}),
    );
    let id = world.uuid()?;
    image::add(world, (&call.who()?.project, call.now), &id, &all);
    std::fs::write(world.disks.path(&id), [])?;
    let empty = json!({"status": "active", "size": 0, "virtual_size": null, "disk_format": "qcow2", "container_format": "bare",
        "checksum": "d41d8cd98f00b204e9800998ecf8427e", "os_hash_algo": "sha512",
        "os_hash_value": super::super::http::hex(ring::digest::digest(&ring::digest::SHA512, &[]).as_ref()),
        "direct_url": format!("file://{}", world.disks.path(&id).display()), "stores": "file"});
    let fields = match call.fate {
        Fate::Fine => empty,
        Fate::Error => json!({"status": "killed"}),
        Fate::Unfinished => json!({}),
    };
    if let Some(image) = world.state.get_mut(Kind::Image, &id) {
        image.merge(&fields);
    }
    Ok(id)
}

fn over_quota() -> Refusal {
    Refusal::denied("Quota exceeded for resources: snapshots")
}

/// Refuses what would be more snapshots than the project may have, before any is taken.
fn check_limit(world: &World, server: &Record) -> Result<(), Refusal> {
    let limit = world.limit(&server.project, "snapshots");
    let all = devices::of(server);
    let wanted = all
        .iter()
        .filter(|device| device.get("volume_id").is_some())
        .count();
    let used = world.state.of(Kind::Snapshot, &server.project).len();
    match usize::try_from(limit) {
        Ok(limit) if wanted + used > limit => Err(over_quota()),
        _ => Ok(()),
    }
}

fn min_disk(world: &World, server: &Record) -> Value {
    let image = world.state.get(Kind::Image, server.inner_text("image"));
    let of_image = image.map(|image| image.get("min_disk").clone());
    of_image.unwrap_or_else(|| {
        server
            .inner("flavor")
            .get("disk")
            .cloned()
            .unwrap_or_else(|| json!(1))
    })
}

/// A snapshot of each volume, and the mapping that names them.
fn snapshots(
    world: &mut World,
    call: &Call,
    server: &Record,
    name: &str,
    quiesced: Quiesced,
) -> Result<Vec<Value>, Refusal> {
    let mut mapping = Vec::new();
    for device in devices::of(server) {
        let mut entry = json!({"device_name": device.get("device_name"), "boot_index": device.get("boot_index"),
            "delete_on_termination": device.get("delete_on_termination"), "device_type": device.get("device_type"),
            "disk_bus": device.get("disk_bus"), "guest_format": device.get("guest_format"), "no_device": null,
            "image_id": null, "volume_id": null, "tag": null, "volume_type": null, "encrypted": null,
            "encryption_secret_uuid": null, "encryption_format": null, "encryption_options": null});
        if let Some(id) = device.get("volume_id").and_then(Value::as_str) {
            if quiesced == Quiesced::No && !mapping.is_empty() {
                // The snapshots are taken one after the other, and the guest goes on meanwhile.
                super::super::DevCloud::go_on_writing(world, &server.id)?;
            }
            let wanted = json!({"name": format!("snapshot for {name}"), "description": null});
            let snapshot = volume::take_snapshot(world, call, id, &wanted)?;
            let size = world
                .state
                .get(Kind::Volume, id)
                .map(|volume| volume.get("size").clone());
            merge(
                &mut entry,
                &json!({"source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot,
                "volume_size": size}),
            );
        } else {
            merge(
                &mut entry,
                &json!({"source_type": "blank", "destination_type": "local", "snapshot_id": null,
                "volume_size": null}),
            );
        }
        mapping.push(entry);
    }
    Ok(mapping)
}

fn image_backed(
    world: &mut World,
    call: &Call,
    server: &Record,
    name: &str,
    metadata: &Value,
    pause: &mut Duration,
) -> Result<String, Refusal> {
    let mut all = properties(world, call, server, metadata)?;
    let boot = all.clone();
    merge(
        &mut all,
        &json!({"name": name, "visibility": "private", "instance_uuid": server.id, "user_id": call.who()?.user,
        "image_type": "snapshot", "min_ram": 0, "min_disk": min_disk(world, server)}),
    );
    let id = world.uuid()?;
    image::add(world, (&call.who()?.project, call.now), &id, &all);
    let pace = world.options.pace.image;
    // The guest is frozen on the compute node, after the answer: if that fails, Nova deletes the image again.
    let Ok(quiesced) = quiesce(world, server, &boot, pause) else {
        *pause = Duration::ZERO;
        world.later(call.now, Kind::Image, &id, pace, Change::Remove);
        return Ok(id);
    };
    let format = world.options.local_image_format;
    let root = devices::of(server)
        .first()
        .and_then(|root| root.get("disk")?.as_str());
    let filled = image::fill(world, root.unwrap_or(&server.id), &id, format);
    thaw(world, &server.id, quiesced);
    let mut done = filled?;
    merge(
        &mut done,
        &json!({"disk_format": format, "container_format": "bare", "image_state": "available",
        "owner_id": call.who()?.project, "image_location": "snapshot"}),
    );
    world.later(
        call.now,
        Kind::Image,
        &id,
        pace / 2,
        Change::Set(json!({"status": "saving"})),
    );
    world.settle(
        call,
        (Kind::Image, &id),
        pace,
        done,
        json!({"status": "killed"}),
    );
    if let Some(server) = world.state.get_mut(Kind::Server, &server.id) {
        server.set("OS-EXT-STS:task_state", "image_snapshot");
    }
    let idle = Change::Set(json!({"OS-EXT-STS:task_state": null}));
    world.later(call.now, Kind::Server, &server.id, pace, idle);
    Ok(id)
}
