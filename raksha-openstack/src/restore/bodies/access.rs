//! Security groups, key pairs and server groups.

use raksha_core::Result;
use raksha_core::cloud::{
    Direction, KeyPair, ResourceKind as K, ResourceRef, SecurityGroup, SecurityGroupRule,
    ServerGroup,
};
use serde_json::{Value, json};

use super::{Body, carry, put};
use crate::restore::there::There;

/// A security group, without its rules.
pub(in crate::restore) fn security_group(point: &SecurityGroup, there: There<'_>) -> Value {
    let mut body = Body::new();
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::SecurityGroup(point))),
    );
    carry(&mut body, &point.raw, &["stateful"]);
    // A stateful one is the default, and older clouds do not know the word.
    if body.get("stateful") == Some(&Value::Bool(true)) {
        body.remove("stateful");
    }
    Value::Object(body)
}

/// A rule of the group `group`, which is the live one's id. What is absent means any, here and there.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for the group that it refers to.
pub(in crate::restore) fn security_group_rule(
    rule: &SecurityGroupRule,
    group: &str,
    there: There<'_>,
) -> Result<Value> {
    let direction = match rule.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let mut body = Body::new();
    put(&mut body, "security_group_id", Some(group));
    put(&mut body, "direction", Some(direction));
    put(&mut body, "ethertype", Some(rule.ethertype.as_str()));
    put(&mut body, "protocol", rule.protocol.as_deref());
    put(&mut body, "port_range_min", rule.port_min);
    put(&mut body, "port_range_max", rule.port_max);
    put(&mut body, "remote_ip_prefix", rule.remote_cidr.as_deref());
    if let Some(remote) = &rule.remote_group {
        let remote = there.id(K::SecurityGroup, remote.as_str())?;
        put(&mut body, "remote_group_id", Some(remote));
    }
    Ok(Value::Object(body))
}

/// A key pair, by its public half.
pub(in crate::restore) fn key_pair(point: &KeyPair, there: There<'_>) -> Value {
    let kind = point.raw.get("type").and_then(Value::as_str);
    json!({
        "name": there.name(ResourceRef::KeyPair(point)),
        "public_key": point.public_key,
        "type": kind.unwrap_or("ssh"),
    })
}

/// A server group. Before 2.64 its one policy was a list of one.
pub(in crate::restore) fn server_group(
    point: &ServerGroup,
    there: There<'_>,
    one_policy: bool,
) -> Value {
    let name = there.name(ResourceRef::ServerGroup(point));
    if !one_policy {
        return json!({ "name": name, "policies": [point.policy] });
    }
    let mut body = Body::new();
    put(&mut body, "name", Some(name));
    put(&mut body, "policy", Some(point.policy.as_str()));
    let rules = point.raw.get("rules");
    let rules = rules.filter(|rules| rules.as_object().is_some_and(|r| !r.is_empty()));
    put(&mut body, "rules", rules.cloned());
    Value::Object(body)
}
