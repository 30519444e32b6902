//! Bad input is refused with an error that names the thing, the reason and what to do.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::bench::Bench;
use crate::cloud::{DiskId, SnapshotProvider};
use crate::env::Env;
use crate::error::{Error, Kind};
use crate::local::LocalCloud;

/// Changes the example at `pointer` and opens it.
async fn open_changed(pointer: &str, value: Value) -> Error {
    let mut example: Value = serde_json::from_str(include_str!("../example.json")).unwrap();
    *example.pointer_mut(pointer).unwrap() = value;
    open_text(&example.to_string()).await
}

async fn open_text(text: &str) -> Error {
    let bench = Bench::empty().await;
    fs::write(bench.cloud.path().join("cloud.json"), text).unwrap();
    let opened = LocalCloud::open(bench.cloud.path(), Env::system()).await;
    let error = opened.expect_err(text);
    assert!(error.to_string().contains("cloud.json"), "{error}");
    error
}

fn says(error: &Error, kind: Kind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
}

#[tokio::test]
async fn malformed_descriptions() {
    let error = open_text("{\n  \"version\": 1,\n  \"graph\": [\n").await;
    says(&error, Kind::Invalid, &["line 4"]);
    says(&open_text("").await, Kind::Invalid, &["line 1"]);
    says(&open_text("{}").await, Kind::Invalid, &["version"]);
    says(
        &open_text("{\"version\": 2, \"new\": 1}").await,
        Kind::Unsupported,
        &["version 1", "not 2"],
    );
    let error = open_changed("/graph/servers/0/flavor/vcpus", json!("two")).await;
    says(&error, Kind::Invalid, &["two", "u32"]);
    let error = open_changed(
        "/graph/servers/0/flavor",
        json!({ "name": "x", "vcpus": 1 }),
    )
    .await;
    says(&error, Kind::Invalid, &["memory_mib"]);
    let error = open_changed(
        "/graph/volumes/0",
        json!({ "id": "web-data", "name": "data", "size": 1, "bootble": true }),
    )
    .await;
    says(&error, Kind::Invalid, &["graph.volumes.0.bootble"]);
    let error = open_changed("/disks/1/format", json!("vmdk")).await;
    says(&error, Kind::Invalid, &["vmdk", "qcow2"]);
}

#[tokio::test]
async fn descriptions_that_make_no_sense() {
    let error = open_changed("/graph/servers/0/ports/0", json!("nobody")).await;
    says(&error, Kind::Invalid, &["server web-1", "port nobody"]);
    let error = open_changed(
        "/graph/servers/0/attachments/1/source/volume",
        json!("lost"),
    )
    .await;
    says(&error, Kind::Invalid, &["web-1", "lost"]);
    let error = open_changed("/graph/ports/0/fixed_ips/0/subnet", json!("gone")).await;
    says(&error, Kind::Invalid, &["port web-port", "subnet gone"]);
    let volume = json!({ "id": "web-data", "name": "data", "size": 16777216 });
    let error = open_changed("/graph/volumes", json!([volume, volume])).await;
    says(&error, Kind::Invalid, &["volume web-data", "two"]);
    let error = open_changed("/disks", json!([])).await;
    says(&error, Kind::Invalid, &["web-data", "no file"]);
    let error = open_changed("/disks/1/disk/volume", json!("other")).await;
    says(&error, Kind::Invalid, &["volume:other"]);
    let error = open_changed("/disks/1/file", json!("images/web-root.qcow2")).await;
    says(
        &error,
        Kind::Invalid,
        &["two disks", "images/web-root.qcow2"],
    );
    let error = open_changed(
        "/graph/security_groups/0/rules/0",
        json!({ "direction": "egress", "ethertype": "IPv4", "remote_group": "x" }),
    )
    .await;
    says(&error, Kind::Invalid, &["security group x"]);
}

