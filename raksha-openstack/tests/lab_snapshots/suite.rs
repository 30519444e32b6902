//! The conformance suite for snapshot providers, on the real cloud.

use std::io::Write;
use std::process::Command;

use async_trait::async_trait;
use bytes::Bytes;
use raksha_core::cloud::{DiskId, ResourceGraph, SnapshotProvider};
use raksha_core::testkit::cloud::{SnapshotBench, check_snapshots};
use raksha_core::{Error, Kind, Result};
use raksha_openstack::OpenStack;

use super::bench::Server;
use super::lab;

const SEED: u64 = 77;

struct Bench {
    cloud: OpenStack,
    server: String,
}

#[async_trait]
impl SnapshotBench for Bench {
    fn provider(&self) -> &dyn SnapshotProvider {
        &self.cloud
    }

    async fn graph(&self) -> Result<ResourceGraph> {
        Ok(lab::graph(&self.cloud, &[&self.server]).await)
    }

    /// Beside the guest, which has no operating system and leaves its disks alone.
    async fn write(&self, disk: &DiskId, offset: u64, data: Bytes) -> Result<()> {
        let DiskId::Volume(volume) = disk else {
            return Err(Error::new(Kind::Invalid, "write", "no volume"));
        };
        let image = format!("rbd:volumes/volume-{volume}:id=openstack:conf=/etc/ceph/ceph.conf");
        let write = move || {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&data).unwrap();
            let command = format!("write -s {} {offset} {}", file.path().display(), data.len());
            let done = Command::new("qemu-io")
                .args(["-f", "raw", "-c", &command, &image])
                .output();
            let done = done.unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        tokio::task::spawn_blocking(write).await.unwrap();
        Ok(())
    }

    async fn temporaries(&self) -> Result<usize> {
        Ok(lab::left(self.cloud.client(), &format!("suite-{SEED}-"))
            .await
            .len())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_keeps_the_contract() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::operator(work.path())).await;
    let server = Server::new(cloud.client(), &lab::marker("suite")).await;
    let bench = Bench {
        cloud,
        server: server.name.clone(),
    };
    let verdict = check_snapshots(&bench, SEED).await;
    server.delete().await;
    verdict.unwrap();
}
