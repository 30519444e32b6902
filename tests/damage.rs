//! Damage: named with whom it hurts, taken out of use, and healed by the next backup, by the live disk, or by a replica.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use raksha_core::format::Chunking;
use raksha_core::protect::{Cancel, heal, heal_from_replica, replicate};
use raksha_core::repository::{
    CollectOptions, Parameters, Repository, Secret, Target, Verified, VerifyOptions,
};
use raksha_tests::{
    Harm, MemoryDisk, Place, Random, Stored, back_up, failed, files, options, restore, small,
};

async fn deep(repository: &Repository) -> Verified {
    repository.verify(&VerifyOptions::default()).await.unwrap()
}

/// Damages a pack of data and takes it out of use. The repository, opened anew, and the points that are hurt.
async fn hurt(stored: &Stored, harm: Harm) -> Repository {
    let packs = stored.of("packs/").await;
    // The largest holds data of the first point, which the others share.
    let (location, bytes) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    stored.harm(location, bytes, harm).await;
    let repository = stored.open().await.unwrap();
    let found = deep(&repository).await;
    let named: Vec<&str> = found.damage.iter().map(|d| d.object.as_str()).collect();
    assert_eq!(named, [location.as_ref()], "{harm:?}");
    let damage = &found.damage[0];
    assert!(!damage.hurts.is_empty(), "{harm:?}: {damage}");
    for hurt in &damage.hurts {
        let (_, content) = stored
            .points
            .iter()
            .find(|(id, _)| *id == hurt.point)
            .unwrap();
        let offset = hurt.offset.unwrap();
        assert!(
            hurt.disk.is_some() && offset < content.len() as u64,
            "{hurt:?}"
        );
        let back = restore(&repository, hurt.point).await;
        failed(back, &raksha_tests::DAMAGED, &[&hurt.point.to_string()]);
    }
    let salvaged = repository.retire_damaged(&found, "test").await.unwrap();
    assert_eq!(salvaged.retired_packs, 1, "{harm:?}: {salvaged:?}");
    assert!(salvaged.lost_chunks > 0 && salvaged.in_use.is_empty());
    match harm {
        Harm::Flipped => assert_eq!(salvaged.lost_chunks, 1, "one bit, one chunk"),
        Harm::Missing | Harm::Empty => assert_eq!(salvaged.saved_chunks, 0),
        Harm::CutOff => assert!(salvaged.saved_chunks > salvaged.lost_chunks),
    }
    for hurt in &damage.hurts {
        assert!(!repository.is_whole(hurt.point).await.unwrap(), "{harm:?}");
    }
    // Nothing that is needed goes, although a point is not whole.
    repository
        .collect(&CollectOptions::default())
        .await
        .unwrap();
    stored.overlay.repair();
    repository
}

