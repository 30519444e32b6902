//! Writing straight into a volume, for who has the storage itself: where it lies is found by attaching the volume to this machine.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use raksha_core::cloud::{DiskWriter, Recorder};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::super::Restorer;
use super::super::bodies::{GIB, gib};
use super::super::make::undecided;
use super::Whole;
use crate::client::{Request, Service};
use crate::roads::RoadKind;
use crate::roads::nbd::{NbdWriter, Served, Server};
use crate::roads::rbd::{Place, Rbd};
use crate::temporary::ATTACHMENTS;

/// Where a volume lies, as far as this machine can reach it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::restore) struct Connection {
    place: Where,
    /// Whether nothing was written there yet.
    blank: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Where {
    /// In the operator's cluster.
    Rbd(Place),
    /// In a file, as qemu's block layer describes it.
    File(Value),
}

impl Restorer {
    /// Finds where the new volume `id` lies, if this machine can write there. What it is recorded under, and the place.
    pub(super) async fn attach(
        &self,
        id: &str,
        recorder: &dyn Recorder,
    ) -> Result<Option<(String, Connection)>> {
        if !self.may_take(RoadKind::Rbd) && !self.may_take(RoadKind::File) {
            return Ok(None);
        }
        if self.speaks(Service::BlockStorage, ATTACHMENTS).await? < ATTACHMENTS {
            return Ok(None);
        }
        let temporary = self.attachment_of(id)?;
        recorder.record(&temporary).await?;
        let connector = json!({
            "host": "raksha", "ip": "127.0.0.1", "initiator": "iqn.2024-01.org.raksha:restore",
            "platform": std::env::consts::ARCH, "os_type": "linux", "multipath": false,
        });
        let body = json!({ "attachment": { "volume_uuid": id, "connector": connector } });
        let request = Request::post("attachments", body).microversion(ATTACHMENTS);
        let request = request.operation("find where a volume lies");
        let attached = self.client.send(Service::BlockStorage, request).await;
        let found = match attached.and_then(|answer| answer.take("attachment")) {
            Ok(attachment) => self.place(attachment.get("connection_info")),
            Err(error) if undecided(&error) => return Err(error),
            // Not for everybody, and there is another road.
            Err(error) => {
                tracing::info!(volume = id, %error, "the volume cannot be attached, so its content goes in as an image");
                None
            }
        };
        let Some(place) = found else {
            self.detach(id).await?;
            self.volume_is(id, "available", self.deadline()).await?;
            recorder.released(&temporary.marker).await?;
            return Ok(None);
        };
        Ok(Some((temporary.marker, Connection { place, blank: true })))
    }

    fn may_take(&self, road: RoadKind) -> bool {
        let open = match road {
            RoadKind::Rbd => self.operator.is_some(),
            RoadKind::File => !self.roads.exports.is_empty(),
            _ => true,
        };
        open && self.roads.allowed.contains(&road)
    }

    /// Where Cinder says that a volume lies, if that is within reach.
    fn place(&self, info: Option<&Value>) -> Option<Where> {
        let info = info?;
        // Older answers have one more layer.
        let data = info.get("data").unwrap_or(info);
        let name = data.get("name").and_then(Value::as_str)?;
        match info.get("driver_volume_type").and_then(Value::as_str)? {
            "rbd" if self.may_take(RoadKind::Rbd) => {
                let pools = &self.operator.as_ref()?.pools;
                let (pool, image) = name.split_once('/')?;
                let allowed = pools.is_empty() || pools.iter().any(|own| own == pool);
                allowed.then(|| {
                    Where::Rbd(Place {
                        pool: pool.to_owned(),
                        image: image.to_owned(),
                    })
                })
            }
            "nfs" if self.may_take(RoadKind::File) => {
                let export = data.get("export").and_then(Value::as_str)?;
                let mount = self.roads.exports.get(export)?;
                let format = data.get("format").and_then(Value::as_str).unwrap_or("raw");
                file_node(mount, name, format).map(Where::File)
            }
            _ => None,
        }
    }
}

/// A volume that is a file of an export; only one that the export itself holds.
fn file_node(mount: &Path, name: &str, format: &str) -> Option<Value> {
    let plain = !name.contains('/') && !name.starts_with('.');
    let known = ["raw", "qcow2"].contains(&format);
    let file = json!({ "driver": "file", "filename": mount.join(name) });
    (plain && known).then(|| json!({ "driver": format, "file": file }))
}

/// Writes into an attached volume.
#[derive(Debug)]
pub(super) struct Attached {
    writer: NbdWriter,
    size: u64,
    /// How many bytes are covered by what was written so far.
    covered: AtomicU64,
    whole: Whole,
}

impl Attached {
    /// Opens the volume for its first `size` bytes; what a volume has beyond, being counted in GiB, stays as it was made: zeroes.
    pub(super) async fn open(
        restorer: &Restorer,
        connection: Connection,
        size: u64,
        whole: Whole,
    ) -> Result<Self> {
        let room = gib(size).max(1) * GIB;
        let blank = connection.blank;
        let writer = match (connection.place, &restorer.operator) {
            (Where::Rbd(place), Some(operator)) => {
                let rbd = Rbd::new(operator.clone(), &restorer.roads, &restorer.env);
                rbd.write(&place, room, blank).await?
            }
            (Where::Rbd(place), None) => {
                let message = "it lies in the Ceph cluster, and no access to that is configured";
                let error = Error::new(Kind::Denied, "open disk for restore", message);
                return Err(error.with("image", place));
            }
            (Where::File(node), _) => {
                let served = Served {
                    name: node.to_string(),
                    node,
                    writable: true,
                    keyring: None,
                };
                let server = Server::new(&restorer.roads, &restorer.env);
                server.write(&served, room, blank).await?
            }
        };
        Ok(Self {
            writer,
            size,
            covered: AtomicU64::new(0),
            whole,
        })
    }

    fn check(&self, range: Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.size {
            return Ok(());
        }
        let message = format!("the range reaches beyond the disk's {} bytes", self.size);
        Err(Error::new(Kind::Invalid, "write restored disk", message))
    }
}

#[async_trait]
impl DiskWriter for Attached {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        self.check(offset..offset.saturating_add(length))?;
        self.writer.write_at(offset, data).await?;
        self.covered.fetch_add(length, Ordering::AcqRel);
        Ok(())
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.check(range.clone())?;
        self.writer.write_zeroes(range.clone()).await?;
        self.covered
            .fetch_add(range.end - range.start, Ordering::AcqRel);
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        let covered = self.covered.load(Ordering::Acquire);
        if covered != self.size {
            let message = format!(
                "{covered} bytes were written, but the disk has {}",
                self.size
            );
            return Err(Error::new(Kind::Invalid, "finish restored disk", message));
        }
        self.writer.finish().await?;
        self.whole.set();
        Ok(())
    }
}

impl Connection {
    /// The same, once something may have been written there.
    pub(super) fn touched(&self) -> Self {
        Self {
            blank: false,
            ..self.clone()
        }
    }
}
