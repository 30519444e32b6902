//! Accounts and containers.

use serde_json::json;

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge};
use super::super::world::World;
use super::{alive, container_id, http_date, kept_headers, listing, object_id};

/// How many objects a container has, and their bytes.
fn usage(world: &World, call: &Call, project: &str, container: &str) -> (usize, u64) {
    let prefix = object_id(project, container, "");
    let all = world.state.filter(Kind::Object, |object| {
        object.id.starts_with(&prefix) && alive(object, call.now)
    });
    let bytes = all
        .iter()
        .filter_map(|object| object.get("bytes").as_u64())
        .sum();
    (all.len(), bytes)
}

/// `/v1/ACCOUNT`.
pub(super) fn account(world: &mut World, call: &Call) -> Outcome {
    let who = call.who()?.clone();
    let all = world.state.of(Kind::Container, &who.project);
    match call.method.as_str() {
        "GET" | "HEAD" => {
            let mut entries = Vec::new();
            let (mut objects, mut bytes) = (0, 0);
            for container in &all {
                let name = container.text("name");
                let (count, size) = usage(world, call, &who.project, name);
                objects += count;
                bytes += size;
                let entry = json!({"name": name, "count": count, "bytes": size,
                    "last_modified": container.get("last_modified")});
                entries.push((name.to_owned(), entry));
            }
            let reply = if call.method == "HEAD" {
                Reply::empty(204)
            } else {
                listing::reply(call, entries)?
            };
            Ok(reply
                .header("x-account-container-count", all.len().to_string())
                .header("x-account-object-count", objects.to_string())
                .header("x-account-bytes-used", bytes.to_string()))
        }
        "POST" | "DELETE" if call.query("bulk-delete").is_some() && world.options.bulk_delete => {
            bulk_delete(world, call)
        }
        // Without the middleware, the query means nothing.
        "POST" => Ok(Reply::empty(204)),
        _ => Err(Refusal::new(405, "")),
    }
}

fn bulk_delete(world: &mut World, call: &Call) -> Outcome {
    let who = call.who()?.clone();
    let path = call
        .upload
        .as_ref()
        .map(|upload| upload.path.clone())
        .unwrap_or_default();
    let lines = std::fs::read_to_string(path)?;
    let (mut deleted, mut missing) = (0, 0);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = percent_encoding::percent_decode_str(line).decode_utf8_lossy();
        let id = format!("{}/{}", who.project, line.trim_start_matches('/'));
        match world.state.remove(Kind::Object, &id) {
            Some(object) => {
                super::gone(world, &object);
                deleted += 1;
            }
            None => missing += 1,
        }
    }
    let status = if deleted + missing == 0 {
        "400 Bad Request"
    } else {
        "200 OK"
    };
    Ok(Reply::json(
        200,
        json!({"Response Status": status, "Response Body": "", "Number Deleted": deleted, "Number Not Found": missing,
            "Errors": []}),
    ))
}

/// `/v1/ACCOUNT/CONTAINER`.
pub(super) fn serve(world: &mut World, call: &Call, name: &str) -> Outcome {
    let who = call.who()?.clone();
    let id = container_id(&who.project, name);
    let missing = || Refusal::missing("");
    match call.method.as_str() {
        "PUT" => {
            let headers = kept_headers(call, "x-container-");
            if let Some(container) = world.state.get_mut(Kind::Container, &id) {
                merge(&mut container.inner, &headers);
                return Ok(Reply::empty(202));
            }
            let stamp = super::super::world::cinder_time(call.now);
            let body = json!({"name": name, "last_modified": stamp});
            let container = world.state.add(Kind::Container, &who.project, &id, body);
            container.inner = headers;
            Ok(Reply::empty(201))
        }
        "POST" => {
            let container = world
                .state
                .get_mut(Kind::Container, &id)
                .ok_or_else(missing)?;
            merge(&mut container.inner, &kept_headers(call, "x-container-"));
            Ok(Reply::empty(204))
        }
        "GET" | "HEAD" => {
            let container = world.state.get(Kind::Container, &id).ok_or_else(missing)?;
            let (count, bytes) = usage(world, call, &who.project, name);
            let reply = if call.method == "HEAD" {
                Reply::empty(204)
            } else {
                listing::of_container(world, call, &who.project, name)?
            };
            let mut reply = reply
                .header("x-container-object-count", count.to_string())
                .header("x-container-bytes-used", bytes.to_string())
                .header("x-timestamp", timestamp(call.now))
                .header("last-modified", http_date(call.now))
                .header("x-storage-policy", "Policy-0");
            for (key, value) in container.inner.as_object().into_iter().flatten() {
                reply = reply.header(key.clone(), value.as_str().unwrap_or_default());
            }
            Ok(reply)
        }
        "DELETE" => {
            world.state.get(Kind::Container, &id).ok_or_else(missing)?;
            let (count, _) = usage(world, call, &who.project, name);
            if count > 0 {
                return Err(Refusal::conflict(""));
            }
            world.state.remove(Kind::Container, &id);
            Ok(Reply::empty(204))
        }
        _ => Err(Refusal::new(405, "")),
    }
}

/// Swift's notation of time.
pub(super) fn timestamp(millis: u64) -> String {
    format!("{}.{:03}00", millis / 1000, millis % 1000)
}

/// Whether there is such a container.
pub(super) fn exists(world: &World, project: &str, name: &str) -> bool {
    let found: Option<&Record> = world
        .state
        .get(Kind::Container, &container_id(project, name));
    found.is_some()
}
