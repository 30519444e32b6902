//! Getting the content of disks where it belongs.

mod attached;
mod bitmap;
mod image;
mod qcow2;
mod spool;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use raksha_core::cloud::{
    Created, DiskId, DiskSource, DiskWriter, Recorder, ResourceKey, ResourceKind as K, ResourceRef,
    Server, Temporary, Volume,
};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;

use super::Restorer;
use super::bodies;
use super::make::{temporary_kind, text};
use super::there::There;
use crate::client::{Microversion, Service};
use crate::roads::RoadKind;
use crate::temporary::ATTACHMENT;
use attached::{Attached, Connection};
use image::{Becomes, ImageWriter};
use spool::Spool;

/// From here on Cinder puts an image into a volume that is there (`os-reimage`).
const REIMAGE: Microversion = Microversion::new(3, 68);

/// How a disk gets where it belongs, from being opened until it is settled.
#[derive(Debug, Clone)]
pub(super) enum Carrier {
    /// As an image.
    Image {
        /// Its id.
        id: String,
        /// Under which it is recorded.
        marker: String,
        /// Whether the volume is filled with it, or else made of it.
        fills: bool,
        /// Whether all of the disk is in it, and in the volume that it fills.
        whole: Whole,
    },
    /// Straight into the volume.
    Attachment {
        /// Under which it is recorded.
        marker: String,
        /// Where the volume lies.
        connection: Connection,
        /// Whether all of the disk is there.
        whole: Whole,
    },
}

/// Whether a disk is whole: said by its writer, asked by whoever settles it.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole(Arc<AtomicBool>);

impl Whole {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Carrier {
    pub(super) fn marker(&self) -> &str {
        match self {
            Self::Image { marker, .. } | Self::Attachment { marker, .. } => marker,
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Image { whole, .. } | Self::Attachment { whole, .. } => whole.is_set(),
        }
    }
}

impl Restorer {
    pub(super) fn carriers(&self) -> MutexGuard<'_, BTreeMap<String, Carrier>> {
        self.carriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a disk is remembered by: where it goes, which no other restore has.
    pub(super) fn carried(disk: &DiskId, there: There<'_>) -> Result<String> {
        match disk {
            DiskId::Volume(id) => Ok(there.id(K::Volume, id.as_str())?.to_owned()),
            DiskId::Local { server, name } => {
                let point = server_of(disk, there)?;
                let mut key = format!("{server}/{name}");
                for port in &point.ports {
                    key.push('/');
                    key.push_str(there.known(K::Port, port.as_str()).unwrap_or_default());
                }
                Ok(key)
            }
            _ => {
                let message = "a disk that was backed up by itself belongs to no server: write it to a file instead";
                Err(Error::new(Kind::Unsupported, OPEN, message))
            }
        }
    }

    pub(super) async fn open(
        &self,
        disk: &DiskId,
        size: u64,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        let key = Self::carried(disk, there)?;
        if let DiskId::Local { name, .. } = disk {
            return self.open_own(name, &key, disk, size, there, recorder).await;
        }
        let volume = self.look_at_volume(&key).await?;
        let held = self.carriers().get(&key).cloned();
        let attached = matches!(held, Some(Carrier::Attachment { .. }));
        self.must_be_ours(&volume, size, attached)?;
        if let Some(Carrier::Attachment {
            connection, whole, ..
        }) = held
        {
            return self.write_attached(connection, size, whole).await;
        }
        if held.is_none()
            && let Some((marker, connection)) = self.attach(&key, recorder).await?
        {
            let whole = Whole::default();
            let carrier = Carrier::Attachment {
                marker,
                connection: connection.touched(),
                whole: whole.clone(),
            };
            self.carriers().insert(key, carrier);
            return self.write_attached(connection, size, whole).await;
        }
        if !self.roads.allowed.contains(&RoadKind::Image) {
            let message = "no road that may be taken leads into the volume: allow images";
            return Err(Error::new(Kind::Unsupported, OPEN, message));
        }
        let name = format!("raksha-restore of volume {key}");
        let newest = self.speaks(Service::BlockStorage, REIMAGE).await?;
        let fills = self.settings.reimage && newest >= REIMAGE;
        let becomes = match fills {
            true => Becomes::Filling(key.clone()),
            false => Becomes::Image,
        };
        let body = |id: &str| bodies::root_image(&name, id, size, None);
        self.open_image(&key, size, becomes, body, recorder).await
    }

    /// Opens a server's own disk.
    async fn open_own(
        &self,
        name: &str,
        key: &str,
        disk: &DiskId,
        size: u64,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        if name != "root" {
            let message = "only the root of a server's own disks can be given content through the cloud's API: leave its server out, or restore it elsewhere";
            return Err(Error::new(Kind::Unsupported, OPEN, message));
        }
        let point = server_of(disk, there)?;
        let described = point.attachments.iter().any(|a| {
            matches!(&a.source, DiskSource::Local { name: own, size: s } if own == name && *s == size)
        });
        if !described {
            let message = format!("the server has no root disk of its own with {size} bytes");
            return Err(Error::new(Kind::Invalid, OPEN, message));
        }
        let mut images = there.request.graph.images.iter();
        let image = images.find(|image| Some(&image.id) == point.image.as_ref());
        let title = format!(
            "root disk of {}, restored",
            there.name(ResourceRef::Server(point))
        );
        let body = |id: &str| bodies::root_image(&title, id, size, Some((point, image)));
        self.open_image(key, size, Becomes::Image, body, recorder)
            .await
    }

