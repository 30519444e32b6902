//! A server that has everything that a tenant can give it: made, found, and deleted again.

use std::time::Duration;

use raksha_core::cloud::ServerSelector;
use raksha_core::{Kind, Result};
use raksha_openstack::OpenStack;
use raksha_openstack::client::{Client, Microversion, Request, Service};
use serde_json::{Value, json};

use crate::{cloud, discover, named, shapes, unique};

/// Under load the lab takes its time.
const PATIENCE: Duration = Duration::from_secs(900);

/// What was made, to be deleted from the end.
struct Made<'a> {
    client: &'a Client,
    paths: Vec<(Service, String)>,
}

impl Made<'_> {
    async fn make(
        &mut self,
        service: Service,
        path: &str,
        key: &'static str,
        request: Request,
    ) -> Result<Value> {
        let made = self.client.send(service, request).await?.take(key)?;
        let id = made["id"].as_str().or(made["name"].as_str());
        self.paths
            .push((service, format!("{path}/{}", id.unwrap())));
        Ok(made)
    }

    async fn post(
        &mut self,
        service: Service,
        path: &str,
        key: &'static str,
        body: Value,
    ) -> Result<String> {
        let request = Request::post(path, json!({ key: body }));
        let made = self.make(service, path, key, request).await?;
        Ok(made["id"].as_str().unwrap_or_default().to_owned())
    }

    async fn delete_all(self) {
        for (service, path) in self.paths.into_iter().rev() {
            let deleted = self.client.send(service, Request::delete(&path)).await;
            if let Err(error) = deleted
                && error.kind() != Kind::NotFound
            {
                panic!("{path} stays behind: {error}");
            }
            if service == Service::Compute && path.starts_with("servers/") {
                let gone = self.client.wait(&path, PATIENCE, || async {
                    match self.client.send(service, Request::get(&path)).await {
                        Err(error) if error.kind() == Kind::NotFound => Ok(Some(())),
                        other => other.map(|_| None),
                    }
                });
                gone.await.unwrap();
            }
        }
    }
}

async fn id_of(
    client: &Client,
    service: Service,
    path: &str,
    key: &'static str,
    name: &str,
) -> Result<String> {
    let all = client.list(service, Request::get(path), key).await?;
    let found = all.iter().find(|item| item["name"] == name);
    let found = found.unwrap_or_else(|| panic!("the lab has no {name} in {path}"));
    Ok(found["id"].as_str().unwrap().to_owned())
}

