//! Metadata and tags of servers.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image::texts;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, as_map, merge, set};
use super::super::world::World;
use super::{find, minor, nothing_here};

/// `/servers/ID/metadata`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    let mut kept = find(world, call, id)?.get("metadata").clone();
    let stated = call.body.get("metadata").cloned().unwrap_or_default();
    let missing = || Refusal::missing("Metadata item was not found");
    let reply = match (call.method.as_str(), path) {
        ("GET", []) => return Ok(Reply::json(200, json!({"metadata": kept}))),
        ("GET", [key]) => {
            let value = kept.get(*key).ok_or_else(missing)?;
            let mut meta = json!({});
            set(&mut meta, key, value.clone());
            return Ok(Reply::json(200, json!({"meta": meta})));
        }
        ("POST", []) => {
            merge(&mut kept, &stated);
            Reply::json(200, json!({"metadata": kept}))
        }
        ("PUT", []) => {
            kept = stated;
            Reply::json(200, json!({"metadata": kept}))
        }
        ("PUT", [_]) => {
            let meta = call.body.get("meta").cloned().unwrap_or_default();
            merge(&mut kept, &meta);
            Reply::json(200, json!({"meta": meta}))
        }
        ("DELETE", [key]) => {
            as_map(&mut kept)
                .and_then(|map| map.remove(*key))
                .ok_or_else(missing)?;
            Reply::empty(204)
        }
        _ => return Err(nothing_here()),
    };
    let most = world.limit(&call.who()?.project, "metadata_items");
    let count = kept.as_object().map_or(0, serde_json::Map::len);
    if most >= 0 && i64::try_from(count).unwrap_or(i64::MAX) > most {
        return Err(Refusal::denied(format!(
            "Maximum number of metadata items exceeds {most}"
        )));
    }
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        server.set("metadata", kept);
    }
    Ok(reply)
}

/// `/servers/ID/tags`, since 2.26.
pub(super) fn tags(world: &mut World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    if minor(call)? < 26 {
        return Err(nothing_here());
    }
    let mut tags = texts(Some(find(world, call, id)?.get("tags")));
    let known = |tags: &[String], tag: &str| tags.iter().any(|known| known == tag);
    let missing = |tag: &str| Refusal::missing(format!("Server {id} has no tag '{tag}'"));
    let reply = match (call.method.as_str(), path) {
        ("GET", []) => return Ok(Reply::json(200, json!({"tags": tags}))),
        ("GET", [tag]) if known(&tags, tag) => return Ok(Reply::empty(204)),
        ("GET", [tag]) => return Err(missing(tag)),
        ("PUT", []) => {
            tags = texts(call.body.get("tags"));
            Reply::json(200, json!({"tags": tags}))
        }
        ("PUT", [tag]) if known(&tags, tag) => Reply::empty(204),
        ("PUT", [tag]) => {
            tags.push((*tag).to_owned());
            let location = format!("{}/compute/v2.1/servers/{id}/tags/{tag}", world.base);
            Reply::empty(201).header("location", location)
        }
        ("DELETE", []) => {
            tags.clear();
            Reply::empty(204)
        }
        ("DELETE", [tag]) => {
            if !known(&tags, tag) {
                return Err(missing(tag));
            }
            tags.retain(|known| known != tag);
            Reply::empty(204)
        }
        _ => return Err(nothing_here()),
    };
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        server.set("tags", Value::from(tags));
    }
    Ok(reply)
}
