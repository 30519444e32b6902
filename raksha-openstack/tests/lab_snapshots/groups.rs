//! Volumes in a group, on a backend whose group snapshots are of one instant (`tests/lab/openstack/rbd_groups.py`).

use std::time::{Duration, Instant};

use raksha_core::cloud::{Consistency, SnapshotProvider};
use raksha_core::testkit::cloud::Notebook;
use raksha_openstack::client::{Client, Microversion, Request, Service};
use raksha_openstack::temporary::GROUP_SNAPSHOT;
use serde_json::{Value, json};

use super::bench::Server;
use super::cases::{numbers, one_instant};
use super::{guest, lab};

const GROUPS: Microversion = Microversion::new(3, 14);

/// A group of the type `consistent`.
struct VolumeGroup<'a> {
    client: &'a Client,
    id: String,
}

impl<'a> VolumeGroup<'a> {
    async fn new(client: &'a Client, name: &str, volumes: &[String]) -> Self {
        let types = Request::get("group_types").microversion(GROUPS);
        let types = client
            .list(Service::BlockStorage, types, "group_types")
            .await
            .unwrap();
        let kind = types
            .iter()
            .find(|kind| kind["name"] == "consistent")
            .unwrap();
        let body = json!({ "group": { "name": name, "group_type": kind["id"], "volume_types": ["rbd-groups"], "availability_zone": "nova" } });
        let request = Request::post("groups", body).microversion(GROUPS);
        let made = client.send(Service::BlockStorage, request).await.unwrap();
        let id = made.take("group").unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let group = Self { client, id };
        group.settles().await;
        group.change("add_volumes", volumes).await;
        group
    }

    async fn change(&self, what: &str, volumes: &[String]) {
        let path = format!("groups/{}", self.id);
        let body = json!({ "group": { what: volumes.join(",") } });
        let request = Request::put(path, body).microversion(GROUPS);
        self.client
            .send(Service::BlockStorage, request)
            .await
            .unwrap();
        self.settles().await;
    }

    async fn settles(&self) {
        let look = || async {
            let request = Request::get(format!("groups/{}", self.id)).microversion(GROUPS);
            let group = self
                .client
                .send(Service::BlockStorage, request)
                .await?
                .take("group")?;
            assert_ne!(group["status"], "error");
            Ok((group["status"] == "available").then_some(()))
        };
        let patience = Duration::from_secs(120);
        self.client.wait("the group", patience, look).await.unwrap();
    }

    async fn delete(self, volumes: &[String]) {
        self.change("remove_volumes", volumes).await;
        let body = json!({ "delete": { "delete-volumes": false } });
        let request =
            Request::post(format!("groups/{}/action", self.id), body).microversion(GROUPS);
        self.client
            .send(Service::BlockStorage, request)
            .await
            .unwrap();
    }

    /// The group snapshots of the project.
    async fn snapshots(&self) -> Vec<Value> {
        let request = Request::get("group_snapshots").microversion(GROUPS);
        let all = self
            .client
            .list(Service::BlockStorage, request, "group_snapshots")
            .await;
        all.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_snapshot_is_of_one_instant_without_a_freeze() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let mut options = lab::operator(work.path());
    options.snapshots.group_types = vec!["consistent".to_owned()];
    let cloud = lab::demo(options).await;
    let client = cloud.client();
    let marker = lab::marker("group");
    let server = Server::guest(client, &format!("{marker}-server"), "rbd-groups").await;
    let group = VolumeGroup::new(client, &marker, &server.volumes).await;
    server.says("/data/vdc mounted").await;
    tokio::time::sleep(Duration::from_secs(20)).await;

    let level = Consistency::CrashAcrossDisks;
    let graph = lab::graph(&cloud, &[&server.name]).await;
    assert_eq!(cloud.capabilities(&graph).await.unwrap().best, level);
    let (old_marker, new_marker) = (format!("{marker}-old"), format!("{marker}-new"));
    let (old_notes, new_notes) = (Notebook::new(), Notebook::new());
    let old = lab::take(&cloud, &graph, level, &old_marker, true, &old_notes).await;
    assert_eq!(
        (old.ledger.reached(), old.ledger.skew),
        (level, Duration::ZERO)
    );
    let kinds: Vec<String> = old_notes.open().into_iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [GROUP_SNAPSHOT], "one thing to clean up");
    let (first, _) = numbers(&cloud, &old, &old_notes).await;
    assert!(first.len() == 3 && one_instant(&first), "{first:?}");

    // The next one counts from it.
    let new = lab::take(&cloud, &graph, level, &new_marker, true, &new_notes).await;
    let (second, _) = numbers(&cloud, &new, &new_notes).await;
    assert!(one_instant(&second) && second[0] > first[0], "{second:?}");
    let root = cloud
        .open(&new, &new.disks[0].disk, None, &new_notes)
        .await
        .unwrap();
    let root = guest::copy(root.reader.as_ref(), work.path(), "root").await;
    let pause = root.longest_pause(first[0].saturating_sub(10));
    eprintln!(
        "from before the first to the second, the longest time between two records was {pause:.2} s"
    );

    for disk in &old.disks {
        let began = Instant::now();
        let opened = cloud
            .open(&new, &disk.disk, disk.anchor.as_ref(), &new_notes)
            .await;
        let hint = opened.unwrap().hint.expect("a hint");
        let told: u64 = hint.changed.iter().map(|r| r.end - r.start).sum();
        eprintln!(
            "{}: {told} of {} bytes, found in {:?}",
            disk.disk,
            disk.size,
            began.elapsed()
        );
        assert!(told > 0 && told < disk.size / 2);
    }
    assert_eq!(group.snapshots().await.len(), 2);
    lab::release(&cloud, &old_notes).await;
    lab::release(&cloud, &new_notes).await;
    assert_eq!(group.snapshots().await, [Value::Null; 0]);
    for marker in [old_marker, new_marker] {
        assert_eq!(lab::left(client, &marker).await, [""; 0]);
    }
    group.delete(&server.volumes).await;
    server.delete().await;
}
