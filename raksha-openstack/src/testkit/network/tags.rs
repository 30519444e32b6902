//! Tags of network things.

use serde_json::json;

use super::super::call::Call;
use super::super::image::texts;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::world::World;
use super::{changed, collection, find};

/// `/KIND/ID/tags`.
pub(super) fn serve(world: &mut World, call: &Call, of: &str, id: &str, path: &[&str]) -> Outcome {
    let of = collection(of).ok_or_else(super::nothing_here)?;
    let record = find(world, call, of.kind, id)?;
    let mut tags = texts(Some(record.get("tags")));
    let missing =
        |tag: &str| Refusal::missing(format!("Tag {tag} could not be found.")).kind("TagNotFound");
    let reply = match (call.method.as_str(), path) {
        ("GET", []) => return Ok(Reply::json(200, json!({"tags": tags}))),
        ("GET", [tag]) => {
            let known = tags.iter().any(|known| known == tag);
            return if known {
                Ok(Reply::empty(204))
            } else {
                Err(missing(tag))
            };
        }
        ("PUT", []) => {
            tags = texts(call.body.get("tags"));
            tags.sort_unstable();
            tags.dedup();
            Reply::json(200, json!({"tags": tags}))
        }
        ("PUT", [tag]) => {
            if !tags.iter().any(|known| known == tag) {
                tags.push((*tag).to_owned());
            }
            Reply::json(201, json!(null))
        }
        ("DELETE", []) => {
            tags.clear();
            Reply::empty(204)
        }
        ("DELETE", [tag]) => {
            let before = tags.len();
            tags.retain(|known| known != tag);
            if tags.len() == before {
                return Err(missing(tag));
            }
            Reply::empty(204)
        }
        _ => return Err(super::nothing_here()),
    };
    if let Some(record) = world.state.get_mut(of.kind, id) {
        record.set("tags", tags);
    }
    changed(world, call, of.kind, id);
    Ok(reply)
}