#[tokio::test]
async fn files_outside_the_directory() {
    for name in [
        "/etc/passwd",
        "../secret",
        "images/../../secret",
        "",
        ".",
        "a/./../../b",
    ] {
        let error = open_changed("/disks/1/file", json!(name)).await;
        says(&error, Kind::Invalid, &["web-data", "relative"]);
    }
    let bench = example_with_raw_disks().await;
    fs::write(bench.scratch.join("secret"), vec![0; 16 << 20]).unwrap();
    let file = bench.cloud.path().join("images/web-data.raw");
    fs::remove_file(&file).unwrap();
    symlink(bench.scratch.join("secret"), &file).unwrap();
    says(
        &look(&bench).await,
        Kind::Denied,
        &["web-data", "not in the cloud's directory"],
    );
    fs::remove_file(&file).unwrap();
    symlink(bench.scratch.path(), bench.cloud.path().join("way-out")).unwrap();
    let cloud_json = bench.cloud.path().join("cloud.json");
    let text = fs::read_to_string(&cloud_json).unwrap();
    fs::write(
        &cloud_json,
        text.replace("images/web-data.raw", "way-out/secret"),
    )
    .unwrap();
    says(&look(&bench).await, Kind::Denied, &["way-out/secret"]);
}

#[tokio::test]
async fn disk_files_that_are_not_as_described() {
    let bench = example_with_raw_disks().await;
    look_ok(&bench).await;
    let file = bench.cloud.path().join("images/web-data.raw");
    for length in [0, (16 << 20) - 1, (16 << 20) + 1] {
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(length)
            .unwrap();
        says(
            &look(&bench).await,
            Kind::Invalid,
            &["web-data", &length.to_string(), "16777216"],
        );
    }
    fs::remove_file(&file).unwrap();
    says(&look(&bench).await, Kind::NotFound, &["web-data.raw"]);
    fs::create_dir(&file).unwrap();
    says(
        &look(&bench).await,
        Kind::Invalid,
        &["web-data.raw", "regular"],
    );
}

#[tokio::test]
async fn directories_without_a_cloud_and_with_one() {
    let bench = Bench::empty().await;
    let nothing = LocalCloud::open(bench.scratch.path(), Env::system())
        .await
        .unwrap_err();
    says(&nothing, Kind::NotFound, &["cloud.json", "create"]);
    let nowhere = LocalCloud::open(bench.scratch.join("none"), Env::system())
        .await
        .unwrap_err();
    says(&nowhere, Kind::NotFound, &["none"]);
    let twice = LocalCloud::create(bench.cloud.path(), Env::system())
        .await
        .unwrap_err();
    says(&twice, Kind::AlreadyExists, &["open it"]);
}

#[tokio::test]
async fn disks_that_cannot_be_written() {
    let bench = example_with_raw_disks().await;
    let cloud = &bench.cloud;
    let disk = DiskId::Volume("web-data".into());
    let end = cloud
        .write_disk(&disk, (16 << 20) - 1, "ab".into())
        .await
        .unwrap_err();
    says(&end, Kind::Invalid, &["beyond the end"]);
    let lost = cloud
        .write_disk(&DiskId::Volume("x".into()), 0, "a".into())
        .await
        .unwrap_err();
    says(&lost, Kind::NotFound, &["volume:x"]);
}

async fn example_with_raw_disks() -> Bench {
    let bench = Bench::empty().await;
    let text = include_str!("../example.json")
        .replace("web-root.qcow2", "web-root.raw")
        .replace(
            r#""format": "qcow2", "backing": true"#,
            r#""format": "raw""#,
        );
    fs::write(bench.cloud.path().join("cloud.json"), text).unwrap();
    fs::create_dir(bench.cloud.path().join("images")).unwrap();
    for (name, size) in [("web-root", 8 << 20), ("web-data", 16 << 20)] {
        let file = bench.cloud.path().join(format!("images/{name}.raw"));
        fs::File::create(file).unwrap().set_len(size).unwrap();
    }
    bench
}

async fn look(bench: &Bench) -> Error {
    let graph = bench.cloud.graph().await.unwrap();
    bench.cloud.capabilities(&graph).await.unwrap_err()
}

async fn look_ok(bench: &Bench) {
    let graph = bench.cloud.graph().await.unwrap();
    bench.cloud.capabilities(&graph).await.unwrap();
}
