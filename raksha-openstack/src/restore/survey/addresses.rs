//! Addresses in use.

use raksha_core::cloud::Presence;
use serde_json::Value;

use super::super::make::is;
use super::live::Live;
use super::presence::id_of;

/// The port that has `address` on the live subnet `subnet`.
pub(super) fn holder<'a>(live: &'a Live, subnet: &str, address: &str) -> Option<&'a Value> {
    live.ports.iter().find(|port| {
        let ips = port.get("fixed_ips").and_then(Value::as_array);
        let mut ips = ips.into_iter().flatten();
        ips.any(|ip| is(ip, "subnet_id", subnet) && is(ip, "ip_address", address))
    })
}

/// Says that `port` is in the way.
pub(super) fn taken(port: &Value, address: &str) -> Presence {
    Presence::Conflict {
        id: id_of(port),
        reason: format!(
            "the address {address} is in use: remove what uses it, or map the resource to that"
        ),
    }
}
