//! A server with one of everything that a tenant can make, built by hand.

use raksha_openstack::OpenStack;
use raksha_openstack::client::{Request, Service};
use serde_json::{Value, json};

use crate::lab::{delete, make, until};

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIEowovQgcmN5JbpvbZj3pL4+UDNXscN6eFzzRAwj/Ly sample";

/// What was made, by its ids.
#[derive(Debug, Default)]
pub(crate) struct Original {
    pub(crate) mark: String,
    pub(crate) network: String,
    pub(crate) subnet: String,
    pub(crate) router: String,
    pub(crate) groups: Vec<String>,
    pub(crate) port: String,
    pub(crate) floating: String,
    pub(crate) server_group: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) server: String,
}

async fn find(
    cloud: &OpenStack,
    service: Service,
    path: &str,
    key: &'static str,
    name: &str,
) -> String {
    let all = cloud
        .client()
        .list(service, Request::get(path), key)
        .await
        .unwrap();
    let found = all.iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("the lab has no {name} among its {key}"))["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) async fn external(cloud: &OpenStack) -> String {
    find(cloud, Service::Network, "networks", "networks", "public").await
}

/// Makes the original as `cloud`'s principal, and waits until it runs.
pub(crate) async fn build(cloud: &OpenStack, mark: &str) -> Original {
    use Service as S;
    let name = |what: &str| format!("restore-{mark}-{what}");
    let mut made = Original {
        mark: mark.to_owned(),
        ..Original::default()
    };
    let body = json!({ "name": name("net"), "mtu": 1400, "description": "the back of it" });
    made.network = make(cloud, S::Network, "networks", "network", body).await;
    let body = json!({
        "network_id": made.network, "name": name("subnet"), "ip_version": 4, "cidr": "10.88.7.0/24", "gateway_ip": "10.88.7.1",
        "dns_nameservers": ["10.88.7.3"], "allocation_pools": [{ "start": "10.88.7.20", "end": "10.88.7.200" }],
        "host_routes": [{ "destination": "10.99.0.0/16", "nexthop": "10.88.7.9" }],
    });
    made.subnet = make(cloud, S::Network, "subnets", "subnet", body).await;
    let gateway = json!({ "network_id": external(cloud).await });
    let body = json!({ "name": name("router"), "external_gateway_info": gateway });
    made.router = make(cloud, S::Network, "routers", "router", body).await;
    let body = json!({ "subnet_id": made.subnet });
    let request = Request::put(
        format!("routers/{}/add_router_interface", made.router),
        body,
    );
    cloud.client().send(S::Network, request).await.unwrap();
    for what in ["front", "back"] {
        let body = json!({ "name": name(what), "description": what });
        made.groups
            .push(make(cloud, S::Network, "security-groups", "security_group", body).await);
    }
    for rule in [
        json!({ "security_group_id": made.groups[0], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22 }),
        json!({ "security_group_id": made.groups[0], "direction": "ingress", "ethertype": "IPv4", "remote_group_id": made.groups[1] }),
        json!({ "security_group_id": made.groups[1], "direction": "ingress", "ethertype": "IPv4", "remote_group_id": made.groups[0] }),
        json!({ "security_group_id": made.groups[0], "direction": "ingress", "ethertype": "IPv4", "protocol": "icmp" }),
    ] {
        make(
            cloud,
            S::Network,
            "security-group-rules",
            "security_group_rule",
            rule,
        )
        .await;
    }
    // The back lets nothing out by itself.
    let rules = Request::get("security-group-rules").query("security_group_id", &made.groups[1]);
    for rule in cloud
        .client()
        .list(S::Network, rules, "security_group_rules")
        .await
        .unwrap()
    {
        if rule["direction"] == "egress" {
            let path = format!("security-group-rules/{}", rule["id"].as_str().unwrap());
            delete(cloud, S::Network, &path).await;
        }
    }
    let body = json!({
        "network_id": made.network, "name": name("port"), "mac_address": "fa:16:3e:88:07:17", "security_groups": made.groups,
        "fixed_ips": [{ "subnet_id": made.subnet, "ip_address": "10.88.7.17" }], "allowed_address_pairs": [{ "ip_address": "10.88.7.100" }],
    });
    made.port = make(cloud, S::Network, "ports", "port", body).await;
    let key = json!({ "keypair": { "name": name("key"), "public_key": KEY } });
    cloud
        .client()
        .send(S::Compute, Request::post("os-keypairs", key))
        .await
        .unwrap();
    let body = json!({ "name": name("apart"), "policies": ["anti-affinity"] });
    made.server_group = make(cloud, S::Compute, "os-server-groups", "server_group", body).await;

    let image = find(cloud, S::Image, "images", "images", "raksha-guest-rbd").await;
    for (what, image) in [("root", Value::from(image)), ("data", Value::Null)] {
        let body = json!({
            "name": name(what), "description": "a disk", "size": 1, "volume_type": "rbd", "imageRef": image, "metadata": { "of": what },
        });
        made.volumes
            .push(make(cloud, S::BlockStorage, "volumes", "volume", body).await);
    }
    for id in &made.volumes {
        until(
            cloud,
            S::BlockStorage,
            &format!("volumes/{id}"),
            "volume",
            "available",
        )
        .await;
    }
    let flavor = find(cloud, S::Compute, "flavors", "flavors", "raksha.tiny").await;
    let body = json!({
        "name": name("server"), "description": "one of everything", "flavorRef": flavor, "imageRef": "", "key_name": name("key"),
        "metadata": { "role": "test" }, "tags": ["restore", "lab"], "config_drive": true, "networks": [{ "port": made.port }],
        "block_device_mapping_v2": [
            { "source_type": "volume", "destination_type": "volume", "uuid": made.volumes[0], "boot_index": 0, "delete_on_termination": true },
            { "source_type": "volume", "destination_type": "volume", "uuid": made.volumes[1], "boot_index": -1, "tag": "data" },
        ],
    });
    let whole = json!({ "server": body, "os:scheduler_hints": { "group": made.server_group } });
    let request = Request::post("servers", whole).microversion("2.52".parse().unwrap());
    let server = cloud
        .client()
        .send(S::Compute, request)
        .await
        .unwrap()
        .take("server")
        .unwrap();
    made.server = server["id"].as_str().unwrap().to_owned();
    until(
        cloud,
        S::Compute,
        &format!("servers/{}", made.server),
        "server",
        "ACTIVE",
    )
    .await;
    let body = json!({ "floating_network_id": external(cloud).await, "port_id": made.port });
    made.floating = make(cloud, S::Network, "floatingips", "floatingip", body).await;
    made
}

