//! What a cloud says of its resources, changed at random: it becomes values or an error.

use raksha_core::testkit::Fuzz;
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::order::Orders;
use super::server::Around;
use super::{networking, server, storage};

fn server_of(raw: Value) -> Result<String> {
    let listed = raw.get(server::ATTACHMENTS).and_then(Value::as_array);
    let volumes = server::volume_slots(&raw, listed.map(Vec::as_slice))?;
    let flavor = match server::embedded_flavor(&raw)? {
        Some(flavor) => flavor,
        None => server::listed_flavor(raw.get("flavor").unwrap_or(&Value::Null))?,
    };
    server::swap_size(&flavor);
    let around = Around {
        flavor,
        image: None,
        image_size: None,
        key_pair: None,
        server_group: None,
        ports: Vec::new(),
        volumes,
    };
    let server = server::server(raw, around)?;
    Ok(format!(
        "server of {} disks",
        server.attachments.len().min(4)
    ))
}

/// One resource, named by the only key of the object.
fn resource(text: &[u8]) -> Result<String> {
    let refuse = |why: &str| Error::new(Kind::Corrupt, "read resource", why.to_owned());
    let value: Value = serde_json::from_slice(text).map_err(|e| refuse(&e.to_string()))?;
    let object = value.as_object().ok_or_else(|| refuse("no object"))?;
    let (kind, raw) = object.iter().next().ok_or_else(|| refuse("empty"))?;
    let raw = raw.clone();
    match kind.as_str() {
        "server" => {
            Orders::default().read(text)?;
            server_of(raw)
        }
        "keypair" => server::key_pair(raw).map(|_| "key pair".into()),
        "server_group" => server::server_group(raw).map(|_| "server group".into()),
        "volume" => storage::volume(raw).map(|_| "volume".into()),
        "image" => {
            let image = storage::image(raw)?;
            Ok(format!("image {}", storage::disk_size(&image).is_some()))
        }
        "network" => networking::network(raw).map(|_| "network".into()),
        "subnet" => networking::subnet(raw).map(|_| "subnet".into()),
        "router" => {
            let interfaces = networking::interfaces(std::slice::from_ref(&raw), "r")?;
            networking::router(raw, interfaces).map(|_| "router".into())
        }
        "port" => networking::port(raw, None).map(|_| "port".into()),
        "security_group" => {
            networking::remote_groups(&raw);
            let (group, left_out) = networking::security_group(raw)?;
            Ok(format!(
                "group {} {}",
                group.rules.len().min(2),
                left_out.min(2)
            ))
        }
        "floatingip" => networking::floating_ip(raw).map(|_| "floating IP".into()),
        _ => Err(refuse("of an unknown kind")),
    }
}

#[test]
fn resources_of_all_kinds() {
    let goods = [
        json!({"server": {"id": "s", "name": "web", "status": "ACTIVE", "image": {"id": "i"}, "config_drive": "True",
            "flavor": {"vcpus": 2, "ram": 512, "disk": 5, "ephemeral": 1, "swap": 64, "original_name": "m1", "extra_specs": {"hw:x": "1"}},
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda", "metadata": {"a": "b"}, "tags": ["t"],
            "addresses": {"n": [{"OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01", "version": 4, "addr": "10.0.0.2"}]},
            "os-extended-volumes:volumes_attached": [{"id": "v", "delete_on_termination": true}],
            "os-volume_attachments": [{"volumeId": "v", "device": "/dev/vdb", "tag": null}]}}),
        json!({"server": {"id": "s", "status": "SHUTOFF", "image": "", "flavor": {"original_name": "f", "vcpus": 1, "ram": 1, "disk": 1, "swap": ""}}}),
        json!({"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAA"}}),
        json!({"server_group": {"id": "g", "name": "apart", "policies": ["anti-affinity"]}}),
        json!({"volume": {"id": "v", "name": "data", "size": 8, "bootable": "true", "volume_image_metadata": {"min_disk": "1"}}}),
        json!({"image": {"id": "i", "name": "debian", "disk_format": "qcow2", "min_disk": 1, "size": 5, "virtual_size": 4096, "hw_x": "y"}}),
        json!({"network": {"id": "n", "mtu": 1450, "router:external": true, "tags": []}}),
        json!({"subnet": {"id": "u", "network_id": "n", "cidr": "10.0.0.0/24", "gateway_ip": null, "dns_nameservers": ["10.0.0.1"],
            "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}], "host_routes": [{"destination": "0.0.0.0/0", "nexthop": "10.0.0.1"}]}}),
        json!({"router": {"id": "r", "device_id": "r", "external_gateway_info": {"network_id": "n"}, "routes": [],
            "fixed_ips": [{"subnet_id": "u", "ip_address": "10.0.0.1"}]}}),
        json!({"port": {"id": "p", "network_id": "n", "mac_address": "fa:16:3e:00:00:01", "fixed_ips": [{"subnet_id": "u", "ip_address": "10.0.0.2"}],
            "security_groups": ["g"], "allowed_address_pairs": [{"ip_address": "10.0.0.3", "mac_address": "fa:16:3e:00:00:01"}]}}),
        json!({"security_group": {"id": "g", "security_group_rules": [
            {"direction": "egress", "ethertype": "IPv4", "port_range_min": 22, "port_range_max": 23, "remote_group_id": "g"},
            {"direction": "ingress", "ethertype": "IPv4", "remote_address_group_id": "a"}]}}),
        json!({"floatingip": {"id": "f", "floating_ip_address": "192.0.2.1", "floating_network_id": "n", "port_id": null}}),
    ];
    let fuzz = Fuzz::new("cloud-resource", crate::CORPORA);
    let goods = goods.map(|good| good.to_string());
    goods.into_iter().fold(fuzz, Fuzz::good).feed(resource);
}