async fn make(cloud: &OpenStack, name: &str, made: &mut Made<'_>) -> Result<()> {
    let client = cloud.client();
    let called = |what: &str| format!("{name}-{what}");
    let network = Service::Network;
    // The guest sees the first port first, though networks are sorted otherwise by name and in time.
    let alpha = made
        .post(
            network,
            "networks",
            "network",
            json!({"name": called("alpha"), "mtu": 1400}),
        )
        .await?;
    let zulu = made
        .post(
            network,
            "networks",
            "network",
            json!({"name": called("zulu"), "description": "first for the guest"}),
        )
        .await?;
    for (id, cidr, routes) in [
        (&alpha, "10.78.1.0/24", json!([])),
        (
            &zulu,
            "10.78.2.0/24",
            json!([{"destination": "192.168.7.0/24", "nexthop": "10.78.2.9"}]),
        ),
    ] {
        let subnet = json!({"name": called("subnet"), "network_id": id, "ip_version": 4, "cidr": cidr, "enable_dhcp": false, "gateway_ip": null,
            "host_routes": routes, "dns_nameservers": ["10.78.0.53", "10.78.0.54"]});
        made.post(network, "subnets", "subnet", subnet).await?;
    }
    let web = made
        .post(
            network,
            "security-groups",
            "security_group",
            json!({"name": called("web"), "description": "faces the world"}),
        )
        .await?;
    let db = made
        .post(
            network,
            "security-groups",
            "security_group",
            json!({"name": called("db")}),
        )
        .await?;
    let rule = |group: &str, remote: &str| json!({"security_group_id": group, "remote_group_id": remote, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 5432, "port_range_max": 5432});
    let port =
        json!({"network_id": alpha, "name": called("second"), "port_security_enabled": false});
    let second = made.post(network, "ports", "port", port).await?;
    let pairs = json!([{"ip_address": "10.78.2.100"}, {"ip_address": "10.78.2.101", "mac_address": "fa:16:3e:99:99:99"}]);
    let port = json!({"network_id": zulu, "name": called("first"), "security_groups": [web], "allowed_address_pairs": pairs});
    let first = made.post(network, "ports", "port", port).await?;
    // A port refers to `web`, whose rule refers to `db`, which nothing else does.
    client
        .send(
            network,
            Request::post(
                "security-group-rules",
                json!({"security_group_rule": rule(&web, &db)}),
            ),
        )
        .await?;
    let tag = Request::put(format!("ports/{first}/tags/raksha-port"), json!(null));
    client.send(network, tag).await?;

    let key = Request::post("os-keypairs", json!({"keypair": {"name": called("key")}}));
    made.make(Service::Compute, "os-keypairs", "keypair", key)
        .await?;
    let group = json!({"server_group": {"name": called("apart"), "policy": "soft-anti-affinity"}});
    let group = Request::post("os-server-groups", group).microversion(Microversion::new(2, 64));
    let group = made
        .make(Service::Compute, "os-server-groups", "server_group", group)
        .await?;
    let volume = json!({"name": called("data"), "size": 1, "volume_type": "rbd", "description": "precious", "metadata": {"of": name}});
    let volume = made
        .post(Service::BlockStorage, "volumes", "volume", volume)
        .await?;
    wait_for(
        client,
        Service::BlockStorage,
        &format!("volumes/{volume}"),
        "volume",
        "available",
    )
    .await?;

    let image = id_of(client, Service::Image, "images", "images", "raksha-guest").await?;
    let flavor = id_of(
        client,
        Service::Compute,
        "flavors",
        "flavors",
        "raksha.tiny",
    )
    .await?;
    let disks = json!([
        {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "local", "delete_on_termination": true},
        {"boot_index": -1, "uuid": volume, "source_type": "volume", "destination_type": "volume", "delete_on_termination": true, "tag": "data"}]);
    let server = json!({"name": name, "description": "has everything", "flavorRef": flavor, "imageRef": image, "block_device_mapping_v2": disks,
        "networks": [{"port": first}, {"port": second}], "key_name": called("key"), "config_drive": true, "user_data": "IyEvYmluL3NoCg==",
        "metadata": {"role": name, "empty": ""}, "tags": [called("tag"), "raksha"]});
    let body = json!({"server": server, "os:scheduler_hints": {"group": group["id"]}});
    let server = Request::post("servers", body)
        .microversion(Microversion::new(2, 52))
        .operation("create server");
    let server = made
        .make(Service::Compute, "servers", "server", server)
        .await?;
    let path = format!("servers/{}", server["id"].as_str().unwrap());
    wait_for(client, Service::Compute, &path, "server", "ACTIVE").await
}

async fn wait_for(
    client: &Client,
    service: Service,
    path: &str,
    key: &'static str,
    status: &str,
) -> Result<()> {
    let what = format!("{path} to become {status}");
    let waited = client.wait(&what, PATIENCE, || async {
        let thing = client.send(service, Request::get(path)).await?.take(key)?;
        let now = thing["status"].as_str().unwrap().to_owned();
        assert!(!now.eq_ignore_ascii_case("error"), "{path}: {thing}");
        Ok((now == status).then_some(()))
    });
    waited.await
}

#[tokio::test]
async fn nothing_of_it_is_lost() {
    let cloud = cloud("raksha-demo").await;
    let name = unique("everything");
    let mut made = Made {
        client: cloud.client(),
        paths: Vec::new(),
    };
    let outcome = make(&cloud, &name, &mut made).await;
    let mut graphs = Vec::new();
    if outcome.is_ok() {
        let metadata = ServerSelector::Metadata {
            key: "role".to_owned(),
            value: name.clone(),
        };
        for selector in [
            named(&name),
            ServerSelector::Tag(format!("{name}-tag")),
            metadata,
        ] {
            graphs.push(discover(&cloud, vec![selector]).await);
        }
    }
    made.delete_all().await;
    outcome.unwrap();
    if let Ok(file) = std::env::var("RAKSHA_LAB_KEEP_GRAPH") {
        std::fs::write(file, serde_json::to_vec_pretty(&graphs[0]).unwrap()).unwrap();
    }
    assert_eq!(graphs[1], graphs[0]);
    assert_eq!(graphs[2], graphs[0]);
    shapes::everything(&graphs[0], &name);
}
