//! Servers: listed, changed, deleted.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image::texts;
use super::super::page;
use super::super::reply::{Outcome, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::volume;
use super::super::world::{World, short_time};
use super::{devices, find, minor, nics, show};

/// `GET /servers` and `GET /servers/detail`.
pub(super) fn list(world: &World, call: &Call, detail: bool) -> Outcome {
    let who = call.who()?;
    let minor = minor(call)?;
    let all = call.all_projects(who);
    let mut found = world.state.filter(Kind::Server, |server| {
        (all || server.project == who.project) && listed(world, call, minor, server)
    });
    found.reverse();
    if call.query("sort_dir") == Some("asc") {
        found.reverse();
    }
    let (found, next) = page::cut(call, found, world.options.page)?;
    let mut servers = Vec::new();
    for server in found {
        servers.push(if detail {
            show::server(world, call, server)?
        } else {
            show::in_short(world, server)
        });
    }
    let mut body = json!({"servers": servers});
    if let Some(marker) = next {
        set(
            &mut body,
            "servers_links",
            page::links(&world.base, call, &marker),
        );
    }
    Ok(Reply::json(200, body))
}

/// Whether a server has what the query's filters ask for. Names are regular expressions to Nova; here, what they contain.
fn listed(world: &World, call: &Call, minor: u32, server: &Record) -> bool {
    let tags = texts(Some(server.get("tags")));
    call.query.iter().all(|(key, value)| match key.as_str() {
        "name" => {
            let anchored = value
                .strip_prefix('^')
                .and_then(|text| text.strip_suffix('$'));
            match anchored {
                Some(name) => server.text("name") == name.replace('\\', ""),
                None => server.text("name").contains(&value.replace('\\', "")),
            }
        }
        "status" => server.text("status").eq_ignore_ascii_case(value),
        "uuid" => server.id == *value,
        "image" => server.inner_text("image") == value,
        "flavor" => server.inner_text("flavor_id") == value,
        "key_name" => server.text("key_name") == value,
        "project_id" | "tenant_id" => server.project == *value,
        "tags" if minor >= 26 => value
            .split(',')
            .all(|tag| tags.iter().any(|known| known == tag)),
        "tags-any" if minor >= 26 => value
            .split(',')
            .any(|tag| tags.iter().any(|known| known == tag)),
        "not-tags" if minor >= 26 => !value
            .split(',')
            .all(|tag| tags.iter().any(|known| known == tag)),
        "not-tags-any" if minor >= 26 => !value
            .split(',')
            .any(|tag| tags.iter().any(|known| known == tag)),
        "ip" => {
            let addresses = show::addresses(world, &server.id, false);
            let mut all = addresses
                .as_object()
                .into_iter()
                .flatten()
                .flat_map(|(_, list)| list.as_array());
            all.any(|list| {
                list.iter().any(|one| {
                    one.get("addr")
                        .and_then(Value::as_str)
                        .is_some_and(|address| address.contains(value.as_str()))
                })
            })
        }
        // Nova takes no account of what it does not know, nor of what only administrators may filter by.
        _ => true,
    })
}

/// `PUT /servers/ID`.
pub(super) fn update(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, id)?;
    let now = short_time(call.now);
    let mut fields = json!({"updated": now});
    for key in ["name", "description", "hostname"] {
        if let Some(value) = call.body.pointer(&format!("/server/{key}")) {
            set(&mut fields, key, value.clone());
        }
    }
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        merge(&mut server.body, &fields);
    }
    let server = find(world, call, id)?;
    Ok(Reply::json(
        200,
        json!({"server": show::server(world, call, server)?}),
    ))
}

/// `DELETE /servers/ID`.
pub(super) fn delete(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, id)?;
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        server
            .merge(&json!({"OS-EXT-STS:task_state": "deleting", "updated": short_time(call.now)}));
    }
    let failed =
        json!({"status": "ERROR", "OS-EXT-STS:vm_state": "error", "OS-EXT-STS:task_state": null});
    world.remove_later(call, (Kind::Server, id), failed);
    Ok(Reply::empty(204).header("content-type", "application/json"))
}

/// A server is gone: its volumes are free or deleted with it, its ports and local disks are gone.
pub(in super::super) fn gone(world: &mut World, server: &Record) {
    nics::unplug_all(world, server);
    for device in devices::of(server) {
        let Some(volume) = device.get("volume_id").and_then(Value::as_str) else {
            if let Some(disk) = device.get("disk").and_then(Value::as_str) {
                world.disks.remove(disk);
            }
            continue;
        };
        volume::detach(world, volume, &server.id);
        if device.get("delete_on_termination") == Some(&json!(true))
            && let Some(volume) = world.state.remove(Kind::Volume, volume)
        {
            volume::gone(world, &volume);
        }
    }
    for group in world.state.ids(Kind::ServerGroup, |_| true) {
        if let Some(group) = world.state.get_mut(Kind::ServerGroup, &group) {
            let mut members = group.get("members").as_array().cloned().unwrap_or_default();
            members.retain(|member| member != &json!(server.id));
            group.set("members", members);
        }
    }
    world.state.guests.remove(&server.id);
}
