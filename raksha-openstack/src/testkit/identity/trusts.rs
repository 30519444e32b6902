//! Trusts: rights that one user lends another (OS-TRUST).

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::{World, keystone_time};
use super::{directory, expiry, forbidden, list, nothing_here, role};

/// `/OS-TRUST/trusts`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?;
    match (call.method.as_str(), path) {
        ("POST", []) => create(world, call),
        ("GET", []) => {
            let (trustor, trustee) = (call.query("trustor_user_id"), call.query("trustee_user_id"));
            let mine = |user: Option<&str>| user == Some(who.user.as_str());
            if !mine(trustor) && !mine(trustee) && !who.is_admin() {
                return Err(forbidden("identity:list_trusts"));
            }
            let found = world.state.filter(Kind::Trust, |trust| {
                trustor.is_none_or(|user| user == trust.text("trustor_user_id"))
                    && trustee.is_none_or(|user| user == trust.text("trustee_user_id"))
            });
            let items = found
                .into_iter()
                .map(|trust| show(world, trust, false))
                .collect();
            list(world, call, "trusts", items)
        }
        ("GET", [id]) => {
            let trust = find(world, id)?;
            let concerned = [trust.text("trustor_user_id"), trust.text("trustee_user_id")];
            if !concerned.contains(&who.user.as_str()) && !who.is_admin() {
                return Err(forbidden("identity:get_trust"));
            }
            Ok(Reply::json(200, json!({"trust": show(world, trust, true)})))
        }
        ("DELETE", [id]) => {
            let trust = find(world, id)?;
            if trust.text("trustor_user_id") != who.user && !who.is_admin() {
                return Err(forbidden("identity:delete_trust"));
            }
            world.state.remove(Kind::Trust, id);
            Ok(Reply::empty(204))
        }
        _ => Err(nothing_here()),
    }
}

/// A trust that is there and has not ended.
pub(super) fn live<'a>(world: &'a World, id: &str) -> Option<&'a Record> {
    let ended = |trust: &Record| {
        let ends = trust.inner("expires").as_u64();
        ends.is_some_and(|ends| ends <= world.now())
    };
    world
        .state
        .get(Kind::Trust, id)
        .filter(|trust| !ended(trust))
}

fn find<'a>(world: &'a World, id: &str) -> Result<&'a Record, Refusal> {
    live(world, id).ok_or_else(|| Refusal::missing(format!("Could not find trust: {id}.")))
}

fn show(world: &World, trust: &Record, in_full: bool) -> Value {
    let base = format!("{}/identity/v3", world.base);
    let mut body = trust.body.clone();
    let links =
        json!({"id": trust.id, "links": {"self": format!("{base}/OS-TRUST/trusts/{}", trust.id)}});
    merge(&mut body, &links);
    if in_full {
        let names = super::texts(trust.inner("roles"));
        let mut roles = super::roles_in_full(world, &names);
        for role in &mut roles {
            let id = role.get("id").and_then(Value::as_str).unwrap_or_default();
            let link = format!("{base}/roles/{id}");
            set(role, "links", json!({"self": link}));
        }
        let more = json!({"roles": roles, "roles_links": {
            "self": format!("{base}/{}/roles", trust.id), "next": null, "previous": null}});
        merge(&mut body, &more);
    }
    body
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let who = call.who()?;
    let wanted = call.body.get("trust").unwrap_or(&Value::Null);
    let text = |key: &str| wanted.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("trustor_user_id") != who.user {
        return Err(forbidden("identity:create_trust"));
    }
    let lent = world.state.get(Kind::Token, &who.token);
    if lent.is_some_and(|token| !token.inner_text("trust").is_empty()) {
        return Err(forbidden(""));
    }
    let trustee = text("trustee_user_id");
    if world.state.get(Kind::User, trustee).is_none() {
        return Err(Refusal::missing(format!("Could not find user: {trustee}.")));
    }
    let project = text("project_id").to_owned();
    let held = directory::roles(world, &who.user, &project);
    let mut names = Vec::new();
    for wanted in wanted
        .get("roles")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some((id, name)) = role(world, wanted) else {
            return Err(Refusal::missing("Could not find role."));
        };
        if !held.contains(&name) {
            return Err(Refusal::missing(format!("Could not find role: {id}.")));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(forbidden("At least one role should be specified"));
    }
    let expires = expiry(world, wanted)?;
    let id = world.hex()?;
    let body = json!({
        "trustor_user_id": who.user, "trustee_user_id": trustee, "project_id": project,
        "impersonation": wanted.get("impersonation"), "expires_at": expires.map(keystone_time),
        "remaining_uses": wanted.get("remaining_uses"), "deleted_at": null,
        "redelegated_trust_id": null, "redelegation_count": 0,
    });
    let record = world.state.add(Kind::Trust, &project, &id, body);
    record.inner = json!({"roles": names, "expires": expires});
    let record = record.clone();
    Ok(Reply::json(
        201,
        json!({"trust": show(world, &record, true)}),
    ))
}
