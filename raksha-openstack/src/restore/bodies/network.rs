//! Networks, subnets and routers.

use raksha_core::Result;
use raksha_core::cloud::{
    Network, ResourceKind as K, ResourceRef, Route, Router, RouterInterface, Subnet,
};
use serde_json::{Value, json};

use super::{Body, carry, put};
use crate::restore::there::There;

/// A network. What makes it shared or external is the operator's to give.
pub(in crate::restore) fn network(point: &Network, there: There<'_>) -> Value {
    let mut body = Body::new();
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Network(point))),
    );
    put(&mut body, "mtu", point.mtu);
    put(
        &mut body,
        "port_security_enabled",
        Some(point.port_security),
    );
    carry(&mut body, &point.raw, &["admin_state_up", "dns_domain"]);
    Value::Object(body)
}

/// A subnet.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for its network.
pub(in crate::restore) fn subnet(point: &Subnet, there: There<'_>) -> Result<Value> {
    let mut body = Body::new();
    let network = there.id(K::Network, point.network.as_str())?;
    let version = if point.cidr.contains(':') { 6 } else { 4 };
    put(&mut body, "network_id", Some(network));
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Subnet(point))),
    );
    put(&mut body, "ip_version", Some(version));
    put(&mut body, "cidr", Some(point.cidr.as_str()));
    // Null, and not nothing, says that there is no gateway.
    put(&mut body, "gateway_ip", Some(point.gateway.clone()));
    put(&mut body, "enable_dhcp", Some(point.dhcp));
    put(&mut body, "dns_nameservers", Some(point.dns.clone()));
    put(&mut body, "host_routes", Some(routes(&point.routes)));
    if !point.pools.is_empty() {
        let pools = point.pools.iter();
        let pools = pools.map(|pool| json!({ "start": pool.first, "end": pool.last }));
        put(
            &mut body,
            "allocation_pools",
            Some(pools.collect::<Value>()),
        );
    }
    carry(
        &mut body,
        &point.raw,
        &["ipv6_ra_mode", "ipv6_address_mode"],
    );
    Ok(Value::Object(body))
}

/// A router, without its interfaces and without the routes that need them.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for the network of its gateway.
pub(in crate::restore) fn router(point: &Router, there: There<'_>) -> Result<Value> {
    let mut body = Body::new();
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Router(point))),
    );
    carry(&mut body, &point.raw, &["admin_state_up"]);
    if let Some(gateway) = &point.gateway {
        let network = there.id(K::Network, gateway.as_str())?;
        let info = json!({ "network_id": network });
        put(&mut body, "external_gateway_info", Some(info));
    }
    Ok(Value::Object(body))
}

/// The port by which a router joins a subnet at an address that is not the subnet's gateway.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for the subnet or its network.
pub(in crate::restore) fn interface_port(
    side: &RouterInterface,
    subnet: &Subnet,
    there: There<'_>,
) -> Result<Value> {
    Ok(json!({
        "network_id": there.id(K::Network, subnet.network.as_str())?,
        "fixed_ips": [{ "subnet_id": there.id(K::Subnet, side.subnet.as_str())?, "ip_address": side.address }],
    }))
}

/// Routes, as subnets and routers have them.
pub(in crate::restore) fn routes(routes: &[Route]) -> Value {
    let routes = routes.iter();
    routes
        .map(|route| json!({ "destination": route.destination, "nexthop": route.next_hop }))
        .collect()
}
