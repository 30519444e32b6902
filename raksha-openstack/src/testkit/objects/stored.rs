//! Objects.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image::range;
use super::super::reply::{Body, Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge};
use super::super::world::{World, cinder_time};
use super::{containers, http_date, kept_headers, object, object_id};

/// `/v1/ACCOUNT/CONTAINER/OBJECT`.
pub(super) fn serve(world: &mut World, call: &Call, container: &str, name: &str) -> Outcome {
    let who = call.who()?.clone();
    let id = object_id(&who.project, container, name);
    let missing = || Refusal::missing("");
    match call.method.as_str() {
        "PUT" => put(world, call, container, name, &id),
        "GET" | "HEAD" => {
            let object = object(world, call, container, name).ok_or_else(missing)?;
            get(world, call, object)
        }
        "POST" => {
            object(world, call, container, name).ok_or_else(missing)?;
            let delete_at = delete_at(call)?;
            if let Some(object) = world.state.get_mut(Kind::Object, &id) {
                object.set_inner("headers", kept_headers(call, "x-object-meta-"));
                object.set_inner("delete_at", json!(delete_at));
            }
            Ok(Reply::empty(202))
        }
        "DELETE" => {
            let there = object(world, call, container, name).is_some();
            if let Some(old) = world.state.remove(Kind::Object, &id) {
                super::gone(world, &old);
            }
            if there {
                Ok(Reply::empty(204))
            } else {
                Err(missing())
            }
        }
        _ => Err(Refusal::new(405, "")),
    }
}

/// When the object is to go, in seconds since 1970.
fn delete_at(call: &Call) -> Result<Option<u64>, Refusal> {
    let number = |name: &str| -> Result<Option<u64>, Refusal> {
        let text = call.header(name);
        text.map(|text| {
            text.parse::<u64>()
                .map_err(|_| Refusal::bad("Non-integer time"))
        })
        .transpose()
    };
    Ok(match number("x-delete-after")? {
        Some(after) => Some(call.now / 1000 + after),
        None => number("x-delete-at")?,
    })
}

fn put(world: &mut World, call: &Call, container: &str, name: &str, id: &str) -> Outcome {
    let who = call.who()?.clone();
    if !containers::exists(world, &who.project, container) {
        return Err(Refusal::missing(""));
    }
    let Some(upload) = &call.upload else {
        return Err(Refusal::new(411, ""));
    };
    let stated = call.header("etag").map(|etag| etag.trim_matches('"'));
    if stated.is_some_and(|stated| !stated.eq_ignore_ascii_case(&upload.md5)) {
        return Err(Refusal::new(422, ""));
    }
    let delete_at = delete_at(call)?;
    let file = format!("object-{}", world.uuid()?);
    std::fs::rename(&upload.path, world.disks.path(&file))?;
    if let Some(old) = world.state.remove(Kind::Object, id) {
        super::gone(world, &old);
    }
    let kind = call
        .header("content-type")
        .unwrap_or("application/octet-stream");
    let body = json!({"name": name, "bytes": upload.size, "hash": upload.md5, "content_type": kind,
        "last_modified": cinder_time(call.now), "modified": call.now});
    let mut headers = kept_headers(call, "x-object-meta-");
    merge(&mut headers, &kept_headers(call, "content-encoding"));
    let object = world.state.add(Kind::Object, &who.project, id, body);
    object.inner = json!({"file": file, "delete_at": delete_at, "headers": headers});
    Ok(Reply::text(201, "text/html; charset=UTF-8", "")
        .header("etag", upload.md5.clone())
        .header("last-modified", http_date(call.now)))
}

fn get(world: &World, call: &Call, object: &Record) -> Outcome {
    let size = object.get("bytes").as_u64().unwrap_or_default();
    let etag = object.text("hash");
    let modified = object.get("modified").as_u64().unwrap_or_default();
    let matches = |header: &str| {
        call.header(header).map(|list| {
            list.split(',')
                .any(|one| one.trim().trim_matches('"') == etag || one.trim() == "*")
        })
    };
    if matches("if-match") == Some(false) {
        return Err(Refusal::new(412, ""));
    }
    let (status, start, end) = match call.header("range").filter(|_| call.method == "GET") {
        None => (200, 0, size),
        Some(text) => match range(text, size) {
            Some((start, end)) => (206, start, end),
            None => return Err(Refusal::new(416, "")),
        },
    };
    let mut reply = Reply {
        status,
        headers: Vec::new(),
        body: Body::File(world.disks.path(object.inner_text("file")), start..end),
    };
    if matches("if-none-match") == Some(true) {
        reply.status = 304;
        reply.body = Body::Empty;
    }
    reply = reply
        .header("content-type", object.text("content_type"))
        .header("etag", etag)
        .header("accept-ranges", "bytes")
        .header("last-modified", http_date(modified))
        .header("x-timestamp", containers::timestamp(modified));
    if status == 206 {
        let stated = format!("bytes {start}-{}/{size}", end - 1);
        reply = reply.header("content-range", stated);
    }
    if let Some(at) = object.inner("delete_at").as_u64() {
        reply = reply.header("x-delete-at", at.to_string());
    }
    for (name, value) in object.inner("headers").as_object().into_iter().flatten() {
        reply = reply.header(name.clone(), Value::as_str(value).unwrap_or_default());
    }
    Ok(reply)
}
