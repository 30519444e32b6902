//! Taking the disks of one server by the means that were planned, and by the next ones if the cloud refuses those.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::join_all;
use raksha_core::cloud::{Consistency, DiskId, Recorder, Temporary};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result, Timestamp};
use serde_json::json;

use super::SnapshotOptions;
use super::group::{Group, Taken};
use super::grouped;
use super::pause::Pause;
use super::plan::{Means, Plan};
use super::subject::{Now, Subject, Wanted, last_action};
use crate::client::{Client, Microversion, Request, Service};
use crate::roads::rbd::Place;
use crate::roads::{Held, Roads};
use crate::temporary::{IMAGE, RBD_SNAPSHOT, VOLUME_SNAPSHOT, planned};
use crate::things::{self, text};

/// The least that answers createImage with the image's id.
const IMAGE_ID: Microversion = Microversion::new(2, 45);
const TAKE: &str = "take snapshots";
const COPY: &str = "copy server's disk into an image";

const INSTEAD: &str = "the server's disk is copied into an image instead";

/// A disk of which all is done that can be done before the instant.
struct Prepared<'s> {
    wanted: &'s Wanted,
    how: How<'s>,
}

/// How a disk will be taken.
enum How<'s> {
    /// By Cinder.
    Volume {
        volume: &'s str,
        temporary: Temporary,
    },
    /// In the Ceph cluster; a root disk can be taken by Nova where that is refused.
    Rbd {
        server: &'s str,
        root: bool,
        place: Place,
    },
    /// By Nova.
    Image { server: &'s str },
}

/// What is needed to take snapshots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker<'a> {
    pub(super) roads: &'a Roads,
    pub(super) options: &'a SnapshotOptions,
    pub(super) marker: &'a str,
    pub(super) recorder: &'a dyn Recorder,
}

/// All that succeeded, or the first error, once everything has come to its end: what is still on its way to the cloud could not be found again.
pub(super) async fn all<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    join_all(work).await.into_iter().collect()
}

