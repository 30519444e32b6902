//! Whether something live is what the cloud would be asked to create.

use raksha_core::cloud::{
    Image, KeyPair, Network, Port, ResourceKind as K, Router, SecurityGroup, ServerGroup, Subnet,
};
use serde_json::Value;

use super::super::bodies;
use super::super::make::is;
use super::super::there::There;
use super::live::Live;

/// What says nothing of whether a thing can take the place of another.
const SAYS_NOTHING: [&str; 4] = ["name", "description", "tags", "type"];

/// The fields of `asked` in which `live` differs.
fn differing(asked: &Value, live: &Value) -> Vec<String> {
    let fields = asked.as_object().into_iter().flatten();
    let fields = fields.filter(|(key, _)| !SAYS_NOTHING.contains(&key.as_str()));
    let differing = fields.filter(|(key, asked)| {
        let live = live.get(key.as_str()).unwrap_or(&Value::Null);
        !same(asked, live)
    });
    differing.map(|(key, _)| key.clone()).collect()
}

/// Whether `live` is what was asked for: lists of objects in any order, objects with at least the same fields.
fn same(asked: &Value, live: &Value) -> bool {
    match (asked, live) {
        (Value::Object(asked), Value::Object(_)) => {
            let mut fields = asked.iter();
            fields.all(|(key, asked)| live.get(key).is_some_and(|live| same(asked, live)))
        }
        (Value::Array(asked), Value::Array(live)) => {
            let objects = asked.iter().all(Value::is_object);
            asked.len() == live.len()
                && match objects {
                    true => asked.iter().all(|a| live.iter().any(|l| same(a, l))),
                    false => asked == live,
                }
        }
        (Value::String(asked), Value::String(live)) => asked.eq_ignore_ascii_case(live),
        (asked, live) => asked == live,
    }
}

pub(super) fn network(point: &Network, live: &Value, all: &Live, there: There<'_>) -> Vec<String> {
    let mut differ = differing(&bodies::network(point, there), live);
    let id = live.get("id").and_then(Value::as_str).unwrap_or_default();
    // A network is its subnets; further ones do not matter.
    for subnet in there
        .request
        .graph
        .subnets
        .iter()
        .filter(|s| s.network == point.id)
    {
        let mut on_it = all.subnets.iter().filter(|s| is(s, "network_id", id));
        if !on_it.any(|live| is(live, "cidr", &subnet.cidr)) {
            differ.push(format!("the subnet {}", subnet.cidr));
        }
    }
    differ
}

pub(super) fn subnet(point: &Subnet, live: &Value, there: There<'_>) -> Vec<String> {
    match bodies::subnet(point, there) {
        Ok(asked) => differing(&asked, live),
        Err(_) => vec!["its network".to_owned()],
    }
}

pub(super) fn router(point: &Router, live: &Value, there: There<'_>) -> Vec<String> {
    match bodies::router(point, there) {
        Ok(asked) => differing(&asked, live),
        Err(_) => vec!["its gateway".to_owned()],
    }
}

pub(super) fn security_group(point: &SecurityGroup, live: &Value, there: There<'_>) -> Vec<String> {
    let mut differ = differing(&bodies::security_group(point, there), live);
    let id = live.get("id").and_then(Value::as_str).unwrap_or_default();
    let rules = live.get("security_group_rules").and_then(Value::as_array);
    let rules = rules.map(Vec::as_slice).unwrap_or_default();
    let has = |rule: &raksha_core::cloud::SecurityGroupRule| {
        // Itself, too, can be the other side.
        let mut ids = there.ids.clone();
        let key = raksha_core::cloud::ResourceKey::new(K::SecurityGroup, point.id.as_str());
        ids.insert(key, id);
        let there = There::new(there.request, &ids);
        let Ok(asked) = bodies::security_group_rule(rule, id, there) else {
            return false;
        };
        rules.iter().any(|live| is_rule(&asked, live))
    };
    if rules.len() != point.rules.len() || !point.rules.iter().all(has) {
        differ.push("rules".to_owned());
    }
    differ
}

/// Rules are the same if they say the same of everything that a rule can say something of.
fn is_rule(asked: &Value, live: &Value) -> bool {
    const ALL: [&str; 7] = [
        "direction",
        "ethertype",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
    ];
    ALL.iter().all(|key| {
        let of = |rule: &Value| rule.get(*key).cloned().unwrap_or(Value::Null);
        same(&of(asked), &of(live))
    })
}

pub(super) fn key_pair(point: &KeyPair, live: &Value) -> Vec<String> {
    let theirs = live
        .get("public_key")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match theirs.trim() == point.public_key.trim() {
        true => Vec::new(),
        false => vec!["public key".to_owned()],
    }
}

pub(super) fn server_group(point: &ServerGroup, live: &Value) -> Vec<String> {
    let policies = live.get("policies").and_then(Value::as_array);
    let listed = policies.is_some_and(|all| all.iter().any(|one| *one == point.policy.as_str()));
    match listed || is(live, "policy", &point.policy) {
        true => Vec::new(),
        false => vec!["policy".to_owned()],
    }
}

pub(super) fn image(point: &Image, live: &Value, there: There<'_>) -> Vec<String> {
    differing(&bodies::image(point, point.id.as_str(), there), live)
        .into_iter()
        .filter(|field| field != "id" && field != "container_format")
        .collect()
}

pub(super) fn port(point: &Port, live: &Value, there: There<'_>) -> Vec<String> {
    match bodies::port(point, there) {
        Ok(asked) => differing(&asked, live),
        Err(_) => vec!["what it refers to".to_owned()],
    }
}
