//! Snapshots of all volumes of a server, or of several, by one group snapshot of Cinder's.
//!
//! Whether that is one instant depends on the backend. A group's type can demand a backend that says so (`consistent_group_snapshot_enabled`), and Cinder's
//! scheduler gives groups of such a type to no other. Tenants do not see what a type demands, as policy goes; but one type that does is Cinder's own, under a name that
//! never changes, and others can be named in [`SnapshotOptions::group_types`].

use raksha_core::cloud::{Consistency, DiskId, Temporary};
use raksha_core::{Error, Kind, Result, Timestamp};
use serde_json::{Value, json};

use super::SnapshotOptions;
use super::frozen::may_come;
use super::group::{Group, Taken};
use super::plan::Plan;
use super::subject::{Subject, Wanted};
use super::taker::{Taker, all};
use crate::client::{Client, Microversion, Request, Service};
use crate::temporary::{GROUP_SNAPSHOT, planned};
use crate::things::{self, text};

const TAKE: &str = "snapshot group of volumes";
/// The least that knows groups, and their types.
pub(crate) const GROUPS: Microversion = Microversion::new(3, 13);
/// The least that knows group snapshots, and of a snapshot in which of them it is.
const GROUP_SNAPSHOTS: Microversion = Microversion::new(3, 14);
/// What a type's specs say if its groups have snapshots of one instant, and the type that Cinder itself makes so. Source: Cinder's guide for generic volume groups.
const CONSISTENT: (&str, &str) = ("consistent_group_snapshot_enabled", "<is> true");
const CINDERS_OWN: &str = "default_cgsnapshot_type";

/// A group snapshot that is there. Each server has its disks in it.
#[derive(Debug)]
pub(super) struct GroupSnapshot {
    id: String,
    temporary: Temporary,
    begin: Timestamp,
    end: Timestamp,
}

