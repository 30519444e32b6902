//! New servers.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Change, Kind, Record, merge};
use super::super::volume;
use super::super::world::{GIB, World, cinder_time, short_time};
use super::{devices, links, minor, nics, quotas, show};

/// `POST /servers`.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let who = call.who()?.clone();
    let minor = minor(call)?;
    let wanted = call.body.get("server").cloned().unwrap_or_default();
    let text = |key: &str| wanted.get(key).and_then(Value::as_str);
    let Some(name) = text("name") else {
        return Err(Refusal::bad(
            "Invalid input for field/attribute server. 'name' is a required property",
        ));
    };
    let flavor = flavor(world, text("flavorRef").unwrap_or_default())?;
    let image = boot_image(world, call, text("imageRef"))?;
    let plan = plan(&wanted, image.as_ref())?;
    if let Some(key) = text("key_name") {
        super::keypairs::find(world, &who.user, key)
            .map_err(|_| Refusal::bad("Invalid key_name provided."))?;
    }
    quotas::check(world, &who.project, &flavor)?;
    let requested = nics::requested(world, call, &wanted)?;
    check_devices(world, call, &plan)?;
    let group = text_at(&call.body, "/os:scheduler_hints/group");
    if let Some(group) = group {
        let known = world.state.get(Kind::ServerGroup, group);
        if known.is_none_or(|known| known.project != who.project) {
            return Err(Refusal::bad(format!(
                "Instance group {group} could not be found."
            )));
        }
    }
    let id = world.uuid()?;
    let now = short_time(call.now);
    let description = match wanted.get("description") {
        Some(description) => description.clone(),
        None if minor < 19 => json!(name),
        None => Value::Null,
    };
    let config_drive = match wanted.get("config_drive") {
        Some(Value::Bool(true)) => "True",
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => "True",
        _ => "",
    };
    let empty = json!({});
    let body = json!({
        "name": name, "status": "BUILD", "user_id": who.user, "metadata": wanted.get("metadata").unwrap_or(&empty),
        "tags": wanted.get("tags").unwrap_or(&json!([])), "description": description, "created": now, "updated": now,
        "OS-EXT-AZ:availability_zone": text("availability_zone").unwrap_or(world.options.zone), "config_drive": config_drive,
        "key_name": wanted.get("key_name"), "hostname": hostname(text("hostname").unwrap_or(name)),
        "OS-SRV-USG:launched_at": null, "OS-EXT-STS:task_state": "scheduling", "OS-EXT-STS:vm_state": "building",
        "OS-EXT-STS:power_state": 0,
    });
    let record = world.state.add(Kind::Server, &who.project, &id, body);
    record.inner = json!({"image": image.as_ref().map_or("", |image| image.id.as_str()), "flavor_id": flavor.id,
        "flavor": show::embedded_flavor(&flavor), "user_data": wanted.get("user_data"), "devices": [], "made_ports": []});
    if plan
        .first()
        .is_some_and(|device| is(device, "destination_type", "volume"))
    {
        record.set_inner("image", "");
    }
    // From here on Nova has answered: what fails puts the server into ERROR.
    let built = build(world, call, &id, &plan, &flavor, &requested);
    if let Some(group) = group.map(str::to_owned)
        && let Some(group) = world.state.get_mut(Kind::ServerGroup, &group)
    {
        let mut members = group.get("members").as_array().cloned().unwrap_or_default();
        members.push(json!(id));
        group.set("members", members);
    }
    let failed =
        json!({"status": "ERROR", "OS-EXT-STS:vm_state": "error", "OS-EXT-STS:task_state": null});
    let pace = world.options.pace.server;
    if built.is_err() {
        world.later(call.now, Kind::Server, &id, pace, Change::Set(failed));
    } else {
        let launched = cinder_time(call.now / 1000 * 1000);
        let done = json!({"status": "ACTIVE", "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": null,
            "OS-EXT-STS:power_state": 1, "OS-SRV-USG:launched_at": launched});
        world.settle(call, (Kind::Server, &id), pace, done, failed);
    }
    let location = format!("{}/compute/v2.1/servers/{id}", world.base);
    let groups = wanted
        .get("security_groups")
        .cloned()
        .unwrap_or_else(|| json!([{"name": "default"}]));
    let body = json!({"server": {"id": id, "links": links(world, "servers", &id), "OS-DCF:diskConfig": "MANUAL",
        "adminPass": "aDmInPaSs123", "security_groups": groups}});
    Ok(Reply::json(202, body).header("location", location))
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn is(device: &Value, key: &str, value: &str) -> bool {
    device.get(key).and_then(Value::as_str) == Some(value)
}

