//! Security groups and their rules.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::{World, short_time};
use super::{addresses, common, find, only, project, quotas};

const RULE: [&str; 11] = [
    "security_group_id",
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "description",
    "tenant_id",
    "project_id",
];

/// The group `default` of a project, made when it is first looked for.
pub(in super::super) fn default_group(
    world: &mut World,
    project: &str,
    now: u64,
) -> Result<String, Refusal> {
    let found = world.state.ids(Kind::SecurityGroup, |group| {
        group.project == project && group.text("name") == "default"
    });
    if let Some(found) = found.into_iter().next() {
        return Ok(found);
    }
    let id = world.uuid()?;
    let stamp = short_time(now);
    let mut rules = Vec::new();
    for ethertype in ["IPv4", "IPv6"] {
        rules.push(rule(
            world,
            (project, &id, &stamp),
            &json!({"direction": "egress", "ethertype": ethertype}),
        )?);
        let from_group =
            json!({"direction": "ingress", "ethertype": ethertype, "remote_group_id": id});
        rules.push(rule(world, (project, &id, &stamp), &from_group)?);
    }
    let body = json!({"name": "default", "stateful": true, "tenant_id": project, "project_id": project,
        "description": "Default security group", "shared": false, "security_group_rules": rules, "tags": [],
        "created_at": stamp, "updated_at": stamp, "revision_number": 1});
    world.state.add(Kind::SecurityGroup, project, &id, body);
    Ok(id)
}

/// A rule with all its fields.
fn rule(
    world: &World,
    (project, group, stamp): (&str, &str, &str),
    wanted: &Value,
) -> Result<Value, Refusal> {
    let mut body = json!({"id": world.uuid()?, "ethertype": "IPv4", "protocol": null, "port_range_min": null,
        "port_range_max": null, "remote_ip_prefix": null, "remote_address_group_id": null, "remote_group_id": null,
        "description": null});
    merge(&mut body, wanted);
    let prefix = body.get("remote_ip_prefix").cloned().unwrap_or_default();
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project, "security_group_id": group,
        "normalized_cidr": prefix, "created_at": stamp, "updated_at": stamp, "revision_number": 0}),
    );
    Ok(body)
}

pub(super) fn create(world: &mut World, call: &Call, wanted: &Value) -> Result<String, Refusal> {
    only(
        wanted,
        &["name", "description", "stateful", "tenant_id", "project_id"],
    )?;
    let project = project(call, wanted, "security_group")?;
    if wanted.get("name").is_some_and(|name| name == "default") {
        let message = "Default security group already exists.";
        return Err(Refusal::conflict(message).kind("SecurityGroupDefaultAlreadyExists"));
    }
    let id = world.uuid()?;
    let stamp = short_time(call.now);
    let mut rules = Vec::new();
    for ethertype in ["IPv4", "IPv6"] {
        rules.push(rule(
            world,
            (&project, &id, &stamp),
            &json!({"direction": "egress", "ethertype": ethertype}),
        )?);
    }
    let mut body = json!({"name": "", "stateful": true, "shared": false});
    merge(&mut body, &common(call, &project));
    merge(&mut body, wanted);
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project, "security_group_rules": rules}),
    );
    world.state.add(Kind::SecurityGroup, &project, &id, body);
    Ok(id)
}

pub(super) fn update(world: &mut World, id: &str, wanted: &Value) -> Result<(), Refusal> {
    only(wanted, &["name", "description", "stateful"])?;
    if let Some(group) = world.state.get_mut(Kind::SecurityGroup, id) {
        if group.text("name") == "default" && wanted.get("name").is_some() {
            let message = "Updating default security group not allowed.";
            return Err(Refusal::conflict(message).kind("SecurityGroupCannotUpdateDefault"));
        }
        group.merge(wanted);
    }
    Ok(())
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<(), Refusal> {
    let used = world.state.ids(Kind::Port, |port| {
        let groups = port.get("security_groups").as_array().into_iter().flatten();
        groups.into_iter().any(|group| group == id)
    });
    if !used.is_empty() {
        return Err(
            Refusal::conflict(format!("Security Group {id} in use.")).kind("SecurityGroupInUse")
        );
    }
    let name = world
        .state
        .get(Kind::SecurityGroup, id)
        .map(|group| group.text("name").to_owned());
    if name.as_deref() == Some("default") {
        let message = "Insufficient rights for removing default security group.";
        return Err(Refusal::conflict(message).kind("SecurityGroupCannotRemoveDefault"));
    }
    world.state.remove(Kind::SecurityGroup, id);
    Ok(())
}

/// The rules of a group as the group shows them.
pub(super) fn rules_of(world: &World, group: &str) -> Vec<Value> {
    let group = world.state.get(Kind::SecurityGroup, group);
    let rules = group.and_then(|group| group.get("security_group_rules").as_array().cloned());
    let mut rules = rules.unwrap_or_default();
    for (at, rule) in rules.iter_mut().enumerate() {
        set(rule, "tags", json!([]));
        set(rule, "standard_attr_id", json!(at + 10));
    }
    rules
}

fn all_rules<'a>(world: &'a World, project: &str, admin: bool) -> Vec<(&'a Record, &'a Value)> {
    let groups = world.state.filter(Kind::SecurityGroup, |group| {
        admin || group.project == project
    });
    let rules = groups.into_iter().flat_map(|group| {
        let rules = group
            .get("security_group_rules")
            .as_array()
            .into_iter()
            .flatten();
        rules.map(move |rule| (group, rule))
    });
    rules.collect()
}

