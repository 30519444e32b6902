//! Roads to the bytes of a disk: what can be read and written where, and at what cost.
//!
//! | road | who may take it | what it needs | what it costs |
//! | --- | --- | --- | --- |
//! | [`RoadKind::Rbd`] | an operator | a key of the Ceph cluster, `qemu-nbd`, `rbd` | nothing is copied; the only road with hints of what changed |
//! | [`RoadKind::File`] | who sees the storage | Cinder's attachments (3.27), the NFS export mounted here | a volume is made from the snapshot |
//! | [`RoadKind::Image`] | everybody | the API alone, room in the work directory | a volume, an image and a download |
//!
//! Of the roads that are open to a disk the cheapest is taken, and the next one if it turns out to be closed after all. Which there were, what they
//! would cost and why others are closed is part of the snapshot set and told through `tracing`.

mod attachment;
mod cost;
mod file;
mod image;
pub(crate) mod nbd;
mod options;
pub(crate) mod rbd;
pub(crate) mod scratch;
mod temporaries;

use raksha_core::cloud::{DiskReader, DiskWriter, Recorder, Temporary};
use raksha_core::env::Env;
use raksha_core::id::VolumeId;
use raksha_core::{Error, Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::cloud::CephAccess;
use crate::temporary::{RBD_SNAPSHOT, Release, planned};
pub(crate) use options::seconds;
pub use options::{RoadKind, RoadOptions};
use rbd::{Place, Rbd};
pub(crate) use temporaries::MARKER;

/// What holds the bytes of a disk as they were at the instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(crate) enum Held {
    /// A snapshot in Cinder.
    VolumeSnapshot {
        id: String,
        volume: String,
        size: u64,
        created: Timestamp,
        /// Whether the volume is encrypted underneath: then only its guest sees what is to be backed up.
        encrypted: bool,
    },
    /// An image with the disk's content.
    Image { id: String, size: u64 },
    /// A snapshot of an RBD image that Cinder does not know of.
    RbdSnapshot { place: Place, name: String },
}

/// The roads to a disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Survey {
    /// The cheapest first.
    pub(crate) open: Vec<OpenRoad>,
    pub(crate) closed: Vec<ClosedRoad>,
}

/// A road that may be taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenRoad {
    pub(crate) road: RoadKind,
    /// About how long all of the disk takes.
    pub(crate) seconds: u64,
    pub(crate) why: String,
    /// Where the disk lies, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
}

/// A road that is no road to this disk, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClosedRoad {
    pub(crate) road: RoadKind,
    pub(crate) why: String,
}

/// All roads of a cloud.
#[derive(Debug)]
pub(crate) struct Roads {
    pub(crate) client: Client,
    pub(crate) env: Env,
    pub(crate) options: RoadOptions,
    rbd: Option<Rbd>,
}

/// A disk that was opened, and how.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) reader: Box<dyn DiskReader>,
    pub(crate) road: OpenRoad,
}

impl Roads {
    pub(crate) fn new(
        client: Client,
        options: RoadOptions,
        operator: Option<CephAccess>,
        env: Env,
    ) -> Self {
        let rbd = operator.map(|access| Rbd::new(access, &options, &env));
        Self {
            client,
            env,
            options,
            rbd,
        }
    }

    /// The cluster, if it may be reached.
    pub(crate) fn rbd(&self) -> Option<&Rbd> {
        self.rbd.as_ref().filter(|_| self.allows(RoadKind::Rbd))
    }

    fn allows(&self, road: RoadKind) -> bool {
        self.options.allowed.contains(&road)
    }

