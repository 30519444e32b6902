//! How things look to a caller, and which ones a list's query means.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::state::{Kind, Record, set};
use super::super::world::World;

/// Query parameters that are no filters.
const CONTROL: [&str; 6] = [
    "limit",
    "marker",
    "fields",
    "sort_key",
    "sort_dir",
    "page_reverse",
];

/// A thing as the caller sees it.
pub(super) fn body(world: &World, call: &Call, record: &Record) -> Value {
    let mut body = record.body.clone();
    set(&mut body, "id", json!(record.id));
    if record.body.get("cidr").is_some() {
        return body;
    }
    if record.body.get("admin_state_up").is_some() && record.body.get("mtu").is_some() {
        let subnets = world.state.ids(Kind::Subnet, |subnet| {
            subnet.text("network_id") == record.id
        });
        set(&mut body, "subnets", json!(subnets));
    }
    if record.body.get("security_group_rules").is_some() {
        set(
            &mut body,
            "security_group_rules",
            json!(super::security::rules_of(world, &record.id)),
        );
    }
    let admin = call
        .who
        .as_ref()
        .is_some_and(super::super::call::Who::is_admin);
    if !admin && let Some(map) = body.as_object_mut() {
        map.retain(|key, _| {
            !key.starts_with("provider:")
                && (!key.starts_with("binding:") || key == "binding:vnic_type")
                && key != "distributed"
                && key != "ha"
        });
    }
    body
}

/// Whether a body has what the query's filters ask for.
pub(super) fn matches(call: &Call, body: &Value) -> bool {
    let mut keys: Vec<&str> = call.query.iter().map(|(key, _)| key.as_str()).collect();
    keys.retain(|key| !CONTROL.contains(key));
    keys.dedup();
    keys.iter().all(|key| {
        let wanted: Vec<&str> = call
            .query
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .collect();
        one_matches(body, key, &wanted)
    })
}

fn one_matches(body: &Value, key: &str, wanted: &[&str]) -> bool {
    match key {
        "tags" => {
            let tags = super::super::image::texts(body.get("tags"));
            let mut all = wanted.iter().flat_map(|text| text.split(','));
            all.all(|tag| tags.iter().any(|known| known == tag))
        }
        "tags-any" => {
            let tags = super::super::image::texts(body.get("tags"));
            let mut any = wanted.iter().flat_map(|text| text.split(','));
            any.any(|tag| tags.iter().any(|known| known == tag))
        }
        "fixed_ips" => wanted.iter().all(|filter| {
            let Some((field, value)) = filter.split_once('=') else {
                return false;
            };
            let ips = body.get("fixed_ips").and_then(Value::as_array);
            let mut ips = ips.into_iter().flatten();
            ips.any(|ip| ip.get(field).and_then(Value::as_str) == Some(value))
        }),
        key => match body.get(key) {
            // Neutron passes over filters that it does not know.
            None => true,
            Some(value) => wanted.iter().any(|wanted| same(value, wanted)),
        },
    }
}

fn same(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => wanted.eq_ignore_ascii_case(if *truth { "true" } else { "false" }),
        Value::Number(number) => number.to_string() == wanted,
        Value::Array(items) => items.iter().any(|item| item == wanted),
        _ => false,
    }
}

/// Only the fields that the query names, if it names any.
pub(super) fn fields(call: &Call, mut body: Value) -> Value {
    let wanted: Vec<&str> = call
        .query
        .iter()
        .filter(|(key, _)| key == "fields")
        .map(|(_, value)| value.as_str())
        .collect();
    if !wanted.is_empty()
        && let Some(map) = body.as_object_mut()
    {
        map.retain(|key, _| wanted.contains(&key.as_str()));
    }
    body
}
