//! All volumes of a server by one group snapshot, in the test cloud.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // all of it is tests
#![cfg(feature = "testkit")]

mod support;

use bytes::BytesMut;
use raksha_core::cloud::{
    Consistency, DiskId, ResourceDiscovery, ResourceGraph, Selection, ServerSelector,
    SnapshotProvider, SnapshotRequest, SnapshotSet,
};
use raksha_core::env::Env;
use raksha_core::testkit::cloud::Notebook;
use raksha_openstack::temporary::{GROUP_SNAPSHOT, VOLUME_SNAPSHOT};
use raksha_openstack::testkit::{Case, DevCloud, Options, Trouble, last_record};
use raksha_openstack::{OpenStack, OpenStackOptions};
use serde_json::json;
use support::{Somebody, none, with};

const GROUPS: (&str, &str) = ("openstack-api-version", "volume 3.14");
const ACROSS: Consistency = Consistency::CrashAcrossDisks;

/// The servers of a case, without a guest agent, with their volumes in a group.
struct Site {
    cloud: DevCloud,
    demo: Somebody,
    servers: Vec<String>,
    group: String,
}

impl Site {
    /// `case2`, which has three volumes.
    async fn new(group_type: &str) -> Self {
        Self::of(Case::BootedFromVolume, 3, group_type).await
    }

