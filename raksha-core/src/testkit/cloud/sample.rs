//! A small project that has one of everything.

use serde_json::json;

use crate::cloud::ResourceGraph;
use crate::error::{Error, Kind, Result};

/// Two servers with disks of both kinds, on a network behind a router, with security groups that refer to each other.
/// Nothing in it is larger than 2 MiB.
///
/// # Errors
/// None: it is made of a constant.
pub fn sample_graph() -> Result<ResourceGraph> {
    let graph = json!({
        "servers": [
            {
                "id": "sample-web", "name": "web", "description": "faces the world",
                "flavor": { "name": "small", "vcpus": 1, "memory_mib": 512, "root_gib": 1 },
                "image": "sample-image", "power": "running", "key_pair": "sample-key", "server_group": "sample-apart",
                "user_data": "IyEvYmluL3NoCg==",
                "attachments": [
                    { "source": { "local": { "name": "root", "size": 1_048_576 } }, "device": "/dev/vda", "boot_index": 0 },
                    { "source": { "volume": "sample-web-data" }, "device": "/dev/vdb", "tag": "data" }
                ],
                "ports": ["sample-web-front", "sample-web-back"],
                "metadata": { "role": "web" }, "tags": ["sample"]
            },
            {
                "id": "sample-db", "name": "db",
                "flavor": { "name": "large", "vcpus": 2, "memory_mib": 2048, "root_gib": 0 },
                "power": "stopped",
                "attachments": [
                    { "source": { "volume": "sample-db-root" }, "device": "/dev/vda", "boot_index": 0, "delete_on_termination": true },
                    { "source": { "volume": "sample-db-data" }, "device": "/dev/vdb" }
                ],
                "ports": ["sample-db-port"]
            }
        ],
        "volumes": [
            { "id": "sample-web-data", "name": "data", "size": 2_097_152, "metadata": { "of": "web" } },
            { "id": "sample-db-root", "name": "db-root", "size": 1_048_576, "bootable": true },
            { "id": "sample-db-data", "name": "data", "size": 1_572_864, "volume_type": "fast" }
        ],
        "images": [{ "id": "sample-image", "name": "debian", "disk_format": "qcow2", "properties": { "hw_disk_bus": "virtio" } }],
        "networks": [
            { "id": "sample-outside", "name": "outside", "external": true },
            { "id": "sample-front", "name": "front" },
            { "id": "sample-back", "name": "back", "mtu": 9000 }
        ],
        "subnets": [
            { "id": "sample-front-v4", "name": "front-v4", "network": "sample-front", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1", "dns": ["10.1.0.2"] },
            { "id": "sample-back-v4", "name": "back-v4", "network": "sample-back", "cidr": "10.2.0.0/24", "dhcp": false }
        ],
        "routers": [{
            "id": "sample-router", "name": "way-out", "gateway": "sample-outside",
            "interfaces": [{ "subnet": "sample-front-v4", "address": "10.1.0.1" }]
        }],
        "security_groups": [
            {
                "id": "sample-group-web", "name": "web", "rules": [
                    { "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_min": 443, "port_max": 443 },
                    { "direction": "egress", "ethertype": "IPv4", "remote_group": "sample-group-db" },
                    { "direction": "ingress", "ethertype": "IPv4", "remote_group": "sample-group-web" }
                ]
            },
            {
                "id": "sample-group-db", "name": "db", "rules": [
                    { "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_min": 5432, "port_max": 5432, "remote_group": "sample-group-web" }
                ]
            }
        ],
        "ports": [
            {
                "id": "sample-web-front", "name": "front", "network": "sample-front", "mac": "fa:16:3e:5a:00:01",
                "fixed_ips": [{ "subnet": "sample-front-v4", "address": "10.1.0.11" }], "security_groups": ["sample-group-web"]
            },
            {
                "id": "sample-web-back", "network": "sample-back", "mac": "fa:16:3e:5a:00:02",
                "fixed_ips": [{ "subnet": "sample-back-v4", "address": "10.2.0.11" }], "security_groups": ["sample-group-web"]
            },
            {
                "id": "sample-db-port", "network": "sample-back", "mac": "fa:16:3e:5a:00:03",
                "fixed_ips": [{ "subnet": "sample-back-v4", "address": "10.2.0.12" }], "security_groups": ["sample-group-db"],
                "allowed_address_pairs": [{ "address": "10.2.0.100" }]
            }
        ],
        "floating_ips": [{
            "id": "sample-floating", "address": "203.0.113.7", "network": "sample-outside", "port": "sample-web-front", "fixed_address": "10.1.0.11"
        }],
        "key_pairs": [{ "id": "sample-key", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA sample" }],
        "server_groups": [{ "id": "sample-apart", "name": "apart", "policy": "anti-affinity" }]
    });
    serde_json::from_value(graph).map_err(|e| {
        Error::new(
            Kind::Internal,
            "make sample graph",
            "the constant does not parse",
        )
        .caused_by(e)
    })
}
