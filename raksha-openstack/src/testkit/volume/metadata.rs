//! Metadata of volumes and snapshots.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, as_map, merge};
use super::super::world::World;
use super::{change, find, nothing_here};

/// `/volumes/ID/metadata` and `/snapshots/ID/metadata`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let (kind, name, id, rest) = match path {
        ["volumes", id, _, rest @ ..] => (Kind::Volume, "Volume", *id, rest),
        ["snapshots", id, _, rest @ ..] => (Kind::Snapshot, "Snapshot", *id, rest),
        _ => return Err(nothing_here()),
    };
    let record = find(world, call, kind, id)?;
    if kind == Kind::Volume && call.method != "GET" && record.text("status") == "uploading" {
        return Err(Refusal::bad(
            "Invalid volume: Updating volume metadata is not allowed for volumes in uploading status.",
        ));
    }
    let mut kept = record.get("metadata").clone();
    let stated = call.body.get("metadata").cloned().unwrap_or_default();
    let missing =
        |key: &str| Refusal::missing(format!("{name} {id} has no metadata with key {key}."));
    let reply = match (call.method.as_str(), rest) {
        ("GET", []) => return Ok(Reply::json(200, json!({"metadata": kept}))),
        ("POST", []) => {
            merge(&mut kept, &stated);
            Reply::json(200, json!({"metadata": kept}))
        }
        ("PUT", []) => {
            kept = stated;
            Reply::json(200, json!({"metadata": kept}))
        }
        ("GET", [key]) => {
            let value = kept.get(*key).ok_or_else(|| missing(key))?;
            let mut meta = json!({});
            super::super::state::set(&mut meta, key, value.clone());
            return Ok(Reply::json(200, json!({"meta": meta})));
        }
        ("PUT", [_]) => {
            let meta = call.body.get("meta").cloned().unwrap_or(Value::Null);
            merge(&mut kept, &meta);
            Reply::json(200, json!({"meta": meta}))
        }
        ("DELETE", [key]) => {
            let removed = as_map(&mut kept).and_then(|map| map.remove(*key));
            removed.ok_or_else(|| missing(key))?;
            Reply::text(200, "text/html; charset=UTF-8", "")
        }
        _ => return Err(nothing_here()),
    };
    change(world, call, (kind, id), &json!({"metadata": kept}));
    Ok(reply)
}
