//! The operator's road: RBD images and their snapshots, straight from the Ceph cluster.
//!
//! Bytes and holes come through `qemu-nbd`, which has librbd; what changed between two snapshots comes from the program `rbd`. The cluster
//! is reached with a key that only an operator has.

mod changes;
#[cfg(test)]
#[cfg(feature = "lab")]
mod tests;
mod tool;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use raksha_core::cloud::{Anchor, ChangeHint, DiskReader};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::nbd::{NbdWriter, Served, Server};
use super::options::RoadOptions;
use crate::cloud::CephAccess;
use tool::Tool;

pub(crate) use tool::Snapshot;

/// The pools in which the names of Cinder's and Nova's own documentation have their disks.
const USUAL_POOLS: [&str; 2] = ["volumes", "vms"];

/// Where a disk lies in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) pool: String,
    pub(crate) image: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pool, self.image)
    }
}

/// The cluster, reached as the options say.
#[derive(Debug)]
pub(crate) struct Rbd {
    tool: Tool,
    server: Server,
    access: CephAccess,
    /// Where images were found: they do not move while a volume keeps its id.
    places: Mutex<HashMap<String, Place>>,
}

impl Rbd {
    pub(crate) fn new(access: CephAccess, options: &RoadOptions, env: &Env) -> Self {
        Self {
            tool: Tool::new(&access, options),
            server: Server::new(options, env),
            access,
            places: Mutex::default(),
        }
    }

    /// Where the image of this name lies; none if no pool that may be looked into has it.
    pub(crate) async fn find(&self, image: &str) -> Result<Option<Place>> {
        let known = |places: &Mutex<HashMap<String, Place>>| {
            let places = places.lock().unwrap_or_else(PoisonError::into_inner);
            places.get(image).cloned()
        };
        if let Some(place) = known(&self.places) {
            return Ok(Some(place));
        }
        let pools: Vec<&str> = match self.access.pools.as_slice() {
            [] => USUAL_POOLS.to_vec(),
            pools => pools.iter().map(String::as_str).collect(),
        };
        for pool in pools {
            let place = Place {
                pool: pool.to_owned(),
                image: image.to_owned(),
            };
            match self.tool.image_id(&place).await {
                Ok(_) => {
                    let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
                    places.insert(image.to_owned(), place.clone());
                    return Ok(Some(place));
                }
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What the image can do beyond the least, such as `fast-diff`.
    pub(crate) async fn features(&self, place: &Place) -> Result<Vec<String>> {
        self.tool.features(place).await
    }

    /// The snapshot of this name.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    pub(crate) async fn snapshot(&self, place: &Place, name: &str) -> Result<Snapshot> {
        let found = self.tool.snapshots(place).await?.into_iter();
        found.into_iter().find(|s| s.name == name).ok_or_else(|| {
            let message = "the image has no such snapshot: it was deleted meanwhile";
            let error = Error::new(Kind::NotFound, "find RBD snapshot", message);
            error.with("image", place).with("snapshot", name)
        })
    }

    /// Makes a snapshot of an image that Cinder does not know, such as a server's own disk.
    pub(crate) async fn make_snapshot(&self, place: &Place, name: &str) -> Result<Snapshot> {
        self.tool.make_snapshot(place, name).await?;
        self.snapshot(place, name).await
    }

    /// Removes a snapshot made here. That it is not there is fine.
    pub(crate) async fn remove_snapshot(&self, place: &Place, name: &str) -> Result<()> {
        match self.tool.remove_snapshot(place, name).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Opens a snapshot for reading.
    pub(crate) async fn read(
        &self,
        place: &Place,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn DiskReader>> {
        let mut served = self.served(place, false);
        if let Some(file) = served.node.get_mut("file") {
            file["snapshot"] = json!(snapshot.name);
        }
        served.name = format!("{place}@{}", snapshot.name);
        let reader = self.server.read(&served, snapshot.size).await?;
        Ok(Box::new(reader))
    }

    /// Opens an image of `size` bytes for writing; if it is `blank`, it is known to read as zeroes.
    pub(crate) async fn write(&self, place: &Place, size: u64, blank: bool) -> Result<NbdWriter> {
        self.server
            .write(&self.served(place, true), size, blank)
            .await
    }

    fn served(&self, place: &Place, writable: bool) -> Served {
        Served {
            node: json!({
                "driver": "raw",
                "file": {
                    "driver": "rbd",
                    "pool": place.pool,
                    "image": place.image,
                    "conf": self.access.conf,
                    "user": self.access.user,
                },
            }),
            name: place.to_string(),
            writable,
            keyring: Some(self.access.keyring.clone()),
        }
    }

    /// What only this snapshot of this image has: an image or snapshot that is deleted and made anew under the same name has other numbers.
    pub(crate) async fn identity(
        &self,
        place: &Place,
        snapshot: &Snapshot,
        created: Timestamp,
    ) -> Result<String> {
        let image = self.tool.image_id(place).await?;
        Ok(format!(
            "rbd image {image} of pool {}, snapshot {} of {}, created {created}",
            place.pool, snapshot.id, snapshot.timestamp
        ))
    }

    /// What changed on `place` from the snapshot that `anchor` names to `new`. None if the anchor is gone or not the one that it was, or nobody
    /// can tell.
    pub(crate) async fn hint(
        &self,
        place: &Place,
        anchor: &Anchor,
        new: &Snapshot,
    ) -> Option<ChangeHint> {
        match self.changes(place, anchor, new).await {
            Ok(hint) => hint,
            Err(error) => {
                tracing::warn!(image = %place, %error, "there is no hint of what changed: all is read");
                None
            }
        }
    }

    async fn changes(
        &self,
        place: &Place,
        anchor: &Anchor,
        new: &Snapshot,
    ) -> Result<Option<ChangeHint>> {
        let detail = &anchor.temporary.detail;
        let text = |key: &str| detail.get(key).and_then(|value| value.as_str());
        let (Some(name), Some(created)) = (text("rbd_snapshot"), text("created")) else {
            return Ok(None);
        };
        let old = match self.snapshot(place, name).await {
            Ok(old) => old,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.identity(place, &old, created.parse()?).await? != anchor.identity {
            tracing::warn!(image = %place, snapshot = name, "the anchor is another than it was");
            return Ok(None);
        }
        changes::between(&self.tool, place, &old, new)
            .await
            .map(Some)
    }
}
