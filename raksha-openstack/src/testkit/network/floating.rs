//! Floating addresses.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Refusal;
use super::super::state::{Kind, Record, merge};
use super::super::world::World;
use super::{common, find, only, ports, project};

const KNOWN: [&str; 10] = [
    "floating_network_id",
    "floating_ip_address",
    "port_id",
    "fixed_ip_address",
    "tenant_id",
    "project_id",
    "subnet_id",
    "description",
    "dns_name",
    "dns_domain",
];

/// The floating address that points to a port and one of its addresses.
pub(in super::super) fn of_port<'a>(
    world: &'a World,
    port: &str,
    address: &str,
) -> Option<&'a Record> {
    let found = world.state.filter(Kind::FloatingIp, |floating| {
        floating.text("port_id") == port && floating.text("fixed_ip_address") == address
    });
    found.first().copied()
}

pub(super) fn create(world: &mut World, call: &Call, wanted: &Value) -> Result<String, Refusal> {
    only(wanted, &KNOWN)?;
    let project = project(call, wanted, "floatingip")?;
    let network = wanted
        .get("floating_network_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let outside = find(world, call, Kind::Network, network)?;
    if outside.get("router:external") != &json!(true) {
        let message =
            format!("Bad floatingip request: Network {network} is not a valid external network.");
        return Err(Refusal::bad(message).kind("BadRequest"));
    }
    let mut fixed = Value::Null;
    if let Some(address) = wanted.get("floating_ip_address").and_then(Value::as_str) {
        let rule = "create_floatingip and rule:create_floatingip:floating_ip_address";
        super::super::policy::admin_only(call, rule)?;
        fixed = json!([{"ip_address": address}]);
    }
    let id = world.uuid()?;
    let mut fields = json!({"device_id": id, "device_owner": "network:floatingip",
        "port_security_enabled": false, "security_groups": []});
    if !fixed.is_null() {
        merge(&mut fields, &json!({"fixed_ips": fixed}));
    }
    let outside = network.to_owned();
    let port = ports::Wanted {
        project: "",
        network: &outside,
        fields: &fields,
    };
    let port = ports::create(world, call, &port)?;
    let address = world
        .state
        .get(Kind::Port, &port)
        .and_then(|port| port.get("fixed_ips").pointer("/0/ip_address").cloned())
        .unwrap_or_default();
    let mut body = json!({"floating_ip_address": address, "floating_network_id": outside, "router_id": null,
        "port_id": null, "fixed_ip_address": null, "status": "DOWN", "port_details": null, "qos_policy_id": null});
    merge(&mut body, &common(call, &project));
    merge(
        &mut body,
        &json!({"description": wanted.get("description").and_then(Value::as_str).unwrap_or_default(),
        "revision_number": 0}),
    );
    world
        .state
        .add(Kind::FloatingIp, &project, &id, body)
        .set_inner("port", port);
    if wanted.get("port_id").is_some_and(Value::is_string)
        && let Err(refusal) = update(world, call, &id, wanted)
    {
        delete(world, &id);
        return Err(refusal);
    }
    Ok(id)
}

/// Points it to the port that is wanted, or to none.
pub(super) fn update(
    world: &mut World,
    call: &Call,
    id: &str,
    wanted: &Value,
) -> Result<(), Refusal> {
    only(wanted, &KNOWN)?;
    if let Some(floating) = world.state.get_mut(Kind::FloatingIp, id)
        && let Some(description) = wanted.get("description")
    {
        floating.set("description", description.clone());
    }
    let Some(port_id) = wanted.get("port_id") else {
        return Ok(());
    };
    let Some(port_id) = port_id.as_str() else {
        release(world, id);
        return Ok(());
    };
    let outside = world.state.get(Kind::FloatingIp, id);
    let outside = outside.map(|floating| floating.text("floating_network_id").to_owned());
    let port = find(world, call, Kind::Port, port_id)?;
    let ips = port
        .get("fixed_ips")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stated = wanted.get("fixed_ip_address").and_then(Value::as_str);
    let fixed = ips.iter().find(|ip| {
        stated.is_none_or(|stated| ip.get("ip_address").and_then(Value::as_str) == Some(stated))
    });
    let Some(fixed) = fixed else {
        let message = format!(
            "Bad floatingip request: Cannot add floating IP to port {port_id} that has no fixed IPv4 addresses."
        );
        return Err(Refusal::bad(message).kind("BadRequest"));
    };
    let address = fixed
        .get("ip_address")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if of_port(world, port_id, address).is_some_and(|other| other.id != id) {
        let message = format!(
            "Cannot associate floating IP with port {port_id} using fixed IP {address}, as that fixed IP already has a floating IP on external network {}.",
            outside.unwrap_or_default()
        );
        return Err(Refusal::conflict(message).kind("FloatingIPPortAlreadyAssociated"));
    }
    let subnet = fixed
        .get("subnet_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let on_subnet = ports::on_subnet(world, subnet);
    let routers = world.state.filter(Kind::Router, |router| {
        let gateway = router
            .get("external_gateway_info")
            .get("network_id")
            .and_then(Value::as_str);
        gateway.is_some()
            && gateway == outside.as_deref()
            && on_subnet.iter().any(|port| {
                let port = world.state.get(Kind::Port, port);
                port.is_some_and(|port| {
                    port.text("device_id") == router.id
                        && port.text("device_owner") == "network:router_interface"
                })
            })
    });
    let Some(router) = routers.first() else {
        let message = format!(
            "External network {} is not reachable from subnet {subnet}.  Therefore, cannot associate Port {port_id} with a Floating IP.",
            outside.unwrap_or_default()
        );
        return Err(Refusal::missing(message).kind("ExternalGatewayForFloatingIPNotFound"));
    };
    let details = json!({"name": port.get("name"), "network_id": port.get("network_id"),
        "mac_address": port.get("mac_address"), "admin_state_up": port.get("admin_state_up"),
        "status": port.get("status"), "device_id": port.get("device_id"), "device_owner": port.get("device_owner")});
    let fields = json!({"port_id": port_id, "fixed_ip_address": address, "router_id": router.id,
        "status": "ACTIVE", "port_details": details});
    if let Some(floating) = world.state.get_mut(Kind::FloatingIp, id) {
        floating.merge(&fields);
    }
    Ok(())
}

/// It points nowhere any more.
pub(super) fn release(world: &mut World, id: &str) {
    if let Some(floating) = world.state.get_mut(Kind::FloatingIp, id) {
        floating.merge(
            &json!({"port_id": null, "fixed_ip_address": null, "router_id": null,
            "status": "DOWN", "port_details": null}),
        );
    }
}

pub(super) fn delete(world: &mut World, id: &str) {
    if let Some(floating) = world.state.remove(Kind::FloatingIp, id) {
        world.state.remove(Kind::Port, floating.inner_text("port"));
    }
}
