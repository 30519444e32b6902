//! Networks and what hangs on them: from Neutron's words to values.

use raksha_core::Result;
use raksha_core::cloud::{
    AddressPair, AddressPool, Direction, FixedIp, FloatingIp, Network, Port, Route, Router,
    RouterInterface, SecurityGroup, SecurityGroupRule, Subnet,
};
use raksha_core::id::{FloatingIpId, NetworkId, PortId, RouterId, SecurityGroupId, SubnetId};
use serde_json::Value;

use super::fields::Fields;

pub(super) fn network(raw: Value) -> Result<Network> {
    let fields = Fields::of("network", &raw);
    Ok(Network {
        id: NetworkId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        description: fields.maybe("description"),
        mtu: fields.count("mtu").and_then(|mtu| u32::try_from(mtu).ok()),
        external: fields.flag("router:external", false),
        shared: fields.flag("shared", false),
        port_security: fields.flag("port_security_enabled", true),
        tags: fields.words("tags"),
        raw,
    })
}

pub(super) fn subnet(raw: Value) -> Result<Subnet> {
    let fields = Fields::of("subnet", &raw);
    let pools = fields
        .list("allocation_pools")
        .iter()
        .map(|pool| {
            let pool = Fields::of("allocation pool", pool);
            Ok(AddressPool {
                first: pool.text("start")?.to_owned(),
                last: pool.text("end")?.to_owned(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Subnet {
        id: SubnetId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        network: NetworkId::new(fields.text("network_id")?),
        cidr: fields.text("cidr")?.to_owned(),
        gateway: fields.maybe("gateway_ip"),
        dhcp: fields.flag("enable_dhcp", true),
        dns: fields.words("dns_nameservers"),
        pools,
        routes: routes(&fields, "host_routes")?,
        tags: fields.words("tags"),
        raw,
    })
}

fn routes(fields: &Fields<'_>, key: &str) -> Result<Vec<Route>> {
    let routes = fields.list(key).iter().map(|route| {
        let route = Fields::of("route", route);
        Ok(Route {
            destination: route.text("destination")?.to_owned(),
            next_hop: route.text("nexthop")?.to_owned(),
        })
    });
    routes.collect()
}

/// The network that a router's gateway is on.
pub(super) fn gateway(router: &Value) -> Option<String> {
    Fields::of("router", router)
        .inner("external_gateway_info")?
        .maybe("network_id")
}

/// A router with its `interfaces`, which are ports.
pub(super) fn router(raw: Value, interfaces: Vec<RouterInterface>) -> Result<Router> {
    let fields = Fields::of("router", &raw);
    Ok(Router {
        id: RouterId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        gateway: gateway(&raw).map(NetworkId::new),
        interfaces,
        routes: routes(&fields, "routes")?,
        tags: fields.words("tags"),
        raw,
    })
}

/// The addresses of a port.
pub(super) fn fixed_ips(port: &Value) -> Result<Vec<FixedIp>> {
    let addresses = Fields::of("port", port).list("fixed_ips").iter();
    addresses
        .map(|address| {
            let address = Fields::of("fixed IP", address);
            Ok(FixedIp {
                subnet: SubnetId::new(address.text("subnet_id")?),
                address: address.text("ip_address")?.to_owned(),
            })
        })
        .collect()
}

/// A port; `qos_policy` is the name of its policy.
pub(super) fn port(raw: Value, qos_policy: Option<String>) -> Result<Port> {
    let fields = Fields::of("port", &raw);
    let mac = fields.text("mac_address")?.to_owned();
    let pairs = fields
        .list("allowed_address_pairs")
        .iter()
        .map(|pair| {
            let pair = Fields::of("allowed address pair", pair);
            // Neutron fills in the port's own.
            let other = pair.maybe("mac_address").filter(|other| *other != mac);
            Ok(AddressPair {
                address: pair.text("ip_address")?.to_owned(),
                mac: other,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Port {
        id: PortId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        network: NetworkId::new(fields.text("network_id")?),
        fixed_ips: fixed_ips(&raw)?,
        security_groups: fields
            .words("security_groups")
            .into_iter()
            .map(SecurityGroupId::new)
            .collect(),
        port_security: fields.flag("port_security_enabled", true),
        allowed_address_pairs: pairs,
        qos_policy,
        tags: fields.words("tags"),
        mac,
        raw,
    })
}

/// The security groups that the rules of `group` name as the other side.
pub(super) fn remote_groups(group: &Value) -> Vec<String> {
    let rules = Fields::of("security group", group).list("security_group_rules");
    rules
        .iter()
        .filter_map(|rule| Fields::of("rule", rule).maybe("remote_group_id"))
        .collect()
}

/// A security group, and how many of its rules have no equivalent: those whose other side is a list of addresses kept elsewhere. Without
/// it such a rule would let everybody through.
pub(super) fn security_group(raw: Value) -> Result<(SecurityGroup, usize)> {
    let fields = Fields::of("security group", &raw);
    let listed = fields.list("security_group_rules");
    let rules = listed
        .iter()
        .map(|rule| Fields::of("rule", rule))
        .filter(|rule| rule.maybe("remote_address_group_id").is_none())
        .map(|rule| self::rule(&rule))
        .collect::<Result<Vec<_>>>()?;
    let left_out = listed.len() - rules.len();
    let group = SecurityGroup {
        id: SecurityGroupId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        description: fields.maybe("description"),
        rules,
        tags: fields.words("tags"),
        raw,
    };
    Ok((group, left_out))
}

fn rule(rule: &Fields<'_>) -> Result<SecurityGroupRule> {
    let bound = |key: &str| rule.count(key).and_then(|port| u32::try_from(port).ok());
    Ok(SecurityGroupRule {
        direction: match rule.text("direction")? {
            "egress" => Direction::Egress,
            _ => Direction::Ingress,
        },
        ethertype: rule.text("ethertype")?.to_owned(),
        protocol: rule.maybe("protocol"),
        port_min: bound("port_range_min"),
        port_max: bound("port_range_max"),
        remote_cidr: rule.maybe("remote_ip_prefix"),
        remote_group: rule.maybe("remote_group_id").map(SecurityGroupId::new),
    })
}

pub(super) fn floating_ip(raw: Value) -> Result<FloatingIp> {
    let fields = Fields::of("floating IP", &raw);
    Ok(FloatingIp {
        id: FloatingIpId::new(fields.text("id")?),
        address: fields.text("floating_ip_address")?.to_owned(),
        network: NetworkId::new(fields.text("floating_network_id")?),
        port: fields.maybe("port_id").map(PortId::new),
        fixed_address: fields.maybe("fixed_ip_address"),
        metadata: Default::default(),
        raw,
    })
}

/// The interfaces of a router among `ports`, by subnet; each port may be on several.
pub(super) fn interfaces(ports: &[Value], router: &str) -> Result<Vec<RouterInterface>> {
    let mut interfaces = Vec::new();
    let own = ports
        .iter()
        .filter(|port| Fields::of("port", port).maybe("device_id").as_deref() == Some(router));
    for port in own {
        interfaces.extend(fixed_ips(port)?.into_iter().map(|ip| RouterInterface {
            subnet: ip.subnet,
            address: ip.address,
        }));
    }
    interfaces.sort_by(|a, b| (&a.subnet, &a.address).cmp(&(&b.subnet, &b.address)));
    Ok(interfaces)
}
