//! The disks of servers: which, by what name, attached and detached.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, as_map, merge};
use super::super::volume;
use super::super::world::World;
use super::{find, minor, nothing_here};

/// The block devices of a server, in the order of their names.
pub(super) fn of(server: &Record) -> Vec<&Value> {
    server
        .inner("devices")
        .as_array()
        .into_iter()
        .flatten()
        .collect()
}

/// The ids of a server's disks, in the order of its devices: volumes, and local disks.
pub(in super::super) fn disks_of(server: &Record) -> Vec<String> {
    let disks = of(server)
        .into_iter()
        .filter_map(|device| device.get("disk")?.as_str());
    disks.map(str::to_owned).collect()
}

/// The name of the next device.
pub(super) fn next_name(devices: &[Value]) -> String {
    let taken = |name: &String| {
        devices
            .iter()
            .any(|device| device.get("device_name").and_then(Value::as_str) == Some(name))
    };
    let mut names = ('a'..='z').map(|letter| format!("/dev/vd{letter}"));
    names
        .find(|name| !taken(name))
        .unwrap_or_else(|| "/dev/vdzz".to_owned())
}

/// A device that is a volume.
pub(super) fn of_volume(
    world: &World,
    (volume, name): (&str, &str),
    attachment: &str,
    more: &Value,
) -> Result<Value, Refusal> {
    let mut device = json!({"volume_id": volume, "disk": volume, "device_name": name, "attachment_id": attachment,
        "bdm_uuid": world.uuid()?, "boot_index": null, "delete_on_termination": false, "tag": null,
        "source_type": "volume", "destination_type": "volume", "device_type": "disk", "disk_bus": "virtio"});
    merge(&mut device, more);
    Ok(device)
}

fn show(server: &Record, device: &Value, minor: u32) -> Value {
    let field = |key: &str| device.get(key).cloned().unwrap_or_default();
    let mut body = json!({"volumeId": field("volume_id"), "serverId": server.id, "device": field("device_name")});
    if minor < 89 {
        merge(&mut body, &json!({"id": field("volume_id")}));
    } else {
        merge(
            &mut body,
            &json!({"attachment_id": field("attachment_id"), "bdm_uuid": field("bdm_uuid")}),
        );
    }
    if minor >= 70 {
        merge(&mut body, &json!({"tag": field("tag")}));
    }
    if minor >= 79 {
        merge(
            &mut body,
            &json!({"delete_on_termination": field("delete_on_termination")}),
        );
    }
    body
}

/// `/servers/ID/os-volume_attachments`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    let minor = minor(call)?;
    let server = find(world, call, id)?.clone();
    let volumes = of(&server)
        .into_iter()
        .filter(|device| device.get("volume_id").is_some());
    let volumes: Vec<Value> = volumes.cloned().collect();
    let device = |volume: &str| {
        let found = volumes
            .iter()
            .find(|device| device.get("volume_id") == Some(&json!(volume)));
        found.ok_or_else(|| {
            Refusal::missing(format!("Instance {id} is not attached to volume {volume}"))
        })
    };
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let shown: Vec<_> = volumes
                .iter()
                .map(|device| show(&server, device, minor))
                .collect();
            Ok(Reply::json(200, json!({"volumeAttachments": shown})))
        }
        ("GET", [volume]) => {
            let shown = show(&server, device(volume)?, minor);
            Ok(Reply::json(200, json!({"volumeAttachment": shown})))
        }
        ("POST", []) => attach(world, call, &server),
        ("PUT", [volume]) => {
            device(volume)?;
            let wanted = call
                .body
                .pointer("/volumeAttachment/delete_on_termination")
                .cloned();
            change(world, id, |device| {
                if device.get("volume_id") == Some(&json!(volume)) {
                    merge(device, &json!({"delete_on_termination": wanted}));
                }
            });
            Ok(Reply::empty(202))
        }
        ("DELETE", [volume]) => {
            let device = device(volume)?;
            let may = [
                "active",
                "paused",
                "stopped",
                "resized",
                "soft-delete",
                "suspended",
                "shelved",
            ];
            super::actions::state_is(&server, "detach_volume", &may)?;
            if device.get("boot_index") == Some(&json!(0)) {
                return Err(Refusal::bad(format!(
                    "Cannot detach a root device volume {volume}: it is the boot volume"
                )));
            }
            detach(world, id, volume);
            Ok(Reply::empty(202))
        }
        _ => Err(nothing_here()),
    }
}

/// Changes the devices of a server one by one.
fn change(world: &mut World, server: &str, mut each: impl FnMut(&mut Value)) {
    if let Some(server) = world.state.get_mut(Kind::Server, server) {
        let mut devices = server
            .inner("devices")
            .as_array()
            .cloned()
            .unwrap_or_default();
        devices.iter_mut().for_each(&mut each);
        server.set_inner("devices", devices);
    }
}

/// The server has the volume no more.
pub(super) fn detach(world: &mut World, server: &str, volume: &str) {
    volume::detach(world, volume, server);
    if let Some(server) = world.state.get_mut(Kind::Server, server) {
        let mut devices = server
            .inner("devices")
            .as_array()
            .cloned()
            .unwrap_or_default();
        devices.retain(|device| device.get("volume_id") != Some(&json!(volume)));
        server.set_inner("devices", devices);
    }
}

fn attach(world: &mut World, call: &Call, server: &Record) -> Outcome {
    let minor = minor(call)?;
    let wanted = call
        .body
        .get("volumeAttachment")
        .cloned()
        .unwrap_or_default();
    let volume = wanted
        .get("volumeId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let may = [
        "active",
        "paused",
        "stopped",
        "resized",
        "soft-delete",
        "suspended",
        "shelved",
    ];
    super::actions::state_is(server, "attach_volume", &may)?;
    let known = volume::find(world, call, Kind::Volume, volume);
    known.map_err(|_| Refusal::missing(format!("Volume {volume} could not be found.")))?;
    let mut devices = server
        .inner("devices")
        .as_array()
        .cloned()
        .unwrap_or_default();
    // A stated name is a wish that libvirt does not grant.
    let name = next_name(&devices);
    let attachment = volume::attach(world, call, volume, &server.id, &name)?;
    let mut more = json!({});
    for key in ["tag", "delete_on_termination"] {
        if let Some(value) = wanted.get(key)
            && let Some(map) = as_map(&mut more)
        {
            map.insert(key.to_owned(), value.clone());
        }
    }
    let device = of_volume(world, (volume, &name), &attachment, &more)?;
    // What attaching answers with never changed with 2.89.
    let shown = show(server, &device, minor.min(88));
    devices.push(device);
    if let Some(server) = world.state.get_mut(Kind::Server, &server.id) {
        server.set_inner("devices", devices);
    }
    Ok(Reply::json(200, json!({"volumeAttachment": shown})))
}