    async fn open_image(
        &self,
        key: &str,
        size: u64,
        becomes: Becomes,
        body: impl Fn(&str) -> Value,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        let id = self.new_id()?;
        let mut temporary = self.temporary(temporary_kind(K::Image), Value::Null)?;
        temporary.id = Some(id.clone());
        recorder.record(&temporary).await?;
        let whole = Whole::default();
        let writer = ImageWriter {
            restorer: self.clone(),
            spool: Spool::new(&self.env, &self.roads.work, size)?,
            image: body(&id),
            becomes: becomes.clone(),
            whole: whole.clone(),
        };
        let carrier = Carrier::Image {
            id,
            marker: temporary.marker,
            fills: matches!(becomes, Becomes::Filling(_)),
            whole,
        };
        let before = self.carriers().insert(key.to_owned(), carrier);
        // One that was given up without ever being registered.
        if let Some(Carrier::Image { id, marker, .. }) = before {
            self.remove_one(K::Image, &id).await?;
            recorder.released(&marker).await?;
        }
        Ok(Box::new(writer))
    }

    /// Nothing but an empty volume that nobody has is written.
    fn must_be_ours(&self, volume: &Value, size: u64, attached_by_us: bool) -> Result<()> {
        let status = text(volume, "status")?;
        let attachments = volume.get("attachments").and_then(Value::as_array);
        let servers = attachments.into_iter().flatten();
        let of_servers = servers
            .filter(|a| a.get("server_id").is_some_and(|s| !s.is_null()))
            .count();
        let free = status == "available" || attached_by_us && of_servers == 0;
        if !free || of_servers > 0 {
            let message = "the volume is in use already, and nothing existing is overwritten";
            return Err(Error::new(Kind::AlreadyExists, OPEN, message).with("status", status));
        }
        let gib = volume.get("size").and_then(Value::as_u64).unwrap_or(0);
        if gib.saturating_mul(bodies::GIB) < size {
            let message = format!("the volume has {gib} GiB, too few for {size} bytes");
            return Err(Error::new(Kind::Invalid, OPEN, message));
        }
        Ok(())
    }

    pub(super) async fn settle(
        &self,
        disk: &DiskId,
        there: There<'_>,
        recorder: &dyn Recorder,
    ) -> Result<Option<Created>> {
        let DiskId::Volume(of_point) = disk else {
            // It goes with the server that is made of it.
            return Ok(None);
        };
        let key = Self::carried(disk, there)?;
        let point = volume_of(disk, there)?;
        let held = self.carriers().get(&key).cloned();
        let Some(carrier) = held.filter(Carrier::is_whole) else {
            let message = "the disk is not written: write it first";
            return Err(Error::new(Kind::Invalid, "settle disk", message));
        };
        let mut settled = None;
        match &carrier {
            Carrier::Attachment { .. } => {
                self.detach(&key).await?;
                self.volume_is(&key, "available", self.deadline()).await?;
            }
            Carrier::Image { id, fills, .. } => {
                if !fills {
                    // First the empty one goes, so that there is room for the new one.
                    self.remove_one(K::Volume, &key).await?;
                    let id = self.new_volume(point, Some(id), there, recorder).await?;
                    settled = Some(Created {
                        key: ResourceKey::new(K::Volume, of_point.as_str()),
                        id,
                    });
                }
                self.remove_one(K::Image, id).await?;
            }
        }
        let live = settled
            .as_ref()
            .map_or(key.as_str(), |created| created.id.as_str());
        self.finish_volume(point, live).await?;
        self.carriers().remove(&key);
        recorder.released(carrier.marker()).await?;
        Ok(settled)
    }

    /// A temporary for the attachment of a volume of this restore.
    fn attachment_of(&self, volume: &str) -> Result<Temporary> {
        self.temporary(ATTACHMENT, serde_json::json!({ "volume": volume }))
    }

    async fn write_attached(
        &self,
        connection: Connection,
        size: u64,
        whole: Whole,
    ) -> Result<Box<dyn DiskWriter>> {
        Ok(Box::new(
            Attached::open(self, connection, size, whole).await?,
        ))
    }
}

const OPEN: &str = "open disk for restore";

fn server_of<'a>(disk: &DiskId, there: There<'a>) -> Result<&'a Server> {
    let found = match disk {
        DiskId::Local { server, .. } => {
            let mut servers = there.request.graph.servers.iter();
            servers.find(|point| point.id == *server)
        }
        _ => None,
    };
    found.ok_or_else(|| {
        let message = "the disk belongs to a server that shall not be restored";
        Error::new(Kind::Invalid, OPEN, message)
    })
}

fn volume_of<'a>(disk: &DiskId, there: There<'a>) -> Result<&'a Volume> {
    let found = match disk {
        DiskId::Volume(id) => there.request.graph.volumes.iter().find(|v| v.id == *id),
        _ => None,
    };
    found.ok_or_else(|| {
        let message = "the disk belongs to a volume that shall not be restored";
        Error::new(Kind::Invalid, OPEN, message)
    })
}
