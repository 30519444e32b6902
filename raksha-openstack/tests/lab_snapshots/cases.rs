//! The lab's servers: taken, read by each road, compared with what the ledger says.

use std::time::{Duration, Instant};

use raksha_core::cloud::{Anchor, Consistency, DiskId, SnapshotProvider, SnapshotSet};
use raksha_core::testkit::cloud::{Notebook, read_all};
use raksha_openstack::OpenStack;

use super::{guest, lab};

/// The last numbers on the disks of a set, in order, and whether all file systems are clean.
pub(crate) async fn numbers(
    cloud: &OpenStack,
    set: &SnapshotSet,
    notebook: &Notebook,
) -> (Vec<u64>, bool) {
    let directory = tempfile::tempdir().unwrap();
    let (mut numbers, mut clean) = (Vec::new(), true);
    for (i, disk) in set.disks.iter().enumerate() {
        let began = Instant::now();
        let opened = cloud.open(set, &disk.disk, None, notebook).await.unwrap();
        let reader = opened.reader;
        let copied = guest::copy(reader.as_ref(), directory.path(), &i.to_string()).await;
        clean &= copied.is_clean();
        numbers.push(copied.last());
        eprintln!("{} read in {:?}", disk.disk, began.elapsed());
    }
    eprintln!("last numbers {numbers:?}, clean {clean}");
    (numbers, clean)
}

pub(crate) fn one_instant(numbers: &[u64]) -> bool {
    let (first, last) = (numbers[0], *numbers.last().unwrap());
    numbers.is_sorted_by(|a, b| a >= b) && first - last <= 1
}

/// A server that boots from a volume, frozen by Nova; read as its tenant, through images.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_freezes_and_reads_through_images() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::tenant(work.path())).await;
    let graph = lab::graph(&cloud, &["case2"]).await;
    assert_eq!(
        cloud.capabilities(&graph).await.unwrap().best,
        Consistency::FileSystem
    );
    let (marker, notebook) = (lab::marker("frozen"), Notebook::new());
    let set = lab::take(
        &cloud,
        &graph,
        Consistency::FileSystem,
        &marker,
        true,
        &notebook,
    )
    .await;
    assert_eq!(set.ledger.reached(), Consistency::FileSystem);
    assert_eq!(set.ledger.skew, Duration::ZERO);
    assert!(set.ledger.disks.iter().all(|disk| disk.freeze.is_some()));
    assert!(
        set.disks.iter().all(|disk| disk.anchor.is_none()),
        "a tenant has no use for anchors"
    );
    let recorded = notebook.open().len();
    assert_eq!(
        recorded,
        set.disks.len(),
        "the image without bytes is gone already"
    );

    let (numbers, clean) = numbers(&cloud, &set, &notebook).await;
    assert!(
        clean,
        "the file systems were not frozen, and the ledger says that they were"
    );
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
    assert_eq!(
        notebook.open().len(),
        recorded,
        "what disks were read by is given back"
    );
    assert_eq!(
        std::fs::read_dir(work.path()).unwrap().count(),
        0,
        "files are left here"
    );

    lab::release(&cloud, &notebook).await;
    assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
    let server = graph.servers[0].id.as_str();
    assert_eq!(
        lab::status(cloud.client(), server).await,
        ("ACTIVE".to_owned(), false)
    );
}

/// A server that boots from an image, with a volume: paused for one instant, read as its tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_pauses_and_reads_through_images() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::pausing(lab::tenant(work.path()))).await;
    let graph = lab::graph(&cloud, &["case1"]).await;
    assert_eq!(
        cloud.capabilities(&graph).await.unwrap().best,
        Consistency::CrashAcrossDisks
    );
    let (marker, notebook) = (lab::marker("paused"), Notebook::new());
    let set = lab::take(
        &cloud,
        &graph,
        Consistency::CrashAcrossDisks,
        &marker,
        false,
        &notebook,
    )
    .await;
    let server = graph.servers[0].id.as_str();
    assert_eq!(
        lab::status(cloud.client(), server).await.0,
        "ACTIVE",
        "the server goes on"
    );
    assert_eq!(set.ledger.reached(), Consistency::CrashAcrossDisks);
    let (numbers, _) = numbers(&cloud, &set, &notebook).await;
    assert!(one_instant(&numbers), "{numbers:?}");
    lab::release(&cloud, &notebook).await;
    assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
}

/// The future is dropped while the server stands still: it goes on, and what was recorded can be released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_when_the_run_is_dropped() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::pausing(lab::tenant(work.path()))).await;
    let graph = lab::graph(&cloud, &["case1"]).await;
    let server = graph.servers[0].id.as_str();
    let (marker, notebook) = (lab::marker("dropped"), Notebook::new());
    let was_paused = async {
        while lab::status(cloud.client(), server).await.0 != "PAUSED" {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        _ = lab::take(&cloud, &graph, Consistency::CrashAcrossDisks, &marker, false, &notebook) => {
            panic!("the snapshots were taken before the server was seen paused");
        }
        () = was_paused => {}
    }
    assert!(
        notebook
            .open()
            .iter()
            .any(|t| t.kind == raksha_openstack::temporary::PAUSE)
    );
    lab::release(&cloud, &notebook).await;
    assert_eq!(lab::status(cloud.client(), server).await.0, "ACTIVE");
    assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
}

