//! Whatever comes from outside and is not what it must be ends in an error that says what to do and names the thing; nothing is
//! harmed, and nothing half done looks whole.

use std::io;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use raksha_core::id::PointId;
use raksha_core::repository::{
    CollectOptions, Repository, Secret, Target, VerifyOptions, verify_keyless,
};
use raksha_core::{Kind, PointSummary, RecoveryPoint};
use raksha_tests::{
    DAMAGED, HARMS, Harm, Random, Stored, back_up, failed, options, restore, small,
};

#[tokio::test]
async fn the_wrong_key_and_the_wrong_place_are_said() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    for wrong in [
        Secret::passphrase("Secret"),
        Secret::passphrase(""),
        Secret::key_file(&[7; 32]),
        Secret::key_file(b"short"),
        Secret::key_file(b""),
    ] {
        let opened = Repository::open(stored.target(), &wrong, options()).await;
        failed(opened, &[Kind::WrongKey, Kind::Invalid], &[]);
    }
    let empty = Target::new(Arc::new(InMemory::new()));
    let opened = Repository::open(empty.clone(), &stored.secret, options()).await;
    failed(opened, &[Kind::NotFound], &["raksha.json"]);
    failed(
        verify_keyless(&empty).await,
        &[Kind::NotFound],
        &["raksha.json"],
    );
    let again = Repository::create(stored.target(), small(), &stored.secret, options()).await;
    failed(again, &[Kind::AlreadyExists], &["open it"]);
    let repository = stored.open().await.unwrap();
    failed(
        repository.find_point("00000000").await,
        &[Kind::NotFound],
        &["00000000"],
    );
    let unknown = PointId::from_bytes([0; 32]);
    failed(repository.point(unknown).await, &[Kind::NotFound], &[]);
    failed(
        repository.forget(&[unknown], "test").await,
        &[Kind::NotFound],
        &[],
    );
    failed(
        repository.read(&[unknown], "test").await,
        &[Kind::NotFound],
        &[],
    );
    let mut verify = VerifyOptions::default();
    verify.points = Some(vec![unknown]);
    failed(repository.verify(&verify).await, &[Kind::NotFound], &[]);
    stored.is_whole().await;
}

/// An object's checksum line made anew, as whoever writes it honestly would.
fn framed(text: &str) -> Vec<u8> {
    format!(
        "{text}\nblake3 {}\n",
        blake3::hash(text.as_bytes()).to_hex()
    )
    .into_bytes()
}

#[tokio::test]
async fn what_a_newer_version_made_is_refused_by_name() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let (location, bytes) = stored.of("raksha.json").await.remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let json = &text[..text.rfind("\nblake3 ").unwrap()];
    assert_eq!(framed(json), text.as_bytes(), "this is how it is framed");
    for (old, new, name) in [
        ("\"format\": 1", "\"format\": 2", "format 2"),
        ("\"aligned\"", "\"wavelet\"", "wavelet"),
        ("\"fast_cdc\"", "\"slow_cdc\"", "slow_cdc"),
        ("\"zstd_adaptive\"", "\"brotli\"", "brotli"),
        ("\"aes-256-gcm\"", "\"rot-13\"", "rot-13"),
        ("\"blake3-keyed\"", "\"md5\"", "md5"),
    ] {
        assert!(json.contains(old), "{old} is not in {json}");
        let newer = framed(&json.replacen(old, new, 1));
        stored.overlay.replace(&location, newer).await;
        failed(
            stored.open().await,
            &[Kind::Unsupported],
            &[name, "newer version"],
        );
        failed(
            verify_keyless(&stored.target()).await,
            &[Kind::Unsupported],
            &[name],
        );
    }
    // What is no parameter that anybody could have chosen.
    for (old, new) in [
        ("\"segment_size\": 1048576", "\"segment_size\": 1000000"),
        ("\"pack_size\": 1048576", "\"pack_size\": 7"),
        ("\"smallest\": 6", "\"smallest\": 99"),
    ] {
        assert!(json.contains(old), "{old} is not in {json}");
        stored
            .overlay
            .replace(&location, framed(&json.replacen(old, new, 1)))
            .await;
        failed(
            stored.open().await,
            &[Kind::Invalid, Kind::Corrupt, Kind::Unsupported],
            &[],
        );
    }
    // What could have been chosen, but was not: the log vouches for what was.
    let other = json.replacen("\"pack_size\": 1048576", "\"pack_size\": 2097152", 1);
    stored.overlay.replace(&location, framed(&other)).await;
    failed(stored.open().await, &[Kind::Corrupt], &["raksha.json"]);
    stored.overlay.repair();
    stored.is_whole().await;
}

