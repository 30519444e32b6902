//! What the cloud is told, compared with what its APIs document.

use raksha_core::cloud::{IdMap, ResourceGraph, ResourceKey, ResourceKind as K, RestoreRequest};
use raksha_core::testkit::cloud::sample_graph;
use serde_json::{Value, json};

use super::*;
use crate::client::Microversion;
use crate::restore::there::There;

/// The sample, and an id there for everything in it: the point's with `new-` before it.
fn sample() -> (RestoreRequest, IdMap) {
    let request = RestoreRequest {
        graph: sample_graph().unwrap(),
        ..RestoreRequest::default()
    };
    let mut ids = IdMap::default();
    for resource in request.graph.resources() {
        let key = resource.key();
        let id = format!("new-{}", key.id);
        ids.insert(key, id);
    }
    (request, ids)
}

fn with<T>(
    change: impl FnOnce(&mut RestoreRequest),
    body: impl FnOnce(&ResourceGraph, There<'_>) -> T,
) -> T {
    let (mut request, ids) = sample();
    change(&mut request);
    body(&request.graph, There::new(&request, &ids))
}

const PARTS: ServerParts<'_> = ServerParts {
    flavor: "flavor-1",
    root: Some("image-1"),
    marker: "raksha-restore-1",
    microversion: Microversion::new(2, 52),
};

#[test]
fn a_network_has_its_mtu_and_port_security() {
    let body = with(
        |request| {
            let network = &mut request.graph.networks[2];
            network.port_security = false;
            network.raw = json!({ "admin_state_up": false, "dns_domain": "", "status": "ACTIVE" });
            let key = ResourceKey::new(K::Network, "sample-back");
            request.mapping.names.push((key, "rear".to_owned()));
        },
        |graph, there| network(&graph.networks[2], there),
    );
    let expected = json!({ "name": "rear", "mtu": 9000, "port_security_enabled": false, "admin_state_up": false });
    assert_eq!(body, expected);
}

#[test]
fn a_subnet_says_that_it_has_no_gateway() {
    let subnets = with(
        |request| {
            let subnet = &mut request.graph.subnets[0];
            subnet.pools =
                serde_json::from_value(json!([{ "first": "10.1.0.10", "last": "10.1.0.99" }]))
                    .unwrap();
            subnet.routes = serde_json::from_value(
                json!([{ "destination": "10.9.0.0/16", "next_hop": "10.1.0.3" }]),
            )
            .unwrap();
        },
        |graph, there| {
            [
                subnet(&graph.subnets[0], there).unwrap(),
                subnet(&graph.subnets[1], there).unwrap(),
            ]
        },
    );
    let front = json!({
        "network_id": "new-sample-front", "name": "front-v4", "ip_version": 4, "cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.1",
        "enable_dhcp": true, "dns_nameservers": ["10.1.0.2"], "host_routes": [{ "destination": "10.9.0.0/16", "nexthop": "10.1.0.3" }],
        "allocation_pools": [{ "start": "10.1.0.10", "end": "10.1.0.99" }],
    });
    let back = json!({
        "network_id": "new-sample-back", "name": "back-v4", "ip_version": 4, "cidr": "10.2.0.0/24", "gateway_ip": null,
        "enable_dhcp": false, "dns_nameservers": [], "host_routes": [],
    });
    assert_eq!(subnets, [front, back]);
}

#[test]
fn a_router_leads_to_what_the_mapping_says() {
    let body = with(
        |request| {
            request.graph.routers[0].raw =
                json!({ "admin_state_up": true, "distributed": true, "ha": false })
        },
        |graph, there| router(&graph.routers[0], there).unwrap(),
    );
    let expected = json!({
        "name": "way-out", "admin_state_up": true, "external_gateway_info": { "network_id": "new-sample-outside" },
    });
    assert_eq!(body, expected);
}

