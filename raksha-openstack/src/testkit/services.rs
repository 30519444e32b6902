//! Which service answers a call.

use std::time::Duration;

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::form_urlencoded;

use super::call::{Area, Call, Fate};
use super::reply::{Outcome, Refusal, Reply};
use super::world::World;
use super::{access, compute, identity, image, network, objects, policy, volume, wording};

/// The call that a request without its body makes.
pub(super) fn read(world: &World, method: &str, uri: &str, headers: HeaderMap, now: u64) -> Call {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut segments = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned());
    let first = segments.next().unwrap_or_default();
    let token = headers
        .get("x-auth-token")
        .and_then(|token| token.to_str().ok());
    let who = token.and_then(|token| identity::who(world, token, now));
    Call {
        // What no service owns is answered by Keystone's front end.
        area: Area::of(&first).unwrap_or(Area::Identity),
        method: method.to_owned(),
        uri: uri.to_owned(),
        path: if Area::of(&first).is_some() {
            segments.collect()
        } else {
            vec!["nothing".to_owned()]
        },
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        body: Value::Null,
        garbled: false,
        upload: None,
        who,
        now,
        fate: Fate::Fine,
    }
}

/// A call like `call`, without what it carries: what stays behind while the call is worked on elsewhere.
pub(super) fn nothing(call: &Call) -> Call {
    Call {
        area: call.area,
        method: call.method.clone(),
        uri: call.uri.clone(),
        path: Vec::new(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Value::Null,
        garbled: false,
        upload: None,
        who: call.who.clone(),
        now: call.now,
        fate: call.fate,
    }
}

/// Whether the body is a disk or an object, which may be larger than memory.
pub(super) fn is_upload(call: &Call) -> bool {
    if call.who.is_none() {
        return false;
    }
    match (call.area, call.method.as_str()) {
        (Area::Image, "PUT") => call.path.last().is_some_and(|last| last == "file"),
        (Area::Objects, "PUT") => call.path.len() > 3,
        (Area::Objects, "POST" | "DELETE") => call.query("bulk-delete").is_some(),
        _ => false,
    }
}

/// Does what the call asks for. The duration is how long the service takes over it, as Nova does while it freezes a guest.
pub(super) fn serve(world: &mut World, call: &Call) -> (Reply, Duration) {
    world.tick(call.now);
    let mut pause = Duration::ZERO;
    let outcome = answer(world, call, &mut pause);
    if let Some(upload) = &call.upload {
        // Whoever wanted it has moved it.
        let _ = std::fs::remove_file(&upload.path);
    }
    let reply = outcome.unwrap_or_else(|refusal| wording::refuse(call, refusal));
    if call.method != "GET" && call.method != "HEAD" {
        let _ = world.save();
    }
    (reply, pause)
}

fn answer(world: &mut World, call: &Call, pause: &mut Duration) -> Outcome {
    policy::check(&world.state.denials, call)?;
    access::check(world, call)?;
    if call.garbled && !matches!(call.area, Area::Objects) {
        return Err(Refusal::bad(match call.area {
            Area::Compute | Area::Volume => "Malformed request body",
            _ => {
                "The server could not comply with the request since it is either malformed or otherwise incorrect."
            }
        }));
    }
    match call.area {
        Area::Identity => identity::serve(world, call),
        Area::Compute => compute::serve(world, call, pause),
        Area::Volume => volume::serve(world, call),
        Area::Image => image::serve(world, call),
        Area::Network => network::serve(world, call),
        Area::Objects => objects::serve(world, call),
    }
}
