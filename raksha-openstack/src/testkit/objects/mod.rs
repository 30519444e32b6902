//! Swift: containers and objects.
//!
//! A conditional PUT (`If-None-Match: *`) is looked at when the request's headers arrive, and not again when the object is stored:
//! of racing writers several may be told that they created it, as with the real one. `If-Match` on writes is not looked at at all.

mod containers;
mod listing;
mod stored;

use serde_json::json;

use super::call::Call;
use super::reply::{Outcome, Refusal, Reply};
use super::state::{Kind, Record};
use super::world::World;

pub(super) fn serve(world: &mut World, call: &Call) -> Outcome {
    let segments = call.segments();
    if matches!(segments.as_slice(), ["info"]) {
        return Ok(Reply::json(200, info(world)));
    }
    let who = call.who()?;
    let ["v1", account, rest @ ..] = segments.as_slice() else {
        return Err(Refusal::missing(""));
    };
    if *account != format!("AUTH_{}", who.project) {
        return Err(Refusal::denied(""));
    }
    if call.method != "GET"
        && call.method != "HEAD"
        && !who
            .roles
            .iter()
            .any(|role| ["admin", "member"].contains(&role.as_str()))
    {
        return Err(Refusal::denied(""));
    }
    match rest {
        [] => containers::account(world, call),
        [container] => containers::serve(world, call, container),
        [container, ..] => stored::serve(world, call, container, &name(call)),
    }
}

/// What the cluster can do.
fn info(world: &World) -> serde_json::Value {
    let mut info = json!({"swift": {"version": "2.30.1", "max_file_size": 5_368_709_122_u64, "max_object_name_length": 1024,
        "container_listing_limit": 10_000, "account_listing_limit": 10_000, "max_container_name_length": 256,
        "strict_cors_mode": true}});
    if world.options.bulk_delete {
        let bulk = json!({"max_deletes_per_request": 10_000, "max_failed_deletes": 1000});
        super::state::set(&mut info, "bulk_delete", bulk);
    }
    info
}

/// The name of the object that a call is about: slashes are part of it.
fn name(call: &Call) -> String {
    let path = call.uri.split('?').next().unwrap_or_default();
    // /object-store/v1/ACCOUNT/CONTAINER/NAME
    let raw = path.splitn(6, '/').nth(5).unwrap_or_default();
    percent_encoding::percent_decode_str(raw)
        .decode_utf8_lossy()
        .into_owned()
}

fn container_id(project: &str, container: &str) -> String {
    format!("{project}/{container}")
}

fn object_id(project: &str, container: &str, name: &str) -> String {
    format!("{project}/{container}/{name}")
}

/// The object, unless its time is over.
fn object<'a>(world: &'a World, call: &Call, container: &str, name: &str) -> Option<&'a Record> {
    let project = &call.who.as_ref()?.project;
    let object = world
        .state
        .get(Kind::Object, &object_id(project, container, name))?;
    alive(object, call.now).then_some(object)
}

/// Whether an object's time is not over.
fn alive(object: &Record, now: u64) -> bool {
    object
        .inner("delete_at")
        .as_u64()
        .is_none_or(|at| at.saturating_mul(1000) > now)
}

/// Looks at a PUT's condition, before its body is received.
pub(super) fn precondition(world: &World, call: &Call) -> Result<(), Refusal> {
    if call.method != "PUT" || call.path.len() < 4 {
        return Ok(());
    }
    match call.header("if-none-match") {
        None => Ok(()),
        Some("*") => {
            let container = call.path.get(2).map(String::as_str).unwrap_or_default();
            match object(world, call, container, &name(call)) {
                Some(_) => Err(Refusal::new(412, "")),
                None => Ok(()),
            }
        }
        Some(_) => Err(Refusal::bad("Only * is supported")),
    }
}

/// An object is gone: so are its bytes.
pub(super) fn gone(world: &mut World, object: &Record) {
    world.disks.remove(object.inner_text("file"));
}

/// `Thu, 26 Nov 2026 22:38:51 GMT`.
fn http_date(millis: u64) -> String {
    let days = millis / 86_400_000;
    let text = super::world::short_time(millis);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = part(5, 7).parse::<usize>().unwrap_or(1).saturating_sub(1);
    format!(
        "{}, {} {} {} {} GMT",
        weekday
            .get(usize::try_from(days % 7).unwrap_or_default())
            .unwrap_or(&""),
        part(8, 10),
        months.get(month).unwrap_or(&""),
        part(0, 4),
        part(11, 19)
    )
}

/// The headers of the client that stay with a thing.
fn kept_headers(call: &Call, prefix: &str) -> serde_json::Value {
    let mut kept = json!({});
    for (name, value) in &call.headers {
        let known = name.as_str().starts_with(prefix);
        if let Some(value) = value.to_str().ok().filter(|_| known) {
            super::state::set(&mut kept, name.as_str(), json!(value));
        }
    }
    kept
}
