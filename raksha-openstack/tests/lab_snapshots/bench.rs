//! Servers of the tests' own: with blank disks, so that nobody writes to them but the test, or from an image.

use std::time::Duration;

use raksha_openstack::client::{Client, Microversion, Request, Service};
use serde_json::{Value, json};

const GONE: Duration = Duration::from_secs(300);

/// A server that boots from a volume, and its volumes.
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

async fn act(client: &Client, volume: &str, action: Value) {
    let request = Request::post(format!("volumes/{volume}/action"), action);
    client.send(Service::BlockStorage, request).await.unwrap();
}

impl Server {
    /// One that boots from a blank volume, which keeps it busy doing nothing.
    pub(crate) async fn new(client: &Client, name: &str) -> Self {
        let blank = json!({ "volume_type": "rbd" });
        let root = volume(client, &format!("{name}-root"), blank.clone()).await;
        let data = volume(client, &format!("{name}-data"), blank).await;
        act(
            client,
            &root,
            json!({ "os-set_bootable": { "bootable": true } }),
        )
        .await;
        Self::of(client, name, vec![root, data]).await
    }

    /// One of the lab's guests, on volumes of a type; nothing says that it has an agent.
    pub(crate) async fn guest(client: &Client, name: &str, volume_type: &str) -> Self {
        let images = client
            .list(Service::Image, Request::get("images"), "images")
            .await;
        let images = images.unwrap();
        let image = images
            .iter()
            .find(|image| image["name"] == "raksha-guest-rbd");
        let of_image = json!({ "volume_type": volume_type, "imageRef": image.unwrap()["id"] });
        let root = volume(client, &format!("{name}-root"), of_image).await;
        let key = json!({ "key": "hw_qemu_guest_agent" });
        act(client, &root, json!({ "os-unset_image_metadata": key })).await;
        let mut volumes = vec![root];
        for disk in ["a", "b"] {
            let blank = json!({ "volume_type": volume_type });
            volumes.push(volume(client, &format!("{name}-{disk}"), blank).await);
        }
        Self::of(client, name, volumes).await
    }

    async fn of(client: &Client, name: &str, volumes: Vec<String>) -> Self {
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

    /// Waits until its console says so.
    pub(crate) async fn says(&self, words: &str) {
        let action = json!({ "os-getConsoleOutput": {} });
        let request = Request::post(format!("servers/{}/action", self.id), action);
        let look = || async {
            let answer = self.client.send(Service::Compute, request.clone()).await?;
            let said = answer.body["output"].as_str().unwrap_or_default();
            Ok(said.contains(words).then_some(()))
        };
        let patience = Duration::from_secs(600);
        self.client.wait(words, patience, look).await.unwrap();
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
