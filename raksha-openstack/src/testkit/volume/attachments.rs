//! Attachments: who reaches a volume, and how.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::{World, cinder_time};
use super::{change, find, nothing_here, since};

/// `/attachments`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    since(call, 27)?;
    match (call.method.as_str(), path) {
        ("POST", []) => create(world, call),
        ("GET", []) => list(world, call, false),
        ("GET", ["detail"]) => list(world, call, true),
        ("GET", [id]) => {
            let attachment = find(world, call, Kind::Attachment, id)?;
            Ok(Reply::json(200, json!({"attachment": show(attachment)})))
        }
        ("PUT", [id]) => {
            let volume = find(world, call, Kind::Attachment, id)?
                .text("volume_id")
                .to_owned();
            let connector = call
                .body
                .pointer("/attachment/connector")
                .cloned()
                .unwrap_or_default();
            let before = find(world, call, Kind::Attachment, id)?.body.clone();
            connect(world, call, id, &volume, &connector);
            let attachment = find(world, call, Kind::Attachment, id)?;
            let mut body = show(attachment);
            // The answer is older than the connection.
            for key in ["status", "attached_at", "attach_mode"] {
                set(&mut body, key, before.get(key).cloned().unwrap_or_default());
            }
            if let Some(attachment) = world.state.get_mut(Kind::Attachment, id)
                && attachment.text("attach_mode") == "null"
            {
                attachment.set("attach_mode", "rw");
            }
            Ok(Reply::json(200, json!({"attachment": body})))
        }
        ("DELETE", [id]) => {
            let attachment = find(world, call, Kind::Attachment, id)?;
            let server = attachment.text("instance").to_owned();
            let volume = attachment.text("volume_id").to_owned();
            let lives = world.state.get(Kind::Server, &server);
            if lives.is_some_and(|server| !server.text("status").is_empty())
                && attachment.text("status") == "attached"
            {
                // Only Nova may: everybody else asks Nova.
                return Err(Refusal::conflict(format!(
                    "Detach volume from instance {server} using the Compute API"
                )));
            }
            world.state.remove(Kind::Attachment, id);
            refresh(world, call, &volume);
            let left = world
                .state
                .filter(Kind::Attachment, |left| left.text("volume_id") == volume);
            let left: Vec<_> = left.into_iter().map(show).collect();
            Ok(Reply::json(200, json!({"attachments": left})))
        }
        ("POST", [id, "action"]) if call.body.get("os-complete").is_some() => {
            since(call, 44)?;
            let volume = find(world, call, Kind::Attachment, id)?
                .text("volume_id")
                .to_owned();
            if let Some(attachment) = world.state.get_mut(Kind::Attachment, id) {
                attachment.set("status", "attached");
            }
            refresh(world, call, &volume);
            Ok(Reply::text(204, "application/json", ""))
        }
        _ => Err(nothing_here()),
    }
}

fn show(attachment: &Record) -> Value {
    let mut body = attachment.body.clone();
    set(&mut body, "id", json!(attachment.id));
    body
}

fn list(world: &World, call: &Call, detail: bool) -> Outcome {
    let who = call.who()?;
    let all = call.all_projects(who);
    let mut found = world.state.filter(Kind::Attachment, |attachment| {
        let wanted = ["volume_id", "status", "attach_mode"];
        let asked = |key: &str| {
            call.query(key)
                .is_none_or(|value| value == attachment.text(key))
        };
        let server = call
            .query("instance_id")
            .or_else(|| call.query("instance_uuid"));
        (all || attachment.project == who.project)
            && wanted.iter().all(|key| asked(key))
            && server.is_none_or(|server| server == attachment.text("instance"))
    });
    found.reverse();
    let items = found.into_iter().map(|attachment| {
        if detail {
            return show(attachment);
        }
        json!({"id": attachment.id, "status": attachment.get("status"), "instance": attachment.get("instance"),
            "volume_id": attachment.get("volume_id")})
    });
    Ok(Reply::json(
        200,
        json!({"attachments": items.collect::<Vec<_>>()}),
    ))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let wanted = call.body.get("attachment").cloned().unwrap_or_default();
    let volume_id = wanted
        .get("volume_uuid")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let volume = find(world, call, Kind::Volume, &volume_id)?;
    reserve(volume)?;
    let connector = wanted.get("connector").cloned().unwrap_or_default();
    // Cinder writes the word when it has decided nothing yet.
    let undecided = if connector.is_object() { "rw" } else { "null" };
    let mode = wanted.get("mode").and_then(Value::as_str);
    let mode = mode.unwrap_or(undecided).to_owned();
    let project = volume.project.clone();
    let id = world.uuid()?;
    let body = json!({"status": "reserved", "instance": wanted.get("instance_uuid"), "volume_id": volume_id,
        "attached_at": "", "detached_at": "", "attach_mode": mode, "connection_info": {}});
    world.state.add(Kind::Attachment, &project, &id, body);
    refresh(world, call, &volume_id);
    if !connector.is_object() {
        let attachment = find(world, call, Kind::Attachment, &id)?;
        return Ok(Reply::json(200, json!({"attachment": show(attachment)})));
    }
    connect(world, call, &id, &volume_id, &connector);
    let attachment = find(world, call, Kind::Attachment, &id)?;
    let mut body = show(attachment);
    // The answer is older than the connection.
    merge(&mut body, &json!({"status": "reserved", "attached_at": ""}));
    Ok(Reply::json(200, json!({"attachment": body})))
}

