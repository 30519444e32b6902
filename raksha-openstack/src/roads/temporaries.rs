//! What is made in the cloud so that a disk can be read: a volume from the snapshot, and what that is turned into.

use std::collections::BTreeMap;

use raksha_core::cloud::{DiskReader, Extent, Recorder, Temporary};
use raksha_core::{Error, Kind, Result};
use serde_json::json;

use super::{Held, Roads};
use crate::client::{Request, Service};
use crate::temporary::{VOLUME, planned};
use crate::things;

impl Roads {
    /// A name for something that is made to read the disk whose snapshot is called `marker`. No two are alike, however often a disk is
    /// opened.
    pub(super) fn name(&self, marker: &str, what: &str) -> Result<String> {
        let bytes: [u8; 4] = self.env.random()?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{marker}-{what}-{hex}"))
    }

    /// Makes a volume from a snapshot and waits until it is there. Recorded first; added to `made` as soon as it may exist.
    pub(super) async fn volume_of(
        &self,
        held: &Held,
        marker: &str,
        recorder: &dyn Recorder,
        made: &mut Vec<Temporary>,
    ) -> Result<String> {
        let Held::VolumeSnapshot {
            id: snapshot, size, ..
        } = held
        else {
            let message = "only a snapshot of a volume becomes a volume";
            return Err(Error::new(Kind::Unsupported, MAKE, message));
        };
        let name = self.name(marker, "volume")?;
        let mut temporary = planned(VOLUME, name.clone(), json!({ "snapshot": snapshot }));
        recorder.record(&temporary).await?;
        made.push(temporary.clone());
        let mut metadata = BTreeMap::new();
        metadata.insert(MARKER, name.as_str());
        let request = Request::post(
            "volumes",
            json!({ "volume": {
                "name": name,
                "description": "made by Raksha to read a snapshot; it goes by itself",
                "snapshot_id": snapshot,
                "size": size.div_ceil(1 << 30),
                "metadata": metadata,
            } }),
        );
        let answer = self
            .client
            .send(Service::BlockStorage, request.operation(MAKE))
            .await?;
        let id = things::id(&answer.take("volume")?)?;
        temporary.id = Some(id.clone());
        if let Some(last) = made.last_mut() {
            last.clone_from(&temporary);
        }
        recorder.record(&temporary).await?;
        things::VOLUME
            .reaches(
                &self.client,
                &id,
                &["available"],
                self.options.patience(*size),
            )
            .await
            .map_err(|error| error.with("made from snapshot", snapshot))?;
        Ok(id)
    }
}

const MAKE: &str = "make volume from snapshot";
/// The metadata under which things in a cloud carry the name of the run that made them.
pub(crate) const MARKER: &str = "raksha_marker";

/// A reader whose disk needs things in the cloud. When it is dropped they are removed, in the background: whoever cannot wait for that
/// finds them recorded.
pub(super) struct Leased {
    reader: Option<Box<dyn DiskReader>>,
    roads: Releases,
    made: Vec<Temporary>,
}

/// What is needed to remove temporaries from a task of its own.
#[derive(Debug, Clone)]
pub(super) struct Releases {
    pub(super) client: crate::client::Client,
    pub(super) deadline: std::time::Duration,
}

impl Leased {
    pub(super) fn new(reader: Box<dyn DiskReader>, roads: Releases, made: Vec<Temporary>) -> Self {
        Self {
            reader: Some(reader),
            roads,
            made,
        }
    }

    fn reader(&self) -> Result<&dyn DiskReader> {
        self.reader.as_deref().ok_or_else(|| {
            Error::new(
                Kind::Internal,
                "read disk",
                "the disk was given back already",
            )
        })
    }
}

impl std::fmt::Debug for Leased {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let markers: Vec<&str> = self.made.iter().map(|t| t.marker.as_str()).collect();
        f.debug_struct("Leased")
            .field("reader", &self.reader)
            .field("made", &markers)
            .finish()
    }
}

#[async_trait::async_trait]
impl DiskReader for Leased {
    fn size(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.size())
    }

    async fn extents(&self, range: std::ops::Range<u64>) -> Result<Vec<Extent>> {
        self.reader()?.extents(range).await
    }

    async fn read_at(&self, offset: u64, buffer: bytes::BytesMut) -> Result<bytes::BytesMut> {
        self.reader()?.read_at(offset, buffer).await
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        // The file first, then what it lies in.
        self.reader = None;
        let made = std::mem::take(&mut self.made);
        let Releases { client, deadline } = self.roads.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let release = crate::temporary::Release {
                client: &client,
                rbd: None,
                deadline,
            };
            for temporary in made.iter().rev() {
                if let Err(error) = release.release(temporary).await {
                    tracing::warn!(%error, "what a disk was read by is left for later");
                }
            }
        });
    }
}
