//! IPv4 subnets and the addresses in them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::super::reply::Refusal;
use super::super::state::{Kind, Record};
use super::super::world::World;

/// The first and the last address of a CIDR, both included, and its canonical form.
pub(super) fn range(cidr: &str) -> Option<(u32, u32, String)> {
    let (address, length) = cidr.split_once('/')?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let first = address & mask;
    let text = format!("{}/{length}", Ipv4Addr::from(first));
    Some((first, first | !mask, text))
}

pub(super) fn number(address: &str) -> Option<u32> {
    address.parse::<Ipv4Addr>().ok().map(u32::from)
}

pub(super) fn text(number: u32) -> String {
    Ipv4Addr::from(number).to_string()
}

/// Whether an address is one of the subnet's.
pub(super) fn contains(subnet: &Record, address: &str) -> bool {
    let inside = range(subnet.text("cidr")).zip(number(address));
    inside.is_some_and(|((first, last, _), number)| (first..=last).contains(&number))
}

/// Whether an address of a network is taken by a port.
pub(super) fn taken(world: &World, network: &str, address: &str) -> bool {
    let ports = world
        .state
        .filter(Kind::Port, |port| port.text("network_id") == network);
    let mut addresses = ports
        .into_iter()
        .flat_map(|port| port.get("fixed_ips").as_array());
    addresses.any(|ips| {
        ips.iter()
            .any(|ip| ip.get("ip_address") == Some(&json!(address)))
    })
}

/// The first free address of a subnet's pools.
pub(super) fn free(world: &World, subnet: &Record) -> Result<String, Refusal> {
    let network = subnet.text("network_id");
    for pool in subnet
        .get("allocation_pools")
        .as_array()
        .into_iter()
        .flatten()
    {
        let end = |key: &str| pool.get(key).and_then(Value::as_str).and_then(number);
        let (Some(start), Some(end)) = (end("start"), end("end")) else {
            continue;
        };
        let mut candidates = (start..=end).map(text);
        if let Some(address) = candidates.find(|address| !taken(world, network, address)) {
            return Ok(address);
        }
    }
    Err(Refusal::conflict(format!(
        "No more IP addresses available on network {network}."
    ))
    .kind("IpAddressGenerationFailure"))
}

/// The fixed addresses of a port to be: as `wanted` says, or one of the network's first subnet.
pub(super) fn allocate(
    world: &World,
    network: &str,
    wanted: Option<&Value>,
) -> Result<Vec<Value>, Refusal> {
    let subnets = world
        .state
        .filter(Kind::Subnet, |subnet| subnet.text("network_id") == network);
    let Some(wanted) = wanted.and_then(Value::as_array) else {
        let Some(subnet) = subnets.first() else {
            return Ok(Vec::new());
        };
        return Ok(vec![
            json!({"subnet_id": subnet.id, "ip_address": free(world, subnet)?}),
        ]);
    };
    let mut fixed: Vec<Value> = Vec::new();
    for one in wanted {
        let address = one.get("ip_address").and_then(Value::as_str);
        let subnet = match one.get("subnet_id").and_then(Value::as_str) {
            Some(id) => {
                let subnet = subnets.iter().find(|subnet| subnet.id == id);
                subnet.ok_or_else(|| super::missing(Kind::Subnet, id))?
            }
            None => {
                let address = address.unwrap_or_default();
                let subnet = subnets.iter().find(|subnet| contains(subnet, address));
                subnet.ok_or_else(|| {
                    Refusal::bad(format!("IP address {address} is not a valid IP for any of the subnets on the specified network."))
                        .kind("InvalidIpForNetwork")
                })?
            }
        };
        let address = match address {
            None => free(world, subnet)?,
            Some(address) if !contains(subnet, address) => {
                return Err(Refusal::bad(format!(
                    "IP address {address} is not a valid IP for the specified subnet."
                ))
                .kind("InvalidIpForSubnet"));
            }
            Some(address) if taken(world, network, address) => {
                return Err(Refusal::conflict(format!(
                    "IP address {address} already allocated in subnet {}",
                    subnet.id
                ))
                .kind("IpAddressAlreadyAllocated"));
            }
            Some(address) => address.to_owned(),
        };
        fixed.push(json!({"subnet_id": subnet.id, "ip_address": address}));
    }
    Ok(fixed)
}
