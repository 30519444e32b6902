//! An image of a server that boots from a volume: Nova asks the guest agent to freeze the file systems, makes a snapshot of each volume, waits
//! until they are there, and has the guest thawed.
//!
//! The image itself has no bytes. Its properties are what Nova knows of the server's image, so they tell whether the freeze was required: if it
//! was, and the image is there, the guest was frozen. Nova thaws it also where a snapshot fails.

use std::time::Duration;

use raksha_core::cloud::{Consistency, DiskId, Temporary};
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::group::{Group, Taken};
use super::plan::{Agent, Plan};
use super::subject::{Subject, Wanted};
use super::taker::{Taker, all};
use crate::client::{Request, Service};
use crate::temporary::{SERVER_IMAGE, VOLUME_SNAPSHOT, planned};
use crate::things::{self, is_yes, text};

const TAKE: &str = "take snapshots of server";
/// How often Nova looks whether the snapshots are there, after which it thaws the guest.
const NOVA_LOOKS: Duration = Duration::from_millis(500);

impl Taker<'_> {
    /// Takes all volumes of a server in one freeze.
    pub(super) async fn frozen(&self, subject: &Subject<'_>, plan: Plan) -> Result<Group> {
        let Some(server) = subject.id() else {
            let message = "volumes without a server cannot be frozen";
            return Err(Error::new(Kind::Unsupported, TAKE, message));
        };
        let marker = format!("{}-server-{}", self.marker, subject.number);
        let mut temporary = planned(SERVER_IMAGE, marker, json!({ "server": server }));
        self.recorder.record(&temporary).await?;
        let taken = self.freeze(subject, plan, server, &mut temporary).await;
        // The image is of no more use, nor are snapshots of volumes that were not asked for. Those that were have another name now.
        let answered = temporary.id.is_some() || !matches!(&taken, Err(e) if may_come(e));
        self.give_up(&temporary, answered).await;
        taken
    }

    async fn freeze(
        &self,
        subject: &Subject<'_>,
        plan: Plan,
        server: &str,
        temporary: &mut Temporary,
    ) -> Result<Group> {
        let begin = self.env().now();
        let id = self.create_image(server, &temporary.marker).await?;
        temporary.id = Some(id.clone());
        self.recorder.record(temporary).await?;
        let image = things::IMAGE
            .reaches(self.client(), &id, &["active"], self.options.deadline)
            .await?;
        let snapshots = all(snapshots_of(&image)?.into_iter().map(|id| async move {
            things::SNAPSHOT
                .reaches(self.client(), &id, &["available"], self.options.deadline)
                .await
        }));
        let snapshots = snapshots.await.map_err(|e| e.with("server", server))?;
        let end = self.env().now();
        let each = (subject.disks.iter()).map(|wanted| self.adopt(wanted, &snapshots));
        let disks = all(each).await.map_err(|e| e.with("server", server))?;

        let required = is_yes(text(&image, "os_require_quiesce"));
        let (level, means) = match Agent::of(is_yes(text(&image, "hw_qemu_guest_agent")), required)
        {
            Agent::Required => (
                Consistency::FileSystem,
                "createImage: the guest agent froze the file systems, which the image property os_require_quiesce demands, while Nova made a snapshot of each volume",
            ),
            _ => (
                plan.level.min(Consistency::CrashAcrossDisks),
                "createImage: Nova asked the guest agent to freeze the file systems, but does not tell whether it did; with the image property os_require_quiesce=yes it would",
            ),
        };
        let proven = level == Consistency::FileSystem;
        let freeze = proven.then(|| end.since(begin).saturating_add(NOVA_LOOKS));
        let mut group = self.group(subject, disks, level, means, freeze, begin);
        group.end = end;
        Ok(group)
    }

    /// Makes the snapshot of a disk that was asked for one of its own: under its own name, and recorded.
    async fn adopt(&self, wanted: &Wanted, snapshots: &[Value]) -> Result<Taken> {
        let DiskId::Volume(volume) = &wanted.disk else {
            let message = "Nova makes snapshots of volumes only";
            return Err(Error::new(Kind::Unsupported, TAKE, message).with("disk", &wanted.disk));
        };
        let of_volume = |one: &&Value| text(one, "volume_id") == volume.as_str();
        let snapshot = snapshots.iter().find(of_volume).ok_or_else(|| {
            let message = "Nova made no snapshot of the volume: it was detached since the server was discovered; run again";
            Error::new(Kind::Conflict, TAKE, message).with("volume", volume)
        })?;
        let id = things::id(snapshot)?;
        let detail = json!({ "volume": volume });
        let mut temporary = planned(VOLUME_SNAPSHOT, wanted.marker.clone(), detail);
        temporary.id = Some(id.clone());
        self.recorder.record(&temporary).await?;
        let path = format!("snapshots/{id}");
        let name = json!({ "snapshot": {
            "name": wanted.marker,
            "description": "taken by Nova and Raksha for a recovery point",
        } });
        let metadata = json!({ "metadata": { crate::roads::MARKER: wanted.marker } });
        for request in [
            Request::put(path.clone(), name),
            Request::post(format!("{path}/metadata"), metadata).idempotent(true),
        ] {
            let request = request.operation("name snapshot");
            self.client().send(Service::BlockStorage, request).await?;
        }
        self.taken_volume(wanted, volume.as_str(), snapshot, temporary)
    }
}

/// Whether what was asked for may come about in spite of the error.
pub(super) fn may_come(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Timeout)
}

/// The snapshots that an image of a server names.
fn snapshots_of(image: &Value) -> Result<Vec<String>> {
    let mapping = match image.get("block_device_mapping") {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        other => other.cloned(),
    };
    let Some(Value::Array(mapping)) = mapping else {
        let message = "the image names no snapshots: the server does not boot from a volume, or is none any more";
        return Err(Error::new(Kind::Conflict, TAKE, message));
    };
    let ids = mapping
        .iter()
        .map(|entry| text(entry, "snapshot_id").to_owned());
    Ok(ids.filter(|id| !id.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_name_snapshots_in_text_or_not() {
        let mapping = json!([
            { "source_type": "snapshot", "snapshot_id": "a", "boot_index": 0 },
            { "source_type": "blank", "snapshot_id": null, "guest_format": "swap" },
            { "source_type": "snapshot", "snapshot_id": "b" },
        ]);
        let text = json!({ "block_device_mapping": mapping.to_string() });
        assert_eq!(snapshots_of(&text).unwrap(), ["a", "b"]);
        let plain = json!({ "block_device_mapping": mapping });
        assert_eq!(snapshots_of(&plain).unwrap(), ["a", "b"]);
        for image in [json!({}), json!({ "block_device_mapping": "{" })] {
            assert_eq!(snapshots_of(&image).unwrap_err().kind(), Kind::Conflict);
        }
    }
}
