//! The road that is open to every tenant: the disk as an image, downloaded and read here.
//!
//! A snapshot of a volume becomes a volume, that an image, in qcow2 where the cloud takes it: what a disk does not use then passes neither through
//! Glance nor through the network. If it is refused, the image is raw. The download is checked against the checksum
//! that Glance keeps, lies in a file without a name, and once it is whole everything in the cloud is removed again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use raksha_core::cloud::{DiskReader, Raw, Recorder, Temporary};
use raksha_core::disk_file::FileReader;
use raksha_core::qcow2::Qcow2Reader;
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::scratch::nameless_file;
use super::{Held, Roads};
use crate::client::{ChecksumAlgorithm, Download, Request, Service};
use crate::temporary::{IMAGE, planned};
use crate::things::{self, text};

const OPEN: &str = "read disk through an image";
/// Bytes written to the file at once; stretches of this length that are zeroes are left out.
const STEP: usize = 1 << 20;
/// How often a volume may be seen at rest while its image still waits for the first byte.
const RESTS: u32 = 5;
/// What must stay free beside the image.
const RESERVE: u64 = 64 << 20;

impl Roads {
    pub(super) async fn open_image(
        &self,
        held: &Held,
        marker: &str,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskReader>> {
        let mut made: Vec<Temporary> = Vec::new();
        let reader = match held {
            Held::Image { id, size } => self.read_image(id, *size, None).await,
            _ => self.convert(held, marker, recorder, &mut made).await,
        };
        // Whether or not it succeeded: what was made for it is of no more use.
        let given_back = self.give_back(&made, recorder).await;
        let reader = reader?;
        if let Err(error) = given_back {
            tracing::warn!(%error, "what a disk was read by is left for later");
        }
        Ok(reader)
    }

    /// Turns a snapshot into an image, and reads that.
    async fn convert(
        &self,
        held: &Held,
        marker: &str,
        recorder: &dyn Recorder,
        made: &mut Vec<Temporary>,
    ) -> Result<Box<dyn DiskReader>> {
        let size = match held {
            Held::VolumeSnapshot { size, .. } | Held::Image { size, .. } => *size,
            Held::RbdSnapshot { .. } => 0,
        };
        let volume = self.volume_of(held, marker, recorder, made).await?;
        let mut image = self
            .upload(&volume, size, "qcow2", marker, recorder, made)
            .await;
        if image.as_ref().is_err_and(|e| e.kind() == Kind::Invalid) {
            tracing::info!("the cloud takes no image in qcow2, so it is raw");
            image = self
                .upload(&volume, size, "raw", marker, recorder, made)
                .await;
        }
        self.read_image(&image?, size, Some(size)).await
    }

    /// Has Cinder copy a volume into an image, and waits until that is whole. Recorded first.
    async fn upload(
        &self,
        volume: &str,
        size: u64,
        format: &str,
        marker: &str,
        recorder: &dyn Recorder,
        made: &mut Vec<Temporary>,
    ) -> Result<String> {
        let name = self.name(marker, "image")?;
        let mut temporary = planned(IMAGE, name.clone(), Raw::Null);
        recorder.record(&temporary).await?;
        made.push(temporary.clone());
        let request = Request::post(
            format!("volumes/{volume}/action"),
            json!({ "os-volume_upload_image": {
                "image_name": name,
                "disk_format": format,
                "container_format": "bare",
                "force": false,
            } }),
        );
        let request = request.operation("copy volume into an image");
        let answer = self.client.send(Service::BlockStorage, request).await?;
        let image = answer.take("os-volume_upload_image")?;
        let id = text(&image, "image_id").to_owned();
        temporary.id = Some(id.clone()).filter(|id| !id.is_empty());
        if let Some(last) = made.last_mut() {
            last.clone_from(&temporary);
        }
        recorder.record(&temporary).await?;
        self.uploaded(&id, volume, size).await?;
        Ok(id)
    }

    /// Waits until an image is whole. Cinder does not tell of a failure: it deletes the image, or leaves it as it is.
    async fn uploaded(&self, image: &str, volume: &str, size: u64) -> Result<()> {
        let failed = |message: &str| {
            let error = Error::new(Kind::Unavailable, "copy volume into an image", message);
            Err(error.with("image", image).with("volume", volume))
        };
        let what = format!("image {image} to become active");
        let rests = AtomicU32::new(0);
        let look = || async {
            let one = match things::IMAGE.get(&self.client, image).await {
                Ok(one) => one,
                Err(error) if error.kind() == Kind::NotFound => {
                    return failed(
                        "Cinder could not copy the volume and has deleted the image: the log of cinder-volume says why",
                    );
                }
                Err(error) => return Err(error),
            };
            match text(&one, "status") {
                "active" => return Ok(Some(())),
                "queued" => {}
                "saving" | "importing" | "uploading" => return Ok(None),
                status => {
                    return failed(&format!(
                        "the image is {status}: the log of Glance says why"
                    ));
                }
            }
            let volume = things::VOLUME.get(&self.client, volume).await?;
            let at_rest = text(&volume, "status") != "uploading";
            if at_rest && rests.fetch_add(1, Ordering::Relaxed) >= RESTS {
                return failed(
                    "Cinder has given up copying the volume: the log of cinder-volume says why; a full disk on its host is the usual reason",
                );
            }
            Ok(None)
        };
        let deadline = self.options.patience(size);
        self.client.wait(&what, deadline, look).await
    }

    /// Downloads an image and opens it. `exact` is the size that the disk must have, if that is known.
    async fn read_image(
        &self,
        id: &str,
        size: u64,
        exact: Option<u64>,
    ) -> Result<Box<dyn DiskReader>> {
        let deadline = self.options.patience(size);
        let image = things::IMAGE
            .reaches(&self.client, id, &["active"], deadline)
            .await?;
        let file = self.download(&image).await?;
        let named = |error: Error| error.with("image", id);
        let reader: Box<dyn DiskReader> = match text(&image, "disk_format") {
            "raw" => Box::new(
                FileReader::of(file, format!("image {id}"), self.env.clone())
                    .await
                    .map_err(named)?,
            ),
            "qcow2" => {
                let reader = Qcow2Reader::alone(file, self.env.clone()).await;
                Box::new(reader.map_err(named)?)
            }
            other => {
                let message =
                    format!("the image is in the format {other}, and only raw and qcow2 are read");
                return Err(named(Error::new(Kind::Unsupported, OPEN, message)));
            }
        };
        match exact {
            Some(exact) if exact != reader.size() => {
                let message = "the image is not as large as the disk";
                let error = named(Error::new(Kind::Corrupt, OPEN, message));
                Err(error.with("bytes", reader.size()).with("expected", exact))
            }
            _ => Ok(reader),
        }
    }

    /// Downloads an image into a file that nobody else can find.
    async fn download(&self, image: &Value) -> Result<File> {
        let id = things::id(image)?;
        let size = image.get("size").and_then(Value::as_u64);
        let (work, env) = (self.options.work.clone(), self.env.clone());
        let make = move || {
            let file = nameless_file(&work, &env)?;
            let free = rustix::fs::fstatvfs(&file).map_err(|e| Error::io(OPEN, e.into()))?;
            let free = free.f_bavail.saturating_mul(free.f_frsize);
            let needed = size.unwrap_or(0).saturating_add(RESERVE);
            if needed > free {
                let message = "the work directory has no room for the image: free some, or name another one in the options";
                let error = Error::new(Kind::Full, OPEN, message);
                let error = error.with("work directory", work.display());
                return Err(error.with("bytes free", free).with("needed", needed));
            }
            Ok(file)
        };
        let file = std::sync::Arc::new(self.env.compute(make).await??);

        let request = Request::get(format!("images/{id}/file")).operation("download image");
        let mut download = self.client.download(Service::Image, request).await?;
        let algorithm = ChecksumAlgorithm::named(text(image, "os_hash_algo"));
        match (algorithm, text(image, "os_hash_value")) {
            (Some(algorithm), hash) if !hash.is_empty() => {
                download = download.verified(algorithm, hash);
            }
            // An image that Nova made inside the storage has none: its length is all that there is to check.
            _ => tracing::info!(image = id, "the image has no checksum that is known here"),
        }
        let length = self.store(download, &file).await;
        let length = length.map_err(|error| error.with("image", &id))?;
        if size.is_some_and(|size| size != length) {
            let message = "the image is not as long as Glance says";
            let error = Error::new(Kind::Corrupt, "download image", message);
            return Err(error.with("image", id).with("bytes", length));
        }
        std::sync::Arc::into_inner(file)
            .ok_or_else(|| Error::new(Kind::Internal, OPEN, "the image is still being written"))
    }

    /// Writes a stream to `file`, leaving out what is zeroes; gives its length.
    async fn store(&self, mut download: Download, file: &std::sync::Arc<File>) -> Result<u64> {
        let mut at = 0u64;
        let mut gathered = BytesMut::with_capacity(STEP);
        loop {
            let next = download.stream.next().await.transpose()?;
            let ended = next.is_none();
            gathered.extend_from_slice(&next.unwrap_or_else(Bytes::new));
            while gathered.len() >= STEP || (ended && !gathered.is_empty()) {
                let piece = gathered.split_to(STEP.min(gathered.len())).freeze();
                let length = piece.len() as u64;
                let file = std::sync::Arc::clone(file);
                let write = move || match piece.iter().all(|byte| *byte == 0) {
                    true => Ok(()),
                    false => file.write_all_at(&piece, at),
                };
                let written = self.env.compute(write).await?;
                written.map_err(|e| Error::io("write image to the work directory", e))?;
                at += length;
            }
            if ended {
                break;
            }
        }
        let file = std::sync::Arc::clone(file);
        let cut = self.env.compute(move || file.set_len(at)).await?;
        cut.map_err(|e| Error::io("write image to the work directory", e))?;
        Ok(at)
    }
}
