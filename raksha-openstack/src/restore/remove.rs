//! Removing what restores made: one thing by its id, and nothing else.

use raksha_core::cloud::{ResourceKind as K, Temporary};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::Restorer;
use super::bodies::RESTORED_ROOT;
use super::connect::{LEADING, PLACE};
use super::make::{resource_kind, text, unless_gone};
use crate::client::{Request, Service};
use crate::temporary::ATTACHMENTS;

impl Restorer {
    /// Whether a restore made such temporaries.
    pub(crate) fn made(temporary: &Temporary) -> bool {
        [PLACE, LEADING].contains(&temporary.kind.as_str()) || resource_kind(temporary).is_some()
    }

    /// Removes a temporary of a restore, by its id or marker. What is not there is gone.
    pub(crate) async fn release(&self, temporary: &Temporary) -> Result<()> {
        let Some(kind) = resource_kind(temporary) else {
            return self.disconnect(temporary).await;
        };
        match (&temporary.id, kind) {
            // Its name is known before it is made, so that it may be somebody else's.
            (Some(name), K::KeyPair) => match self.own_key_pair(name, temporary).await? {
                Some(_) => self.remove_one(kind, name).await,
                None => Ok(()),
            },
            (Some(id), _) => self.remove_one(kind, id).await,
            (None, _) => {
                for found in self.find_marked(kind, temporary).await? {
                    self.remove_one(kind, text(&found, "id")?).await?;
                }
                Ok(())
            }
        }
    }

    /// Removes the resource with this id, and waits until it is gone.
    pub(super) async fn remove_one(&self, kind: K, id: &str) -> Result<()> {
        use Service as S;
        let (service, path) = match kind {
            K::Network => (S::Network, format!("networks/{id}")),
            K::Subnet => (S::Network, format!("subnets/{id}")),
            K::Router => {
                self.empty_router(id).await?;
                (S::Network, format!("routers/{id}"))
            }
            K::SecurityGroup => (S::Network, format!("security-groups/{id}")),
            K::KeyPair => (S::Compute, format!("os-keypairs/{id}")),
            K::ServerGroup => (S::Compute, format!("os-server-groups/{id}")),
            K::Image => (S::Image, format!("images/{id}")),
            K::Volume => return self.remove_volume(id).await,
            K::Port => return self.remove_port(id).await,
            K::Server => return self.remove_server(id).await,
            K::FloatingIp => (S::Network, format!("floatingips/{id}")),
            _ => {
                let message = "no restore makes such things";
                return Err(Error::new(Kind::Unsupported, "remove resource", message));
            }
        };
        let request = Request::delete(path).operation("remove what was restored");
        let gone = self.client.send(service, request).await;
        unless_gone(gone).map(drop)
    }

    /// With it goes the image that it was made of, if that was kept for its sake and no other server was made of it.
    async fn remove_server(&self, id: &str) -> Result<()> {
        let request = Request::get(format!("servers/{id}"));
        let found = self.client.send(Service::Compute, request).await;
        let root = match unless_gone(found)? {
            Some(found) => found.take("server")?,
            None => return Ok(()),
        };
        let root = root.pointer("/image/id").and_then(Value::as_str);
        self.delete_server(id).await?;
        match root {
            Some(image) => self.remove_kept_root(image).await,
            None => Ok(()),
        }
    }

    async fn remove_kept_root(&self, image: &str) -> Result<()> {
        let found = self
            .client
            .send(Service::Image, Request::get(format!("images/{image}")));
        let kept =
            unless_gone(found.await)?.is_some_and(|found| found.body.get(RESTORED_ROOT).is_some());
        if !kept {
            return Ok(());
        }
        let others = Request::get("servers").query("image", image);
        let others = self.client.send(Service::Compute, others).await?;
        let others = others.take("servers")?;
        match others.as_array().is_some_and(Vec::is_empty) {
            true => {
                let request = Request::delete(format!("images/{image}"));
                let request = request.operation("remove the image of a restored server");
                unless_gone(self.client.send(Service::Image, request).await).map(drop)
            }
            false => Ok(()),
        }
    }

    async fn delete_server(&self, id: &str) -> Result<()> {
        let request = Request::delete(format!("servers/{id}")).operation("delete server");
        if unless_gone(self.client.send(Service::Compute, request).await)?.is_none() {
            return Ok(());
        }
        let what = format!("server {id} to be gone");
        let poll = || async {
            let request = Request::get(format!("servers/{id}"));
            let found = self.client.send(Service::Compute, request).await;
            let Some(found) = unless_gone(found)? else {
                return Ok(Some(()));
            };
            let server = found.take("server")?;
            // Deleting failed: once more.
            if super::make::is(&server, "status", "ERROR") {
                let request = Request::delete(format!("servers/{id}"));
                unless_gone(self.client.send(Service::Compute, request).await)?;
            }
            Ok(None)
        };
        self.client.wait(&what, self.deadline(), poll).await
    }