impl<'a> Taker<'a> {
    pub(super) fn client(&self) -> &'a Client {
        &self.roads.client
    }

    pub(super) fn env(&self) -> &'a Env {
        &self.roads.env
    }

    /// Takes the disks of one server for the level `demanded`.
    pub(super) async fn take(&self, subject: &Subject<'_>, demanded: Consistency) -> Result<Group> {
        let now = match subject.id() {
            Some(server) => Some(Now::of(self.client(), server).await?),
            None => None,
        };
        let grouped = grouped::one_instant(self.client(), self.options, subject, demanded).await?;
        let plans = subject.plans(now.as_ref(), demanded, self.options.pause, grouped);
        let mut refused: Vec<String> = Vec::new();
        let mut plans = plans.into_iter().peekable();
        while let Some(plan) = plans.next() {
            let taken = match plan.means {
                Means::Frozen => self.frozen(subject, plan).await,
                Means::Still => self.still(subject, plan).await,
                Means::Grouped => self.grouped(subject, plan).await,
                Means::Paused => self.paused(subject, plan).await,
                Means::OneByOne => self.one_by_one(subject, plan).await,
            };
            match taken {
                Ok(mut group) => {
                    for why in &refused {
                        group.means = format!("{}; {why}", group.means);
                    }
                    return Ok(group);
                }
                Err(error) if plans.peek().is_some() && is_refusal(&error) => {
                    tracing::warn!(%error, means = ?plan.means, "the cloud refuses, less is tried");
                    self.undo(subject).await?;
                    refused.push(format!("{} was refused: {error}", plan.means));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(Kind::Internal, TAKE, "there was no plan"))
    }

    /// Removes what an attempt that was refused has made, by its names: the next attempt uses them again.
    async fn undo(&self, subject: &Subject<'_>) -> Result<()> {
        let each = subject.disks.iter().map(|wanted| async move {
            let kind = match wanted.disk {
                DiskId::Volume(_) => VOLUME_SNAPSHOT,
                _ => IMAGE,
            };
            let made = planned(kind, wanted.marker.clone(), serde_json::Value::Null);
            self.roads.releaser().release(&made).await
        });
        all(each).await.map(drop)
    }

    async fn one_by_one(&self, subject: &Subject<'_>, plan: Plan) -> Result<Group> {
        let begin = self.env().now();
        let disks = self.disks(subject).await?;
        let means = match disks.len() {
            1 => "one snapshot",
            _ => "snapshots of each disk, begun together",
        };
        Ok(self.group(subject, disks, plan.level, means, None, begin))
    }

    /// Takes what nobody writes, and looks afterwards whether nobody did.
    async fn still(&self, subject: &Subject<'_>, plan: Plan) -> Result<Group> {
        let Some(server) = subject.id() else {
            return self.one_by_one(subject, plan).await;
        };
        let before = last_action(self.client(), server).await?;
        let begin = self.env().now();
        let disks = self.disks(subject).await?;
        let after = last_action(self.client(), server).await?;
        let request = |action: &Option<serde_json::Value>| {
            let action = action.as_ref();
            action.map(|action| text(action, "request_id").to_owned())
        };
        // Copying a root disk into an image is an action, too.
        let copied = disks
            .iter()
            .any(|taken| matches!(taken.held, Held::Image { .. }));
        let alone = request(&before) == request(&after)
            || (copied
                && after
                    .as_ref()
                    .is_some_and(|a| text(a, "action") == "createImage"));
        let (level, means) = match alone {
            true => (plan.level, "the server did not run; snapshots of each disk"),
            false => (
                Consistency::Crash,
                "snapshots of each disk, begun together; the server did not run at first, but something was done to it meanwhile",
            ),
        };
        Ok(self.group(subject, disks, level, means, None, begin))
    }

    async fn paused(&self, subject: &Subject<'_>, plan: Plan) -> Result<Group> {
        let Some(server) = subject.id() else {
            return self.one_by_one(subject, plan).await;
        };
        let marker = format!("{}-pause-{}", self.marker, subject.number);
        let prepared = self.prepare(subject).await?;
        let begin = self.env().now();
        let deadline = self.options.deadline;
        let pause = Pause::begin(
            self.client(),
            server,
            &marker,
            self.recorder,
            self.env(),
            deadline,
        )
        .await?;
        let longest = self.options.longest_pause;
        let images = std::sync::Mutex::new(Vec::new());
        let taken = tokio::time::timeout(longest, self.snap(prepared, &images)).await;
        let taken = match taken {
            Ok(taken) => taken,
            Err(_) => {
                // Nova does not let the server go on while it copies; without an image to fill it stops copying.
                let images = images.into_inner().unwrap_or_else(PoisonError::into_inner);
                self.forget(&images).await;
                Err(too_long(longest, server))
            }
        };
        pause.end().await?;
        let end = self.env().now();
        self.recorder.released(&marker).await?;
        let means = "the server was paused; snapshots of each disk";
        let freeze = Some(end.since(begin));
        let mut group = self.group(subject, taken?, plan.level, means, freeze, begin);
        group.end = end;
        Ok(group)
    }

    /// Removes a temporary that is of no more use. If the cloud did not answer when it was asked for, it may still come: whoever cleans up in the end
    /// looks once more.
    pub(super) async fn give_up(&self, temporary: &Temporary, answered: bool) {
        let gone = async {
            self.roads.releaser().release(temporary).await?;
            match answered {
                true => self.recorder.released(&temporary.marker).await,
                false => Ok(()),
            }
        };
        if let Err(error) = gone.await {
            tracing::warn!(%error, "left for later");
        }
    }

    /// Removes temporaries that are of no use any more. What fails stays recorded.
    async fn forget(&self, temporaries: &[Temporary]) {
        for temporary in temporaries {
            self.give_up(temporary, true).await;
        }
    }

    pub(super) fn group(
        &self,
        subject: &Subject<'_>,
        disks: Vec<Taken>,
        level: Consistency,
        means: &str,
        freeze: Option<Duration>,
        begin: Timestamp,
    ) -> Group {
        Group {
            server: subject.id().map(str::to_owned),
            disks,
            level,
            means: means.to_owned(),
            freeze,
            begin,
            end: self.env().now(),
            within: None,
        }
    }

    /// Snapshots all disks of a server, begun together, and waits for all.
    async fn disks(&self, subject: &Subject<'_>) -> Result<Vec<Taken>> {
        let prepared = self.prepare(subject).await?;
        self.snap(prepared, &std::sync::Mutex::new(Vec::new()))
            .await
    }

    /// Does all that can be done before the instant: a server that stands still waits for nothing of it.
    async fn prepare<'s>(&self, subject: &'s Subject<'_>) -> Result<Vec<Prepared<'s>>> {
        let each = subject.disks.iter().map(|wanted| async move {
            let how = match &wanted.disk {
                DiskId::Volume(volume) => self.prepare_volume(wanted, volume.as_str()).await?,
                DiskId::Local { server, name } => {
                    self.prepare_local(wanted, server.as_str(), name).await?
                }
                other => {
                    let message = "no cloud has such a disk";
                    return Err(Error::new(Kind::Invalid, TAKE, message).with("disk", other));
                }
            };
            Ok(Prepared { wanted, how })
        });
        all(each).await
    }

    async fn prepare_volume<'s>(&self, wanted: &Wanted, volume: &'s str) -> Result<How<'s>> {
        let detail = json!({ "volume": volume });
        let temporary = planned(VOLUME_SNAPSHOT, wanted.marker.clone(), detail);
        self.recorder.record(&temporary).await?;
        Ok(How::Volume { volume, temporary })
    }

    /// A disk that comes and goes with its server: a snapshot in the Ceph cluster where it lies there and may be made, else an image, which Nova
    /// only makes of the root disk.
    async fn prepare_local<'s>(
        &self,
        wanted: &Wanted,
        server: &'s str,
        name: &str,
    ) -> Result<How<'s>> {
        let suffix = match name {
            "root" => "disk",
            "swap" => "disk.swap",
            other => &other.replace("ephemeral", "disk.eph"),
        };
        if let Some(rbd) = self.roads.rbd()
            && let Ok(Some(place)) = rbd.find(&format!("{server}_{suffix}")).await
        {
            let prepared = (self.roads)
                .prepare_snapshot(rbd, &place, &wanted.marker, self.recorder)
                .await;
            match prepared {
                Ok(()) => {
                    let root = name == "root";
                    return Ok(How::Rbd {
                        server,
                        root,
                        place,
                    });
                }
                Err(error) if error.kind() == Kind::Denied => tracing::info!(%error, "{INSTEAD}"),
                Err(error) => return Err(error),
            }
        }
        match name {
            "root" => Ok(How::Image { server }),
            _ => Err(out_of_reach(&wanted.disk)),
        }
    }

    /// Takes what is prepared, begun together, and waits for all. Images that are begun are noted in `images`.
    async fn snap(
        &self,
        prepared: Vec<Prepared<'_>>,
        images: &std::sync::Mutex<Vec<Temporary>>,
    ) -> Result<Vec<Taken>> {
        let each = prepared.into_iter().map(|Prepared { wanted, how }| async {
            match how {
                How::Volume { volume, temporary } => self.volume(wanted, volume, temporary).await,
                How::Rbd {
                    server,
                    root,
                    place,
                } => {
                    match self.in_cluster(wanted, &place).await {
                        Err(error) if error.kind() == Kind::Denied => {
                            tracing::info!(%error, "{INSTEAD}");
                        }
                        taken => return taken,
                    }
                    match root {
                        true => self.root(wanted, server, images).await,
                        false => Err(out_of_reach(&wanted.disk)),
                    }
                }
                How::Image { server } => self.root(wanted, server, images).await,
            }
        });
        all(each).await
    }

    async fn volume(
        &self,
        wanted: &Wanted,
        volume: &str,
        mut temporary: Temporary,
    ) -> Result<Taken> {
        let request = Request::post(
            "snapshots",
            json!({ "snapshot": {
                "volume_id": volume,
                "name": wanted.marker,
                "description": "taken by Raksha for a recovery point",
                "metadata": { crate::roads::MARKER: wanted.marker },
                // What the lowest microversion, which every service speaks, asks for if the volume is in use.
                "force": true,
            } }),
        );
        let request = request.operation("snapshot volume");
        let answer = self.client().send(Service::BlockStorage, request).await;
        let answer = answer.map_err(|error| error.with("volume", volume))?;
        let id = things::id(&answer.take("snapshot")?)?;
        temporary.id = Some(id.clone());
        self.recorder.record(&temporary).await?;
        let there = things::SNAPSHOT
            .reaches(self.client(), &id, &["available"], self.options.deadline)
            .await
            .map_err(|error| error.with("volume", volume))?;
        self.taken_volume(wanted, volume, &there, temporary)
    }

    /// A snapshot that is there, as what holds a disk.
    pub(super) fn taken_volume(
        &self,
        wanted: &Wanted,
        volume: &str,
        snapshot: &serde_json::Value,
        temporary: Temporary,
    ) -> Result<Taken> {
        let at = things::time(snapshot, "created_at").unwrap_or_else(|| self.env().now());
        let gib = snapshot.get("size").and_then(serde_json::Value::as_u64);
        let size = gib.map_or(wanted.size, |gib| gib << 30);
        let held = Held::VolumeSnapshot {
            id: things::id(snapshot)?,
            volume: volume.to_owned(),
            size,
            created: at,
            encrypted: wanted.encrypted,
        };
        let mut wanted = wanted.clone();
        wanted.size = size;
        Ok(Taken {
            wanted,
            held,
            temporary,
            at,
        })
    }

    /// A snapshot in the Ceph cluster of a disk that Cinder does not know of.
    async fn in_cluster(&self, wanted: &Wanted, place: &Place) -> Result<Taken> {
        let Some(rbd) = self.roads.rbd() else {
            return Err(Error::new(Kind::Internal, TAKE, "there is no way to Ceph"));
        };
        let at = self.env().now();
        let made = rbd.make_snapshot(place, &wanted.marker).await?;
        let detail = json!({ "place": place });
        Ok(Taken {
            held: Held::RbdSnapshot {
                place: place.clone(),
                name: made.name,
            },
            temporary: planned(RBD_SNAPSHOT, wanted.marker.clone(), detail),
            wanted: wanted.clone(),
            at,
        })
    }

    /// Has Nova copy the root disk into an image, and waits until what it copies is fixed.
    async fn root(
        &self,
        wanted: &Wanted,
        server: &str,
        images: &std::sync::Mutex<Vec<Temporary>>,
    ) -> Result<Taken> {
        let mut temporary = planned(IMAGE, wanted.marker.clone(), json!({ "server": server }));
        self.recorder.record(&temporary).await?;
        let id = self.create_image(server, &wanted.marker).await?;
        temporary.id = Some(id.clone());
        images
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(temporary.clone());
        self.recorder.record(&temporary).await?;
        // Nova mirrors the disk, cuts the mirror off, converts it and uploads that: with the first byte in Glance the instant has passed.
        let fixed = ["saving", "active"];
        let there = things::IMAGE
            .reaches(self.client(), &id, &fixed, self.options.deadline)
            .await
            .map_err(|error| match error.kind() {
                Kind::NotFound => {
                    let message = "Nova could not copy the disk and has deleted the image: `openstack server event list` and the log of nova-compute say why";
                    Error::new(Kind::Unavailable, COPY, message).caused_by(error)
                }
                _ => error,
            })
            .map_err(|error| error.with("server", server))?;
        Ok(Taken {
            held: Held::Image {
                id,
                size: wanted.size,
            },
            at: things::time(&there, "updated_at").unwrap_or_else(|| self.env().now()),
            wanted: wanted.clone(),
            temporary,
        })
    }

    /// Asks Nova for an image of a server; gives the image's id.
    pub(super) async fn create_image(&self, server: &str, name: &str) -> Result<String> {
        let body = json!({ "createImage": {
            "name": name,
            "metadata": { crate::roads::MARKER: name },
        } });
        let request = Request::post(format!("servers/{server}/action"), body).operation(COPY);
        let newer = request.clone().microversion(IMAGE_ID);
        let answer = match self.client().send(Service::Compute, newer).await {
            Err(error) if error.kind() == Kind::Unsupported => {
                self.client().send(Service::Compute, request).await?
            }
            answer => answer?,
        };
        let location = answer.header("location").and_then(|l| l.rsplit('/').next());
        let id = match text(&answer.body, "image_id") {
            "" => location.unwrap_or_default(),
            id => id,
        };
        if id.is_empty() {
            let message = "Nova does not say which image it makes";
            return Err(Error::new(Kind::Corrupt, COPY, message).with("server", server));
        }
        Ok(id.to_owned())
    }
}

fn out_of_reach(disk: &DiskId) -> Error {
    let message = "the cloud gives nobody the bytes of such a disk but an operator whose servers lie in Ceph: keep the data in a volume, or leave the disk out of the job";
    Error::new(Kind::Unsupported, TAKE, message).with("disk", disk)
}

/// Whether an error says that this server is not taken by these means now; others may do.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Denied | Kind::Conflict | Kind::Invalid | Kind::Unsupported | Kind::Unavailable
    )
}

fn too_long(longest: Duration, server: &str) -> Error {
    let message = format!(
        "the snapshots took longer than the {} s for which a server may be paused: raise `longest_pause`, or have the guest freeze by an agent",
        longest.as_secs()
    );
    Error::new(Kind::Unavailable, TAKE, message).with("server", server)
}