/// Whether the volumes of a server are in one group whose snapshots are of one instant, and that is `demanded`.
pub(super) async fn one_instant(
    client: &Client,
    options: &SnapshotOptions,
    subject: &Subject<'_>,
    demanded: Consistency,
) -> Result<bool> {
    let several = |subjects: usize| subjects > 1 || subject.disks.len() > 1;
    let Some(group) = subject
        .volume_group
        .as_ref()
        .filter(|group| demanded >= Consistency::CrashAcrossDisks && several(group.subjects))
    else {
        return Ok(false);
    };
    match type_of(client, &group.id).await {
        Ok(kind) => Ok(consistent(&kind, &options.group_types)),
        // Other means are left.
        Err(error) if is_out_of_sight(&error) => {
            tracing::info!(%error, group = group.id, "the type of the group cannot be seen");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn type_of(client: &Client, group: &str) -> Result<Value> {
    let look = async |path: String, key| {
        let request = Request::get(path).microversion(GROUPS).operation(TAKE);
        client.send(Service::BlockStorage, request).await?.take(key)
    };
    let group = look(format!("groups/{group}"), "group").await?;
    let kind = text(&group, "group_type");
    look(format!("group_types/{kind}"), "group_type").await
}

fn is_out_of_sight(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Denied | Kind::NotFound | Kind::Unsupported | Kind::Unauthenticated
    )
}

/// Whether group snapshots of this type are of one instant.
pub(crate) fn consistent(kind: &Value, named: &[String]) -> bool {
    let (spec, wanted) = CONSISTENT;
    let name = text(kind, "name");
    let demands = |specs: &Value| text(specs, spec).eq_ignore_ascii_case(wanted);
    name == CINDERS_OWN
        || named.iter().any(|one| one == name)
        || kind.get("group_specs").is_some_and(demands)
}

impl Taker<'_> {
    /// Takes all volumes of a server by a group snapshot, which it shares with the others of the group.
    pub(super) async fn grouped(&self, subject: &Subject<'_>, plan: Plan) -> Result<Group> {
        let Some(group) = &subject.volume_group else {
            return Err(Error::new(Kind::Internal, TAKE, "there is no group"));
        };
        let taken = group
            .snapshot
            .get_or_try_init(|| self.group_snapshot(&group.id, subject.number));
        let taken = taken
            .await
            .map_err(|error| error.with("group", &group.id))?;
        let members = subject.disks.iter().map(|disk| self.member(disk, taken));
        let members = all(members).await;
        if members.is_err() && group.subjects == 1 {
            // Other means may be tried. What others share stays until all is released.
            self.give_up(&taken.temporary, true).await;
        }
        let disks = members.map_err(|error| error.with("group", &group.id))?;
        let means = "a group snapshot, of a type that demands one instant";
        let mut of = self.group(subject, disks, plan.level, means, None, taken.begin);
        of.end = taken.end;
        of.within = Some(taken.id.clone());
        Ok(of)
    }

    async fn group_snapshot(&self, group: &str, number: usize) -> Result<GroupSnapshot> {
        let marker = format!("{}-group-{number}", self.marker);
        let detail = json!({ "group": group });
        let mut temporary = planned(GROUP_SNAPSHOT, marker, detail);
        self.recorder.record(&temporary).await?;
        let begin = self.env().now();
        let body = json!({ "group_snapshot": {
            "group_id": group,
            "name": temporary.marker,
            "description": "taken by Raksha for a recovery point",
        } });
        let request = Request::post("group_snapshots", body);
        let request = request.microversion(GROUP_SNAPSHOTS).operation(TAKE);
        let taken = async {
            let answer = self.client().send(Service::BlockStorage, request).await?;
            let id = things::id(&answer.take("group_snapshot")?)?;
            temporary.id = Some(id.clone());
            self.recorder.record(&temporary).await?;
            things::GROUP_SNAPSHOT
                .reaches(self.client(), &id, &["available"], self.options.deadline)
                .await?;
            Ok(id)
        };
        let taken: Result<String> = taken.await;
        match taken {
            Ok(id) => Ok(GroupSnapshot {
                id,
                temporary,
                begin,
                end: self.env().now(),
            }),
            Err(error) => {
                // Other means may be tried.
                let answered = temporary.id.is_some() || !may_come(&error);
                self.give_up(&temporary, answered).await;
                Err(error)
            }
        }
    }

    /// The snapshot of a disk in a group snapshot.
    async fn member(&self, wanted: &Wanted, of: &GroupSnapshot) -> Result<Taken> {
        let DiskId::Volume(volume) = &wanted.disk else {
            let message = "only volumes are in a group";
            return Err(Error::new(Kind::Unsupported, TAKE, message).with("disk", &wanted.disk));
        };
        let request = Request::get("snapshots/detail")
            .query("volume_id", volume)
            .microversion(GROUP_SNAPSHOTS)
            .operation(TAKE);
        let found = self
            .client()
            .list(Service::BlockStorage, request, "snapshots")
            .await?;
        let snapshot = found
            .iter()
            .find(|one| text(one, "group_snapshot_id") == of.id);
        let snapshot = snapshot.ok_or_else(|| {
            let message = "the group snapshot has none of the volume: it left the group since the server was discovered; run again";
            Error::new(Kind::Conflict, TAKE, message).with("volume", volume)
        })?;
        let id = things::id(snapshot)?;
        let snapshot = things::SNAPSHOT
            .reaches(self.client(), &id, &["available"], self.options.deadline)
            .await?;
        self.taken_volume(wanted, volume.as_str(), &snapshot, of.temporary.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_specs_or_their_names() {
        let specs = |value: &str| json!({ "name": "t", "group_specs": { CONSISTENT.0: value } });
        assert!(consistent(&specs("<is> True"), &[]));
        assert!(!consistent(&specs("<is> False"), &[]));
        assert!(consistent(&json!({ "name": CINDERS_OWN }), &[]));
        let hidden = json!({ "name": "gold" });
        assert!(!consistent(&hidden, &[]));
        assert!(consistent(&hidden, &["gold".to_owned()]));
    }
}