#[test]
fn rules_refer_to_the_groups_that_are_there() {
    let (rules, unknown) = with(
        |_| (),
        |graph, there| {
            let rules = graph.security_groups[0].rules.iter();
            let rules: Vec<Value> = rules
                .map(|rule| security_group_rule(rule, "new-1", there).unwrap())
                .collect();
            let none = IdMap::default();
            let there = There::new(there.request, &none);
            (
                rules,
                security_group_rule(&graph.security_groups[0].rules[1], "new-1", there),
            )
        },
    );
    let expected = [
        json!({ "security_group_id": "new-1", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 443, "port_range_max": 443 }),
        json!({ "security_group_id": "new-1", "direction": "egress", "ethertype": "IPv4", "remote_group_id": "new-sample-group-db" }),
        json!({ "security_group_id": "new-1", "direction": "ingress", "ethertype": "IPv4", "remote_group_id": "new-sample-group-web" }),
    ];
    assert_eq!(rules, expected);
    let error = unknown.unwrap_err().to_string();
    assert!(
        error.contains("security group sample-group-db") && error.contains("map it"),
        "{error}"
    );
}

#[test]
fn a_port_keeps_its_addresses_and_asks_for_nothing_that_it_has_anyway() {
    let ports = with(
        |request| {
            let port = &mut request.graph.ports[1];
            port.port_security = false;
            port.security_groups.clear();
            port.raw =
                json!({ "binding:vnic_type": "direct", "admin_state_up": true, "dns_name": "" });
        },
        |graph, there| {
            [
                port(&graph.ports[1], there).unwrap(),
                port(&graph.ports[2], there).unwrap(),
            ]
        },
    );
    let open = json!({
        "network_id": "new-sample-back", "name": "", "mac_address": "fa:16:3e:5a:00:02",
        "fixed_ips": [{ "subnet_id": "new-sample-back-v4", "ip_address": "10.2.0.11" }],
        "port_security_enabled": false, "security_groups": [], "admin_state_up": true, "binding:vnic_type": "direct",
    });
    let guarded = json!({
        "network_id": "new-sample-back", "name": "", "mac_address": "fa:16:3e:5a:00:03",
        "fixed_ips": [{ "subnet_id": "new-sample-back-v4", "ip_address": "10.2.0.12" }],
        "security_groups": ["new-sample-group-db"], "allowed_address_pairs": [{ "ip_address": "10.2.0.100" }],
    });
    assert_eq!(ports, [open, guarded]);
}

#[test]
fn a_floating_ip_leads_to_the_new_port() {
    let bodies = with(
        |_| (),
        |graph, there| {
            [true, false].map(|same| floating_ip(&graph.floating_ips[0], there, same).unwrap())
        },
    );
    let mut expected = json!({
        "floating_network_id": "new-sample-outside", "floating_ip_address": "203.0.113.7",
        "port_id": "new-sample-web-front", "fixed_ip_address": "10.1.0.11",
    });
    assert_eq!(bodies[0], expected);
    expected
        .as_object_mut()
        .unwrap()
        .remove("floating_ip_address");
    assert_eq!(bodies[1], expected);
}

#[test]
fn a_server_has_its_disks_and_ports_in_order() {
    let bodies = with(
        |_| (),
        |graph, there| [0, 1].map(|at| server(&graph.servers[at], there, PARTS).unwrap()),
    );
    let web = json!({
        "server": {
            "name": "web", "description": "raksha-restore-1", "flavorRef": "flavor-1", "imageRef": "image-1", "key_name": "new-sample-key",
            "config_drive": false, "user_data": "IyEvYmluL3NoCg==", "metadata": { "role": "web" }, "tags": ["sample"],
            "block_device_mapping_v2": [
                { "source_type": "image", "destination_type": "local", "uuid": "image-1", "boot_index": 0, "device_name": "/dev/vda", "delete_on_termination": true },
                { "source_type": "volume", "destination_type": "volume", "uuid": "new-sample-web-data", "boot_index": -1, "device_name": "/dev/vdb", "tag": "data", "delete_on_termination": false },
            ],
            "networks": [{ "port": "new-sample-web-front" }, { "port": "new-sample-web-back" }],
        },
        "os:scheduler_hints": { "group": "new-sample-apart" },
    });
    assert_eq!(bodies[0], web);
    let disks = json!([
        { "source_type": "volume", "destination_type": "volume", "uuid": "new-sample-db-root", "boot_index": 0, "device_name": "/dev/vda", "delete_on_termination": true },
        { "source_type": "volume", "destination_type": "volume", "uuid": "new-sample-db-data", "boot_index": -1, "device_name": "/dev/vdb", "delete_on_termination": false },
    ]);
    assert_eq!(bodies[1]["server"]["block_device_mapping_v2"], disks);
}

