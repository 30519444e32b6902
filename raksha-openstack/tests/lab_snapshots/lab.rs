//! The lab's cloud, and what is in it.

use std::path::Path;
use std::time::Duration;

use raksha_core::cloud::{
    Consistency, DiskId, ResourceDiscovery, ResourceGraph, Selection, ServerSelector,
    SnapshotProvider, SnapshotRequest, SnapshotSet,
};
use raksha_core::env::Env;
use raksha_core::testkit::cloud::Notebook;
use raksha_openstack::client::{Client, Request, Service};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::roads::{RoadKind, RoadOptions};
use raksha_openstack::snapshots::SnapshotOptions;
use raksha_openstack::{CephAccess, OpenStack, OpenStackOptions};
use serde_json::Value;

/// Held by each test while it works.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn home() -> String {
    std::env::var("RAKSHA_LAB").unwrap_or_else(|_| "/var/lib/raksha-lab".to_owned())
}

/// The lab's directory.
pub(crate) fn file(name: &str) -> std::path::PathBuf {
    Path::new(&home()).join(name)
}

/// A name that nobody else uses now.
pub(crate) fn marker(test: &str) -> String {
    format!("raksha-snapshots-{test}-{}", std::process::id())
}

/// Options of a plain tenant: images only.
pub(crate) fn tenant(work: &Path) -> OpenStackOptions {
    let mut options = OpenStackOptions::default();
    options.roads = RoadOptions::default();
    options.roads.allowed = vec![RoadKind::Image];
    options.roads.work = work.to_owned();
    options
}

/// Options of an operator: straight from Ceph.
pub(crate) fn operator(work: &Path) -> OpenStackOptions {
    let mut options = tenant(work);
    options.roads.allowed = vec![RoadKind::Rbd];
    options.operator = Some(CephAccess {
        conf: "/etc/ceph/ceph.conf".into(),
        user: "openstack".to_owned(),
        keyring: "/etc/ceph/ceph.client.openstack.keyring".into(),
        pools: vec!["volumes".to_owned()],
    });
    options
}

/// The same, and servers may be paused.
pub(crate) fn pausing(mut options: OpenStackOptions) -> OpenStackOptions {
    options.snapshots = SnapshotOptions::default();
    options.snapshots.pause = true;
    options.snapshots.longest_pause = Duration::from_secs(400);
    options
}

/// The cloud as its user `demo`.
pub(crate) async fn demo(options: OpenStackOptions) -> OpenStack {
    let clouds = file("clouds.yaml");
    let sources = Sources::default()
        .variable("OS_CLIENT_CONFIG_FILE", clouds.to_str().unwrap())
        .variable("HOME", "/root");
    let config = CloudConfig::named("raksha-demo", &sources).unwrap();
    let cloud = OpenStack::connect(&config, options, Env::system()).await;
    cloud.expect("the lab's cloud must be up: tests/lab/openstack-up.sh")
}

pub(crate) async fn graph(cloud: &OpenStack, servers: &[&str]) -> ResourceGraph {
    let names = servers
        .iter()
        .map(|name| ServerSelector::Name((*name).to_owned()));
    let graph = cloud.discover(&Selection(names.collect())).await.unwrap();
    assert_eq!(
        graph.servers.len(),
        servers.len(),
        "run tests/lab/openstack-cases.sh first"
    );
    graph
}

pub(crate) fn disks(graph: &ResourceGraph) -> Vec<DiskId> {
    graph
        .disks()
        .unwrap()
        .into_iter()
        .map(|(disk, _)| disk)
        .collect()
}

pub(crate) async fn take(
    cloud: &OpenStack,
    graph: &ResourceGraph,
    level: Consistency,
    marker: &str,
    keep_anchor: bool,
    notebook: &Notebook,
) -> SnapshotSet {
    let disks = disks(graph);
    let request = SnapshotRequest {
        graph,
        disks: &disks,
        consistency: level,
        marker,
        keep_anchor,
    };
    let set = cloud.snapshot(request, notebook).await.unwrap();
    for disk in &set.ledger.disks {
        eprintln!(
            "{}: {} at {}, frozen {:?}; {}",
            disk.disk, disk.level, disk.taken, disk.freeze, disk.means
        );
    }
    eprintln!("skew {:?}", set.ledger.skew);
    set
}

/// Releases what was recorded, the latest first, twice.
pub(crate) async fn release(cloud: &OpenStack, notebook: &Notebook) {
    for temporary in notebook.open().iter().rev() {
        for _ in 0..2 {
            cloud.release(temporary).await.unwrap();
        }
    }
}

/// The kinds and names of all snapshots, volumes and images whose name contains `marker`.
pub(crate) async fn left(client: &Client, marker: &str) -> Vec<String> {
    let mut left = Vec::new();
    for (service, path, key) in [
        (Service::BlockStorage, "snapshots/detail", "snapshots"),
        (Service::BlockStorage, "volumes/detail", "volumes"),
        (Service::Image, "images", "images"),
    ] {
        let all = client.list(service, Request::get(path), key).await.unwrap();
        let names = all.iter().filter_map(|one| one.get("name")?.as_str());
        let ours = names.filter(|name| name.contains(marker));
        left.extend(ours.map(|name| format!("{key}: {name}")));
    }
    left
}

/// A server's status and what is being done to it.
pub(crate) async fn status(client: &Client, server: &str) -> (String, bool) {
    let answer = client
        .send(Service::Compute, Request::get(format!("servers/{server}")))
        .await;
    let server = answer.unwrap().take("server").unwrap();
    let status = server
        .get("status")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    let busy = server
        .get("OS-EXT-STS:task_state")
        .is_some_and(|task| !task.is_null());
    (status, busy)
}
