//! Networks.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Refusal;
use super::super::state::{Kind, merge};
use super::super::world::{World, short_time};
use super::{admin_attribute, common, only, project};

const KNOWN: [&str; 16] = [
    "name",
    "admin_state_up",
    "shared",
    "router:external",
    "description",
    "port_security_enabled",
    "mtu",
    "tenant_id",
    "project_id",
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
    "dns_domain",
    "qos_policy_id",
    "is_default",
    "availability_zone_hints",
];

/// The network `public` with one subnet, outside, whose addresses can float.
pub(in super::super) fn seed_public(world: &mut World, now: u64) -> Result<(), Refusal> {
    let project = world
        .state
        .all(Kind::Project)
        .first()
        .map(|project| project.id.clone());
    let project = project.unwrap_or_default();
    let id = world.uuid()?;
    let stamp = short_time(now);
    let common = json!({"tenant_id": project, "project_id": project, "description": "", "tags": [],
        "created_at": stamp, "updated_at": stamp, "revision_number": 2});
    let mut body = json!({"name": "public", "admin_state_up": true, "mtu": 1500, "status": "ACTIVE", "shared": false,
        "availability_zone_hints": [], "availability_zones": ["nova"], "ipv4_address_scope": null,
        "ipv6_address_scope": null, "router:external": true, "port_security_enabled": true, "qos_policy_id": null,
        "is_default": false, "provider:network_type": "flat", "provider:physical_network": "public",
        "provider:segmentation_id": null});
    merge(&mut body, &common);
    world.state.add(Kind::Network, &project, &id, body);
    let subnet = world.uuid()?;
    let mut body = json!({"name": "public", "network_id": id, "ip_version": 4, "subnetpool_id": null,
        "enable_dhcp": false, "ipv6_ra_mode": null, "ipv6_address_mode": null, "gateway_ip": "198.51.100.1",
        "cidr": "198.51.100.0/24", "allocation_pools": [{"start": "198.51.100.2", "end": "198.51.100.254"}],
        "host_routes": [], "dns_nameservers": [], "service_types": []});
    merge(&mut body, &common);
    world.state.add(Kind::Subnet, &project, &subnet, body);
    Ok(())
}

pub(super) fn create(world: &mut World, call: &Call, wanted: &Value) -> Result<String, Refusal> {
    only(wanted, &KNOWN)?;
    let admins = [
        "shared",
        "router:external",
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
    ];
    admin_attribute(call, wanted, "network", &admins)?;
    check_mtu(world, wanted)?;
    let project = project(call, wanted, "network")?;
    let mut body = json!({"name": "", "admin_state_up": true, "mtu": world.options.mtu, "status": "ACTIVE", "shared": false,
        "port_security_enabled": true, "qos_policy_id": null, "router:external": false, "is_default": false,
        "availability_zone_hints": [], "availability_zones": [], "ipv4_address_scope": null,
        "ipv6_address_scope": null, "provider:network_type": "local", "provider:physical_network": null,
        "provider:segmentation_id": null});
    merge(&mut body, &common(call, &project));
    merge(&mut body, wanted);
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project}),
    );
    let id = world.uuid()?;
    world.state.add(Kind::Network, &project, &id, body);
    Ok(id)
}

/// Refuses packets that are too large.
fn check_mtu(world: &World, wanted: &Value) -> Result<(), Refusal> {
    let most = world.options.mtu;
    match wanted.get("mtu").and_then(Value::as_u64) {
        Some(mtu) if mtu > most => Err(Refusal::bad(format!(
            "Invalid input for operation: Requested MTU is too big, maximum is {most}."
        ))
        .kind("InvalidInput")),
        _ => Ok(()),
    }
}

pub(super) fn update(
    world: &mut World,
    call: &Call,
    id: &str,
    wanted: &Value,
) -> Result<(), Refusal> {
    only(wanted, &KNOWN)?;
    admin_attribute(call, wanted, "network", &["shared", "router:external"])?;
    check_mtu(world, wanted)?;
    if let Some(network) = world.state.get_mut(Kind::Network, id) {
        network.merge(wanted);
    }
    Ok(())
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<(), Refusal> {
    let ports = world.state.ids(Kind::Port, |port| {
        port.text("network_id") == id && port.text("device_owner") != "network:dhcp"
    });
    if !ports.is_empty() {
        let message = format!(
            "Unable to complete operation on network {id}. There are one or more ports still in use on the network, id for these ports is: {}.",
            ports.join(",")
        );
        return Err(Refusal::conflict(message).kind("NetworkInUse"));
    }
    for port in world
        .state
        .ids(Kind::Port, |port| port.text("network_id") == id)
    {
        world.state.remove(Kind::Port, &port);
    }
    for subnet in world
        .state
        .ids(Kind::Subnet, |subnet| subnet.text("network_id") == id)
    {
        world.state.remove(Kind::Subnet, &subnet);
    }
    world.state.remove(Kind::Network, id);
    Ok(())
}
