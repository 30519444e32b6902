//! Subnets, IPv4 only.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Refusal;
use super::super::state::{Kind, merge, set};
use super::super::world::World;
use super::addresses::{range, text};
use super::{common, find, only, project};

const KNOWN: [&str; 17] = [
    "name",
    "network_id",
    "cidr",
    "ip_version",
    "gateway_ip",
    "enable_dhcp",
    "allocation_pools",
    "host_routes",
    "dns_nameservers",
    "description",
    "tenant_id",
    "project_id",
    "subnetpool_id",
    "service_types",
    "ipv6_ra_mode",
    "ipv6_address_mode",
    "segment_id",
];

pub(super) fn create(world: &mut World, call: &Call, wanted: &Value) -> Result<String, Refusal> {
    only(wanted, &KNOWN)?;
    let project = project(call, wanted, "subnet")?;
    let network_id = wanted
        .get("network_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let network = find(world, call, Kind::Network, network_id)?;
    if network.project != project && !call.who()?.is_admin() {
        return Err(super::missing(Kind::Network, network_id));
    }
    let shared = network.get("shared").clone();
    let cidr = wanted
        .get("cidr")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if wanted.get("ip_version").is_none() {
        let message =
            "Invalid input for operation: 'ip_version' must be specified for subnet creation.";
        return Err(Refusal::bad(message).kind("InvalidInput"));
    }
    let Some((first, last, cidr)) = range(cidr) else {
        let message = format!("Invalid input for operation: {cidr} is not in a CIDR format.");
        return Err(Refusal::bad(message).kind("InvalidInput"));
    };
    let others = world.state.filter(Kind::Subnet, |subnet| {
        subnet.text("network_id") == network_id
    });
    let overlap = others.iter().any(|subnet| {
        range(subnet.text("cidr")).is_some_and(|(start, end, _)| start <= last && first <= end)
    });
    if overlap {
        let message = format!(
            "Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network_id} overlaps with another subnet."
        );
        return Err(Refusal::bad(message).kind("InvalidInput"));
    }
    let gateway = match wanted.get("gateway_ip") {
        None => json!(text(first.saturating_add(1))),
        Some(gateway) => gateway.clone(),
    };
    let mut body = json!({"name": "", "network_id": network_id, "ip_version": 4, "subnetpool_id": null,
        "enable_dhcp": true, "ipv6_ra_mode": null, "ipv6_address_mode": null, "host_routes": [],
        "dns_nameservers": [], "service_types": [],
        "allocation_pools": pools(first, last, gateway.as_str())});
    merge(&mut body, &common(call, &project));
    merge(&mut body, wanted);
    merge(
        &mut body,
        &json!({"tenant_id": project, "project_id": project, "cidr": cidr,
        "gateway_ip": gateway, "revision_number": 0}),
    );
    let dhcp = body.get("enable_dhcp") == Some(&json!(true));
    let id = world.uuid()?;
    world
        .state
        .add(Kind::Subnet, &project, &id, body)
        .set_inner("shared", shared);
    if dhcp {
        super::ports::create_dhcp(world, call, &project, network_id, &id)?;
    }
    Ok(id)
}

/// The addresses between the first and the last one, without the gateway's.
fn pools(first: u32, last: u32, gateway: Option<&str>) -> Value {
    let (start, end) = (first.saturating_add(1), last.saturating_sub(1));
    let gateway = gateway.and_then(super::addresses::number);
    let pool = |start, end| json!({"start": text(start), "end": text(end)});
    match gateway {
        Some(gateway) if (start..=end).contains(&gateway) => {
            let mut pools = Vec::new();
            if gateway > start {
                pools.push(pool(start, gateway - 1));
            }
            if gateway < end {
                pools.push(pool(gateway + 1, end));
            }
            json!(pools)
        }
        _ => json!([pool(start, end)]),
    }
}

pub(super) fn update(world: &mut World, id: &str, wanted: &Value) -> Result<(), Refusal> {
    let changeable = [
        "name",
        "gateway_ip",
        "enable_dhcp",
        "allocation_pools",
        "host_routes",
        "dns_nameservers",
        "description",
        "service_types",
    ];
    let keys = wanted.as_object().into_iter().flat_map(|map| map.keys());
    for key in keys {
        if !changeable.contains(&key.as_str()) {
            return Err(Refusal::bad(format!(
                "Cannot update read-only attribute {key}"
            )));
        }
    }
    if let Some(subnet) = world.state.get_mut(Kind::Subnet, id) {
        subnet.merge(wanted);
    }
    Ok(())
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<(), Refusal> {
    let ports = super::ports::on_subnet(world, id);
    let (dhcp, used): (Vec<_>, Vec<_>) = ports.into_iter().partition(|port| {
        let port = world.state.get(Kind::Port, port);
        port.is_some_and(|port| port.text("device_owner") == "network:dhcp")
    });
    if !used.is_empty() {
        let message = format!(
            "Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet."
        );
        return Err(Refusal::conflict(message).kind("SubnetInUse"));
    }
    for port in dhcp {
        let Some(port) = world.state.get_mut(Kind::Port, &port) else {
            continue;
        };
        let mut left = port
            .get("fixed_ips")
            .as_array()
            .cloned()
            .unwrap_or_default();
        left.retain(|ip| ip.get("subnet_id") != Some(&json!(id)));
        let empty = left.is_empty();
        set(&mut port.body, "fixed_ips", json!(left));
        let port = port.id.clone();
        if empty {
            world.state.remove(Kind::Port, &port);
        }
    }
    world.state.remove(Kind::Subnet, id);
    Ok(())
}
