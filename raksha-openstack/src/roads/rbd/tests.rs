//! Against the lab's Ceph cluster, in its pool `raksha`, which is there for tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use raksha_core::cloud::{Anchor, DiskWriter, ExtentKind, Temporary};
use raksha_core::testkit::Seeded;
use raksha_core::testkit::cloud::{check_reader, read_all};

use super::*;
use crate::temporary::RBD_SNAPSHOT;

const SEED: u64 = 0x0072_6264;
const OBJECT: u64 = 4 << 20;

fn access() -> CephAccess {
    CephAccess {
        conf: "/etc/ceph/ceph.conf".into(),
        user: "raksha".to_owned(),
        keyring: "/etc/ceph/ceph.client.raksha.keyring".into(),
        pools: vec!["raksha".to_owned()],
    }
}

/// An image of its own, removed when the test ends, however it ends.
struct Image {
    place: Place,
    rbd: Rbd,
    work: tempfile::TempDir,
}

impl Image {
    fn new(name: &str, size: u64) -> Self {
        let work = tempfile::tempdir().unwrap();
        let options = RoadOptions {
            work: work.path().to_owned(),
            ..RoadOptions::default()
        };
        let place = Place {
            pool: "raksha".to_owned(),
            image: format!("snapshots-test-{name}-{}", std::process::id()),
        };
        let rbd = Rbd::new(access(), &options, &Env::system());
        let image = Self { place, rbd, work };
        let create = ["create", "--size", &format!("{}M", size >> 20)];
        image
            .tool(&create)
            .expect("the lab's Ceph cluster must be up: tests/lab/ceph-up.sh");
        image
    }