#[tokio::test]
async fn changed_parameters_are_noticed_behind_a_checkpoint_too() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    for n in 0..64 {
        repository
            .hold(stored.points[0].0, n % 2 == 0, "test")
            .await
            .unwrap();
    }
    assert!(
        !stored.of("checkpoint/").await.is_empty(),
        "there should be one by now"
    );
    let (location, bytes) = stored.of("raksha.json").await.remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let json = &text[..text.rfind("\nblake3 ").unwrap()];
    // Whoever can write to the target could have the next backups stored unsealed.
    let unsealed = json.replacen("\"aes-256-gcm\"", "\"none\"", 1);
    assert_ne!(unsealed, json);
    stored.overlay.replace(&location, framed(&unsealed)).await;
    failed(stored.open().await, &[Kind::Corrupt], &["raksha.json"]);
    stored.overlay.repair();
    stored.is_whole().await;
}

#[tokio::test]
async fn damage_to_what_opening_needs_is_named() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let mut needed = stored.of("raksha.json").await;
    needed.extend(stored.of("keys/").await);
    needed.extend(stored.of("index/").await);
    // The first entry, one in the middle: all are read where there is no checkpoint.
    let log = stored.of("log/").await;
    assert!(
        stored.of("checkpoint/").await.is_empty(),
        "so far there should be none"
    );
    needed.extend([log[0].clone(), log[5].clone()]);
    for (location, bytes) in &needed {
        for harm in HARMS {
            stored.harm(location, bytes, harm).await;
            let opened = stored.open().await.map(drop);
            let name = location.filename().unwrap();
            let number = name.trim_start_matches('0');
            match (location.as_ref().split('/').next().unwrap(), harm) {
                // The only slot is gone: no key fits.
                ("keys", Harm::Missing) => drop(failed(opened, &[Kind::WrongKey], &[])),
                // No log at all.
                ("log", Harm::Missing) if *location == log[0].0 => {
                    drop(failed(opened, &[Kind::Corrupt], &["no log"]));
                }
                ("log", _) if !number.is_empty() => {
                    drop(failed(opened, &[Kind::Corrupt], &["log", number]));
                }
                ("log", _) => drop(failed(opened, &[Kind::Corrupt], &["log"])),
                _ => drop(failed(opened, &DAMAGED, &[name])),
            }
            stored.overlay.repair();
        }
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn damage_to_what_is_stored_is_named_by_all_who_meet_it() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    for prefix in ["points/", "packs/"] {
        for (location, bytes) in stored.of(prefix).await {
            for harm in HARMS {
                stored.harm(&location, &bytes, harm).await;
                let repository = stored.open().await.unwrap();
                let keyless = verify_keyless(&stored.target()).await.unwrap();
                assert!(
                    keyless.damage.iter().any(|d| d.object == location.as_ref()),
                    "{harm:?}: {keyless:?}"
                );
                let deep = repository.verify(&VerifyOptions::default()).await.unwrap();
                let named = deep.damage.iter().find(|d| d.object == location.as_ref());
                assert!(named.is_some(), "{location} {harm:?}: {:?}", deep.damage);

                // Every point comes back as it was, or not at all: then the error names what is damaged.
                let name = location.filename().unwrap();
                let mut hurt = Vec::new();
                for (id, bytes) in &stored.points {
                    match restore(&repository, *id).await {
                        Ok(back) => assert!(
                            back.as_ref() == Some(bytes),
                            "{location} {harm:?}: other bytes came back"
                        ),
                        Err(error) => {
                            hurt.push(*id);
                            failed(Err::<(), _>(error), &DAMAGED, &[name]);
                        }
                    }
                }
                let told: Vec<PointId> = deep
                    .damage
                    .iter()
                    .flat_map(|d| &d.hurts)
                    .map(|h| h.point)
                    .collect();
                for id in &hurt {
                    assert!(
                        told.contains(id),
                        "{location} {harm:?}: {id} is hurt, and verify tells of {told:?}"
                    );
                }
                if prefix == "points/" {
                    assert_eq!(hurt.len(), 1, "{location} {harm:?}");
                    // Whether something is needed cannot be told without the point: nothing may be given up.
                    let collected = repository.collect(&CollectOptions::default()).await;
                    failed(collected, &DAMAGED, &[name]);
                }
                stored.overlay.repair();
            }
        }
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn collecting_gives_nothing_up_while_something_is_damaged() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let packs = stored.of("packs/").await.len();
    for n in 0..packs {
        for harm in HARMS {
            // Listed anew: the last collection may have rewritten them all.
            let now = stored.of("packs/").await;
            let (location, bytes) = &now[n.min(now.len() - 1)];
            stored.harm(location, bytes, harm).await;
            let mut how = CollectOptions::default();
            // Everything is rewritten that can be.
            how.rewrite_below = 1.0;
            if let Err(error) = stored.open().await.unwrap().collect(&how).await {
                let name = location.filename().unwrap();
                failed(Err::<(), _>(error), &DAMAGED, &[name]);
            }
            stored.overlay.repair();
            stored.is_whole().await;
        }
    }
}

#[tokio::test]
async fn a_backup_goes_on_beside_damage() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let (last, mut disk) = stored.points.last().unwrap().clone();
    let point = stored.of("points/").await;
    let (location, bytes) = point
        .iter()
        .find(|(l, _)| l.as_ref().ends_with(&last.to_string()))
        .unwrap();
    // A point that cannot be read must not stand in the way of the next one.
    for harm in HARMS {
        stored.harm(location, bytes, harm).await;
        let repository = stored.open().await.unwrap();
        disk[70_000..71_000].copy_from_slice(&random.bytes(1000));
        let id = back_up(&repository, "disk", &disk).await.unwrap();
        let back = restore(&repository, id).await.unwrap();
        assert!(
            back.as_ref() == Some(&disk),
            "{harm:?}: the new point came back different"
        );
        stored.points.push((id, disk.clone()));
        stored.overlay.repair();
        stored
            .open()
            .await
            .unwrap()
            .forget(&[id], "test")
            .await
            .unwrap();
        stored.points.pop();
    }
    stored.is_whole().await;
}