fn hostname(name: &str) -> String {
    let lower = name.to_lowercase().replace([' ', '_'], "-");
    lower
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.')
        .collect()
}

fn flavor(world: &World, wanted: &str) -> Result<Record, Refusal> {
    let id = wanted.rsplit('/').next().unwrap_or_default();
    let flavor = world.state.get(Kind::Flavor, id).cloned();
    flavor.ok_or_else(|| Refusal::bad(format!("Flavor {id} could not be found.")))
}

fn boot_image(world: &World, call: &Call, wanted: Option<&str>) -> Result<Option<Record>, Refusal> {
    let Some(id) = wanted.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let found =
        image::find(world, call, id).map_err(|_| Refusal::bad("Can not find requested image"))?;
    if found.text("status") != "active" {
        return Err(Refusal::bad(format!("Image {id} is not active.")));
    }
    Ok(Some(found.clone()))
}

/// The devices that are to be made, root first: as requested, and as the image's mapping says.
fn plan(wanted: &Value, image: Option<&Record>) -> Result<Vec<Value>, Refusal> {
    let mut plan: Vec<Value> = Vec::new();
    let mapping = image
        .map(|image| image.text("block_device_mapping"))
        .unwrap_or_default();
    if let Ok(Value::Array(mapping)) = serde_json::from_str(mapping) {
        for mut device in mapping {
            let snapshot = device.get("snapshot_id").cloned().unwrap_or_default();
            merge(&mut device, &json!({"uuid": snapshot}));
            plan.push(device);
        }
    }
    for device in wanted
        .get("block_device_mapping_v2")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        plan.push(device.clone());
    }
    for device in &mut plan {
        let boot = match device.get("boot_index") {
            Some(Value::String(text)) => text
                .parse::<i64>()
                .map_or(Value::Null, |index| json!(index)),
            Some(other) => other.clone(),
            None => Value::Null,
        };
        let target = match device.get("destination_type").and_then(Value::as_str) {
            Some(target) => target.to_owned(),
            None if is(device, "source_type", "image") || is(device, "source_type", "blank") => {
                "local".to_owned()
            }
            None => "volume".to_owned(),
        };
        merge(
            device,
            &json!({"boot_index": boot, "destination_type": target}),
        );
    }
    let has_root = plan
        .iter()
        .any(|device| device.get("boot_index") == Some(&json!(0)));
    if !has_root {
        let Some(image) = image else {
            return Err(if plan.is_empty() {
                Refusal::bad("Missing imageRef attribute")
            } else {
                Refusal::bad(
                    "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.",
                )
            });
        };
        let root = json!({"source_type": "image", "destination_type": "local", "uuid": image.id, "boot_index": 0,
            "delete_on_termination": true});
        plan.insert(0, root);
    }
    // The root is first; the others keep their order.
    plan.sort_by_key(|device| device.get("boot_index") != Some(&json!(0)));
    Ok(plan)
}

/// Refuses devices whose sources are not there or not free.
fn check_devices(world: &World, call: &Call, plan: &[Value]) -> Result<(), Refusal> {
    for device in plan {
        let id = device
            .get("uuid")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match device
            .get("source_type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "volume" => {
                let found = volume::find(world, call, Kind::Volume, id);
                let found = found.map_err(|_| {
                    Refusal::bad(format!(
                        "Block Device Mapping is Invalid: failed to get volume {id}."
                    ))
                })?;
                let shared = found.get("multiattach") == &json!(true);
                let status = found.text("status");
                if status != "available" && !shared {
                    return Err(Refusal::bad(format!(
                        "Invalid volume: volume '{id}' status must be 'available'. Currently in '{status}' status."
                    )));
                }
                let root = device.get("boot_index") == Some(&json!(0));
                if root && found.text("bootable") != "true" {
                    return Err(Refusal::bad(format!("Block Device {id} is not bootable.")));
                }
            }
            "snapshot" => {
                let found = volume::find(world, call, Kind::Snapshot, id);
                found.map_err(|_| {
                    Refusal::bad(format!(
                        "Block Device Mapping is Invalid: failed to get snapshot {id}."
                    ))
                })?;
            }
            "image" => {
                image::find(world, call, id).map_err(|_| {
                    Refusal::bad(format!(
                        "Block Device Mapping is Invalid: failed to get image {id}."
                    ))
                })?;
                let sized = device
                    .get("volume_size")
                    .is_some_and(|size| !size.is_null());
                if is(device, "destination_type", "volume") && !sized {
                    return Err(Refusal::bad(
                        "Block Device Mapping is Invalid: Images with destination_type 'volume' need to have a non-zero size specified",
                    ));
                }
            }
            "blank" => {}
            other => {
                return Err(Refusal::bad(format!(
                    "Invalid input for field/attribute source_type. Value: {other}."
                )));
            }
        }
    }
    Ok(())
}

