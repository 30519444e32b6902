//! Key pairs.

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::http::hex;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::{World, cinder_time};
use super::{minor, nothing_here};

/// The key pair of a user.
pub(super) fn find<'a>(world: &'a World, user: &str, name: &str) -> Result<&'a Record, Refusal> {
    let found = world.state.get(Kind::KeyPair, &format!("{user}/{name}"));
    found.ok_or_else(|| Refusal::missing(format!("Keypair {name} not found for user {user}")))
}

fn show(key: &Record, minor: u32) -> Value {
    let mut body = json!({"name": key.get("name"), "public_key": key.get("public_key"),
        "fingerprint": key.get("fingerprint")});
    if minor >= 2 {
        set(&mut body, "type", json!("ssh"));
    }
    body
}

/// `/os-keypairs`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?.clone();
    let minor = minor(call)?;
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let mut all = world
                .state
                .filter(Kind::KeyPair, |key| key.text("user_id") == who.user);
            all.sort_by(|a, b| a.text("name").cmp(b.text("name")));
            let all: Vec<_> = all
                .into_iter()
                .map(|key| json!({"keypair": show(key, minor)}))
                .collect();
            Ok(Reply::json(200, json!({"keypairs": all})))
        }
        ("GET", [name]) => {
            let key = find(world, &who.user, name)?;
            let mut body = show(key, minor);
            merge(
                &mut body,
                &json!({"created_at": key.get("created_at"), "deleted": false, "deleted_at": null,
                "id": key.serial, "updated_at": null, "user_id": who.user}),
            );
            Ok(Reply::json(200, json!({"keypair": body})))
        }
        ("POST", []) => create(world, call, minor),
        ("DELETE", [name]) => {
            find(world, &who.user, name)?;
            world
                .state
                .remove(Kind::KeyPair, &format!("{}/{name}", who.user));
            Ok(Reply::empty(if minor < 2 { 202 } else { 204 }))
        }
        _ => Err(nothing_here()),
    }
}

fn create(world: &mut World, call: &Call, minor: u32) -> Outcome {
    let who = call.who()?.clone();
    let wanted = call.body.get("keypair").cloned().unwrap_or_default();
    let text = |key: &str| wanted.get(key).and_then(Value::as_str);
    let name = text("name").unwrap_or_default();
    if find(world, &who.user, name).is_ok() {
        return Err(Refusal::conflict(format!(
            "Key pair '{name}' already exists."
        )));
    }
    let count = world
        .state
        .filter(Kind::KeyPair, |key| key.text("user_id") == who.user)
        .len();
    let limit = world.limit(&who.project, "key_pairs");
    if limit >= 0 && i64::try_from(count).unwrap_or(i64::MAX) >= limit {
        return Err(Refusal::denied("Quota exceeded, too many key pairs."));
    }
    let Some(public) = text("public_key") else {
        return Err(Refusal::bad(
            "This test cloud makes no keys: state public_key.",
        ));
    };
    let fingerprint = hex(&Md5::digest(public.as_bytes()));
    let pairs: Vec<_> = (0..16)
        .filter_map(|at| fingerprint.get(at * 2..at * 2 + 2))
        .collect();
    let body = json!({"name": name, "public_key": public, "fingerprint": pairs.join(":"), "user_id": who.user,
        "created_at": cinder_time(call.now / 1000 * 1000)});
    let key = world.state.add(
        Kind::KeyPair,
        &who.project,
        &format!("{}/{name}", who.user),
        body,
    );
    let mut shown = show(key, minor);
    set(&mut shown, "user_id", json!(who.user));
    let status = if minor < 2 { 200 } else { 201 };
    Ok(Reply::json(status, json!({"keypair": shown})))
}
