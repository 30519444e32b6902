//! What is created in a cloud for a while: what it is called, how it is found again, and how it is removed.
//!
//! A kind is a text that is stored with a [`Temporary`] and may be read by a later release of this crate: it never changes its meaning.
//!
//! | kind | found by its marker as | removed |
//! | --- | --- | --- |
//! | [`VOLUME_SNAPSHOT`] | the name of a snapshot | deleted |
//! | [`GROUP_SNAPSHOT`] | the name of a group snapshot | deleted, with the snapshots in it |
//! | [`VOLUME`] | the name of a volume | its attachments, then the volume itself |
//! | [`ATTACHMENT`] | an attachment of the volume that the detail names, which is one of ours | deleted |
//! | [`IMAGE`] | the name of an image | deleted |
//! | [`SERVER_IMAGE`] | the name of an image, and of the snapshots that Nova made for it | the snapshots that still are called so, then the image |
//! | [`PAUSE`] | the newest thing that was done to the server that the detail names | the server goes on, if the pause was ours |
//! | [`RBD_SNAPSHOT`] | the name of a snapshot of the RBD image that the detail names | removed |
//! | `restored ` and a kind of resource | as told in [`crate::restore`] | by [`crate::restore`] |

use std::time::Duration;

use raksha_core::cloud::{Raw, Temporary};
use raksha_core::{Error, Kind, Result};

use crate::client::{Client, Microversion, Request, Service};
use crate::roads::rbd::{Place, Rbd};
use crate::snapshots::pause;
use crate::things::{self, Thing, text};

/// A snapshot of a volume, in Cinder.
pub const VOLUME_SNAPSHOT: &str = "volume snapshot";
/// A snapshot of a group of volumes, in Cinder. The snapshots in it go with it and cannot be deleted by themselves.
pub const GROUP_SNAPSHOT: &str = "group snapshot";
/// A volume, made from a snapshot to be read.
pub const VOLUME: &str = "volume";
/// The attachment of such a volume to nobody, which tells where its bytes are.
pub const ATTACHMENT: &str = "volume attachment";
/// An image with the bytes of a disk.
pub const IMAGE: &str = "image";
/// An image of a server that boots from a volume: it has no bytes, but names the snapshots that Nova made of the volumes.
pub const SERVER_IMAGE: &str = "server image";
/// A server that stands still.
pub const PAUSE: &str = "server pause";
/// A snapshot of an RBD image that Cinder does not know of.
pub const RBD_SNAPSHOT: &str = "rbd snapshot";

/// The least that knows attachments.
pub(crate) const ATTACHMENTS: Microversion = Microversion::new(3, 27);

const THE_ATTACHMENT: Thing = Thing {
    what: "volume attachment",
    service: Service::BlockStorage,
    path: "attachments",
    list: "attachments/detail",
    keys: ("attachments", Some("attachment")),
    microversion: Some(ATTACHMENTS),
    deletable: &["attached", "attaching", "reserved", "detached", ""],
};

/// A temporary of `kind` that is called `marker`, before it is created.
pub(crate) fn planned(kind: &str, marker: String, detail: Raw) -> Temporary {
    Temporary {
        marker,
        kind: kind.to_owned(),
        id: None,
        detail,
    }
}

/// What Nova calls the snapshots that it makes for an image of this name.
pub(crate) fn snapshot_of_image(image: &str) -> String {
    format!("snapshot for {image}")
}

/// Removes temporaries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release<'a> {
    pub(crate) client: &'a Client,
    pub(crate) rbd: Option<&'a Rbd>,
    /// How long the cloud may take for each.
    pub(crate) deadline: Duration,
}