    fn tool(&self, arguments: &[&str]) -> Result<(), String> {
        let done = Command::new("rbd")
            .args(["--id", "raksha", "--no-progress"])
            .args(arguments)
            .args(["--pool", "raksha", "--image", &self.place.image])
            .output()
            .map_err(|e| e.to_string())?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    async fn fill(&self, size: u64, content: &[(u64, Vec<u8>)]) {
        let writer = self.rbd.write(&self.place, size, true).await.unwrap();
        for (at, data) in content {
            writer
                .write_at(*at, Bytes::from(data.clone()))
                .await
                .unwrap();
        }
        writer.finish().await.unwrap();
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.tool(&["snap", "purge"]);
        let _ = self.tool(&["rm"]);
    }
}

fn anchor(place: &Place, snapshot: &Snapshot, identity: String, created: Timestamp) -> Anchor {
    Anchor {
        id: snapshot.name.clone(),
        identity,
        temporary: Temporary {
            marker: snapshot.name.clone(),
            kind: RBD_SNAPSHOT.to_owned(),
            id: None,
            detail: json!({ "place": place, "rbd_snapshot": snapshot.name, "created": created }),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_read_and_compared() {
    let size = 64 << 20;
    let image = Image::new("compare", size);
    let (rbd, place) = (&image.rbd, &image.place);
    let mut random = Seeded::new(SEED);
    let first = [
        (0, random.bytes(700_000)),
        (5 * OBJECT + 4096, random.bytes(100_000)),
    ];
    image.fill(size, &first).await;
    let old = rbd.make_snapshot(place, "old").await.unwrap();
    let second = [
        (5 * OBJECT + 8192, random.bytes(4096)),
        (12 * OBJECT, random.bytes(10)),
    ];
    image.fill(size, &second).await;
    let new = rbd.make_snapshot(place, "new").await.unwrap();

    let mut content = vec![0; usize::try_from(size).unwrap()];
    for (at, data) in &first {
        let at = usize::try_from(*at).unwrap();
        content[at..at + data.len()].copy_from_slice(data);
    }
    let reader = rbd.read(place, &old).await.unwrap();
    check_reader(reader.as_ref(), &content, SEED).await.unwrap();
    let extents = reader.extents(0..size).await.unwrap();
    let data: u64 = (extents.iter())
        .filter(|extent| extent.kind == ExtentKind::Data)
        .map(|extent| extent.range.end - extent.range.start)
        .sum();
    assert!(data <= 3 * OBJECT, "holes are read: {extents:?}");

    let created = Timestamp::from_millis(1);
    let identity = rbd.identity(place, &old, created).await.unwrap();
    let good = anchor(place, &old, identity.clone(), created);
    let hint = rbd.hint(place, &good, &new).await.unwrap();
    let is = read_all(rbd.read(place, &new).await.unwrap().as_ref())
        .await
        .unwrap();
    let differ = (0..size).step_by(512).filter(|at| {
        let range = usize::try_from(*at).unwrap()..usize::try_from(*at + 512).unwrap();
        content[range.clone()] != is[range]
    });
    let told = |at: u64| hint.changed.iter().any(|range| range.contains(&at));
    let differ: Vec<u64> = differ.collect();
    assert!(
        !differ.is_empty() && differ.iter().all(|at| told(*at)),
        "{hint:?}"
    );
    let length: u64 = hint.changed.iter().map(|r| r.end - r.start).sum();
    assert!(length <= 2 * OBJECT, "only what changed is told: {hint:?}");

    // An anchor of another identity, one that was made anew under its name, and one that is gone.
    let forged = anchor(place, &old, format!("{identity} "), created);
    assert_eq!(rbd.hint(place, &forged, &new).await, None);
    rbd.remove_snapshot(place, "old").await.unwrap();
    assert_eq!(rbd.hint(place, &good, &new).await, None);
    rbd.make_snapshot(place, "old").await.unwrap();
    assert_eq!(
        rbd.hint(place, &good, &new).await,
        None,
        "it is another snapshot now"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_released_and_nothing_else() {
    let image = Image::new("release", 8 << 20);
    let (rbd, place) = (&image.rbd, &image.place);
    let mine = rbd.make_snapshot(place, "raksha-1-0").await.unwrap();
    rbd.make_snapshot(place, "theirs").await.unwrap();
    let temporary = anchor(place, &mine, String::new(), Timestamp::from_millis(1)).temporary;
    for _ in 0..2 {
        rbd.remove_snapshot(place, &temporary.marker).await.unwrap();
    }
    assert_eq!(
        rbd.snapshot(place, "raksha-1-0").await.unwrap_err().kind(),
        Kind::NotFound
    );
    assert!(rbd.snapshot(place, "theirs").await.is_ok());
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    let image = Image::new("errors", 8 << 20);
    let place = &image.place;
    assert_eq!(image.rbd.find("no-such-image").await.unwrap(), None);
    assert_eq!(
        image.rbd.find(&place.image).await.unwrap().as_ref(),
        Some(place)
    );
    let elsewhere = Place {
        pool: "volumes".to_owned(),
        image: "none".to_owned(),
    };
    let error = image.rbd.snapshot(&elsewhere, "none").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");

    let options = RoadOptions {
        work: image.work.path().to_owned(),
        ..RoadOptions::default()
    };
    let unknown = CephAccess {
        user: "nobody".to_owned(),
        ..access()
    };
    let error = Rbd::new(unknown, &options, &Env::system())
        .find("x")
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Denied | Kind::Unavailable),
        "{error}"
    );
    let absent = RoadOptions {
        rbd: "/nowhere/rbd".into(),
        ..options
    };
    let error = Rbd::new(access(), &absent, &Env::system())
        .find("x")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}

/// Prints how long the road takes beside `rbd export` into a pipe, for 256 MiB of data in an image of 1 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stderr)] // what was measured
async fn the_road_and_rbd_export_give_the_same() {
    let size = 1 << 30;
    let image = Image::new("speed", size);
    let mut random = Seeded::new(SEED ^ 2);
    let content: Vec<(u64, Vec<u8>)> = (0..64)
        .map(|i| (i * 4 * OBJECT, random.bytes(4 << 20)))
        .collect();
    image.fill(size, &content).await;
    let snapshot = image
        .rbd
        .make_snapshot(&image.place, "speed")
        .await
        .unwrap();

    let began = Instant::now();
    let exported = tokio::task::spawn_blocking({
        let (work, name): (PathBuf, _) =
            (image.work.path().join("export"), image.place.image.clone());
        move || {
            let done = Command::new("rbd")
                .args(["--id", "raksha", "--no-progress", "export"])
                .arg(format!("raksha/{name}@speed"))
                .arg(&work)
                .status();
            assert!(done.unwrap().success());
            work
        }
    });
    let exported: PathBuf = exported.await.unwrap();
    let by_export = began.elapsed();

    let began = Instant::now();
    let reader = image.rbd.read(&image.place, &snapshot).await.unwrap();
    let mut bytes = 0;
    let mut same = true;
    let file = std::fs::File::open::<&Path>(exported.as_ref()).unwrap();
    let mut compared = std::time::Duration::ZERO;
    for extent in reader.extents(0..size).await.unwrap() {
        if extent.kind == ExtentKind::Hole {
            continue;
        }
        let mut at = extent.range.start;
        while at < extent.range.end {
            let length = (extent.range.end - at).min(64 << 20);
            let buffer = bytes::BytesMut::zeroed(usize::try_from(length).unwrap());
            let read = reader.read_at(at, buffer).await.unwrap();
            let comparing = Instant::now();
            let mut wanted = vec![0; read.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut wanted, at).unwrap();
            same &= wanted[..] == read[..];
            compared += comparing.elapsed();
            bytes += length;
            at += length;
        }
    }
    let by_nbd = began.elapsed() - compared;
    assert!(same && bytes >= 256 << 20, "{bytes}");
    eprintln!(
        "1 GiB image, {} MiB of data: qemu-nbd {by_nbd:?}, rbd export {by_export:?}",
        bytes >> 20
    );
}