/// `/security-group-rules`.
pub(super) fn rules(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?.clone();
    let missing = |id: &str| {
        Refusal::missing(format!("Security group rule {id} does not exist"))
            .kind("SecurityGroupRuleNotFound")
    };
    let shown = |rule: &Value| {
        let mut rule = rule.clone();
        set(&mut rule, "tags", json!([]));
        rule
    };
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let all = all_rules(world, &who.project, who.is_admin());
            // In lists, rules have no tags.
            let all = all.into_iter().map(|(_, rule)| rule.clone());
            let found: Vec<_> = all
                .filter(|rule| super::show::matches(call, rule))
                .collect();
            Ok(Reply::json(200, json!({"security_group_rules": found})))
        }
        ("POST", []) => {
            let body = create_rule(world, call)?;
            Ok(Reply::json(201, json!({"security_group_rule": body})))
        }
        (method, [id]) => {
            let all = all_rules(world, &who.project, who.is_admin());
            let found = all
                .into_iter()
                .find(|(_, rule)| rule.get("id") == Some(&json!(id)));
            let (group, rule) = found.ok_or_else(|| missing(id))?;
            if method == "GET" {
                return Ok(Reply::json(
                    200,
                    json!({"security_group_rule": shown(rule)}),
                ));
            }
            let group = group.id.clone();
            if let Some(group) = world.state.get_mut(Kind::SecurityGroup, &group) {
                let mut rules = group
                    .get("security_group_rules")
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                rules.retain(|rule| rule.get("id") != Some(&json!(id)));
                group.set("security_group_rules", rules);
            }
            super::changed(world, call, Kind::SecurityGroup, &group);
            Ok(Reply::empty(204))
        }
        _ => Err(super::nothing_here()),
    }
}

fn create_rule(world: &mut World, call: &Call) -> Result<Value, Refusal> {
    let wanted = call
        .body
        .get("security_group_rule")
        .cloned()
        .unwrap_or_default();
    only(&wanted, &RULE)?;
    let group = wanted
        .get("security_group_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let group = find(world, call, Kind::SecurityGroup, group)?.clone();
    let count = all_rules(world, &group.project, false).len();
    quotas::check_count(world, &group.project, "security_group_rule", count)?;
    if let Some(prefix) = wanted.get("remote_ip_prefix").and_then(Value::as_str)
        && !prefix.contains(':')
        && addresses::range(prefix).is_none()
    {
        let message = format!(
            "Invalid input for remote_ip_prefix. Reason: '{prefix}' is not a valid IP subnet."
        );
        return Err(Refusal::bad(message));
    }
    let stamp = short_time(call.now);
    let mut described = json!({"description": ""});
    merge(&mut described, &wanted);
    let body = rule(world, (&group.project, &group.id, &stamp), &described)?;
    let same = [
        "direction",
        "ethertype",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
    ];
    let rules = group
        .get("security_group_rules")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let twin = rules
        .iter()
        .find(|rule| same.iter().all(|key| rule.get(*key) == body.get(*key)));
    if let Some(twin) = twin {
        let id = twin.get("id").and_then(Value::as_str).unwrap_or_default();
        let message = format!("Security group rule already exists. Rule id is {id}.");
        return Err(Refusal::conflict(message).kind("SecurityGroupRuleExists"));
    }
    if let Some(group) = world.state.get_mut(Kind::SecurityGroup, &group.id) {
        let mut rules = rules;
        rules.push(body.clone());
        group.set("security_group_rules", rules);
    }
    super::changed(world, call, Kind::SecurityGroup, &group.id);
    Ok(body)
}
