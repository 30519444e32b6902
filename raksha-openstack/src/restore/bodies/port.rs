//! Ports and floating IPs.

use raksha_core::Result;
use raksha_core::cloud::{FloatingIp, Port, ResourceKind as K, ResourceRef};
use serde_json::{Value, json};

use super::{Body, carry, put};
use crate::restore::there::There;

/// A port with its hardware address, its addresses and its guards.
///
/// What a port has from its network anyway is not asked for: on a network of somebody else even asking is denied.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for its network, a subnet or a security group.
pub(in crate::restore) fn port(point: &Port, there: There<'_>) -> Result<Value> {
    let mut body = Body::new();
    let network = there.id(K::Network, point.network.as_str())?;
    put(&mut body, "network_id", Some(network));
    put(
        &mut body,
        "name",
        Some(there.name(ResourceRef::Port(point))),
    );
    put(&mut body, "mac_address", Some(point.mac.as_str()));
    let mut fixed = Vec::new();
    for ip in &point.fixed_ips {
        let subnet = there.id(K::Subnet, ip.subnet.as_str())?;
        fixed.push(json!({ "subnet_id": subnet, "ip_address": ip.address }));
    }
    put(&mut body, "fixed_ips", Some(fixed));
    let mut networks = there.request.graph.networks.iter();
    let of_network = networks.find(|network| network.id == point.network);
    if of_network.is_none_or(|network| network.port_security != point.port_security) {
        put(
            &mut body,
            "port_security_enabled",
            Some(point.port_security),
        );
    }
    let mut groups = Vec::new();
    for group in &point.security_groups {
        groups.push(there.id(K::SecurityGroup, group.as_str())?);
    }
    // An empty list says none; nothing would mean the project's default group.
    put(&mut body, "security_groups", Some(groups));
    if !point.allowed_address_pairs.is_empty() {
        let pairs = point.allowed_address_pairs.iter().map(|pair| {
            let mut body = Body::new();
            put(&mut body, "ip_address", Some(pair.address.as_str()));
            put(&mut body, "mac_address", pair.mac.as_deref());
            Value::Object(body)
        });
        put(
            &mut body,
            "allowed_address_pairs",
            Some(pairs.collect::<Value>()),
        );
    }
    carry(
        &mut body,
        &point.raw,
        &["admin_state_up", "dns_name", "extra_dhcp_opts"],
    );
    // The default, which the operator may have reserved to say.
    let vnic = point.raw.get("binding:vnic_type").and_then(Value::as_str);
    put(
        &mut body,
        "binding:vnic_type",
        vnic.filter(|kind| *kind != "normal"),
    );
    Ok(Value::Object(body))
}

/// A floating IP that leads where it led; with the address it had, or any.
///
/// # Errors
/// [`Kind::Invalid`](raksha_core::Kind::Invalid) if nothing stands for its network or port.
pub(in crate::restore) fn floating_ip(
    point: &FloatingIp,
    there: There<'_>,
    same_address: bool,
) -> Result<Value> {
    let mut body = Body::new();
    let network = there.id(K::Network, point.network.as_str())?;
    put(&mut body, "floating_network_id", Some(network));
    if same_address {
        put(
            &mut body,
            "floating_ip_address",
            Some(point.address.as_str()),
        );
    }
    if let Some(port) = &point.port {
        put(
            &mut body,
            "port_id",
            Some(there.id(K::Port, port.as_str())?),
        );
        put(
            &mut body,
            "fixed_ip_address",
            point.fixed_address.as_deref(),
        );
    }
    carry(&mut body, &point.raw, &["dns_name", "dns_domain"]);
    Ok(Value::Object(body))
}