    /// A volume that is still being filled or let go cannot be deleted yet.
    async fn remove_volume(&self, id: &str) -> Result<()> {
        let what = format!("volume {id} to be gone");
        let mut refused = 0;
        let mut asked = false;
        loop {
            let request = Request::get(format!("volumes/{id}"));
            let found = self.client.send(Service::BlockStorage, request).await;
            let Some(found) = unless_gone(found)? else {
                return Ok(());
            };
            let volume = found.take("volume")?;
            let status = text(&volume, "status")?;
            if status == "reserved" {
                self.detach(id).await?;
            }
            let ready = ["available", "error", "error_restoring", "error_extending"];
            if ready.contains(&status) && !asked {
                let request = Request::delete(format!("volumes/{id}")).operation("delete volume");
                match self.client.send(Service::BlockStorage, request).await {
                    Ok(_) => asked = true,
                    Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                    Err(error) => {
                        refused += 1;
                        if refused == 3 {
                            return Err(error);
                        }
                    }
                }
            } else if status == "error_deleting" {
                let message = "the cloud could not delete the volume: its operator must look at it";
                return Err(Error::new(Kind::Unavailable, "delete volume", message)
                    .with("volume", id)
                    .retryable(false));
            }
            let was = status.to_owned();
            let poll = || async {
                let request = Request::get(format!("volumes/{id}"));
                let found = self.client.send(Service::BlockStorage, request).await;
                let Some(found) = unless_gone(found)? else {
                    return Ok(Some(()));
                };
                let volume = found.take("volume")?;
                let now = text(&volume, "status")?;
                let moved = now != was || !asked && ready.contains(&now);
                Ok(moved.then_some(()))
            };
            self.client.wait(&what, self.deadline(), poll).await?;
        }
    }

    async fn remove_port(&self, id: &str) -> Result<()> {
        let request = Request::delete(format!("ports/{id}")).operation("delete port");
        let error = match unless_gone(self.client.send(Service::Network, request).await) {
            Err(error) if error.kind() == Kind::Conflict => error,
            gone => return gone.map(drop),
        };
        // A router's port goes with its place.
        let request = Request::get(format!("ports/{id}"));
        let port = self.client.send(Service::Network, request).await?;
        let port = port.take("port")?;
        let owner = text(&port, "device_owner")?;
        if owner.starts_with("network:router_interface") {
            return self.leave(text(&port, "device_id")?, id).await;
        }
        Err(error)
    }

    /// Takes a router off all its subnets, so that it can be deleted.
    async fn empty_router(&self, id: &str) -> Result<()> {
        let interfaces = self.interfaces(id).await?;
        if interfaces.is_empty() {
            return Ok(());
        }
        let request = Request::put(
            format!("routers/{id}"),
            json!({ "router": { "routes": [] } }),
        );
        let request = request.operation("clear a router's routes");
        unless_gone(self.client.send(Service::Network, request).await)?;
        for port in interfaces {
            self.leave(id, text(&port, "id")?).await?;
        }
        Ok(())
    }

    /// Removes all attachments of a volume that belong to no server.
    pub(super) async fn detach(&self, volume: &str) -> Result<()> {
        let request = Request::get("attachments").query("volume_id", volume);
        let request = request.microversion(ATTACHMENTS);
        let found = self
            .client
            .list(Service::BlockStorage, request, "attachments");
        for attachment in found.await? {
            let of_it = super::make::is(&attachment, "volume_id", volume);
            let server = attachment
                .get("instance")
                .filter(|server| !server.is_null());
            if !of_it || server.is_some() {
                continue;
            }
            let request = Request::delete(format!("attachments/{}", text(&attachment, "id")?));
            let request = request
                .microversion(ATTACHMENTS)
                .operation("delete attachment");
            let gone = self.client.send(Service::BlockStorage, request).await;
            unless_gone(gone)?;
        }
        Ok(())
    }

    /// What the cloud says of a volume.
    pub(super) async fn look_at_volume(&self, id: &str) -> Result<Value> {
        let request = Request::get(format!("volumes/{id}")).operation("look at volume");
        let found = self.client.send(Service::BlockStorage, request).await?;
        found.take("volume")
    }
}
