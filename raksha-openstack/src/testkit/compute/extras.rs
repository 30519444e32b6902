//! Server groups, and the smaller things that a server shows.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::World;
use super::{find, minor, nothing_here, show};

/// `GET /servers/ID/...`.
pub(super) fn of_server(world: &World, call: &Call, id: &str, path: &[&str]) -> Outcome {
    let server = find(world, call, id)?;
    match path {
        ["ips"] => {
            let addresses = show::addresses(world, &server.id, false);
            Ok(Reply::json(200, json!({"addresses": addresses})))
        }
        ["os-security-groups"] => {
            let ports = world
                .state
                .filter(Kind::Port, |port| port.text("device_id") == id);
            let mut ids = Vec::new();
            for port in ports {
                ids.extend(super::super::image::texts(Some(
                    port.get("security_groups"),
                )));
            }
            ids.sort_unstable();
            ids.dedup();
            let groups = ids
                .iter()
                .filter_map(|id| world.state.get(Kind::SecurityGroup, id));
            let groups = groups.map(|group| {
                json!({"id": group.id, "name": group.get("name"), "description": group.get("description"),
                    "tenant_id": group.project, "rules": []})
            });
            Ok(Reply::json(
                200,
                json!({"security_groups": groups.collect::<Vec<_>>()}),
            ))
        }
        ["os-instance-actions"] => Ok(Reply::json(200, json!({"instanceActions": []}))),
        _ => Err(nothing_here()),
    }
}

fn show_group(group: &Record, minor: u32) -> Value {
    let mut body =
        json!({"id": group.id, "name": group.get("name"), "members": group.get("members")});
    if minor < 64 {
        merge(
            &mut body,
            &json!({"policies": [group.get("policy")], "metadata": {}}),
        );
    } else {
        merge(
            &mut body,
            &json!({"policy": group.get("policy"), "rules": group.get("rules")}),
        );
    }
    if minor >= 13 {
        merge(
            &mut body,
            &json!({"project_id": group.project, "user_id": group.get("user_id")}),
        );
    }
    body
}

/// `/os-server-groups`.
pub(super) fn groups(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?.clone();
    let minor = minor(call)?;
    let find = |world: &World, id: &str| {
        let group = world.state.get(Kind::ServerGroup, id).cloned();
        let group = group.filter(|group| group.project == who.project || who.is_admin());
        group.ok_or_else(|| Refusal::missing(format!("Instance group {id} could not be found.")))
    };
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let all = world.state.of(Kind::ServerGroup, &who.project);
            let all: Vec<_> = all
                .into_iter()
                .map(|group| show_group(group, minor))
                .collect();
            Ok(Reply::json(200, json!({"server_groups": all})))
        }
        ("GET", [id]) => {
            let group = find(world, id)?;
            Ok(Reply::json(
                200,
                json!({"server_group": show_group(&group, minor)}),
            ))
        }
        ("POST", []) => {
            let wanted = call.body.get("server_group").cloned().unwrap_or_default();
            let count = world.state.of(Kind::ServerGroup, &who.project).len();
            let limit = world.limit(&who.project, "server_groups");
            if limit >= 0 && i64::try_from(count).unwrap_or(i64::MAX) >= limit {
                return Err(Refusal::denied("Quota exceeded, too many server groups."));
            }
            let policy = wanted
                .get("policy")
                .or_else(|| wanted.pointer("/policies/0"));
            let known = [
                "affinity",
                "anti-affinity",
                "soft-affinity",
                "soft-anti-affinity",
            ];
            if !policy
                .and_then(Value::as_str)
                .is_some_and(|policy| known.contains(&policy))
            {
                return Err(Refusal::bad("Invalid input for field/attribute policy."));
            }
            let mut body = json!({"name": wanted.get("name"), "policy": policy, "members": [], "user_id": who.user});
            set(
                &mut body,
                "rules",
                wanted.get("rules").cloned().unwrap_or_else(|| json!({})),
            );
            let id = world.uuid()?;
            let group = world.state.add(Kind::ServerGroup, &who.project, &id, body);
            Ok(Reply::json(
                200,
                json!({"server_group": show_group(group, minor)}),
            ))
        }
        ("DELETE", [id]) => {
            find(world, id)?;
            world.state.remove(Kind::ServerGroup, id);
            Ok(Reply::empty(204))
        }
        _ => Err(nothing_here()),
    }
}
