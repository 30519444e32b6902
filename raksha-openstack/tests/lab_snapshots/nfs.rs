//! A volume on NFS, read as the file that it is.

use bytes::BytesMut;
use raksha_core::cloud::{Consistency, DiskId, DiskReader, SnapshotProvider};
use raksha_core::testkit::cloud::Notebook;
use raksha_openstack::client::{Request, Service};
use raksha_openstack::roads::RoadKind;
use serde_json::json;

use super::bench::{self, Server};
use super::lab;

/// Compares what a disk begins with, and that the rest is zeroes.
async fn begins_with(reader: &dyn DiskReader, content: &[u8]) {
    assert!(reader.size() >= content.len() as u64);
    let mut at = 0;
    while at < reader.size() {
        let length = (reader.size() - at).min(16 << 20);
        let read = reader
            .read_at(at, BytesMut::zeroed(usize::try_from(length).unwrap()))
            .await
            .unwrap();
        let start = usize::try_from(at).unwrap().min(content.len());
        let end = (start + read.len()).min(content.len());
        let (known, rest) = read.split_at(end - start);
        assert!(
            *known == content[start..end] && rest.iter().all(|byte| *byte == 0),
            "differs within 16 MiB of {at}"
        );
        at += length;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_on_nfs_is_read_as_a_file() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let mut options = lab::tenant(work.path());
    options.roads.allowed = vec![RoadKind::File];
    let export = lab::file("nfs-export");
    let name = format!("127.0.0.1:{}", export.display());
    options.roads.exports.insert(name, export);
    let cloud = lab::demo(options).await;
    let client = cloud.client();
    let marker = lab::marker("nfs");
    let images = client
        .list(Service::Image, Request::get("images"), "images")
        .await
        .unwrap();
    let image = images
        .iter()
        .find(|image| image["name"] == "raksha-guest")
        .unwrap();
    let mut server = Server::new(client, &format!("{marker}-server")).await;
    let nfs = json!({ "volume_type": "nfs", "imageRef": image["id"] });
    let volume = bench::volume(client, &format!("{marker}-server-nfs"), nfs).await;
    server.attach(volume.clone()).await;

    let graph = lab::graph(&cloud, &[&server.name]).await;
    let notebook = Notebook::new();
    let set = lab::take(
        &cloud,
        &graph,
        Consistency::Crash,
        &format!("{marker}-run"),
        false,
        &notebook,
    )
    .await;
    let disk = DiskId::Volume(volume.as_str().into());
    let opened = cloud.open(&set, &disk, None, &notebook).await.unwrap();
    let content = std::fs::read(lab::file("guest.raw")).unwrap();
    begins_with(opened.reader.as_ref(), &content).await;
    assert!(
        !lab::left(client, &format!("{marker}-run-2-volume"))
            .await
            .is_empty(),
        "it is read from a volume"
    );
    // What it was read from goes by itself.
    drop(opened);
    let gone = || async {
        let left = lab::left(client, &format!("{marker}-run-2-volume")).await;
        Ok(left.is_empty().then_some(()))
    };
    client
        .wait(
            "the volume to be gone",
            std::time::Duration::from_secs(300),
            gone,
        )
        .await
        .unwrap();
    lab::release(&cloud, &notebook).await;
    assert_eq!(lab::left(client, &format!("{marker}-run")).await, [""; 0]);
    server.delete().await;
}
