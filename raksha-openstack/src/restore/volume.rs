//! Creating volumes and images, and waiting until they are what they shall be.

use std::time::Duration;

use raksha_core::cloud::{Image, Recorder, ResourceKind as K, ResourceRef, Volume};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::Restorer;
use super::bodies;
use super::make::{Order, temporary_kind, text, undecided};
use super::there::There;
use crate::client::{Request, Service};

impl Restorer {
    /// An empty volume. What it was made of and whether it boots is said when its content is there, because both go with the content.
    pub(super) async fn volume(
        &self,
        point: &Volume,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        self.new_volume(point, None, there, recorder).await
    }

    /// An empty volume, or one of `image`.
    pub(super) async fn new_volume(
        &self,
        point: &Volume,
        image: Option<&str>,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let temporary = self.temporary(temporary_kind(K::Volume), Value::Null)?;
        let body = bodies::volume(point, &temporary.marker, there, image);
        let request = Request::post("volumes", json!({ "volume": body }));
        let order = Order {
            kind: K::Volume,
            temporary,
            service: Service::BlockStorage,
            request: request.operation("create volume"),
            key: "volume",
        };
        let (id, _) = self.make(order, recorder).await?;
        let deadline = match image {
            Some(_) => self.patience(point.size),
            None => self.deadline(),
        };
        self.volume_is(&id, "available", deadline).await?;
        let name = there.name(ResourceRef::Volume(point));
        let body = json!({ "volume": { "name": name, "description": point.description } });
        let request = Request::put(format!("volumes/{id}"), body).operation("name volume");
        self.client.send(Service::BlockStorage, request).await?;
        Ok(id)
    }

    /// Waits until a volume is `status`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the cloud gives up on it.
    pub(super) async fn volume_is(
        &self,
        id: &str,
        status: &str,
        deadline: Duration,
    ) -> Result<Value> {
        let what = format!("volume {id} to become {status}");
        let poll = || async {
            let volume = self.look_at_volume(id).await?;
            let now = text(&volume, "status")?;
            if now == status {
                return Ok(Some(volume));
            }
            if now.starts_with("error") {
                let message = "the cloud could not do it: its operator finds the reason in Cinder's log and the volume's messages";
                return Err(Error::new(Kind::Unavailable, "wait for volume", message)
                    .with("volume", id)
                    .with("status", now)
                    .retryable(false));
            }
            Ok(None)
        };
        self.client.wait(&what, deadline, poll).await
    }

    /// Says whether a filled volume boots, and what it is made of.
    pub(super) async fn finish_volume(&self, point: &Volume, id: &str) -> Result<()> {
        let action = format!("volumes/{id}/action");
        let ask = |body: Value| {
            let request = Request::post(action.as_str(), body).idempotent(true);
            let request = request.operation("set what a volume is made of");
            self.client.send(Service::BlockStorage, request)
        };
        ask(json!({ "os-set_bootable": { "bootable": point.bootable } })).await?;
        let live = self.look_at_volume(id).await?;
        let has = live.get("volume_image_metadata").unwrap_or(&Value::Null);
        let (set, gone) = bodies::image_metadata(point, has);
        for key in gone {
            let unset = ask(json!({ "os-unset_image_metadata": { "key": key } })).await;
            super::make::unless_gone(unset)?;
        }
        if set.as_object().is_some_and(|set| !set.is_empty()) {
            ask(json!({ "os-set_image_metadata": { "metadata": set } })).await?;
        }
        Ok(())
    }

    /// An image of the point. Its bytes are not in the point: it waits for its owner to upload them.
    pub(super) async fn image(
        &self,
        point: &Image,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<String> {
        let id = self.new_id()?;
        let mut temporary = self.temporary(temporary_kind(K::Image), Value::Null)?;
        temporary.id = Some(id.clone());
        recorder.record(&temporary).await?;
        self.register_image(&bodies::image(point, &id, there))
            .await?;
        Ok(id)
    }

    /// Registers an image under an id that was chosen for it.
    pub(super) async fn register_image(&self, body: &Value) -> Result<()> {
        let id = text(body, "id")?;
        let request = Request::post("images", body.clone()).operation("register image");
        let Err(error) = self.client.send(Service::Image, request).await else {
            return Ok(());
        };
        if !undecided(&error) {
            return Err(error);
        }
        match self.image_status(id).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == Kind::NotFound => {
                let request = Request::post("images", body.clone()).operation("register image");
                self.client.send(Service::Image, request).await.map(drop)
            }
            Err(e) => Err(e),
        }
    }

    pub(super) async fn image_status(&self, id: &str) -> Result<String> {
        let request = Request::get(format!("images/{id}")).operation("look at image");
        let found = self.client.send(Service::Image, request).await?;
        text(&found.body, "status").map(str::to_owned)
    }

    /// A random UUID (version 4), for what may be given an id.
    pub(super) fn new_id(&self) -> Result<String> {
        let mut bytes: [u8; 16] = self.env.random()?;
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
        let parts: Vec<&str> = parts.into_iter().filter_map(|part| hex.get(part)).collect();
        Ok(parts.join("-"))
    }
}
