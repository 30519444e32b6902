//! Routers, their interfaces and gateways.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, merge};
use super::super::world::World;
use super::{addresses, common, find, only, ports, project};

const KNOWN: [&str; 11] = [
    "name",
    "admin_state_up",
    "external_gateway_info",
    "description",
    "routes",
    "tenant_id",
    "project_id",
    "ha",
    "distributed",
    "availability_zone_hints",
    "flavor_id",
];

pub(super) fn create(world: &mut World, call: &Call, wanted: &Value) -> Result<String, Refusal> {
    only(wanted, &KNOWN)?;
    let project = project(call, wanted, "router")?;
    let mut body = json!({"name": "", "admin_state_up": true, "status": "ACTIVE", "external_gateway_info": null,
        "availability_zones": [], "availability_zone_hints": [], "routes": [], "flavor_id": null});
    merge(&mut body, &common(call, &project));
    merge(&mut body, wanted);
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project, "external_gateway_info": null}),
    );
    let id = world.uuid()?;
    world.state.add(Kind::Router, &project, &id, body);
    if let Some(gateway) = wanted.get("external_gateway_info")
        && let Err(refusal) = set_gateway(world, call, &id, gateway)
    {
        world.state.remove(Kind::Router, &id);
        return Err(refusal);
    }
    Ok(id)
}

pub(super) fn update(
    world: &mut World,
    call: &Call,
    id: &str,
    wanted: &Value,
) -> Result<(), Refusal> {
    only(wanted, &KNOWN)?;
    let mut fields = wanted.clone();
    let gateway = fields
        .as_object_mut()
        .and_then(|map| map.remove("external_gateway_info"));
    if let Some(gateway) = gateway {
        set_gateway(world, call, id, &gateway)?;
    }
    if let Some(router) = world.state.get_mut(Kind::Router, id) {
        router.merge(&fields);
    }
    Ok(())
}

/// Sets the gateway: an external network, or null for none.
fn set_gateway(world: &mut World, call: &Call, id: &str, wanted: &Value) -> Result<(), Refusal> {
    let old = ports_of(world, id, "network:router_gateway");
    let Some(network) = wanted.get("network_id").and_then(Value::as_str) else {
        if uses_floating(world, id, None) {
            let message = format!(
                "Gateway cannot be updated for router {id}, since a gateway to external network is required by one or more floating IPs."
            );
            return Err(Refusal::conflict(message).kind("RouterExternalGatewayInUseByFloatingIp"));
        }
        for port in old {
            ports::delete(world, &port);
        }
        if let Some(router) = world.state.get_mut(Kind::Router, id) {
            router.set("external_gateway_info", Value::Null);
        }
        return Ok(());
    };
    let outside = find(world, call, Kind::Network, network)?;
    if outside.get("router:external") != &json!(true) {
        let message = format!("Bad router request: Network {network} is not an external network.");
        return Err(Refusal::bad(message).kind("BadRequest"));
    }
    if wanted.get("external_fixed_ips").is_some() {
        let rule = "update_router and rule:update_router:external_gateway_info:external_fixed_ips";
        super::super::policy::admin_only(call, rule)?;
    }
    for port in old {
        ports::delete(world, &port);
    }
    let mut fields = json!({"device_id": id, "device_owner": "network:router_gateway",
        "port_security_enabled": false, "security_groups": []});
    if let Some(fixed) = wanted.get("external_fixed_ips") {
        merge(&mut fields, &json!({"fixed_ips": fixed}));
    }
    let port = ports::create(
        world,
        call,
        &ports::Wanted {
            project: "",
            network,
            fields: &fields,
        },
    )?;
    let fixed = match world.state.get_mut(Kind::Port, &port) {
        Some(port) => {
            port.set("status", "ACTIVE");
            port.get("fixed_ips").clone()
        }
        None => json!([]),
    };
    if let Some(router) = world.state.get_mut(Kind::Router, id) {
        router.set(
            "external_gateway_info",
            json!({"network_id": network, "external_fixed_ips": fixed, "enable_snat": true}),
        );
        // An agent has it from now on.
        router.set("availability_zones", json!(["nova"]));
    }
    Ok(())
}

fn ports_of(world: &World, router: &str, owner: &str) -> Vec<String> {
    world.state.ids(Kind::Port, |port| {
        port.text("device_id") == router && port.text("device_owner") == owner
    })
}

/// Whether floating addresses go through a router, to ports of `subnet` if that is given.
fn uses_floating(world: &World, router: &str, subnet: Option<&str>) -> bool {
    let floating = world.state.filter(Kind::FloatingIp, |floating| {
        floating.text("router_id") == router
    });
    floating.into_iter().any(|floating| {
        subnet.is_none_or(|subnet| {
            let port = floating.text("port_id").to_owned();
            ports::on_subnet(world, subnet).contains(&port)
        })
    })
}

