//! How much a project may have.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::policy::denied;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::Kind;
use super::super::world::World;

const RESOURCES: [&str; 9] = [
    "network",
    "subnet",
    "subnetpool",
    "port",
    "router",
    "floatingip",
    "rbac_policy",
    "security_group",
    "security_group_rule",
];

/// Refuses one more of a kind than the caller's project may have.
pub(super) fn check(world: &World, call: &Call, kind: Kind, resource: &str) -> Result<(), Refusal> {
    let project = &call.who()?.project;
    check_count(
        world,
        project,
        resource,
        world.state.of(kind, project).len(),
    )
}

pub(super) fn check_count(
    world: &World,
    project: &str,
    resource: &str,
    count: usize,
) -> Result<(), Refusal> {
    let limit = world.limit(project, resource);
    if limit >= 0 && i64::try_from(count).unwrap_or(i64::MAX) >= limit {
        let message = format!("Quota exceeded for resources: ['{resource}'].");
        return Err(Refusal::conflict(message).kind("OverQuota"));
    }
    Ok(())
}

fn used(world: &World, project: &str, resource: &str) -> usize {
    let kind = match resource {
        "network" => Kind::Network,
        "subnet" => Kind::Subnet,
        "port" => Kind::Port,
        "router" => Kind::Router,
        "floatingip" => Kind::FloatingIp,
        "security_group" => Kind::SecurityGroup,
        _ => return 0,
    };
    world.state.of(kind, project).len()
}

/// `/quotas/PROJECT`, `/quotas/PROJECT/details.json`.
pub(super) fn serve(world: &World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?;
    let (project, detail) = match path {
        [project] => (*project, false),
        [project, "details" | "details.json"] => (*project, true),
        _ => return Err(super::nothing_here()),
    };
    if project != who.project && !who.is_admin() {
        return Err(denied(call.area, "get_quota"));
    }
    let mut quota = Map::new();
    for resource in RESOURCES {
        let limit = match (world.limit(project, resource), resource) {
            (-1, "rbac_policy") => 10,
            (limit, _) => limit,
        };
        let value = if detail {
            json!({"limit": limit, "used": used(world, project, resource), "reserved": 0})
        } else {
            json!(limit)
        };
        quota.insert(resource.to_owned(), value);
    }
    Ok(Reply::json(200, json!({"quota": Value::Object(quota)})))
}
