//! Creating servers and what only Nova knows of, and starting them.

use raksha_core::cloud::{
    DiskId, DiskSource, IdMap, KeyPair, PowerState, Recorder, ResourceKey, ResourceKind as K,
    ResourceRef, Server, ServerGroup,
};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::Restorer;
use super::bodies::{self, ServerParts};
use super::disk::Carrier;
use super::make::{DESCRIPTION, ONE_POLICY, Order, temporary_kind, text};
use super::survey::flavors;
use super::there::There;
use crate::client::{Microversion, Request, Service};

/// The newest that servers are created in: the first that takes tags.
const CREATE: Microversion = Microversion::new(2, 52);
/// From here on servers have tags, which can be set later.
const TAGS: Microversion = Microversion::new(2, 26);
/// From here on key pairs have a type.
const KEY_TYPES: Microversion = Microversion::new(2, 2);

impl Restorer {
    pub(super) async fn key_pair(
        &self,
        point: &KeyPair,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let name = there.name(ResourceRef::KeyPair(point));
        let detail = json!({ "public_key": point.public_key });
        let mut temporary = self.temporary(temporary_kind(K::KeyPair), detail)?;
        temporary.id = Some(name.clone());
        let body = json!({ "keypair": bodies::key_pair(point, there) });
        let request = Request::post("os-keypairs", body).microversion(KEY_TYPES);
        let order = Order {
            kind: K::KeyPair,
            temporary,
            service: Service::Compute,
            request: request.operation("create key pair"),
            key: "keypair",
        };
        self.make_named(order, recorder).await?;
        Ok(name)
    }

    pub(super) async fn server_group(
        &self,
        point: &ServerGroup,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let microversion = self.speaks(Service::Compute, ONE_POLICY).await?;
        let name = there.name(ResourceRef::ServerGroup(point));
        let before = self.server_groups().await?;
        let before: Vec<_> = before.iter().filter_map(|group| group.get("id")).collect();
        let detail = json!({ "name": name, "before": before });
        let body = bodies::server_group(point, there, microversion >= ONE_POLICY);
        let request = Request::post("os-server-groups", json!({ "server_group": body }));
        let order = Order {
            kind: K::ServerGroup,
            temporary: self.temporary(temporary_kind(K::ServerGroup), detail)?,
            service: Service::Compute,
            request: request
                .microversion(microversion)
                .operation("create server group"),
            key: "server_group",
        };
        self.make(order, recorder).await.map(|(id, _)| id)
    }

    pub(super) async fn server(
        &self,
        point: &Server,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let microversion = self.speaks(Service::Compute, CREATE).await?;
        let flavors = flavors::list(&self.client).await?;
        let chosen = flavors::choose(&flavors, &point.flavor, &there.request.mapping);
        let flavor = chosen.map_err(|problem| {
            Error::new(Kind::Invalid, "create server", problem.reason).with("what", problem.what)
        })?;
        self.connect_routers(point, there, recorder).await?;

        let root = self.root_of(point, there)?;
        let temporary = self.temporary(temporary_kind(K::Server), Value::Null)?;
        let parts = ServerParts {
            flavor: &flavor.id,
            root: root.as_ref().map(|(_, image)| image.as_str()),
            marker: &temporary.marker,
            microversion,
        };
        let body = bodies::server(point, there, parts)?;
        let request = Request::post("servers", body).microversion(microversion);
        let order = Order {
            kind: K::Server,
            temporary,
            service: Service::Compute,
            request: request.operation("create server"),
            key: "server",
        };
        let (id, _) = self.make(order, recorder).await?;
        self.server_is(&id, "ACTIVE").await?;
        if microversion >= DESCRIPTION {
            let body = json!({ "server": { "description": point.description } });
            let request = Request::put(format!("servers/{id}"), body).microversion(DESCRIPTION);
            let request = request.operation("describe server");
            self.client.send(Service::Compute, request).await?;
        }
        if microversion < CREATE && microversion >= TAGS && !point.tags.is_empty() {
            let body = json!({ "tags": point.tags });
            let request = Request::put(format!("servers/{id}/tags"), body).microversion(TAGS);
            self.client.send(Service::Compute, request).await?;
        }
        if point.power != PowerState::Running || there.request.leave_stopped {
            self.act(&id, "os-stop").await?;
            self.server_is(&id, "SHUTOFF").await?;
        }
        self.connect_floating_ips(point, there, recorder).await?;
        if let Some((key, image)) = root {
            let mut images = there.request.graph.images.iter();
            let of = images.find(|image| Some(&image.id) == point.image.as_ref());
            match bodies::root_image_stays(of) {
                // It is the server's from now on, and goes with it if the restore is undone.
                true => self.let_go(&key, recorder).await?,
                false => self.drop_root(&key, &image, recorder).await?,
            }
        }
        Ok(id)
    }

