//! Groups of volumes. Their snapshots are of one instant whatever their type, for nobody writes while a request is answered.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge};
use super::super::world::{World, cinder_time};
use super::{change, find, nothing_here, since, snapshots};

/// `/group_types`.
pub(super) fn types(world: &World, call: &Call, path: &[&str]) -> Outcome {
    since(call, 11)?;
    let show = |kind: &Record| json!({"id": kind.id, "name": kind.get("name"), "description": kind.get("description"), "is_public": true});
    match path {
        [] => {
            let mut all: Vec<_> = world
                .state
                .all(Kind::GroupType)
                .into_iter()
                .map(show)
                .collect();
            all.reverse();
            Ok(Reply::json(200, json!({"group_types": all})))
        }
        [id] => {
            let kind = world
                .state
                .get(Kind::GroupType, id)
                .ok_or_else(nothing_here)?;
            Ok(Reply::json(200, json!({"group_type": show(kind)})))
        }
        _ => Err(nothing_here()),
    }
}

fn show(group: &Record) -> Value {
    let mut body = group.body.clone();
    merge(&mut body, &json!({"id": group.id}));
    body
}

/// `/groups`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    since(call, 13)?;
    let who = call.who()?.clone();
    match (call.method.as_str(), path) {
        ("POST", []) => {
            let wanted = call.body.get("group").cloned().unwrap_or_default();
            let id = world.uuid()?;
            let body = json!({"status": "creating", "availability_zone": world.options.zone,
                "created_at": cinder_time(call.now / 1000 * 1000), "name": wanted.get("name"),
                "description": wanted.get("description"), "group_type": wanted.get("group_type"),
                "volume_types": wanted.get("volume_types"), "group_snapshot_id": null, "source_group_id": null});
            world.state.add(Kind::Group, &who.project, &id, body);
            let pace = world.options.pace.volume;
            let done = json!({"status": "available"});
            world.settle(
                call,
                (Kind::Group, &id),
                pace,
                done,
                json!({"status": "error"}),
            );
            Ok(Reply::json(
                202,
                json!({"group": {"id": id, "name": wanted.get("name")}}),
            ))
        }
        ("GET", []) | ("GET", ["detail"]) => {
            let all = world.state.of(Kind::Group, &who.project);
            let all = all.into_iter().map(|group| {
                if path.is_empty() {
                    json!({"id": group.id, "name": group.get("name")})
                } else {
                    show(group)
                }
            });
            Ok(Reply::json(200, json!({"groups": all.collect::<Vec<_>>()})))
        }
        ("GET", [id]) => {
            let group = find(world, call, Kind::Group, id)?;
            Ok(Reply::json(200, json!({"group": show(group)})))
        }
        ("PUT", [id]) => {
            find(world, call, Kind::Group, id)?;
            let texts = |key: &str| -> Vec<String> {
                let text = call
                    .body
                    .pointer(&format!("/group/{key}"))
                    .and_then(Value::as_str);
                text.unwrap_or_default()
                    .split(',')
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            for volume in texts("add_volumes") {
                find(world, call, Kind::Volume, &volume)?;
                change(
                    world,
                    call,
                    (Kind::Volume, &volume),
                    &json!({"group_id": id}),
                );
            }
            for volume in texts("remove_volumes") {
                find(world, call, Kind::Volume, &volume)?;
                change(
                    world,
                    call,
                    (Kind::Volume, &volume),
                    &json!({"group_id": null}),
                );
            }
            Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
        }
        ("POST", [id, "action"]) if call.body.get("delete").is_some() => {
            find(world, call, Kind::Group, id)?;
            let with_volumes = call.body.pointer("/delete/delete-volumes") == Some(&json!(true));
            let members = world
                .state
                .ids(Kind::Volume, |volume| volume.text("group_id") == *id);
            if !members.is_empty() && !with_volumes {
                return Err(Refusal::bad(format!(
                    "Invalid Group: Group {id} still contains volumes. The delete-volumes flag is required to delete it."
                )));
            }
            for volume in members {
                change(
                    world,
                    call,
                    (Kind::Volume, &volume),
                    &json!({"status": "deleting"}),
                );
                world.remove_later(
                    call,
                    (Kind::Volume, &volume),
                    json!({"status": "error_deleting"}),
                );
            }
            change(
                world,
                call,
                (Kind::Group, id),
                &json!({"status": "deleting"}),
            );
            world.remove_later(call, (Kind::Group, id), json!({"status": "error_deleting"}));
            Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
        }
        _ => Err(nothing_here()),
    }
}

/// `/group_snapshots`.
pub(super) fn snapshots(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    since(call, 14)?;
    let who = call.who()?.clone();
    match (call.method.as_str(), path) {
        ("POST", []) => {
            let wanted = call.body.get("group_snapshot").cloned().unwrap_or_default();
            let group_id = wanted
                .get("group_id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let group = find(world, call, Kind::Group, group_id)?.clone();
            let members = world
                .state
                .ids(Kind::Volume, |volume| volume.text("group_id") == group_id);
            if members.is_empty() {
                return Err(Refusal::bad(
                    "Invalid Group: Source group cannot be empty or in 'creating' or 'updating' state. No group snapshot will be created.",
                ));
            }
            let id = world.uuid()?;
            for volume in members {
                let name = json!({"name": wanted.get("name"), "group_snapshot_id": id});
                snapshots::take(world, call, &volume, &name)?;
            }
            let body = json!({"status": "creating", "name": wanted.get("name"),
                "description": wanted.get("description"), "group_id": group_id,
                "created_at": cinder_time(call.now / 1000 * 1000), "group_type_id": group.get("group_type")});
            world
                .state
                .add(Kind::GroupSnapshot, &who.project, &id, body);
            let pace = world.options.pace.snapshot;
            let done = json!({"status": "available"});
            world.settle(
                call,
                (Kind::GroupSnapshot, &id),
                pace,
                done,
                json!({"status": "error"}),
            );
            Ok(Reply::json(
                202,
                json!({"group_snapshot": {"id": id, "name": wanted.get("name")}}),
            ))
        }
        ("GET", []) | ("GET", ["detail"]) => {
            let all = world.state.of(Kind::GroupSnapshot, &who.project);
            let all: Vec<_> = all.into_iter().map(show).collect();
            Ok(Reply::json(200, json!({"group_snapshots": all})))
        }
        ("GET", [id]) => {
            let found = find(world, call, Kind::GroupSnapshot, id)?;
            Ok(Reply::json(200, json!({"group_snapshot": show(found)})))
        }
        ("DELETE", [id]) => {
            find(world, call, Kind::GroupSnapshot, id)?;
            let members = world.state.ids(Kind::Snapshot, |snapshot| {
                snapshot.text("group_snapshot_id") == *id
            });
            for snapshot in members {
                world.remove_later(
                    call,
                    (Kind::Snapshot, &snapshot),
                    json!({"status": "error_deleting"}),
                );
            }
            world.remove_later(
                call,
                (Kind::GroupSnapshot, id),
                json!({"status": "error_deleting"}),
            );
            Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
        }
        _ => Err(nothing_here()),
    }
}
