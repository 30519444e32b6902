//! What is special about directories; what all targets have in common is in the conformance suite.

use std::collections::BTreeSet;
use std::process::Command;

use futures_util::future::join_all;
use futures_util::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use raksha_core::Kind;
use raksha_core::env::Env;

use super::Directory;
use super::files::STAGING;
use super::staging::Staging;
use crate::testkit::Random;

async fn open(at: &std::path::Path) -> Directory {
    Directory::open(at, true, Env::system()).await.unwrap()
}

async fn names(store: &Directory) -> Vec<String> {
    let listed = store.list(None).map_ok(|m| m.location.to_string());
    let mut names: Vec<_> = listed.try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn leftovers_of_the_dead_go_and_files_of_the_living_stay() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    store.put(&Path::from("a/b"), "x".into()).await.unwrap();
    let dead = home.path().join(STAGING).join("left-by-a-crash");
    std::fs::write(&dead, "half").unwrap();
    let mut living = Staging::new(home.path(), Env::system()).create().unwrap();
    living.write(b"under way").unwrap();

    assert_eq!(names(&store).await, ["a/b"], "neither is an object");
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(level.common_prefixes, [Path::from("a")]);
    let store = open(home.path()).await;
    assert!(!dead.exists() && living.path().exists());
    drop(living);
    assert_eq!(
        std::fs::read_dir(home.path().join(STAGING))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(names(&store).await, ["a/b"]);
    let reserved = Path::from(STAGING).join("x");
    store.put(&reserved, "x".into()).await.unwrap_err();
}

/// Run again in processes of their own by the test below.
#[tokio::test]
async fn racing_creator() {
    let Ok(home) = std::env::var("RACING_CREATOR_HOME") else {
        return;
    };
    let store = open(home.as_ref()).await;
    let me = std::process::id().to_string();
    for round in 0..60 {
        let location = Path::from(format!("log/{round}"));
        let create = PutOptions::from(PutMode::Create);
        match store.put_opts(&location, me.clone().into(), create).await {
            Ok(_) => {
                let mine = Path::from(format!("won/{me}/{round}"));
                store.put(&mine, "".into()).await.unwrap();
            }
            Err(Error::AlreadyExists { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn of_creators_in_several_processes_exactly_one_wins() {
    let home = tempfile::tempdir().unwrap();
    let creators: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["directory::tests::racing_creator", "--exact"])
                .env("RACING_CREATOR_HOME", home.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut creator in creators {
        assert!(creator.wait().unwrap().success());
    }
    let store = open(home.path()).await;
    let names = names(&store).await;
    let won: Vec<_> = names
        .iter()
        .filter_map(|n| n.strip_prefix("won/"))
        .collect();
    assert_eq!(won.len(), 60, "one winner a round");
    for won in won {
        let (winner, round) = won.split_once('/').unwrap();
        let there = store
            .get(&Path::from(format!("log/{round}")))
            .await
            .unwrap();
        assert_eq!(there.bytes().await.unwrap(), winner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_come_and_go_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    // Deleting empties the directories that others are just about to write into.
    let workers = (0..8u64).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            let random = Random::new(worker);
            for i in 0..30 {
                let directory = random.below(6);
                let name = Path::from(format!("packs/{directory}/{worker}-{i}"));
                store.put(&name, "x".into()).await.unwrap();
                store.head(&name).await.unwrap();
                if i < 29 {
                    store.delete(&name).await.unwrap();
                }
            }
        })
    });
    join_all(workers)
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
    assert_eq!(names(&store).await.len(), 8);
    let left: Vec<_> = store
        .list(None)
        .map_ok(|m| m.location)
        .try_collect()
        .await
        .unwrap();
    for location in left {
        store.delete(&location).await.unwrap();
    }
    assert!(!home.path().join("packs").exists(), "empty directories go");
}

#[tokio::test]
async fn listings_with_offset_agree_with_a_sorted_set() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    for seed in 0..25 {
        let random = Random::new(seed);
        let word = || ["a", "a-b", "a.c", "b", "b0"][usize::try_from(random.below(5)).unwrap()];
        // Files are at depth three, so that no name is both a file and a directory.
        let name = || Path::from(format!("{}/{}/{}", word(), word(), word()));
        let all: BTreeSet<Path> = (0..random.below(20)).map(|_| name()).collect();
        for location in &all {
            store.put(location, "x".into()).await.unwrap();
        }
        let offset = Path::from(format!("{}/{}", word(), word()));
        let prefix = random.chance(500).then(|| Path::from(word()));
        let listed = store.list_with_offset(prefix.as_ref(), &offset);
        let listed: BTreeSet<Path> = listed.map_ok(|m| m.location).try_collect().await.unwrap();
        let expected = all.iter().filter(|l| {
            **l > offset
                && prefix
                    .as_ref()
                    .is_none_or(|p| l.as_ref().starts_with(&format!("{p}/")))
        });
        assert!(
            listed.iter().eq(expected),
            "seed {seed}: {offset} {prefix:?} {listed:?} of {all:?}"
        );
        for location in &all {
            store.delete(location).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_upload_with_a_missing_part_does_not_become_an_object() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let location = Path::from("big");
    let mut upload = store.put_multipart(&location).await.unwrap();
    let first = upload.put_part(vec![1; 100].into());
    upload.put_part(vec![2; 50].into()).await.unwrap();
    drop(first);
    upload.complete().await.unwrap_err();
    drop(upload);
    assert!(names(&store).await.is_empty());
    assert_eq!(
        std::fs::read_dir(home.path().join(STAGING))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_made_only_if_told() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("not/yet");
    let open =
        |path: &std::path::Path, create| Directory::open(path.to_path_buf(), create, Env::system());
    let error = open(&path, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    open(&path, true).await.unwrap();
    open(&path, false).await.unwrap();
    std::fs::write(path.join("file"), "").unwrap();
    let error = open(&path.join("file"), false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    // A root that has gone is not made anew below somebody's feet.
    let store = open(&path, false).await.unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let error = store.put(&Path::from("a/b"), "x".into()).await.unwrap_err();
    let error = raksha_core::Error::object("store", &Path::from("a/b"), error);
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(!path.exists());
}