#[test]
fn an_older_nova_is_not_told_what_it_does_not_know() {
    let parts = ServerParts {
        root: None,
        microversion: Microversion::new(2, 1),
        ..PARTS
    };
    let body = with(
        |request| request.mapping.availability_zones = [("nova".to_owned(), String::new())].into(),
        |graph, there| {
            let mut point = graph.servers[1].clone();
            point.tags = vec!["one".to_owned()];
            point.attachments[0].tag = Some("root".to_owned());
            point.availability_zone = Some("nova".to_owned());
            server(&point, there, parts).unwrap()
        },
    );
    let server = body["server"].as_object().unwrap();
    for unknown in ["tags", "description", "availability_zone"] {
        assert!(!server.contains_key(unknown), "{unknown}");
    }
    assert_eq!(server["imageRef"], "");
    assert_eq!(server["block_device_mapping_v2"][0].get("tag"), None);
}

#[test]
fn a_volume_is_counted_in_whole_gibibytes_and_mapped() {
    let bodies = with(
        |request| {
            request.mapping.volume_types = [("fast".to_owned(), "nvme".to_owned())].into();
            let volume = &mut request.graph.volumes[2];
            volume.size = (3 << 30) + 1;
            volume.metadata = [("readonly", "True"), ("owner", "me")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        },
        |graph, there| {
            [None, Some("image-1")]
                .map(|image| volume(&graph.volumes[2], "raksha-restore-1", there, image))
        },
    );
    let mut expected = json!({ "name": "raksha-restore-1", "size": 4, "volume_type": "nvme", "metadata": { "owner": "me" } });
    assert_eq!(bodies[0], expected);
    expected["imageRef"] = "image-1".into();
    assert_eq!(bodies[1], expected);
}

#[test]
fn the_image_of_a_root_disk_keeps_what_makes_the_hardware() {
    let body = with(
        |request| {
            let image = &mut request.graph.images[0];
            let properties = [
                ("hw_qemu_guest_agent", "yes"),
                ("os_hash_value", "00"),
                ("base_image_ref", "x"),
                ("visibility", "public"),
            ];
            image.properties = properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            image.min_memory_mib = 64;
        },
        |graph, _| {
            root_image(
                "root",
                "id-1",
                (1 << 30) + 5,
                Some((&graph.servers[0], graph.images.first())),
            )
        },
    );
    let expected = json!({
        "id": "id-1", "name": "root", "disk_format": "qcow2", "container_format": "bare", "min_disk": 2, "min_ram": 64, "hw_qemu_guest_agent": "yes",
        "raksha_restored_root": "yes",
    });
    assert_eq!(body, expected);
}

#[test]
fn server_groups_speak_as_the_microversion_wants() {
    let bodies = with(
        |_| (),
        |graph, there| [true, false].map(|one| server_group(&graph.server_groups[0], there, one)),
    );
    assert_eq!(
        bodies[0],
        json!({ "name": "apart", "policy": "anti-affinity" })
    );
    assert_eq!(
        bodies[1],
        json!({ "name": "apart", "policies": ["anti-affinity"] })
    );
}

#[test]
fn a_volume_gets_exactly_the_image_properties_that_it_had() {
    let volume = with(
        |_| (),
        |graph, _| {
            let mut volume = graph.volumes[0].clone();
            volume.image_metadata = [("hw_qemu_guest_agent".to_owned(), "yes".to_owned())].into();
            volume
        },
    );
    let (set, gone) = image_metadata(
        &volume,
        &json!({ "hw_qemu_guest_agent": "no", "checksum": "1", "min_disk": "1" }),
    );
    assert_eq!(set, json!({ "hw_qemu_guest_agent": "yes" }));
    assert_eq!(gone, ["checksum", "min_disk"]);
}
