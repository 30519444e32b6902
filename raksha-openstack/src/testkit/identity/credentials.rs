//! Application credentials and their access rules.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::World;
use super::{directory, expiry, forbidden, list, nothing_here, role, roles_in_full};

/// `/users/USER/application_credentials`.
pub(super) fn serve(world: &mut World, call: &Call, user: &str, path: &[&str]) -> Outcome {
    let who = call.who()?;
    let verb = match (call.method.as_str(), path) {
        ("GET", []) => "list_application_credentials",
        ("GET", _) => "get_application_credential",
        ("POST", _) => "create_application_credential",
        _ => "delete_application_credential",
    };
    let reads = call.method == "GET";
    if user != who.user && !(who.is_admin() && call.method != "POST") {
        return Err(forbidden(&format!("identity:{verb}")));
    }
    if !reads {
        may_manage(world, &who.token)?;
    }
    match (call.method.as_str(), path) {
        ("POST", []) => create(world, call, user),
        ("GET", []) => {
            let found = world
                .state
                .filter(Kind::ApplicationCredential, |credential| {
                    let named = call
                        .query("name")
                        .is_none_or(|name| name == credential.text("name"));
                    named && credential.text("user_id") == user
                });
            let items = found.into_iter().map(|one| show(world, one)).collect();
            list(world, call, "application_credentials", items)
        }
        ("GET", [id]) => {
            let record = find(world, user, id)?;
            Ok(Reply::json(
                200,
                json!({"application_credential": show(world, record)}),
            ))
        }
        ("DELETE", [id]) => {
            find(world, user, id)?;
            world.state.remove(Kind::ApplicationCredential, id);
            Ok(Reply::empty(204))
        }
        _ => Err(nothing_here()),
    }
}

/// Tokens that others lent may not make or delete credentials.
fn may_manage(world: &World, token: &str) -> Result<(), Refusal> {
    let Some(token) = world.state.get(Kind::Token, token) else {
        return Ok(());
    };
    if !token.inner_text("trust").is_empty() {
        return Err(forbidden(""));
    }
    let credential = token.inner_text("credential");
    let credential = world.state.get(Kind::ApplicationCredential, credential);
    if credential.is_some_and(|credential| credential.get("unrestricted") != &json!(true)) {
        return Err(forbidden(
            "Using method 'application_credential' is not allowed for managing additional application credentials.",
        ));
    }
    Ok(())
}

fn find<'a>(world: &'a World, user: &str, id: &str) -> Result<&'a Record, Refusal> {
    let found = world.state.get(Kind::ApplicationCredential, id);
    let found = found.filter(|credential| credential.text("user_id") == user);
    found.ok_or_else(|| Refusal::missing(format!("Could not find Application Credential: {id}.")))
}

fn show(world: &World, record: &Record) -> Value {
    let mut body = record.body.clone();
    let link = format!(
        "{}/identity/v3/application_credentials/{}",
        world.base, record.id
    );
    let roles = super::texts(record.inner("roles"));
    let more =
        json!({"id": record.id, "roles": roles_in_full(world, &roles), "links": {"self": link}});
    merge(&mut body, &more);
    body
}

fn create(world: &mut World, call: &Call, user: &str) -> Outcome {
    let who = call.who()?;
    let wanted = call
        .body
        .get("application_credential")
        .unwrap_or(&Value::Null);
    let Some(name) = wanted.get("name").and_then(Value::as_str) else {
        return Err(Refusal::bad(
            "'name' is a required property\n\nFailed validating 'required' in schema",
        ));
    };
    let taken = world.state.ids(Kind::ApplicationCredential, |credential| {
        credential.text("user_id") == user && credential.text("name") == name
    });
    if !taken.is_empty() {
        return Err(Refusal::conflict(format!(
            "Conflict occurred attempting to store application_credential - Duplicate entry found with name {name}."
        )));
    }
    let held = directory::roles(world, user, &who.project);
    let roles = match wanted.get("roles").and_then(Value::as_array) {
        None => who.roles.clone(),
        Some(roles) => {
            let mut names = Vec::new();
            for wanted in roles {
                let found = role(world, wanted).filter(|(_, name)| held.contains(name));
                let Some((_, name)) = found else {
                    return Err(Refusal::bad(
                        "Invalid application credential: Could not find role assignment with role.",
                    ));
                };
                names.push(name);
            }
            names
        }
    };
    let millis = expiry(world, wanted)?;
    let mut body = json!({
        "name": name, "description": wanted.get("description"), "user_id": user,
        "project_id": who.project, "system": null, "unrestricted": wanted.get("unrestricted"),
        "expires_at": millis.map(super::super::world::cinder_time),
    });
    if let Some(rules) = wanted.get("access_rules").and_then(Value::as_array) {
        let mut kept = Vec::new();
        for rule in rules {
            let id = world.hex()?;
            let mut rule = rule.clone();
            set(&mut rule, "id", json!(id));
            world
                .state
                .add(Kind::AccessRule, "", &id, rule.clone())
                .set_inner("user", user);
            kept.push(rule);
        }
        set(&mut body, "access_rules", json!(kept));
    }
    let secret = match wanted.get("secret").and_then(Value::as_str) {
        Some(secret) => secret.to_owned(),
        None => world.hex()? + &world.hex()?,
    };
    let id = world.hex()?;
    let project = who.project.clone();
    let record = world
        .state
        .add(Kind::ApplicationCredential, &project, &id, body);
    record.inner = json!({"secret": secret, "roles": roles, "expires": millis});
    let record = record.clone();
    let mut shown = show(world, &record);
    set(&mut shown, "secret", json!(secret));
    Ok(Reply::json(201, json!({"application_credential": shown})))
}

/// `/users/USER/access_rules`.
pub(super) fn rules(world: &mut World, call: &Call, user: &str, path: &[&str]) -> Outcome {
    if user != call.who()?.user {
        return Err(forbidden("identity:list_access_rules"));
    }
    let own = |rule: &Record| rule.inner_text("user") == user;
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let items = world.state.filter(Kind::AccessRule, own);
            let items = items.into_iter().map(|rule| {
                let mut body = rule.body.clone();
                let link = format!("{}/identity/v3/access_rules/{}", world.base, rule.id);
                set(&mut body, "links", json!({"self": link}));
                body
            });
            list(world, call, "access_rules", items.collect())
        }
        ("DELETE", [id]) => {
            if !world.state.get(Kind::AccessRule, id).is_some_and(own) {
                return Err(Refusal::missing(format!(
                    "Could not find Access Rule: {id}."
                )));
            }
            let used = world.state.ids(Kind::ApplicationCredential, |credential| {
                let rules = credential
                    .get("access_rules")
                    .as_array()
                    .into_iter()
                    .flatten();
                rules
                    .into_iter()
                    .any(|rule| rule.get("id") == Some(&json!(id)))
            });
            if !used.is_empty() {
                return Err(forbidden("identity:delete_access_rule"));
            }
            world.state.remove(Kind::AccessRule, id);
            Ok(Reply::empty(204))
        }
        _ => Err(nothing_here()),
    }
}