impl Release<'_> {
    /// Removes `temporary` and waits until it is gone. That it is not there is fine.
    pub(crate) async fn release(&self, temporary: &Temporary) -> Result<()> {
        let done = match temporary.kind.as_str() {
            VOLUME_SNAPSHOT => self.remove(&things::SNAPSHOT, temporary).await,
            GROUP_SNAPSHOT => self.remove(&things::GROUP_SNAPSHOT, temporary).await,
            VOLUME => self.volume(temporary).await,
            ATTACHMENT => self.attachment(temporary).await,
            IMAGE => self.remove(&things::IMAGE, temporary).await,
            SERVER_IMAGE => self.server_image(temporary).await,
            PAUSE => pause::release(self.client, temporary, self.deadline).await,
            RBD_SNAPSHOT => self.rbd_snapshot(temporary).await,
            _ => {
                let message = "this release of Raksha does not know such things: use the one that recorded it, or a later one";
                Err(Error::new(Kind::Unsupported, "release", message))
            }
        };
        done.map_err(|error| {
            let error = error.with("temporary", &temporary.kind);
            error.with("marker", &temporary.marker)
        })
    }

    /// The ids of the things that a temporary is: the one that is known, or those that are called like it.
    async fn ids(&self, thing: &Thing, temporary: &Temporary) -> Result<Vec<String>> {
        if let Some(id) = &temporary.id {
            return Ok(vec![id.clone()]);
        }
        let found = thing.named(self.client, &temporary.marker).await?;
        found.iter().map(things::id).collect()
    }

    async fn remove(&self, thing: &Thing, temporary: &Temporary) -> Result<()> {
        for id in self.ids(thing, temporary).await? {
            thing.remove(self.client, &id, self.deadline).await?;
        }
        Ok(())
    }

    async fn volume(&self, temporary: &Temporary) -> Result<()> {
        for id in self.ids(&things::VOLUME, temporary).await? {
            self.attachments_of(&id).await?;
            things::VOLUME
                .remove(self.client, &id, self.deadline)
                .await?;
        }
        Ok(())
    }

    async fn attachment(&self, temporary: &Temporary) -> Result<()> {
        if let Some(id) = &temporary.id {
            return THE_ATTACHMENT.remove(self.client, id, self.deadline).await;
        }
        match text(&temporary.detail, "volume") {
            "" => Ok(()),
            volume => self.attachments_of(volume).await,
        }
    }

    /// Removes all attachments of a volume of ours.
    async fn attachments_of(&self, volume: &str) -> Result<()> {
        let request = Request::get("attachments/detail")
            .query("volume_id", volume)
            .microversion(ATTACHMENTS);
        let listed = self
            .client
            .list(Service::BlockStorage, request, "attachments")
            .await;
        let found = match listed {
            Ok(found) => found,
            // A service that does not know attachments has none.
            Err(error) if matches!(error.kind(), Kind::Unsupported | Kind::NotFound) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for one in found.iter().filter(|one| text(one, "volume_id") == volume) {
            let id = things::id(one)?;
            THE_ATTACHMENT
                .remove(self.client, &id, self.deadline)
                .await?;
        }
        Ok(())
    }

    /// Removes an image and the snapshots that Nova made for it. Those that were given another name meanwhile belong to somebody.
    async fn server_image(&self, temporary: &Temporary) -> Result<()> {
        let called = snapshot_of_image(&temporary.marker);
        for snapshot in things::SNAPSHOT.named(self.client, &called).await? {
            let id = things::id(&snapshot)?;
            things::SNAPSHOT
                .remove(self.client, &id, self.deadline)
                .await?;
        }
        self.remove(&things::IMAGE, temporary).await
    }

    async fn rbd_snapshot(&self, temporary: &Temporary) -> Result<()> {
        let rbd = self.rbd.ok_or_else(|| {
            let message = "it lies in the Ceph cluster, and no access to that is configured: give the operator's access";
            Error::new(Kind::Denied, "release", message)
        })?;
        let place: Option<Place> = temporary
            .detail
            .get("place")
            .cloned()
            .and_then(|place| serde_json::from_value(place).ok());
        let place = place.ok_or_else(|| {
            let message = "it was not recorded in which RBD image it is";
            Error::new(Kind::Corrupt, "release", message)
        })?;
        rbd.remove_snapshot(&place, &temporary.marker).await
    }
}