/// Refuses a volume that cannot be attached once more.
fn reserve(volume: &Record) -> Result<(), Refusal> {
    let status = volume.text("status");
    let shared = volume.get("multiattach") == &json!(true) && status == "in-use";
    if matches!(status, "available" | "downloading") || shared {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "Invalid volume: Volume {} status must be available or downloading to reserve, but the current status is {status}.",
        volume.id
    )))
}

/// The attachment tells how to reach the volume.
fn connect(world: &mut World, call: &Call, id: &str, volume: &str, connector: &Value) {
    let stamp = cinder_time(call.now / 1000 * 1000);
    let info = connection(world, volume, Some(id));
    if let Some(attachment) = world.state.get_mut(Kind::Attachment, id) {
        attachment
            .merge(&json!({"status": "attaching", "attached_at": stamp, "connection_info": info}));
        attachment.set_inner("connector", connector.clone());
    }
    refresh(world, call, volume);
}

/// What Cinder says about the way to a volume: its RBD image, or on type `nfs` its file, which here is the disk itself.
pub(super) fn connection(world: &World, volume: &str, attachment: Option<&str>) -> Value {
    let record = world.state.get(Kind::Volume, volume);
    let nfs = record.is_some_and(|record| record.text("volume_type").starts_with("nfs"));
    let mut info = if nfs {
        let path = world.disks.path(volume);
        let parent = path.parent().map(|parent| parent.display().to_string());
        json!({"export": format!("127.0.0.1:{}", parent.unwrap_or_default()), "name": volume, "options": null,
            "format": "raw", "mount_point_base": "/var/lib/cinder/mnt", "driver_volume_type": "nfs"})
    } else {
        json!({"name": format!("volumes/volume-{volume}"), "hosts": ["127.0.0.1"], "ports": ["6789"],
            "cluster_name": "ceph", "auth_enabled": true, "auth_username": "openstack", "secret_type": "ceph",
            "secret_uuid": "6b1d0e6e-5d3c-4c39-9c0e-7261666b7368", "volume_id": volume, "discard": true,
            "driver_volume_type": "rbd"})
    };
    merge(
        &mut info,
        &json!({"qos_specs": null, "access_mode": "rw", "encrypted": false, "cacheable": false}),
    );
    if let Some(attachment) = attachment {
        set(&mut info, "attachment_id", json!(attachment));
    }
    info
}

/// The volume shows the attachments that there are.
fn refresh(world: &mut World, call: &Call, volume: &str) {
    let all = world.state.filter(Kind::Attachment, |attachment| {
        attachment.text("volume_id") == volume
    });
    let status = match all.iter().map(|attachment| attachment.text("status")).max() {
        None => "available",
        Some("reserved") => "reserved",
        _ if all
            .iter()
            .any(|attachment| attachment.text("status") == "attached") =>
        {
            "in-use"
        }
        Some(_) => "attaching",
    };
    let attached = all
        .into_iter()
        .filter(|attachment| attachment.text("status") == "attached");
    let shown: Vec<_> = attached
        .map(|attachment| {
            let device = attachment.inner("device").as_str().unwrap_or("na");
            json!({"id": volume, "attachment_id": attachment.id, "volume_id": volume,
                "server_id": attachment.get("instance"), "host_name": null, "device": device,
                "attached_at": attachment.get("attached_at")})
        })
        .collect();
    let fields = json!({"status": status, "attachments": shown});
    change(world, call, (Kind::Volume, volume), &fields);
}

/// Nova attaches a volume to a server; the attachment's id.
pub(in super::super) fn attach(
    world: &mut World,
    call: &Call,
    volume_id: &str,
    server: &str,
    device: &str,
) -> Result<String, Refusal> {
    let volume = find(world, call, Kind::Volume, volume_id)?;
    if let Some(holder) = volume.get("attachments").pointer("/0/server_id") {
        let holder = holder.as_str().unwrap_or_default();
        let message = format!(
            "Invalid volume: volume {volume_id} is already attached to instances: {holder}"
        );
        if volume.get("multiattach") != &json!(true) {
            return Err(Refusal::bad(message));
        }
    }
    reserve(volume)?;
    let project = volume.project.clone();
    let id = world.uuid()?;
    let info = connection(world, volume_id, Some(&id));
    let body = json!({"status": "attached", "instance": server, "volume_id": volume_id,
        "attached_at": cinder_time(call.now / 1000 * 1000), "detached_at": "", "attach_mode": "rw",
        "connection_info": info});
    let record = world.state.add(Kind::Attachment, &project, &id, body);
    record.set_inner("device", device);
    refresh(world, call, volume_id);
    Ok(id)
}

/// Nova detaches a volume from a server.
pub(in super::super) fn detach(world: &mut World, volume: &str, server: &str) {
    let found = world.state.ids(Kind::Attachment, |attachment| {
        attachment.text("volume_id") == volume && attachment.text("instance") == server
    });
    for id in found {
        world.state.remove(Kind::Attachment, &id);
    }
    let left = world.state.ids(Kind::Attachment, |attachment| {
        attachment.text("volume_id") == volume
    });
    let Some(record) = world.state.get_mut(Kind::Volume, volume) else {
        return;
    };
    let mut shown = record
        .get("attachments")
        .as_array()
        .cloned()
        .unwrap_or_default();
    shown.retain(|one| one.get("server_id") != Some(&json!(server)));
    record.set("attachments", shown);
    if left.is_empty() {
        record.set("status", "available");
    }
}
