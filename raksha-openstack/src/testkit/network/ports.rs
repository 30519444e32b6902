//! Ports.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Refusal;
use super::super::state::{Kind, merge, set};
use super::super::world::World;
use super::{addresses, common, find, only, project, security};

const KNOWN: [&str; 20] = [
    "name",
    "network_id",
    "mac_address",
    "fixed_ips",
    "admin_state_up",
    "device_id",
    "device_owner",
    "tenant_id",
    "project_id",
    "security_groups",
    "allowed_address_pairs",
    "extra_dhcp_opts",
    "description",
    "port_security_enabled",
    "qos_policy_id",
    "binding:vnic_type",
    "binding:host_id",
    "binding:profile",
    "dns_name",
    "tags",
];

/// A port that somebody wants.
#[derive(Debug)]
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) project: &'a str,
    pub(in super::super) network: &'a str,
    /// What is stated: addresses, MAC, security groups ...
    pub(in super::super) fields: &'a Value,
}

pub(super) fn create_by_call(
    world: &mut World,
    call: &Call,
    fields: &Value,
) -> Result<String, Refusal> {
    only(fields, &KNOWN)?;
    let project = project(call, fields, "port")?;
    let network_id = fields
        .get("network_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let network = find(world, call, Kind::Network, network_id)?;
    let own = network.project == project || call.who()?.is_admin();
    if !own && network.get("shared") != &json!(true) {
        let rule = "create_port and (rule:create_port:fixed_ips and (rule:create_port:fixed_ips:ip_address))";
        return Err(super::super::policy::denied(call.area, rule));
    }
    let wanted = Wanted {
        project: &project,
        network: network_id,
        fields,
    };
    create(world, call, &wanted)
}

/// Makes a port.
pub(in super::super) fn create(
    world: &mut World,
    call: &Call,
    wanted: &Wanted<'_>,
) -> Result<String, Refusal> {
    let Wanted {
        project,
        network,
        fields,
    } = wanted;
    let mac = match fields.get("mac_address").and_then(Value::as_str) {
        Some(mac) => mac.to_lowercase(),
        None => mac(world)?,
    };
    check_mac(world, network, &mac, None)?;
    let fixed = addresses::allocate(world, network, fields.get("fixed_ips"))?;
    let secure = fields
        .get("port_security_enabled")
        .and_then(Value::as_bool)
        .unwrap_or_else(|| {
            let network = world.state.get(Kind::Network, network);
            network.is_some_and(|network| network.get("port_security_enabled") == &json!(true))
        });
    let groups = match fields.get("security_groups").and_then(Value::as_array) {
        Some(groups) => {
            for group in groups {
                let id = group.as_str().unwrap_or_default();
                let known = world.state.get(Kind::SecurityGroup, id);
                if known.is_none_or(|group| group.project != *project) {
                    return Err(super::missing(Kind::SecurityGroup, id));
                }
            }
            json!(groups)
        }
        None if secure => json!([security::default_group(world, project, call.now)?]),
        None => json!([]),
    };
    let mut body = json!({"name": "", "network_id": network, "admin_state_up": true, "status": "DOWN",
        "device_id": "", "device_owner": "", "qos_policy_id": null, "qos_network_policy_id": null,
        "binding:vnic_type": "normal", "binding:host_id": "", "binding:profile": {}, "binding:vif_type": "unbound",
        "binding:vif_details": {}, "allowed_address_pairs": [], "extra_dhcp_opts": []});
    merge(&mut body, &common(call, project));
    merge(&mut body, fields);
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project, "mac_address": mac,
        "fixed_ips": fixed, "security_groups": groups, "port_security_enabled": secure}),
    );
    let id = world.uuid()?;
    world.state.add(Kind::Port, project, &id, body);
    Ok(id)
}