/// Straight from Ceph, twice: what changed is told, and only that; anchors that are not what they were tell nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_from_ceph_with_hints() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::operator(work.path())).await;
    let graph = lab::graph(&cloud, &["case2"]).await;
    let (old_marker, new_marker) = (lab::marker("old"), lab::marker("new"));
    let (old_notes, new_notes) = (Notebook::new(), Notebook::new());
    let level = Consistency::FileSystem;
    let old = lab::take(&cloud, &graph, level, &old_marker, true, &old_notes).await;
    let (first, clean) = numbers(&cloud, &old, &old_notes).await;
    assert!(
        clean && first.iter().all(|number| *number == first[0]),
        "{first:?}"
    );
    let new = lab::take(&cloud, &graph, level, &new_marker, true, &new_notes).await;
    for disk in &old.disks {
        let anchor = disk
            .anchor
            .as_ref()
            .expect("each volume in Ceph has an anchor");
        let began = Instant::now();
        let opened = cloud
            .open(&new, &disk.disk, Some(anchor), &new_notes)
            .await
            .unwrap();
        let hint = opened.hint.expect("a hint");
        let told: u64 = hint.changed.iter().map(|r| r.end - r.start).sum();
        eprintln!(
            "{}: {told} of {} bytes may have changed, found in {:?}",
            disk.disk,
            disk.size,
            began.elapsed()
        );
        assert!(told < disk.size / 2, "a few records are not half a disk");
        let is = read_all(opened.reader.as_ref()).await.unwrap();
        let was = cloud
            .open(&old, &disk.disk, None, &old_notes)
            .await
            .unwrap();
        let was = read_all(was.reader.as_ref()).await.unwrap();
        // By sectors: the guest's blocks are of 1 KiB, and a hint tells no more than was written.
        let hidden = (0u64..)
            .step_by(512)
            .zip(is.chunks(512).zip(was.chunks(512)))
            .find(|(at, (is, was))| is != was && !hint.changed.iter().any(|r| r.contains(at)));
        assert!(
            hidden.is_none(),
            "byte {:?} changed and is not told",
            hidden.map(|(at, _)| at)
        );
        let forged = Anchor {
            identity: anchor.identity.replace("snapshot", "snapsh0t"),
            ..anchor.clone()
        };
        let opened = cloud
            .open(&new, &disk.disk, Some(&forged), &new_notes)
            .await
            .unwrap();
        assert_eq!(opened.hint, None, "another identity");
        let other = old
            .disks
            .iter()
            .find(|other| other.disk != disk.disk)
            .unwrap();
        let opened = cloud
            .open(&new, &disk.disk, other.anchor.as_ref(), &new_notes)
            .await
            .unwrap();
        assert_eq!(opened.hint, None, "another volume's anchor");
    }
    lab::release(&cloud, &old_notes).await;
    let first = &old.disks[0];
    let opened = cloud
        .open(&new, &first.disk, first.anchor.as_ref(), &new_notes)
        .await
        .unwrap();
    assert_eq!(opened.hint, None, "the anchor is gone");
    drop(opened);
    lab::release(&cloud, &new_notes).await;
    for marker in [old_marker, new_marker] {
        assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
    }
}

/// Two servers at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_are_taken_together() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::operator(work.path())).await;
    let graph = lab::graph(&cloud, &["case3a", "case3b"]).await;
    let (marker, notebook) = (lab::marker("two"), Notebook::new());
    let level = Consistency::FileSystem;
    let began = Instant::now();
    let set = lab::take(&cloud, &graph, level, &marker, false, &notebook).await;
    assert_eq!(set.ledger.reached(), level);
    assert!(set.ledger.skew > Duration::ZERO && set.ledger.skew <= began.elapsed());
    let (numbers, clean) = numbers(&cloud, &set, &notebook).await;
    assert!(clean && numbers.len() == 2);
    lab::release(&cloud, &notebook).await;
    assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
}

/// What was recorded without an id, as after a crash, is found by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_is_found_by_its_name() {
    let _turn = lab::TURN.lock().await;
    let work = tempfile::tempdir().unwrap();
    let cloud = lab::demo(lab::tenant(work.path())).await;
    let graph = lab::graph(&cloud, &["case2"]).await;
    let (marker, notebook) = (lab::marker("lost"), Notebook::new());
    let set = lab::take(
        &cloud,
        &graph,
        Consistency::Crash,
        &marker,
        false,
        &notebook,
    )
    .await;
    assert_eq!(
        set.ledger.reached(),
        Consistency::Crash,
        "nobody was frozen"
    );
    assert!(set.ledger.disks.iter().all(|disk| disk.freeze.is_none()));
    let unknown = DiskId::Named("x".to_owned());
    assert!(cloud.open(&set, &unknown, None, &notebook).await.is_err());
    assert_eq!(
        lab::left(cloud.client(), &marker).await.len(),
        set.disks.len()
    );
    for mut temporary in notebook.open() {
        temporary.id = None;
        cloud.release(&temporary).await.unwrap();
    }
    assert_eq!(lab::left(cloud.client(), &marker).await, [""; 0]);
}