#[tokio::test]
async fn a_target_that_is_full_or_read_only_fails_a_backup_and_harms_nothing() {
    let random = &mut Random::announced("bad input");
    let mut stored = Stored::new(random).await;
    let errors = [
        (io::ErrorKind::StorageFull, Kind::Full),
        (io::ErrorKind::QuotaExceeded, Kind::Full),
        (io::ErrorKind::PermissionDenied, Kind::Denied),
        (io::ErrorKind::ReadOnlyFilesystem, Kind::Denied),
    ];
    for (error, kind) in errors {
        // The session, packs, the index, the log, the point: each is the one that does not fit any more.
        for more in 0..9 {
            let repository = stored.open().await.unwrap();
            let disk = random.bytes(2_500_000);
            stored.overlay.refuse_writes(error, more);
            let done = back_up(&repository, "disk", &disk).await;
            stored.overlay.repair();
            match done {
                // With so many writes allowed it is committed, and what is refused is only the end of the session.
                Ok(id) => {
                    assert!(more >= 5, "a backup takes more than {more} writes");
                    stored.points.push((id, disk));
                }
                Err(e) => drop(failed(Err::<(), _>(e), &[kind], &["object", "target"])),
            }
            let listed = repository.points().await.unwrap().len();
            assert_eq!(
                listed,
                stored.points.len(),
                "after {more} writes: half a backup is no point"
            );
        }
        stored.is_whole().await;
        let disk = random.bytes(100_000);
        let id = back_up(&stored.open().await.unwrap(), "disk", &disk)
            .await
            .unwrap();
        stored.points.push((id, disk));
    }
    // Deleting is refused as well: then nothing was lost either.
    let repository = stored.open().await.unwrap();
    let (first, _) = stored.points.remove(0);
    repository.forget(&[first], "test").await.unwrap();
    for more in 0..12 {
        stored
            .overlay
            .refuse_writes(io::ErrorKind::PermissionDenied, more);
        if let Err(e) = repository.collect(&CollectOptions::default()).await {
            failed(Err::<(), _>(e), &[Kind::Denied], &["object"]);
        }
        stored.overlay.repair();
        stored.is_whole().await;
    }
}

#[tokio::test]
async fn a_fenced_session_commits_nothing() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let repository = stored.open().await.unwrap();
    let (last, _) = stored.points.last().unwrap();
    let point = repository.point(*last).await.unwrap();
    let writer = repository.write(&[*last], "slow").await.unwrap();
    repository
        .fence(writer.session(), "operator")
        .await
        .unwrap();
    let again = RecoveryPoint {
        summary: PointSummary {
            name: "again".into(),
            ..point.summary
        },
        ..point
    };
    let error = failed(writer.commit(&again).await, &[Kind::Fenced], &[]);
    assert!(!error.is_retryable(), "the same session can never succeed");
    writer.close().await.unwrap();
    assert_eq!(
        repository.points().await.unwrap().len(),
        stored.points.len()
    );
    // Nobody else is hindered, and what the fenced one left goes.
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    assert_eq!(stored.of("points/").await.len(), stored.points.len());
    stored.is_whole().await;
}

#[tokio::test]
async fn a_hole_in_the_log_is_damage() {
    let stored = Stored::new(&mut Random::announced("bad input")).await;
    let log = stored.of("log/").await;
    for (n, (location, _)) in log.iter().enumerate().take(log.len() - 1).skip(1) {
        stored.overlay.remove(location);
        // It must not be taken for the log's end: points would be missing, and the next entry would be written into it.
        failed(stored.open().await, &[Kind::Corrupt], &[location.as_ref()]);
        // Two lost entries are no smaller a hole.
        stored.overlay.remove(&log[n - 1].0);
        failed(stored.open().await, &[Kind::Corrupt], &["log"]);
        stored.overlay.repair();
        stored.overlay.remove(location);
        let found = verify_keyless(&stored.target()).await.unwrap();
        let named: Vec<&str> = found.damage.iter().map(|d| d.object.as_str()).collect();
        assert_eq!(named, [location.as_ref()]);
        stored.overlay.repair();
    }
    assert!(stored.overlay.head(&log[1].0).await.is_ok());
    stored.is_whole().await;
}
