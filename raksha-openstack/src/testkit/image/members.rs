//! With whom an image is shared.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, as_map, set};
use super::super::world::{World, short_time};
use super::{find, own};

/// `/images/ID/members`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    let who = call.who()?.clone();
    let image = find(world, call, id)?;
    let mut members = image.inner("members").clone();
    let mine = image.project == who.project || who.is_admin();
    let missing = || Refusal::missing("The resource could not be found.");
    let stamp = short_time(call.now);
    let reply = match (call.method.as_str(), path) {
        ("GET", []) => {
            let all = members.as_object().into_iter().flatten();
            let all = all.filter(|(project, _)| mine || **project == who.project);
            let all: Vec<_> = all.map(|(_, member)| member).collect();
            return Ok(Reply::json(
                200,
                json!({"members": all, "schema": "/v2/schemas/members"}),
            ));
        }
        ("GET", [member]) => {
            let member = members
                .get(*member)
                .filter(|_| mine || *member == who.project);
            return Ok(Reply::json(200, member.cloned().ok_or_else(missing)?));
        }
        ("POST", []) => {
            own(world, call, id)?;
            let member = call
                .body
                .get("member")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if members.get(member).is_some() {
                return Err(Refusal::conflict(format!(
                    "The target member {member} is already associated with image {id}."
                )));
            }
            let body = json!({"member_id": member, "image_id": id, "status": "pending", "created_at": stamp,
                "updated_at": stamp, "schema": "/v2/schemas/member"});
            set(&mut members, member, body.clone());
            Reply::json(200, body)
        }
        ("PUT", [member]) => {
            if *member != who.project {
                return Err(Refusal::denied(
                    "You are not permitted to modify 'status' on this image member.",
                ));
            }
            let mut body = members.get(*member).cloned().ok_or_else(missing)?;
            set(
                &mut body,
                "status",
                call.body.get("status").cloned().unwrap_or_default(),
            );
            set(&mut body, "updated_at", json!(stamp));
            set(&mut members, member, body.clone());
            Reply::json(200, body)
        }
        ("DELETE", [member]) => {
            own(world, call, id)?;
            let removed = as_map(&mut members).and_then(|map| map.remove(*member));
            removed.ok_or_else(missing)?;
            Reply::empty(204)
        }
        _ => return Err(missing()),
    };
    if let Some(image) = world.state.get_mut(Kind::Image, id) {
        image.set_inner("members", members);
    }
    Ok(reply)
}
