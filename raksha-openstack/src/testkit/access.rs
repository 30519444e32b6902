//! Access rules of application credentials, as the middleware before every service but Keystone keeps them.

use serde_json::Value;

use super::call::{Area, Call, unauthenticated};
use super::reply::Refusal;
use super::state::Kind;
use super::world::World;
use crate::client::Service;

/// Refuses a request that no rule of its credential allows, in the middleware's words, which do not say that.
pub(super) fn check(world: &World, call: &Call) -> Result<(), Refusal> {
    // The service, and what `service_type` says in its configuration.
    let (service, kind) = match call.area {
        Area::Identity => return Ok(()),
        Area::Compute => (Service::Compute, "compute"),
        Area::Volume => (Service::BlockStorage, "volumev3"),
        Area::Image => (Service::Image, "image"),
        Area::Network => (Service::Network, "network"),
        Area::Objects => (Service::ObjectStore, "object-store"),
    };
    // What tells of versions is in front of the middleware; of Cinder's, only the root.
    let open = if call.area == Area::Volume { 1 } else { 2 };
    if call.path.len() < open {
        return Ok(());
    }
    let token = call
        .who
        .as_ref()
        .and_then(|who| world.state.get(Kind::Token, &who.token));
    let credential = token.map_or("", |token| token.inner_text("credential"));
    let credential = world.state.get(Kind::ApplicationCredential, credential);
    let Some(rules) = credential.and_then(|one| one.get("access_rules").as_array()) else {
        return Ok(());
    };
    let path = call.uri.split('?').next().unwrap_or_default();
    let allows = |rule: &Value| {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        text("service") == kind
            && text("method") == call.method
            && matches(text("path").as_bytes(), path.as_bytes())
    };
    let knows = !world.options.without_access_rules.contains(&service);
    match knows && rules.iter().any(allows) {
        true => Ok(()),
        false => Err(unauthenticated()),
    }
}

/// Whether `path` is one that `pattern` means: `*` and `{name}` stand for a part, `**` for anything.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let part = |rest: &[u8]| {
        let length = path.iter().take_while(|byte| **byte != b'/').count();
        (1..=length).any(|n| path.get(n..).is_some_and(|after| matches(rest, after)))
    };
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => {
            (0..=path.len()).any(|n| path.get(n..).is_some_and(|after| matches(rest, after)))
        }
        [b'*', rest @ ..] => part(rest),
        [b'{', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'}');
            end.and_then(|end| rest.get(end + 1..)).is_some_and(part)
        }
        [literal, rest @ ..] => match path {
            [first, after @ ..] => first == literal && matches(rest, after),
            [] => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of keystonemiddleware's own function (10.1) for the same pairs.
    #[test]
    fn patterns_match_as_keystonemiddleware_matches_them() {
        for (pattern, path, expected) in [
            ("/v2.1/servers", "/v2.1/servers", true),
            ("/v2.1/servers", "/v2.1/servers/", false),
            ("/v2.1/servers/*", "/v2.1/servers/7", true),
            ("/v2.1/servers/*", "/v2.1/servers/", false),
            ("/v2.1/servers/*", "/v2.1/servers/7/ips", false),
            ("/v2.1/servers/*/ips", "/v2.1/servers/7/ips", true),
            ("/v2.1/**", "/v2.1/servers/7/ips", true),
            ("/v2.1/**", "/v2.1/", true),
            ("/v2.1/**", "/v2.0/", false),
            ("/v3/{project}/volumes", "/v3/p/volumes", true),
            ("/v3/{project}/volumes", "/v3//volumes", false),
            ("/v3/*/volumes/*/action", "/v3/p/volumes/v/action", true),
        ] {
            let found = matches(pattern.as_bytes(), path.as_bytes());
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }
}