    /// The image that carries the root disk of a server that has one of its own, and what it is remembered by.
    fn root_of(&self, point: &Server, there: There<'_>) -> Result<Option<(String, String)>> {
        let own = point.attachments.iter().any(|attachment| {
            matches!(&attachment.source, DiskSource::Local { name, .. } if name == "root")
        });
        if !own {
            return Ok(None);
        }
        let disk = DiskId::Local {
            server: point.id.clone(),
            name: "root".to_owned(),
        };
        let key = Self::carried(&disk, there)?;
        match self.carriers().get(&key) {
            Some(Carrier::Image { id, whole, .. }) if whole.is_set() => Ok(Some((key, id.clone()))),
            _ => {
                let message = "its root disk is not written: write it first";
                Err(Error::new(Kind::Invalid, "create server", message))
            }
        }
    }

    /// Leaves the image that a server was made of where it is.
    async fn let_go(&self, key: &str, recorder: &dyn Recorder) -> Result<()> {
        let carrier = self.carriers().remove(key);
        match carrier {
            Some(carrier) => recorder.released(carrier.marker()).await,
            None => Ok(()),
        }
    }

    /// Removes the image that a server was made of. Where the server's disk is a clone of it, the cloud keeps it, and so it stays.
    async fn drop_root(&self, key: &str, image: &str, recorder: &dyn Recorder) -> Result<()> {
        let carrier = self.carriers().remove(key);
        match (self.remove_one(K::Image, image).await, carrier) {
            (Ok(()), Some(carrier)) => recorder.released(carrier.marker()).await,
            (Err(error), _) if matches!(error.kind(), Kind::Conflict | Kind::Denied) => {
                tracing::info!(image, %error, "the restored server's disk needs the image that it was made of, so it stays");
                Ok(())
            }
            (gone, _) => gone,
        }
    }

    pub(super) async fn start_server(&self, server: &Server, ids: &IdMap) -> Result<()> {
        if server.power != PowerState::Running {
            return Ok(());
        }
        let key = ResourceKey::new(K::Server, server.id.as_str());
        let id = ids.get(&key).ok_or_else(|| {
            let message = "the server was not restored";
            Error::new(Kind::NotFound, "start server", message).with("server", &server.id)
        })?;
        let live = self.look_at_server(id).await?;
        if text(&live, "status")? == "SHUTOFF" {
            self.act(id, "os-start").await?;
        }
        self.server_is(id, "ACTIVE").await.map(drop)
    }

    async fn act(&self, id: &str, action: &'static str) -> Result<()> {
        let body = json!({ action: null });
        let request = Request::post(format!("servers/{id}/action"), body).operation(action);
        self.client.send(Service::Compute, request).await.map(drop)
    }

    async fn look_at_server(&self, id: &str) -> Result<Value> {
        let request = Request::get(format!("servers/{id}")).operation("look at server");
        let found = self.client.send(Service::Compute, request).await?;
        found.take("server")
    }

    /// Waits until a server is `status`, and nothing is being done to it.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], with what Nova says, if it gives up on it.
    async fn server_is(&self, id: &str, status: &str) -> Result<Value> {
        let what = format!("server {id} to become {status}");
        let poll = || async {
            let server = self.look_at_server(id).await?;
            let now = text(&server, "status")?;
            let busy = server
                .get("OS-EXT-STS:task_state")
                .filter(|task| !task.is_null());
            if now == status && busy.is_none() {
                return Ok(Some(server));
            }
            if now == "ERROR" {
                let fault = server.pointer("/fault/message").and_then(Value::as_str);
                let message = format!(
                    "the cloud could not do it: {}",
                    fault.unwrap_or(
                        "it does not say why; its operator finds the reason in Nova's log"
                    )
                );
                return Err(Error::new(Kind::Unavailable, "wait for server", message)
                    .with("server", id)
                    .retryable(false));
            }
            Ok(None)
        };
        self.client.wait(&what, self.deadline(), poll).await
    }
}