    /// What removes temporaries.
    pub(crate) fn releaser(&self) -> Release<'_> {
        Release {
            client: &self.client,
            rbd: self.rbd.as_ref(),
            deadline: self.options.transfer,
        }
    }

    /// Which roads lead to a disk.
    pub(crate) async fn survey(&self, held: &Held) -> Survey {
        let mut survey = Survey::default();
        for road in [RoadKind::Rbd, RoadKind::File, RoadKind::Image] {
            let found = match road {
                _ if !self.allows(road) => Err("the options do not allow it".to_owned()),
                RoadKind::Rbd => self.rbd_open(held).await,
                RoadKind::File => self.file_open(held),
                RoadKind::Image => image_open(held),
            };
            match found {
                Ok(open) => survey.open.push(open),
                Err(why) => survey.closed.push(ClosedRoad { road, why }),
            }
        }
        survey.open.sort_by_key(|open| open.seconds);
        survey
    }

    async fn rbd_open(&self, held: &Held) -> Result<OpenRoad, String> {
        let rbd = (self.rbd.as_ref()).ok_or("no access to a Ceph cluster is configured")?;
        let (place, name, size) = match held {
            Held::VolumeSnapshot {
                id,
                volume,
                size,
                encrypted,
                ..
            } => {
                if *encrypted {
                    return Err(ENCRYPTED.to_owned());
                }
                let found = rbd.find(&volume_image(volume)).await;
                let found = found.map_err(|error| error.to_string())?;
                let place = found.ok_or("no pool that may be read has the volume")?;
                (place, cinder_snapshot(id), *size)
            }
            Held::RbdSnapshot { place, name } => (place.clone(), name.clone(), 0),
            Held::Image { .. } => return Err("the disk lies in an image".to_owned()),
        };
        let snapshot = rbd.snapshot(&place, &name).await;
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        Ok(OpenRoad {
            road: RoadKind::Rbd,
            seconds: cost::seconds(RoadKind::Rbd, size.max(snapshot.size)),
            why: format!("it lies in the Ceph cluster as {place}"),
            place: Some(place),
        })
    }

    fn file_open(&self, held: &Held) -> Result<OpenRoad, String> {
        let Held::VolumeSnapshot {
            size, encrypted, ..
        } = held
        else {
            return Err("the disk is no volume".to_owned());
        };
        if *encrypted {
            return Err(ENCRYPTED.to_owned());
        }
        if self.options.exports.is_empty() && !self.options.devices {
            return Err("this machine sees neither exports nor devices of the storage".to_owned());
        }
        Ok(OpenRoad {
            road: RoadKind::File,
            seconds: cost::seconds(RoadKind::File, *size),
            why: "this machine may see the storage; the volume's attachment tells".to_owned(),
            place: None,
        })
    }

    /// Opens a disk by the cheapest road that turns out to be open. `marker` begins the names of what has to be made.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if no road leads there, saying why not; otherwise that of the last road tried.
    pub(crate) async fn open(
        &self,
        held: &Held,
        survey: &Survey,
        marker: &str,
        recorder: &dyn Recorder,
    ) -> Result<Reached> {
        let mut last = None;
        for road in &survey.open {
            let opened = match road.road {
                RoadKind::Rbd => self.open_rbd(held, road).await,
                RoadKind::File => self.open_file(held, marker, recorder).await,
                RoadKind::Image => self.open_image(held, marker, recorder).await,
            };
            match opened {
                Ok(reader) => {
                    tracing::info!(road = %road.road, why = road.why, seconds = road.seconds, "disk opened");
                    let road = road.clone();
                    return Ok(Reached { reader, road });
                }
                Err(error) if may_try_another(&error) => {
                    tracing::warn!(road = %road.road, %error, "the road is closed, the next one is tried");
                    last = Some(error);
                }
                Err(error) => return Err(error.with("road", road.road)),
            }
        }
        Err(last.unwrap_or_else(|| no_road(survey)))
    }

    async fn open_rbd(&self, held: &Held, road: &OpenRoad) -> Result<Box<dyn DiskReader>> {
        let name = match held {
            Held::VolumeSnapshot { id, .. } => cinder_snapshot(id),
            Held::RbdSnapshot { name, .. } => name.clone(),
            Held::Image { .. } => String::new(),
        };
        let (Some(rbd), Some(place)) = (&self.rbd, &road.place) else {
            let message =
                "the Ceph cluster was reachable when the snapshot was taken, and is not now";
            return Err(Error::new(Kind::Unsupported, "open disk", message));
        };
        let snapshot = rbd.snapshot(place, &name).await?;
        rbd.read(place, &snapshot).await
    }

    /// Opens a volume of `size` bytes that no server uses for writing; if it is `blank`, it is known to read as zeroes.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if no road leads there, saying why.
    pub(crate) async fn writer(
        &self,
        volume: &VolumeId,
        size: u64,
        blank: bool,
    ) -> Result<Box<dyn DiskWriter>> {
        let closed = |why: &str| {
            let message = format!("the volume cannot be written where it lies: {why}");
            let error = Error::new(Kind::Unsupported, "open volume for writing", message);
            Err(error.with("volume", volume))
        };
        let Some(rbd) = self.rbd() else {
            return closed("no access to a Ceph cluster is configured, or the road is not allowed");
        };
        match rbd.find(&volume_image(volume.as_str())).await? {
            Some(place) => Ok(Box::new(rbd.write(&place, size, blank).await?)),
            None => closed("no pool that may be looked into has it"),
        }
    }

    /// Removes what was made to read a disk and is needed no longer, and says so to the recorder.
    async fn give_back(&self, temporaries: &[Temporary], recorder: &dyn Recorder) -> Result<()> {
        for temporary in temporaries.iter().rev() {
            self.releaser().release(temporary).await?;
            recorder.released(&temporary.marker).await?;
        }
        Ok(())
    }

    /// Records a snapshot of an RBD image that Cinder will not know of, and removes what an earlier attempt may have made by that name, at another instant.
    pub(crate) async fn prepare_snapshot(
        &self,
        rbd: &Rbd,
        place: &Place,
        marker: &str,
        recorder: &dyn Recorder,
    ) -> Result<()> {
        let detail = serde_json::json!({ "place": place });
        recorder
            .record(&planned(RBD_SNAPSHOT, marker.to_owned(), detail))
            .await?;
        rbd.remove_snapshot(place, marker).await
    }
}

