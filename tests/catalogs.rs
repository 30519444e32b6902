//! The commit log in a SQL catalog, from the command line: lost and rebuilt from the target and the key alone, moved there, and guarded
//! against a second log for one repository.

use std::fs;

use raksha_tests::{Place, Program, Random, files, text};

/// A place whose target has no repository yet, and the program with a catalog.
fn place() -> (Place, Program) {
    let place = Place::new();
    let address = format!("sqlite:{}", place.path("catalog.db").display());
    let raksha = place
        .raksha
        .clone()
        .with("RAKSHA_TARGET", place.path("elsewhere"))
        .with("RAKSHA_CATALOG", address);
    (place, raksha)
}

/// Backs up a small disk of random bytes; gives the point.
fn back_up(place: &Place, raksha: &Program, random: &mut Random) -> (String, Vec<u8>) {
    let content = random.bytes(300_000);
    let disk = place.file("disk.raw", &content);
    let point = raksha.ok(&["disk", "backup", &disk, "--name", "web"]);
    (point, content)
}

fn comes_back(place: &Place, raksha: &Program, point: &str, content: &[u8]) {
    let out = place.path("out.raw");
    raksha.ok(&["disk", "restore", point, &text(&out), "--force"]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );
}

/// Removes the catalog, with the files that SQLite keeps beside it.
fn lose_catalog(place: &Place) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.path(&format!("catalog.db{end}")));
    }
}

#[test]
fn a_lost_catalog_is_rebuilt_from_target_and_key() {
    let mut random = Random::announced("catalogs");
    let (place, raksha) = place();
    raksha.ok(&["init"]);
    let (first, _) = back_up(&place, &raksha, &mut random);
    let (second, changed) = back_up(&place, &raksha, &mut random);
    raksha.ok(&["forget", &first]);
    raksha.ok(&["verify"]);
    let before = raksha.json(&["log"]);

    lose_catalog(&place);
    let error = raksha.fails(&["points"]);
    assert!(error.contains("there is no such file"), "{error}");
    // A catalog that has only the log of another repository is not taken for an empty log of this one.
    let other = raksha.clone().with("RAKSHA_TARGET", place.path("other"));
    other.ok(&["init"]);
    let error = raksha.fails(&["points"]);
    assert!(error.contains("ends before the copy"), "{error}");
    let rebuilt = raksha.json(&["rebuild"]);
    let entries = before.as_array().unwrap().len();
    assert_eq!(rebuilt["entries"], entries);
    assert_eq!(rebuilt["into_catalog"], entries);
    assert_eq!(rebuilt["into_target"], 0);
    assert_eq!(rebuilt["points"], 1);
    assert_eq!(raksha.json(&["log"]), before);
    comes_back(&place, &raksha, &second, &changed);
    let (third, again) = back_up(&place, &raksha, &mut random);
    comes_back(&place, &raksha, &third, &again);
    raksha.ok(&["verify"]);
    other.ok(&["verify"]);
}

#[test]
fn a_copy_that_lost_entries_is_found_out_and_made_whole() {
    let mut random = Random::announced("catalogs");
    let (place, raksha) = place();
    raksha.ok(&["init"]);
    let (point, content) = back_up(&place, &raksha, &mut random);
    let log = place.path("elsewhere/log");
    let lost = [
        log.join(format!("{:020}", 1)),
        log.join(format!("{:020}", 2)),
    ];
    let other = fs::read(log.join(format!("{:020}", 0))).unwrap();
    fs::remove_file(&lost[0]).unwrap();
    fs::write(&lost[1], &other).unwrap();

    let verified = raksha.call(&["verify", "--json"]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    for name in ["log/00000000000000000001", "log/00000000000000000002"] {
        assert!(verified.out.contains(name), "{verified:?}");
    }
    let error = raksha.fails(&["rebuild"]);
    assert!(
        error.contains("another entry of this number") && error.contains("entry 2"),
        "{error}"
    );
    fs::remove_file(&lost[1]).unwrap();
    let rebuilt = raksha.json(&["rebuild"]);
    assert_eq!(rebuilt["into_target"], 2, "{rebuilt}");
    assert_eq!(rebuilt["into_catalog"], 0, "{rebuilt}");
    raksha.ok(&["verify"]);
    comes_back(&place, &raksha, &point, &content);

    // In neither place: that is said, and nothing is written.
    lose_catalog(&place);
    let kept = fs::read(&lost[0]).unwrap();
    fs::remove_file(&lost[0]).unwrap();
    let error = raksha.fails(&["rebuild"]);
    assert!(error.contains("missing") && error.contains('1'), "{error}");
    // Nor is an entry believed that was changed.
    let mut changed = kept.clone();
    let middle = changed.len() / 3;
    changed[middle] ^= 1;
    fs::write(&lost[0], &changed).unwrap();
    let error = raksha.fails(&["rebuild"]);
    assert!(error.contains("damaged"), "{error}");
    fs::write(&lost[0], &kept).unwrap();
    raksha.ok(&["rebuild"]);
    comes_back(&place, &raksha, &point, &content);
}

#[test]
fn a_log_is_moved_out_of_its_target_and_never_appended_there_again() {
    let mut random = Random::announced("catalogs");
    let (place, raksha) = place();
    let raksha = raksha.with("RAKSHA_TARGET", place.path("target"));
    let (point, content) = back_up(&place, &place.raksha, &mut random);
    let error = raksha.fails(&["points"]);
    assert!(error.contains("no such file"), "{error}");
    let error = raksha.fails(&["rebuild"]);
    assert!(error.contains("--move-log"), "{error}");
    let moved = raksha.json(&["rebuild", "--move-log"]);
    assert_eq!(moved["moved"], true);
    comes_back(&place, &raksha, &point, &content);

    let before = files(&place.path("target/log")).len();
    for verb in [&["points"][..], &["collect"], &["forget", &point]] {
        let error = place.raksha.fails(verb);
        assert!(error.contains("lies in a SQL catalog"), "{error}");
    }
    assert_eq!(files(&place.path("target/log")).len(), before);
    let again = raksha.json(&["rebuild", "--move-log"]);
    assert_eq!(again["moved"], false);
    raksha.ok(&["verify"]);
}

#[test]
fn a_copy_of_the_target_never_shares_its_log() {
    let mut random = Random::announced("catalogs");
    let (place, raksha) = place();
    raksha.ok(&["init"]);
    let (point, content) = back_up(&place, &raksha, &mut random);
    let (here, there) = (place.path("elsewhere"), place.path("replica"));
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&here, &there])
        .status();
    assert!(copied.unwrap().success());
    let replica = raksha.clone().with("RAKSHA_TARGET", &there);
    let error = replica.fails(&["points"]);
    let place_here = format!("directory {}", here.canonicalize().unwrap().display());
    assert!(
        error.contains(&place_here) && error.contains("--copy"),
        "{error}"
    );
    replica.ok(&["rebuild", "--copy"]);
    let (of_replica, changed) = back_up(&place, &replica, &mut random);
    comes_back(&place, &replica, &of_replica, &changed);
    assert_eq!(raksha.json(&["points"]).as_array().unwrap().len(), 1);
    comes_back(&place, &raksha, &point, &content);

    // A target that moved takes its log along.
    let moved = place.path("moved");
    fs::rename(&here, &moved).unwrap();
    let raksha = raksha.with("RAKSHA_TARGET", &moved);
    raksha.fails(&["points"]);
    raksha.ok(&["rebuild", "--moved-from", &place_here]);
    comes_back(&place, &raksha, &point, &content);
    raksha.ok(&["verify"]);
}
