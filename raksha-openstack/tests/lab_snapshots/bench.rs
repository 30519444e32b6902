//! A server of the tests' own, with blank disks, so that nobody writes to them but the test.

use std::time::Duration;

use raksha_openstack::client::{Client, Microversion, Request, Service};
use serde_json::{Value, json};

const GONE: Duration = Duration::from_secs(300);

/// A server that boots from a blank volume, which keeps it busy doing nothing, and its volumes.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) volumes: Vec<String>,
}

pub(crate) async fn volume(client: &Client, name: &str, body: Value) -> String {
    let mut volume = json!({ "name": name, "size": 1 });
    for (key, value) in body.as_object().unwrap() {
        volume[key] = value.clone();
    }
    let request = Request::post("volumes", json!({ "volume": volume }));
    let made = client
        .send(Service::BlockStorage, request)
        .await
        .unwrap()
        .take("volume")
        .unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    wait(
        client,
        Service::BlockStorage,
        &format!("volumes/{id}"),
        "volume",
        "available",
    )
    .await;
    id
}

async fn wait(client: &Client, service: Service, path: &str, key: &'static str, wanted: &str) {
    let look = || async {
        let one = client.send(service, Request::get(path)).await?.take(key)?;
        let status = one["status"]
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase();
        assert!(!status.starts_with("error"), "{path} went to an error");
        Ok((status == wanted).then_some(()))
    };
    client
        .wait(path, Duration::from_secs(600), look)
        .await
        .unwrap();
}

impl Server {
    pub(crate) async fn new(client: &Client, name: &str) -> Self {
        let mut volumes = Vec::new();
        for disk in ["root", "data"] {
            let rbd = json!({ "volume_type": "rbd" });
            volumes.push(volume(client, &format!("{name}-{disk}"), rbd).await);
        }
        let bootable = json!({ "os-set_bootable": { "bootable": true } });
        let request = Request::post(format!("volumes/{}/action", volumes[0]), bootable);
        client.send(Service::BlockStorage, request).await.unwrap();
        let flavors = client
            .list(Service::Compute, Request::get("flavors"), "flavors")
            .await
            .unwrap();
        let tiny = flavors
            .iter()
            .find(|flavor| flavor["name"] == "raksha.tiny")
            .unwrap();
        let devices: Vec<Value> = (volumes.iter().enumerate())
            .map(|(i, id)| json!({ "uuid": id, "source_type": "volume", "destination_type": "volume", "boot_index": if i == 0 { 0 } else { -1 } }))
            .collect();
        let server = json!({ "server": {
            "name": name, "flavorRef": tiny["id"], "networks": "none", "block_device_mapping_v2": devices,
        } });
        let request = Request::post("servers", server).microversion(Microversion::new(2, 37));
        let made = client
            .send(Service::Compute, request)
            .await
            .unwrap()
            .take("server")
            .unwrap();
        let id = made["id"].as_str().unwrap().to_owned();
        wait(
            client,
            Service::Compute,
            &format!("servers/{id}"),
            "server",
            "active",
        )
        .await;
        Self {
            client: client.clone(),
            id,
            name: name.to_owned(),
            volumes,
        }
    }

    /// Plugs in another volume, which goes with the rest.
    pub(crate) async fn attach(&mut self, volume: String) {
        let body = json!({ "volumeAttachment": { "volumeId": volume } });
        let request = Request::post(format!("servers/{}/os-volume_attachments", self.id), body);
        self.client.send(Service::Compute, request).await.unwrap();
        wait(
            &self.client,
            Service::BlockStorage,
            &format!("volumes/{volume}"),
            "volume",
            "in-use",
        )
        .await;
        self.volumes.push(volume);
    }

    pub(crate) async fn delete(self) {
        let server = format!("servers/{}", self.id);
        self.client
            .send(Service::Compute, Request::delete(server.clone()))
            .await
            .unwrap();
        self.gone(Service::Compute, &server).await;
        for volume in &self.volumes {
            let volume = format!("volumes/{volume}");
            wait(
                &self.client,
                Service::BlockStorage,
                &volume,
                "volume",
                "available",
            )
            .await;
            self.client
                .send(Service::BlockStorage, Request::delete(volume.clone()))
                .await
                .unwrap();
            self.gone(Service::BlockStorage, &volume).await;
        }
    }

    async fn gone(&self, service: Service, path: &str) {
        let look = || async {
            match self.client.send(service, Request::get(path)).await {
                Err(error) if error.kind() == raksha_core::Kind::NotFound => Ok(Some(())),
                _ => Ok(None),
            }
        };
        self.client.wait(path, GONE, look).await.unwrap();
    }
}
