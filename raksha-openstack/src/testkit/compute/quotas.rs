//! How much a project may have.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::policy::denied;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, set};
use super::super::world::World;
use super::{minor, nothing_here};

fn used(world: &World, project: &str, resource: &str) -> i64 {
    let servers = world.state.of(Kind::Server, project);
    let sum = |key: &str| -> i64 {
        servers
            .iter()
            .filter_map(|server| server.inner("flavor").get(key)?.as_i64())
            .sum()
    };
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    match resource {
        "instances" => count(servers.len()),
        "cores" => sum("vcpus"),
        "ram" => sum("ram"),
        "server_groups" => count(world.state.of(Kind::ServerGroup, project).len()),
        _ => 0,
    }
}

/// Refuses one more server of a flavor than the project may have.
pub(super) fn check(world: &World, project: &str, flavor: &Record) -> Result<(), Refusal> {
    let amount = |key: &str| flavor.get(key).as_i64().unwrap_or_default();
    for (resource, amount) in [
        ("instances", 1),
        ("cores", amount("vcpus")),
        ("ram", amount("ram")),
    ] {
        let limit = world.limit(project, resource);
        let used = used(world, project, resource);
        if limit >= 0 && used + amount > limit {
            return Err(Refusal::denied(format!(
                "Quota exceeded for {resource}: Requested {amount}, but already used {used} of {limit} {resource}"
            )));
        }
    }
    Ok(())
}

/// `GET /limits`.
pub(super) fn limits(world: &World, call: &Call) -> Outcome {
    let project = &call.who()?.project;
    let limit = |resource: &str| world.limit(project, resource);
    let used = |resource: &str| used(world, project, resource);
    let mut absolute = json!({
        "maxTotalInstances": limit("instances"), "maxTotalCores": limit("cores"), "maxTotalRAMSize": limit("ram"),
        "maxServerMeta": limit("metadata_items"), "maxTotalKeypairs": limit("key_pairs"),
        "maxServerGroups": limit("server_groups"), "maxServerGroupMembers": limit("server_group_members"),
        "totalRAMUsed": used("ram"), "totalCoresUsed": used("cores"), "totalInstancesUsed": used("instances"),
        "totalServerGroupsUsed": used("server_groups")});
    let minor = minor(call)?;
    if minor < 57 {
        for (key, value) in [("maxPersonality", 5), ("maxPersonalitySize", 10_240)] {
            set(&mut absolute, key, json!(value));
        }
    }
    if minor < 39 {
        set(&mut absolute, "maxImageMeta", json!(128));
    }
    if minor < 36 {
        let gone = [
            ("maxTotalFloatingIps", -1),
            ("maxSecurityGroups", -1),
            ("maxSecurityGroupRules", -1),
            ("totalFloatingIpsUsed", 0),
            ("totalSecurityGroupsUsed", 0),
        ];
        for (key, value) in gone {
            set(&mut absolute, key, json!(value));
        }
    }
    Ok(Reply::json(
        200,
        json!({"limits": {"rate": [], "absolute": absolute}}),
    ))
}

/// `/os-quota-sets/PROJECT`.
pub(super) fn sets(world: &World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?;
    let (project, detail) = match path {
        [project] => (*project, false),
        [project, "detail"] => (*project, true),
        [project, "defaults"] => (*project, false),
        _ => return Err(nothing_here()),
    };
    if project != who.project && !who.is_admin() {
        return Err(denied(call.area, "os_compute_api:os-quota-sets:show"));
    }
    let minor = minor(call)?;
    let mut resources = vec![
        "cores",
        "instances",
        "key_pairs",
        "metadata_items",
        "ram",
        "server_group_members",
        "server_groups",
    ];
    if minor < 36 {
        resources.extend([
            "fixed_ips",
            "floating_ips",
            "security_group_rules",
            "security_groups",
        ]);
    }
    if minor < 57 {
        resources.extend([
            "injected_file_content_bytes",
            "injected_file_path_bytes",
            "injected_files",
        ]);
    }
    let mut quota = Map::new();
    for resource in resources {
        let limit = match resource {
            "injected_file_content_bytes" => 10_240,
            "injected_file_path_bytes" => 255,
            "injected_files" => 5,
            other => world.limit(project, other),
        };
        let value = if detail {
            json!({"limit": limit, "in_use": used(world, project, resource), "reserved": 0})
        } else {
            json!(limit)
        };
        quota.insert(resource.to_owned(), value);
    }
    let mut quota = Value::Object(quota);
    set(&mut quota, "id", json!(project));
    Ok(Reply::json(200, json!({"quota_set": quota})))
}