    async fn of(case: Case, volumes_of_case: usize, group_type: &str) -> Self {
        let cloud = DevCloud::start(Options::default()).await.unwrap();
        let servers = cloud.seed("demo", case).unwrap();
        let demo = Somebody::new(cloud.cloud_config("demo").auth_url.as_str(), "demo").await;
        let groups = || with(GROUPS.0, GROUPS.1);
        let types = demo
            .ask("GET", "volumev3:/group_types", groups())
            .await
            .expect(200);
        let mut types = types.body["group_types"].as_array().unwrap().iter();
        let kind = types.find(|kind| kind["name"] == group_type).unwrap()["id"].clone();
        let volumes = demo.get("volumev3:/volumes/detail").await.expect(200);
        let volumes = volumes.body["volumes"].as_array().unwrap().clone();
        let wanted =
            json!({ "group": { "name": "together", "group_type": kind, "volume_types": ["rbd"] } });
        let group = demo
            .ask("POST", "volumev3:/groups", groups().body(wanted))
            .await;
        let group = group.expect(202).text("/group/id");
        let ids: Vec<&str> = volumes.iter().map(|v| v["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), volumes_of_case);
        let add = json!({ "group": { "add_volumes": ids.join(",") } });
        let path = format!("volumev3:/groups/{group}");
        demo.ask("PUT", &path, groups().body(add)).await.expect(202);
        for id in ids {
            let unset = json!({ "os-unset_image_metadata": { "key": "hw_qemu_guest_agent" } });
            demo.post(&format!("volumev3:/volumes/{id}/action"), unset)
                .await;
        }
        Self {
            cloud,
            demo,
            servers,
            group,
        }
    }

    async fn connect(&self, options: OpenStackOptions) -> (OpenStack, ResourceGraph) {
        let config = self.cloud.cloud_config("demo");
        let cloud = OpenStack::connect(&config, options, Env::system())
            .await
            .unwrap();
        let servers = self.servers.iter().cloned().map(ServerSelector::Id);
        let selection = Selection(servers.collect());
        let graph = cloud.discover(&selection).await.unwrap();
        (cloud, graph)
    }

    /// How many snapshots and group snapshots there are.
    async fn left(&self) -> (usize, usize) {
        let count = async |path: &str, key: &str| {
            let all = self.demo.ask("GET", path, with(GROUPS.0, GROUPS.1)).await;
            all.expect(200).body[key].as_array().unwrap().len()
        };
        (
            count("volumev3:/snapshots", "snapshots").await,
            count("volumev3:/group_snapshots", "group_snapshots").await,
        )
    }
}

async fn take(cloud: &OpenStack, graph: &ResourceGraph, notebook: &Notebook) -> SnapshotSet {
    let disks: Vec<DiskId> = graph
        .disks()
        .unwrap()
        .into_iter()
        .map(|(disk, _)| disk)
        .collect();
    let request = SnapshotRequest {
        graph,
        disks: &disks,
        consistency: ACROSS,
        marker: "grouped",
        keep_anchor: false,
    };
    cloud.snapshot(request, notebook).await.unwrap()
}

async fn release(cloud: &OpenStack, notebook: &Notebook) {
    for temporary in notebook.open().iter().rev() {
        cloud.release(temporary).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_takes_all_disks_at_one_instant() {
    let site = Site::new("default_cgsnapshot_type").await;
    let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
    assert_eq!(cloud.capabilities(&graph).await.unwrap().best, ACROSS);
    for _ in 0..5 {
        site.cloud.write_records(&site.servers[0]).unwrap();
    }
    let notebook = Notebook::new();
    let set = take(&cloud, &graph, &notebook).await;
    site.cloud.write_records(&site.servers[0]).unwrap();
    assert_eq!(set.ledger.reached(), ACROSS);
    assert!(
        set.ledger
            .disks
            .iter()
            .all(|disk| disk.means.contains("group snapshot"))
    );
    let recorded = notebook.open();
    let kinds: Vec<&str> = recorded.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, [GROUP_SNAPSHOT]);
    for disk in &set.disks {
        let opened = cloud.open(&set, &disk.disk, None, &notebook).await.unwrap();
        let mut head = BytesMut::zeroed(8 << 20);
        head = opened.reader.read_at(0, head).await.unwrap();
        let of = |at: u64, length: usize| {
            let at = usize::try_from(at).unwrap();
            head.get(at..at + length)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
        };
        assert_eq!(last_record(of).unwrap(), 5, "{}", disk.disk);
    }
    // The cloud lets none of them go by itself.
    let listed = site.demo.get("volumev3:/snapshots").await.expect(200);
    let one = listed.body["snapshots"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    site.demo
        .ask("DELETE", &format!("volumev3:/snapshots/{one}"), none())
        .await
        .expect(400);
    release(&cloud, &notebook).await;
    assert_eq!(site.left().await, (0, 0));
}

/// Servers whose volumes are in one group are of one instant with each other, though each has but one disk.
#[tokio::test]
async fn servers_of_one_group_share_a_group_snapshot() {
    let site = Site::of(Case::TwoOnOneNetwork, 2, "default_cgsnapshot_type").await;
    let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
    assert_eq!(graph.servers.len(), 2);
    let notebook = Notebook::new();
    let set = take(&cloud, &graph, &notebook).await;
    assert_eq!(set.ledger.reached(), ACROSS);
    assert!(set.ledger.skew.is_zero(), "{:?}", set.ledger);
    assert_eq!(site.left().await, (2, 1), "one for both");
    assert_eq!(notebook.open().len(), 1);
    release(&cloud, &notebook).await;
    assert_eq!(site.left().await, (0, 0));
}

/// A volume leaves the group after its server was looked at: that server is taken by other means, and what others share is not taken from them.
#[tokio::test]
async fn a_server_that_left_the_group_takes_nothing_from_the_others() {
    let site = Site::of(Case::TwoOnOneNetwork, 2, "default_cgsnapshot_type").await;
    let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
    let gone = graph.volumes[0].id.as_str();
    let remove = json!({ "group": { "remove_volumes": gone } });
    let path = format!("volumev3:/groups/{}", site.group);
    let removed = with(GROUPS.0, GROUPS.1).body(remove);
    site.demo.ask("PUT", &path, removed).await.expect(202);
    let notebook = Notebook::new();
    let set = take(&cloud, &graph, &notebook).await;
    let means = |disk: &DiskId| {
        let of = set.ledger.disks.iter().find(|one| one.disk == *disk);
        of.unwrap().means.as_str()
    };
    for volume in &graph.volumes {
        let (disk, left) = (
            DiskId::Volume(volume.id.clone()),
            volume.id.as_str() == gone,
        );
        let means = means(&disk);
        assert_eq!(means.contains("it left the group"), left, "{means}");
        cloud.open(&set, &disk, None, &notebook).await.unwrap();
    }
    assert!(!set.ledger.skew.is_zero(), "{:?}", set.ledger);
    assert_eq!(site.left().await, (2, 1));
    release(&cloud, &notebook).await;
    assert_eq!(site.left().await, (0, 0));
}

/// After a crash only its name is known.
#[tokio::test]
async fn a_group_snapshot_is_found_by_its_name() {
    let site = Site::new("default_cgsnapshot_type").await;
    let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
    let notebook = Notebook::new();
    take(&cloud, &graph, &notebook).await;
    assert_eq!(site.left().await, (3, 1));
    for mut temporary in notebook.open() {
        temporary.id = None;
        cloud.release(&temporary).await.unwrap();
    }
    assert_eq!(site.left().await, (0, 0));
}

#[tokio::test]
async fn groups_that_promise_nothing_are_not_used_unless_the_operator_vouches() {
    let site = Site::new("generic").await;
    let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
    let notebook = Notebook::new();
    let set = take(&cloud, &graph, &notebook).await;
    assert_eq!(set.ledger.reached(), Consistency::Crash);
    assert!(
        notebook
            .open()
            .iter()
            .all(|one| one.kind == VOLUME_SNAPSHOT)
    );
    release(&cloud, &notebook).await;
    let mut options = OpenStackOptions::default();
    options.snapshots.group_types = vec!["generic".to_owned()];
    let (cloud, graph) = site.connect(options).await;
    let notebook = Notebook::new();
    let set = take(&cloud, &graph, &notebook).await;
    assert_eq!(set.ledger.reached(), ACROSS);
    release(&cloud, &notebook).await;
    assert_eq!(site.left().await, (0, 0));
}

/// It fails, or is refused, or its answer is lost: disks are taken one by one, and nothing of the group snapshot is left.
#[tokio::test]
async fn what_the_cloud_does_not_do_is_done_by_other_means() {
    let refused = Trouble::Status {
        status: 403,
        retry_after: None,
    };
    for trouble in [Trouble::EndsInError, refused, Trouble::LostAnswer] {
        let site = Site::new("default_cgsnapshot_type").await;
        let (cloud, graph) = site.connect(OpenStackOptions::default()).await;
        let pattern = "POST /volume/v3/*/group_snapshots";
        site.cloud.faults().once(pattern, trouble.clone()).unwrap();
        let notebook = Notebook::new();
        let set = take(&cloud, &graph, &notebook).await;
        assert_eq!(site.cloud.faults().hits(), 1);
        assert_eq!(set.ledger.reached(), Consistency::Crash, "{trouble:?}");
        let means = &set.ledger.disks[0].means;
        assert!(means.contains("a group snapshot was refused"), "{means}");
        assert_eq!(site.left().await, (3, 0), "{trouble:?}");
        release(&cloud, &notebook).await;
        assert_eq!(site.left().await, (0, 0));
    }
}
