//! Listings of containers and accounts.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::Kind;
use super::super::world::World;
use super::{alive, object_id};

/// The most entries of a listing.
const MOST: usize = 10_000;

/// The objects of a container.
pub(super) fn of_container(world: &World, call: &Call, project: &str, container: &str) -> Outcome {
    let prefix = object_id(project, container, "");
    let mut all = world.state.filter(Kind::Object, |object| {
        object.id.starts_with(&prefix) && alive(object, call.now)
    });
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let entries = all.into_iter().map(|object| {
        let entry = json!({"name": object.get("name"), "bytes": object.get("bytes"), "hash": object.get("hash"),
            "content_type": object.get("content_type"), "last_modified": object.get("last_modified")});
        (object.text("name").to_owned(), entry)
    });
    reply(call, entries.collect())
}

/// A listing of entries that are sorted by name, as the query wants it.
pub(super) fn reply(call: &Call, entries: Vec<(String, Value)>) -> Outcome {
    let query = |key: &str| call.query(key).unwrap_or_default();
    let limit = match call.query("limit") {
        None => MOST,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::new(412, ""))?,
    };
    if limit > MOST {
        return Err(Refusal::new(412, ""));
    }
    let (prefix, delimiter) = (query("prefix"), query("delimiter"));
    let (marker, end) = (query("marker"), query("end_marker"));
    let mut listed: Vec<(String, Value)> = Vec::new();
    for (name, entry) in entries {
        let inside = name.starts_with(prefix)
            && (marker.is_empty() || name.as_str() > marker)
            && (end.is_empty() || name.as_str() < end);
        if !inside {
            continue;
        }
        let rest = name.get(prefix.len()..).unwrap_or_default();
        let subdirectory = (!delimiter.is_empty())
            .then(|| rest.find(delimiter))
            .flatten()
            .map(|at| format!("{prefix}{}{delimiter}", rest.get(..at).unwrap_or_default()));
        let listing = match subdirectory {
            // A marker that is a subdirectory stands for all that is in it.
            Some(name) if name == marker => continue,
            Some(name) => (name.clone(), json!({"subdir": name})),
            None => (name, entry),
        };
        if listed.last().is_some_and(|(last, _)| *last == listing.0) {
            continue;
        }
        if listed.len() == limit {
            break;
        }
        listed.push(listing);
    }
    let json = query("format") == "json"
        || call
            .header("accept")
            .is_some_and(|accept| accept.contains("application/json"));
    if json {
        let all: Vec<_> = listed.into_iter().map(|(_, entry)| entry).collect();
        return Ok(Reply::json(200, json!(all)));
    }
    if listed.is_empty() {
        return Ok(Reply::empty(204));
    }
    let text: String = listed.into_iter().map(|(name, _)| name + "\n").collect();
    Ok(Reply::text(200, "text/plain; charset=utf-8", text))
}