fn build(
    world: &mut World,
    call: &Call,
    id: &str,
    plan: &[Value],
    flavor: &Record,
    requested: &[nics::Nic],
) -> Result<(), Refusal> {
    nics::plug(world, call, id, requested)?;
    let mut made: Vec<Value> = Vec::new();
    for (nth, wanted) in plan.iter().enumerate() {
        let name = devices::next_name(&made);
        let device = if is(wanted, "destination_type", "local") {
            local(world, id, nth, &name, wanted, flavor)?
        } else {
            on_volume(world, call, id, &name, wanted)?
        };
        made.push(device);
        if let Some(server) = world.state.get_mut(Kind::Server, id) {
            server.set_inner("devices", made.clone());
        }
    }
    // Extra local disks of the flavor follow the root.
    let root_is_local = plan
        .first()
        .is_some_and(|device| is(device, "destination_type", "local"));
    for (key, unit) in [("OS-FLV-EXT-DATA:ephemeral", GIB), ("swap", 1 << 20)] {
        let size = flavor.get(key).as_u64().unwrap_or_default() * unit;
        if size == 0 || !root_is_local {
            continue;
        }
        let name = devices::next_name(&made);
        let disk = format!("{id}.local{}", made.len());
        world.disks.create(&disk, size)?;
        made.push(json!({"disk": disk, "device_name": name, "boot_index": -1, "source_type": "blank",
            "destination_type": "local", "delete_on_termination": true, "device_type": "disk", "disk_bus": "virtio",
            "guest_format": if key == "swap" { json!("swap") } else { Value::Null }, "bdm_uuid": world.uuid()?}));
    }
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        server.set_inner("devices", made);
    }
    Ok(())
}

/// A disk on the host: the root from an image, or a blank one.
fn local(
    world: &World,
    id: &str,
    nth: usize,
    name: &str,
    wanted: &Value,
    flavor: &Record,
) -> Result<Value, Refusal> {
    let root = nth == 0;
    let disk = if root {
        id.to_owned()
    } else {
        format!("{id}.local{nth}")
    };
    let size = match wanted.get("volume_size").and_then(Value::as_u64) {
        Some(size) if !root => size * GIB,
        _ => flavor.get("disk").as_u64().unwrap_or_default() * GIB,
    };
    if is(wanted, "source_type", "image") {
        let image = wanted
            .get("uuid")
            .and_then(Value::as_str)
            .unwrap_or_default();
        volume::unpack(world, image, &disk, size)?;
    } else {
        world.disks.create(&disk, size)?;
    }
    Ok(
        json!({"disk": disk, "device_name": name, "boot_index": wanted.get("boot_index"), "source_type": wanted.get("source_type"),
        "destination_type": "local", "delete_on_termination": true, "device_type": "disk", "disk_bus": "virtio",
        "image_id": wanted.get("uuid"), "bdm_uuid": world.uuid()?}),
    )
}

/// A volume that is there, or that Nova makes of a snapshot, an image or nothing.
fn on_volume(
    world: &mut World,
    call: &Call,
    server: &str,
    name: &str,
    wanted: &Value,
) -> Result<Value, Refusal> {
    let uuid = wanted
        .get("uuid")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let source = wanted
        .get("source_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let volume_id = if source == "volume" {
        uuid.to_owned()
    } else {
        let mut new = json!({"name": "", "size": wanted.get("volume_size"), "volume_type": wanted.get("volume_type")});
        match source {
            "snapshot" => merge(&mut new, &json!({"snapshot_id": uuid})),
            "image" => merge(&mut new, &json!({"imageRef": uuid})),
            _ => {}
        }
        let made = volume::make_volume(world, call, &new)?;
        // Nova waits for its own volumes.
        world
            .state
            .work
            .iter_mut()
            .filter(|work| work.id == made)
            .for_each(|work| work.due = call.now);
        world.tick(call.now);
        made
    };
    let attachment = volume::attach(world, call, &volume_id, server, name)?;
    let mut more = json!({"boot_index": wanted.get("boot_index"), "source_type": source,
        "delete_on_termination": wanted.get("delete_on_termination").unwrap_or(&json!(false)),
        "tag": wanted.get("tag")});
    for key in ["disk_bus", "device_type", "guest_format"] {
        if let Some(value) = wanted.get(key).filter(|value| !value.is_null()) {
            super::super::state::set(&mut more, key, value.clone());
        }
    }
    devices::of_volume(world, (&volume_id, name), &attachment, &more)
}
