//! Keystone: who is who, tokens, application credentials, trusts.

mod admin;
mod credentials;
mod directory;
mod tokens;
mod trusts;

use serde_json::{Value, json};

pub(super) use directory::{grant, seed};
pub(super) use tokens::who;

use super::call::Call;
use super::reply::{Outcome, Refusal, Reply};
use super::state::Kind;
use super::world::World;

pub(super) fn serve(world: &mut World, call: &Call) -> Outcome {
    let segments = call.segments();
    let (version, rest) = segments.split_first().unwrap_or((&"", &[]));
    let method = call.method.as_str();
    match (method, *version, rest) {
        ("GET" | "HEAD", "", _) => Ok(Reply::json(300, versions(world))
            .header("location", format!("{}/identity/v3/", world.base))),
        ("GET" | "HEAD", "v3", []) => Ok(Reply::json(200, json!({"version": version_3(world)}))),
        ("POST", "v3", ["auth", "tokens"]) => tokens::issue(world, call),
        (_, "v3", _) => {
            tokens::alive(world, call)?;
            match (method, rest) {
                ("GET" | "HEAD", ["auth", "tokens"]) => tokens::validate(world, call),
                ("DELETE", ["auth", "tokens"]) => tokens::revoke(world, call),
                ("GET", ["auth", "catalog"]) => {
                    let who = call.who()?;
                    let catalog = tokens::catalog(world, &who.project);
                    let myself = format!("{}{}", world.base, call.uri);
                    Ok(Reply::json(
                        200,
                        json!({"catalog": catalog, "links": {"self": myself}}),
                    ))
                }
                (_, ["users", user, "application_credentials", rest @ ..]) => {
                    credentials::serve(world, call, user, rest)
                }
                (_, ["users", user, "access_rules", rest @ ..]) => {
                    credentials::rules(world, call, user, rest)
                }
                (_, ["OS-TRUST", "trusts", rest @ ..]) => trusts::serve(world, call, rest),
                ("GET", rest) => directory::serve(world, call, rest),
                (_, rest) => admin::serve(world, call, rest),
            }
        }
        _ => Err(nothing_here()),
    }
}

fn versions(world: &World) -> Value {
    json!({"versions": {"values": [version_3(world)]}})
}

fn version_3(world: &World) -> Value {
    let link = format!("{}/identity/v3/", world.base);
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": link}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

fn nothing_here() -> Refusal {
    Refusal::missing("The requested URL was not found on the server.")
}

fn forbidden(action: &str) -> Refusal {
    Refusal::denied(format!(
        "You are not authorized to perform the requested action{}{action}.",
        if action.is_empty() { "" } else { ": " }
    ))
}

/// A list as Keystone gives it.
fn list(world: &World, call: &Call, key: &str, items: Vec<Value>) -> Outcome {
    let mut body = json!({"links": {
        "next": null, "previous": null, "self": format!("{}{}", world.base, call.uri)}});
    super::state::set(&mut body, key, Value::Array(items));
    Ok(Reply::json(200, body))
}

/// The role of an id or a name, as requests name it.
fn role(world: &World, wanted: &Value) -> Option<(String, String)> {
    let roles = world.state.all(Kind::Role);
    let named = |key: &str| wanted.get(key).and_then(Value::as_str);
    let found = roles.into_iter().find(|role| {
        named("id").map_or_else(
            || Some(role.text("name")) == named("name"),
            |id| role.id == id,
        )
    });
    found.map(|role| (role.id.clone(), role.text("name").to_owned()))
}

/// Roles as tokens and credentials show them in full.
fn roles_in_full(world: &World, names: &[String]) -> Vec<Value> {
    let roles = world.state.filter(Kind::Role, |role| {
        names.iter().any(|name| name == role.text("name"))
    });
    let full = roles.into_iter().map(|role| {
        json!({"id": role.id, "name": role.text("name"), "domain_id": null, "description": null,
            "options": role.get("options")})
    });
    full.collect()
}

/// When what is asked for is to end, in milliseconds since 1970.
fn expiry(world: &World, wanted: &Value) -> Result<Option<u64>, Refusal> {
    let Some(text) = wanted.get("expires_at").and_then(Value::as_str) else {
        return Ok(None);
    };
    let text = format!("{}Z", text.trim_end_matches('Z'));
    let time = text
        .parse::<raksha_core::Timestamp>()
        .map(raksha_core::Timestamp::as_millis);
    match time {
        Ok(time) if time > world.now() => Ok(Some(time)),
        _ => Err(Refusal::bad(
            "The 'expires_at' must not be before now. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.",
        )),
    }
}

/// The names in an array of texts.
fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
