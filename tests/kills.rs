//! The `raksha` program, killed in the middle of what it does: nothing half done looks whole, what was published is not stored again, and what
//! was left in the cloud is cleaned up.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use raksha_core::env::Env;
use raksha_core::local::{LocalCloud, NewServer};
use raksha_core::repository::{Action, EngineOptions, Repository, Secret, Target};
use raksha_core::store::Role;
use raksha_tests::{Place, Program, Random, contents, disks, files, text};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// How many log entries there are beyond those of a new repository and of the session that is open: what was published.
fn publications(place: &Place) -> usize {
    let digits = |f: &PathBuf| {
        let name = f.file_name().unwrap().to_string_lossy().into_owned();
        name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())
    };
    let entries = files(&place.path("target/log"));
    entries
        .iter()
        .filter(|f| digits(f))
        .count()
        .saturating_sub(2)
}

/// Kills a call as soon as enough is seen.
fn kill_when(raksha: &Program, arguments: &[&str], seen: impl Fn() -> bool) {
    raksha.killed(arguments, Duration::from_millis(1), seen);
}

/// Bytes of data packs that the log has, whoever added them.
async fn published(place: &Place) -> u64 {
    let memory = object_store::memory::InMemory::new();
    // The log alone tells, and can be read while nobody minds.
    for file in files(&place.path("target")) {
        let name = file.strip_prefix(place.path("target")).unwrap();
        if name.starts_with("packs") {
            continue;
        }
        let location = object_store::path::Path::from(text(name));
        memory
            .put(&location, fs::read(&file).unwrap().into())
            .await
            .unwrap();
    }
    let key = Secret::key_file(&fs::read(place.path("key")).unwrap());
    let target = Target::new(Arc::new(memory));
    let repository = Repository::open(target, &key, EngineOptions::default())
        .await
        .unwrap();
    let mut bytes = 0;
    for happened in repository.history(0, 10_000).await.unwrap() {
        if let Action::PacksAdded { packs, .. } = happened.action {
            bytes += packs
                .iter()
                .filter(|p| p.role == Role::Data)
                .map(|p| p.bytes)
                .sum::<u64>();
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backup_goes_on_where_it_was() {
    let place = Place::new();
    let raksha = &place.raksha;
    const SIZE: u64 = 320 * MIB;
    let mut random = Random::announced("command");
    // Bytes that do not compress, so that what is published and what is new can be compared.
    let content = random.bytes(SIZE as usize);
    let disk = place.file("disk.raw", &content);
    let backup = ["disk", "backup", disk.as_str(), "--name", "big"];
    kill_when(raksha, &backup, || publications(&place) >= 1);
    assert_eq!(
        raksha.json(&["points"]),
        Value::Array(Vec::new()),
        "half a backup is no point"
    );
    let before = published(&place).await;
    assert!(before > 0, "nothing was published");

    let second = raksha.json(&backup);
    let new = second["new_bytes"].as_u64().unwrap();
    println!(
        "killed after {} MiB were published; of {} MiB, {} MiB were new to the second run",
        before / MIB,
        SIZE / MIB,
        new / MIB
    );
    // Packs have directories and records have tags, some hundredths of their size.
    let together = new + before;
    assert!(
        together >= SIZE,
        "{new} new + {before} known are less than the disk has"
    );
    assert!(
        together <= SIZE + SIZE / 50,
        "{new} new + {before} known: what was published was stored again"
    );

    let out = place.path("out.raw");
    raksha.ok(&[
        "disk",
        "restore",
        second["point"].as_str().unwrap(),
        &text(&out),
    ]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );
    fs::remove_file(&out).unwrap();
    // The dead session is fenced off, and what it had uploaded and not published goes.
    let collected = raksha.json(&["collect", "--fence-after", "0s"]);
    assert_eq!(
        collected["fenced"].as_array().unwrap().len(),
        1,
        "{collected}"
    );
    raksha.ok(&["verify"]);
    // A restore that is killed leaves nothing that could be taken for the disk.
    kill_when(
        raksha,
        &[
            "disk",
            "restore",
            second["point"].as_str().unwrap(),
            &text(&out),
        ],
        || place.path("out.raw.partial").exists(),
    );
    assert!(!out.exists(), "half a disk has the name of a whole one");
    raksha.ok(&[
        "disk",
        "restore",
        second["point"].as_str().unwrap(),
        &text(&out),
    ]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_is_cleaned_up_after() {
    let place = Place::new();
    let mut random = Random::announced("command");
    let cloud = LocalCloud::create(place.path("here"), Env::system())
        .await
        .unwrap();
    cloud
        .add_server(NewServer::new("web").volume("data", 200 * MIB))
        .await
        .unwrap();
    for path in disks(&cloud).await.into_values() {
        fs::write(path, random.bytes(200 * MIB as usize)).unwrap();
    }
    let address = format!("local:{}", place.path("here").display());
    let raksha = place.raksha.clone().with("RAKSHA_CLOUD", &address);
    raksha.ok(&["job", "create", "nightly", "--server", "all"]);
    let snapshots = place.path("here/snapshots");
    let packs = place.path("target/packs");
    kill_when(&raksha, &["job", "run", "nightly"], || {
        files(&packs).len() >= 3
    });
    assert!(
        !files(&snapshots).is_empty(),
        "the run should have had a snapshot"
    );

    let reaped = raksha.json(&["reap", "--all"]);
    assert_eq!(reaped["runs"].as_array().unwrap().len(), 1, "{reaped}");
    assert!(reaped["released"].as_u64().unwrap() >= 1, "{reaped}");
    assert_eq!(
        files(&snapshots),
        Vec::<PathBuf>::new(),
        "a snapshot was left in the cloud"
    );
    let runs = raksha.json(&["run", "list"]);
    assert!(
        runs[0]["state"]["ended"]["outcome"]["failed"].is_object(),
        "{runs}"
    );
    let run = raksha.ok(&["job", "run", "nightly"]);
    let there = LocalCloud::create(place.path("there"), Env::system())
        .await
        .unwrap();
    let into = format!("local:{}", place.path("there").display());
    raksha.ok(&["restore", &run, "--into", &into]);
    assert!(
        contents(&there).await == contents(&cloud).await,
        "the server came back different"
    );
}