const HARMS: [Harm; 4] = raksha_tests::HARMS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_backup_heals_older_points_too() {
    let random = &mut Random::announced("damage");
    for harm in HARMS {
        let mut stored = Stored::new(random).await;
        let repository = hurt(&stored, harm).await;
        // The newest state of the disk: the base is not gone by, all is read, and what was lost is stored again.
        let newest = stored.points.last().unwrap().1.clone();
        let id = back_up(&repository, "disk", &newest).await.unwrap();
        stored.points.push((id, newest));
        let found = deep(&repository).await;
        let hurt: Vec<_> = found.damage.iter().flat_map(|d| &d.hurts).collect();
        assert!(
            hurt.iter().all(|hurt| hurt.point != id),
            "{harm:?}: {found:?}"
        );
        let back = restore(&repository, id).await.unwrap();
        assert_eq!(back.as_ref(), Some(&stored.points.last().unwrap().1));
        // Older points lack at most what the disk does not have any more.
        for (id, content) in &stored.points[..3] {
            heal(
                &MemoryDisk::new(Arc::new(content.clone()), true),
                &repository,
            )
            .await
            .unwrap();
            assert!(repository.is_whole(*id).await.unwrap(), "{harm:?}");
        }
        stored.is_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_key_and_other_parameters_heals() {
    let random = &mut Random::announced("damage");
    let mut stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let other = Parameters {
        chunking: Chunking::Fixed { size: 16 << 10 },
        ..small()
    };
    let secret = Secret::passphrase("another");
    let replica = Repository::create(Target::new(objects), other, &secret, options())
        .await
        .unwrap();
    let cancel = Cancel::new();
    let copied = replicate(&repository, &replica, &cancel).await.unwrap();
    assert_eq!(copied.len(), 3);
    for (copied, (id, content)) in copied.iter().zip(&stored.points) {
        assert_eq!(copied.from, *id);
        let back = restore(&replica, copied.to).await.unwrap();
        assert_eq!(back.as_ref(), Some(content));
    }
    assert!(deep(&replica).await.is_whole());
    // Only what is new is copied, and of that only what differs is read.
    let mut content = stored.points[2].1.clone();
    content[1_000_000..1_005_000].copy_from_slice(&random.bytes(5000));
    let id = back_up(&repository, "disk", &content).await.unwrap();
    stored.points.push((id, content.clone()));
    let again = replicate(&repository, &replica, &cancel).await.unwrap();
    assert_eq!(again.len(), 1);
    assert!(
        again[0].counts.read_bytes < content.len() as u64 / 2,
        "{again:?}"
    );
    assert_eq!(restore(&replica, again[0].to).await.unwrap(), Some(content));

    for harm in [Harm::Flipped, Harm::Missing] {
        let repository = hurt(&stored, harm).await;
        let all: Vec<_> = stored.points.iter().map(|(id, _)| *id).collect();
        let without = heal_from_replica(&repository, &all, &replica)
            .await
            .unwrap();
        assert!(without.is_empty());
        stored.is_whole().await;
    }
    let refused = replicate(&repository, &repository, &cancel).await;
    failed(refused, &[raksha_core::Kind::Invalid], &["same repository"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_points_that_are_asked_for_what_they_need_is_verified_and_nothing_else() {
    let random = &mut Random::announced("damage");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    let other = random.bytes(90_000);
    back_up(&repository, "other", &other).await.unwrap();
    let needed = repository.closures("test").await.unwrap().points;
    let everything = [stored.of("packs/").await, stored.of("points/").await].concat();
    for (id, needed) in &needed {
        let mut options = VerifyOptions::default();
        options.points = Some(vec![*id]);
        let found = repository.verify(&options).await.unwrap();
        assert!(found.is_whole(), "{:?}", found.damage);
        assert_eq!((found.points, found.log_entries), (1, 0));
        for (location, bytes) in &everything {
            for harm in [Harm::Missing, Harm::Flipped] {
                stored.harm(location, bytes, harm).await;
                let found = repository.verify(&options).await.unwrap();
                let said = format!("{harm:?} {location} for {id}: {:?}", found.damage);
                assert_eq!(!found.is_whole(), needed.contains(location), "{said}");
                if !found.is_whole() {
                    assert!(
                        (found.damage.iter()).any(|d| d.object == location.as_ref()),
                        "{said}"
                    );
                    let mut hurts = found.damage.iter().flat_map(|d| &d.hurts);
                    // A flipped bit may lie in what others need of a pack.
                    let must_hurt = matches!(harm, Harm::Missing);
                    assert!(!must_hurt || hurts.clone().count() > 0, "{said}");
                    assert!(hurts.all(|hurt| hurt.point == *id), "{said}");
                }
                stored.overlay.repair();
            }
        }
    }
    let (id, _) = needed.first_key_value().unwrap();
    repository.forget(&[*id], "test").await.unwrap();
    let mut options = VerifyOptions::default();
    options.points = Some(vec![*id]);
    let gone = repository.verify(&options).await;
    failed(gone, &[raksha_core::Kind::NotFound], &[&id.to_string()]);
}

#[tokio::test]
async fn a_chunk_of_which_both_copies_are_lost_hurts() {
    let random = &mut Random::announced("damage");
    let stored = Stored::new(random).await;
    let (here, there) = (stored.open().await.unwrap(), stored.open().await.unwrap());
    let disk = random.bytes(90_000);
    // Two that do not know of each other store the same.
    let (one, other) = tokio::join!(
        back_up(&here, "twice", &disk),
        back_up(&there, "twice", &disk)
    );
    let points = [one.unwrap(), other.unwrap()];
    let packs = stored.of("packs/").await;
    let needed = here.closures("test").await.unwrap().points;
    let of_data = packs
        .iter()
        .filter(|(location, bytes)| bytes.len() > 50_000 && needed[&points[0]].contains(location));
    let copies: Vec<_> = of_data.collect();
    assert_eq!(copies.len(), 2, "the test tests nothing");
    stored.harm(&copies[0].0, &copies[0].1, Harm::Missing).await;
    let found = deep(&here).await;
    assert_eq!(found.damage.len(), 1);
    assert!(found.damage[0].hurts.is_empty(), "{:?}", found.damage);
    stored.harm(&copies[1].0, &copies[1].1, Harm::Missing).await;
    let found = deep(&here).await;
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
    for damage in &found.damage {
        let mut hurt: Vec<_> = damage.hurts.iter().map(|hurt| hurt.point).collect();
        hurt.sort_unstable();
        let mut expected = points;
        expected.sort_unstable();
        assert_eq!(hurt, expected, "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_misses_no_more_than_it_says() {
    let random = &mut Random::announced("damage");
    let stored = Stored::new(random).await;
    let repository = stored.open().await.unwrap();
    for n in 0..6 {
        back_up(&repository, &format!("other {n}"), &random.bytes(60_000))
            .await
            .unwrap();
    }
    let packs = stored.of("packs/").await;
    // One of data: nodes of trees are read in any case.
    let data: Vec<_> = packs.iter().filter(|(_, b)| b.len() > 50_000).collect();
    let (location, bytes) = random.pick(&data).unwrap();
    stored.harm(location, bytes, Harm::Flipped).await;
    let mut options = VerifyOptions::default();
    options.sample = Some(0.4);
    let (mut missed, rounds) = (0.0, 200);
    let mut said = 0.0;
    for _ in 0..rounds {
        let found = repository.verify(&options).await.unwrap();
        let sampled = found.sampled.unwrap();
        assert_eq!(sampled.of, packs.len() as u64);
        said = sampled.missed_single;
        assert!((said - (1.0 - sampled.packs as f64 / sampled.of as f64)).abs() < 1e-9);
        missed += f64::from(u8::from(found.is_whole()));
    }
    let n = f64::from(rounds);
    let chance = 5.0 * (n * said * (1.0 - said)).sqrt();
    println!("damage: missed {missed} of {rounds}, {said:.2} was said");
    assert!((missed - n * said).abs() <= chance);
}

#[tokio::test(start_paused = true)]
async fn a_verification_goes_on_where_it_ended_and_keeps_its_rate() {
    let random = &mut Random::announced("damage");
    let stored = Stored::new(random).await;
    let packs = stored.of("packs/").await;
    // The last one of data: a node of a tree is read in each part, and missed in each.
    let mut data = packs.iter().filter(|(_, b)| b.len() > 50_000);
    let (location, bytes) = data.next_back().unwrap();
    stored.harm(location, bytes, Harm::Flipped).await;
    let repository = stored.open().await.unwrap();
    let whole = deep(&repository).await;
    assert_eq!(whole.damage.len(), 1);
    let total: usize = packs.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut options = VerifyOptions::default();
    options.most_bytes = Some(1);
    options.bytes_per_second = Some(1000);
    let began = tokio::time::Instant::now();
    let (mut parts, mut chunks, mut found) = (0, 0, Vec::new());
    loop {
        let part = repository.verify(&options).await.unwrap();
        parts += 1;
        chunks += part.chunks;
        found.extend(part.damage);
        options.after = part.next;
        if part.next.is_none() {
            break;
        }
        // What ends early does not pace behind its last pack.
        options.most_bytes = (parts < 2).then_some(1);
    }
    assert_eq!(chunks, whole.chunks);
    assert_eq!(found, whole.damage);
    assert!(
        parts == 3 || packs.len() < 3,
        "{parts} parts of {} packs",
        packs.len()
    );
    let least = (total - packs[0].1.len() - packs[1].1.len()) as f64 / 1000.0;
    let took = began.elapsed().as_secs_f64();
    assert!(took >= least * 0.99, "{took} s, at least {least} s");
}

/// The same by the `raksha` command: damage is named with whom it hurts and where, and heals from a replica, a disk, or the next backup.
#[test]
fn the_program_finds_and_heals() {
    let random = &mut Random::announced("damage");
    let place = Place::new();
    let raksha = &place.raksha;
    let second = place.path("second");
    let second = second.to_str().unwrap();
    let other_key = place.file("other key", &random.bytes(32));
    let of_replica = ["--target", second, "--key-file", &other_key];
    raksha.ok(&[&["init", "--segment-size", "1M"][..], &of_replica].concat());

    let content = random.bytes(5 << 20);
    let disk = place.file("disk", &content);
    let backup = ["disk", "backup", &disk, "--name", "web"];
    let point = raksha.ok(&backup);
    let replicate = ["replicate", second, "--replica-key-file", &other_key];
    let copied = raksha.json(&replicate);
    assert_eq!(copied[0]["from"], point.as_str(), "{copied}");
    assert_eq!(raksha.json(&replicate).as_array().unwrap().len(), 0);
    raksha.ok(&[&["verify"][..], &of_replica].concat());

    let from_replica = [
        "repair",
        "--replica",
        second,
        "--replica-key-file",
        &other_key,
    ];
    let from_disk = ["repair", "--disk", &disk];
    for heal in [&from_replica[..], &from_disk, &backup] {
        let packs = files(&place.path("target/packs"));
        let size = |pack: &&std::path::PathBuf| pack.metadata().unwrap().len();
        let pack = packs.iter().max_by_key(size).unwrap();
        let mut bytes = std::fs::read(pack).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 4;
        std::fs::remove_file(pack).unwrap();
        std::fs::write(pack, bytes).unwrap();

        let found = raksha.call(&["verify", "--json"]);
        assert_eq!(found.code, Some(1), "{found:?}");
        let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
        let hurt = &found["damage"][0]["hurts"][0];
        assert_eq!(hurt["point"], point.as_str(), "{found}");
        assert_eq!(hurt["disk"], "disk:web", "{found}");
        assert!(hurt["offset"].as_u64().unwrap() < content.len() as u64);
        if heal == backup {
            let left = raksha.call(&["repair"]);
            assert_eq!(left.code, Some(1), "{left:?}");
            assert!(
                left.out.contains(&format!("not whole: {point}")),
                "{left:?}"
            );
        }
        raksha.ok(heal);
        raksha.ok(&["verify"]);
        let out = place.path("out");
        let out = out.to_str().unwrap();
        raksha.ok(&["disk", "restore", &point, out, "--force"]);
        assert!(std::fs::read(out).unwrap() == content, "{heal:?}");
        // What was taken out of use goes, so that the next round harms what is needed.
        raksha.ok(&["collect"]);
    }
    // In parts, at a rate, and by samples.
    let part = raksha.json(&["verify", "--at-most", "1", "--rate", "1G"]);
    let next = part["next"].as_str().unwrap();
    let rest = raksha.json(&["verify", "--after", next]);
    let chunks = |found: &serde_json::Value| found["chunks"].as_u64().unwrap();
    let all = raksha.json(&["verify"]);
    assert_eq!(chunks(&part) + chunks(&rest), chunks(&all));
    let sample = raksha.json(&["verify", "--sample", "0.5"]);
    let missed = sample["sampled"]["missed_single"].as_f64().unwrap();
    assert!(missed > 0.0 && missed < 1.0, "{sample}");
    // One point of three, and not what only another needs.
    let other = place.file("other", &random.bytes(1 << 20));
    raksha.ok(&["disk", "backup", &other, "--name", "db"]);
    let both = raksha.json(&["verify"]);
    let one = raksha.json(&["verify", &point[..12]]);
    assert_eq!((&both["points"], &one["points"]), (&3.into(), &1.into()));
    assert!(chunks(&one) >= chunks(&all) && chunks(&one) < chunks(&both));
}