impl Original {
    /// Stops the server, so that its disks stand still.
    pub(crate) async fn stop(&self, cloud: &OpenStack) {
        let action = Request::post(
            format!("servers/{}/action", self.server),
            json!({ "os-stop": null }),
        );
        cloud.client().send(Service::Compute, action).await.unwrap();
        until(
            cloud,
            Service::Compute,
            &format!("servers/{}", self.server),
            "server",
            "SHUTOFF",
        )
        .await;
    }

    /// Deletes all of it. What is gone already is fine.
    pub(crate) async fn delete(&self, cloud: &OpenStack) {
        use Service as S;
        delete(cloud, S::Compute, &format!("servers/{}", self.server)).await;
        delete(cloud, S::Network, &format!("floatingips/{}", self.floating)).await;
        delete(cloud, S::Network, &format!("ports/{}", self.port)).await;
        for id in &self.volumes {
            delete(cloud, S::BlockStorage, &format!("volumes/{id}")).await;
        }
        let body = json!({ "subnet_id": self.subnet });
        let leave = Request::put(
            format!("routers/{}/remove_router_interface", self.router),
            body,
        );
        let _ = cloud.client().send(S::Network, leave).await;
        delete(cloud, S::Network, &format!("routers/{}", self.router)).await;
        delete(cloud, S::Network, &format!("networks/{}", self.network)).await;
        for id in &self.groups {
            delete(cloud, S::Network, &format!("security-groups/{id}")).await;
        }
        delete(
            cloud,
            S::Compute,
            &format!("os-server-groups/{}", self.server_group),
        )
        .await;
        delete(
            cloud,
            S::Compute,
            &format!("os-keypairs/restore-{}-key", self.mark),
        )
        .await;
    }
}