/// The port by which a network's DHCP server hears.
pub(super) fn create_dhcp(
    world: &mut World,
    call: &Call,
    project: &str,
    network: &str,
    subnet: &str,
) -> Result<(), Refusal> {
    let found = world.state.ids(Kind::Port, |port| {
        port.text("network_id") == network && port.text("device_owner") == "network:dhcp"
    });
    if let Some(port) = found.first() {
        let fixed = addresses::allocate(world, network, Some(&json!([{"subnet_id": subnet}])))?;
        if let Some(port) = world.state.get_mut(Kind::Port, port) {
            let mut all = port
                .get("fixed_ips")
                .as_array()
                .cloned()
                .unwrap_or_default();
            all.extend(fixed);
            set(&mut port.body, "fixed_ips", json!(all));
        }
        return Ok(());
    }
    let fields = json!({"device_owner": "network:dhcp", "device_id": format!("dhcp-{network}"),
        "port_security_enabled": false, "security_groups": [], "fixed_ips": [{"subnet_id": subnet}]});
    let wanted = Wanted {
        project,
        network,
        fields: &fields,
    };
    let id = create(world, call, &wanted)?;
    if let Some(port) = world.state.get_mut(Kind::Port, &id) {
        port.set("status", "ACTIVE");
    }
    Ok(())
}

fn mac(world: &World) -> Result<String, Refusal> {
    let digits = world.hex()?;
    let part = |at: usize| digits.get(at..at + 2).unwrap_or("00");
    Ok(format!("fa:16:3e:{}:{}:{}", part(0), part(2), part(4)))
}

fn check_mac(world: &World, network: &str, mac: &str, myself: Option<&str>) -> Result<(), Refusal> {
    let taken = world.state.ids(Kind::Port, |port| {
        port.text("network_id") == network
            && port.text("mac_address") == mac
            && Some(port.id.as_str()) != myself
    });
    if taken.is_empty() {
        return Ok(());
    }
    let message = format!(
        "Unable to complete operation for network {network}. The mac address {mac} is in use."
    );
    Err(Refusal::conflict(message).kind("MacAddressInUse"))
}

pub(super) fn update(
    world: &mut World,
    call: &Call,
    id: &str,
    wanted: &Value,
) -> Result<(), Refusal> {
    only(wanted, &KNOWN)?;
    let port = find(world, call, Kind::Port, id)?;
    let network = port.text("network_id").to_owned();
    let before = port.get("fixed_ips").clone();
    let mut fields = wanted.clone();
    if let Some(mac) = wanted.get("mac_address").and_then(Value::as_str) {
        super::super::policy::admin_only(call, "update_port and rule:update_port:mac_address")?;
        check_mac(world, &network, mac, Some(id))?;
    }
    if let Some(fixed) = wanted.get("fixed_ips") {
        // Its own addresses are free for it.
        if let Some(port) = world.state.get_mut(Kind::Port, id) {
            port.set("fixed_ips", json!([]));
        }
        match addresses::allocate(world, &network, Some(fixed)) {
            Ok(fixed) => set(&mut fields, "fixed_ips", json!(fixed)),
            Err(refusal) => {
                if let Some(port) = world.state.get_mut(Kind::Port, id) {
                    port.set("fixed_ips", before);
                }
                return Err(refusal);
            }
        }
    }
    if let Some(port) = world.state.get_mut(Kind::Port, id) {
        port.merge(&fields);
    }
    Ok(())
}

/// The ports that have an address of a subnet.
pub(super) fn on_subnet(world: &World, subnet: &str) -> Vec<String> {
    world.state.ids(Kind::Port, |port| {
        let ips = port.get("fixed_ips").as_array();
        let mut ips = ips.into_iter().flatten();
        ips.any(|ip| ip.get("subnet_id") == Some(&json!(subnet)))
    })
}

pub(super) fn delete_by_call(world: &mut World, id: &str) -> Result<(), Refusal> {
    let owner = world
        .state
        .get(Kind::Port, id)
        .map(|port| port.text("device_owner").to_owned());
    let owner = owner.unwrap_or_default();
    if owner.starts_with("network:router") {
        let message = format!(
            "Port {id} cannot be deleted directly via the port API: has device owner {owner}."
        );
        return Err(Refusal::conflict(message).kind("ServicePortInUse"));
    }
    delete(world, id);
    Ok(())
}

/// Removes a port, and lets go of floating addresses that point to it.
pub(in super::super) fn delete(world: &mut World, id: &str) {
    let floating = world
        .state
        .ids(Kind::FloatingIp, |floating| floating.text("port_id") == id);
    for floating in floating {
        super::floating::release(world, &floating);
    }
    world.state.remove(Kind::Port, id);
}
