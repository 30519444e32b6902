//! A disk that goes into the cloud as an image.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use raksha_core::cloud::DiskWriter;
use raksha_core::{Error, Kind, Result};
use ring::digest::{Context, SHA512};
use serde_json::{Value, json};

use super::super::Restorer;
use super::super::make::{is, text, undecided};
use super::spool::Spool;
use super::{REIMAGE, Whole};
use crate::client::{Request, Service};

/// How often an upload is begun anew.
const UPLOADS: u32 = 3;

/// What becomes of the image.
#[derive(Debug, Clone)]
pub(super) enum Becomes {
    /// The content of this volume.
    Filling(String),
    /// Something that is made of it later.
    Image,
}

/// Spools a disk, and uploads it when it is whole.
#[derive(Debug)]
pub(super) struct ImageWriter {
    pub(super) restorer: Restorer,
    pub(super) spool: Spool,
    /// What the image is registered as.
    pub(super) image: Value,
    pub(super) becomes: Becomes,
    pub(super) whole: Whole,
}

#[async_trait]
impl DiskWriter for ImageWriter {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        self.spool.write_at(offset, data).await
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.spool.write_zeroes(range)
    }

    async fn finish(&self) -> Result<()> {
        if self.whole.is_set() {
            return Ok(());
        }
        self.spool.check_whole()?;
        let id = text(&self.image, "id")?;
        self.restorer.register_image(&self.image).await?;
        self.upload(id).await?;
        if let Becomes::Filling(volume) = &self.becomes {
            self.restorer.reimage(volume, id, self.spool.size()).await?;
        }
        self.whole.set();
        Ok(())
    }
}

impl ImageWriter {
    /// Uploads the disk, and compares what came of it with what was sent.
    async fn upload(&self, id: &str) -> Result<()> {
        let mut uploads = 1;
        let sent = loop {
            let (length, stream) = self.spool.image();
            let sum = Arc::new(Mutex::new(Context::new(&SHA512)));
            let summed = Arc::clone(&sum);
            let stream = stream.inspect_ok(move |bytes| {
                let mut sum = summed.lock().unwrap_or_else(PoisonError::into_inner);
                sum.update(bytes);
            });
            let request = Request::put_bytes(format!("images/{id}/file"));
            let request = request.operation("upload disk");
            let client = &self.restorer.client;
            match client
                .upload(Service::Image, request, stream, Some(length))
                .await
            {
                Ok(_) => {
                    let sum = sum.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    break sum.finish();
                }
                Err(error) if undecided(&error) && uploads < UPLOADS => {
                    // An upload that broke off leaves the image waiting for another one.
                    if self.restorer.image_status(id).await? != "queued" {
                        return Err(error);
                    }
                    uploads += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let image = self.restorer.active_image(id, self.spool.size()).await?;
        let hash: String = sent
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let theirs = image.get("os_hash_value").and_then(Value::as_str);
        let comparable = is(&image, "os_hash_algo", "sha512");
        if comparable && theirs.is_some_and(|theirs| theirs != hash) {
            let message = "the image in the cloud is not what was sent: restore again";
            return Err(Error::new(Kind::Corrupt, "upload disk", message).with("image", id));
        }
        Ok(())
    }
}

impl Restorer {
    /// Waits until an image has its bytes.
    async fn active_image(&self, id: &str, size: u64) -> Result<Value> {
        let what = format!("image {id} to become active");
        let poll = || async {
            let request = Request::get(format!("images/{id}")).operation("look at image");
            let image = self.client.send(Service::Image, request).await?.body;
            match text(&image, "status")? {
                "active" => Ok(Some(image)),
                status @ ("killed" | "deleted" | "pending_delete" | "deactivated") => {
                    let message = "the cloud did not keep the image: its operator finds the reason in Glance's log";
                    Err(Error::new(Kind::Unavailable, "upload disk", message)
                        .with("image", id)
                        .with("status", status)
                        .retryable(false))
                }
                _ => Ok(None),
            }
        };
        self.client.wait(&what, self.patience(size), poll).await
    }

    /// Has Cinder put an image into an available volume.
    async fn reimage(&self, volume: &str, image: &str, size: u64) -> Result<()> {
        let body = json!({ "os-reimage": { "image_id": image, "reimage_reserved": false } });
        let request = Request::post(format!("volumes/{volume}/action"), body);
        let request = request
            .microversion(REIMAGE)
            .operation("put image into volume");
        if let Err(error) = self
            .client
            .send(Service::BlockStorage, request.clone())
            .await
        {
            if !undecided(&error) {
                return Err(error);
            }
            // Doing it again does the same; while it is being done it is refused.
            let now = self.look_at_volume(volume).await?;
            if text(&now, "status")? == "available" {
                self.client.send(Service::BlockStorage, request).await?;
            }
        }
        let deadline = self.patience(size);
        self.volume_is(volume, "available", deadline)
            .await
            .map(drop)
    }
}