const ENCRYPTED: &str =
    "the volume is encrypted underneath, and what lies there is not what its guest sees";

/// What Cinder's RBD driver calls a volume and a snapshot in the cluster.
pub(crate) fn volume_image(volume: &str) -> String {
    format!("volume-{volume}")
}

pub(crate) fn cinder_snapshot(snapshot: &str) -> String {
    format!("snapshot-{snapshot}")
}

fn image_open(held: &Held) -> Result<OpenRoad, String> {
    let (size, why) = match held {
        Held::VolumeSnapshot {
            encrypted: true, ..
        } => return Err(ENCRYPTED.to_owned()),
        Held::VolumeSnapshot { size, .. } => (*size, "the API alone gives it"),
        Held::Image { size, .. } => (*size, "it lies in an image"),
        Held::RbdSnapshot { .. } => return Err("Cinder does not know the snapshot".to_owned()),
    };
    Ok(OpenRoad {
        road: RoadKind::Image,
        seconds: cost::seconds(RoadKind::Image, size),
        why: why.to_owned(),
        place: None,
    })
}

/// Whether a road that failed like this may be closed while another is open.
fn may_try_another(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unsupported | Kind::Denied | Kind::Unavailable | Kind::NotFound
    )
}

fn no_road(survey: &Survey) -> Error {
    let why: Vec<String> = (survey.closed.iter())
        .map(|closed| format!("{}: {}", closed.road, closed.why))
        .collect();
    let message = format!("no road leads to the disk's bytes ({})", why.join("; "));
    Error::new(Kind::Unsupported, "open disk", message)
}