/// `PUT /routers/ID/add_router_interface`.
pub(super) fn add(world: &mut World, call: &Call, id: &str) -> Outcome {
    let router = find(world, call, Kind::Router, id)?;
    let project = router.project.clone();
    let port = call.body.get("port_id").and_then(Value::as_str);
    let subnet = call.body.get("subnet_id").and_then(Value::as_str);
    match (port, subnet) {
        (Some(port_id), None) => {
            let port = find(world, call, Kind::Port, port_id)?;
            if !port.text("device_id").is_empty() {
                let message = format!(
                    "Unable to complete operation on port {port_id} for network {}. Port already has an attached device {}.",
                    port.text("network_id"),
                    port.text("device_id")
                );
                return Err(Refusal::conflict(message).kind("PortInUse"));
            }
            let port_id = port.id.clone();
            if let Some(port) = world.state.get_mut(Kind::Port, &port_id) {
                port.merge(&json!({"device_id": id, "device_owner": "network:router_interface", "status": "ACTIVE"}));
            }
            interface(world, id, &port_id)
        }
        (None, Some(subnet_id)) => {
            let subnet = find(world, call, Kind::Subnet, subnet_id)?;
            let network = subnet.text("network_id").to_owned();
            let gateway = subnet.text("gateway_ip").to_owned();
            if gateway.is_empty() {
                let message =
                    "Bad router request: Subnet for router interface must have a gateway IP.";
                return Err(Refusal::bad(message).kind("BadRequest"));
            }
            let mine = ports_of(world, id, "network:router_interface");
            if ports::on_subnet(world, subnet_id)
                .iter()
                .any(|port| mine.contains(port))
            {
                let message =
                    format!("Bad router request: Router already has a port on subnet {subnet_id}.");
                return Err(Refusal::bad(message).kind("BadRequest"));
            }
            if addresses::taken(world, &network, &gateway) {
                let message =
                    format!("IP address {gateway} already allocated in subnet {subnet_id}");
                return Err(Refusal::conflict(message).kind("IpAddressAlreadyAllocated"));
            }
            let fields = json!({"device_id": id, "device_owner": "network:router_interface",
                "port_security_enabled": false, "security_groups": [],
                "fixed_ips": [{"subnet_id": subnet_id, "ip_address": gateway}]});
            let wanted = ports::Wanted {
                project: &project,
                network: &network,
                fields: &fields,
            };
            let port = ports::create(world, call, &wanted)?;
            if let Some(port) = world.state.get_mut(Kind::Port, &port) {
                port.set("status", "ACTIVE");
            }
            interface(world, id, &port)
        }
        _ => Err(Refusal::bad(
            "Bad router request: Either subnet_id or port_id must be specified.",
        )
        .kind("BadRequest")),
    }
}

/// What adding and removing an interface answer.
fn interface(world: &World, router: &str, port: &str) -> Outcome {
    let port = world.state.get(Kind::Port, port);
    let port = port.ok_or_else(|| super::missing(Kind::Port, ""))?;
    let subnets: Vec<_> = port
        .get("fixed_ips")
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let subnets: Vec<_> = subnets
        .into_iter()
        .filter_map(|ip| ip.get("subnet_id"))
        .collect();
    let project = world
        .state
        .get(Kind::Router, router)
        .map(|router| router.project.clone());
    Ok(Reply::json(
        200,
        json!({"id": router, "tenant_id": project, "port_id": port.id, "network_id": port.get("network_id"),
            "subnet_id": subnets.first(), "subnet_ids": subnets}),
    ))
}

/// `PUT /routers/ID/remove_router_interface`.
pub(super) fn remove(world: &mut World, call: &Call, id: &str) -> Outcome {
    find(world, call, Kind::Router, id)?;
    let mine = ports_of(world, id, "network:router_interface");
    let subnet = call.body.get("subnet_id").and_then(Value::as_str);
    let port = match (call.body.get("port_id").and_then(Value::as_str), subnet) {
        (Some(port), _) => mine.iter().find(|mine| *mine == port).cloned(),
        (None, Some(subnet)) => {
            let there = ports::on_subnet(world, subnet);
            mine.iter().find(|mine| there.contains(mine)).cloned()
        }
        _ => None,
    };
    let Some(port) = port else {
        let subnet = subnet.unwrap_or_default();
        let message = format!("Router {id} has no interface on subnet {subnet}");
        return Err(Refusal::missing(message).kind("RouterInterfaceNotFoundForSubnet"));
    };
    let answer = interface(world, id, &port)?;
    let ips = world
        .state
        .get(Kind::Port, &port)
        .map(|port| port.get("fixed_ips").clone());
    for ip in ips.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let subnet = ip
            .get("subnet_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if uses_floating(world, id, Some(subnet)) {
            let message = format!(
                "Router interface for subnet {subnet} on router {id} cannot be deleted, as it is required by one or more floating IPs."
            );
            return Err(Refusal::conflict(message).kind("RouterInterfaceInUseByFloatingIP"));
        }
    }
    ports::delete(world, &port);
    Ok(answer)
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<(), Refusal> {
    let interfaces = ports_of(world, id, "network:router_interface");
    if !interfaces.is_empty() {
        let message = format!(
            "Router {id} has ports still attached: {}",
            interfaces.join(", ")
        );
        return Err(Refusal::conflict(message).kind("RouterInUse"));
    }
    for port in ports_of(world, id, "network:router_gateway") {
        ports::delete(world, &port);
    }
    world.state.remove(Kind::Router, id);
    Ok(())
}
