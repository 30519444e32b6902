//! The `raksha` program as a shell would call it: what its verbs do and print, and how they fail.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use raksha_core::env::Env;
use raksha_core::local::{LocalCloud, NewServer};
use raksha_tests::{Build, Place, Program, Random, contents, disks, files, is_id, text};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("it must be an object");
    object.keys().map(String::as_str).collect()
}

/// A disk with holes: mostly nothing, with some data here and there.
fn sparse_disk(path: &Path, size: u64, random: &mut Random) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for at in [0, size / 3, size / 2, size - 300_000] {
        file.write_all_at(&random.bytes(200_000), at).unwrap();
    }
    fs::read(path).unwrap()
}

#[test]
fn a_disk_of_which_is_told_what_changed_is_not_read_whole() {
    let place = Place::new();
    let raksha = &place.raksha;
    let mut random = Random::announced("told");
    let disk = place.path("disk.raw");
    let mut content = random.bytes(64 * MIB as usize);
    fs::write(&disk, &content).unwrap();
    let changes = place.path("changes.json");
    let backup = |since: &str| {
        let (disk, changes) = (text(&disk), text(&changes));
        let told = ["--changed", changes.as_str(), "--since", since, "-q"].map(str::to_owned);
        [
            &["disk", "backup", &disk, "--name", "web"].map(str::to_owned)[..],
            &told,
        ]
        .concat()
    };
    fn words(all: &[String]) -> Vec<&str> {
        all.iter().map(String::as_str).collect()
    }
    let first = raksha.ok(&["disk", "backup", &text(&disk), "--name", "web"]);

    // In no order, and one of them within another.
    let at = 40 * MIB as usize;
    content[at..at + 10_000].copy_from_slice(&random.bytes(10_000));
    content[4096..8192].fill(7);
    fs::write(&disk, &content).unwrap();
    let ranges = [(at, 10_000), (at + 10, 10), (4096, 4096)];
    let ranges = ranges.map(|(offset, length)| json!({ "offset": offset, "length": length }));
    fs::write(&changes, Value::from_iter(ranges).to_string()).unwrap();
    let arguments = backup(&first);
    let second = raksha.json(&words(&arguments));
    assert_eq!(second["hint_lied"], false);
    let read = second["read_bytes"].as_u64().unwrap();
    assert!((14_096..16 * MIB).contains(&read), "{read} bytes were read");
    let second = second["point"].as_str().unwrap().to_owned();
    let out = place.path("out.raw");
    raksha.ok(&["disk", "restore", &second, &text(&out)]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );

    // The same ranges are of no use any more, for another point is the newest.
    let refused = raksha.fails(&words(&arguments));
    assert!(
        refused.contains("newest") && refused.contains(&second[..12]),
        "{refused}"
    );
    fs::write(&changes, "[1, 2]").unwrap();
    let arguments = backup(&second);
    let refused = raksha.fails(&words(&arguments));
    assert!(
        refused.contains("changes.json") && refused.contains("offset"),
        "{refused}"
    );
    fs::write(
        &changes,
        json!([{ "offset": u64::MAX, "length": 2 }]).to_string(),
    )
    .unwrap();
    let refused = raksha.fails(&words(&arguments));
    assert!(refused.contains("beyond"), "{refused}");

    // All of it changed, and nothing is told.
    content = random.bytes(64 * MIB as usize);
    fs::write(&disk, &content).unwrap();
    fs::write(&changes, "[]").unwrap();
    let third = raksha.json(&words(&arguments));
    assert_eq!(third["hint_lied"], true);
    raksha.ok(&[
        "disk",
        "restore",
        third["point"].as_str().unwrap(),
        &text(&out),
        "--force",
    ]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );
}

#[test]
fn a_disk_is_backed_up_listed_compared_restored_and_forgotten() {
    let place = Place::new();
    let raksha = &place.raksha;
    let mut random = Random::announced("command");
    let disk = place.path("disk.raw");
    let mut content = sparse_disk(&disk, 64 * MIB, &mut random);

    let first = raksha.ok(&["disk", "backup", &text(&disk), "--name", "web"]);
    assert!(
        is_id(&first),
        "a backup must print the point's id alone: {first}"
    );
    let changed = 40 * MIB as usize;
    content[changed..changed + 10_000].copy_from_slice(&random.bytes(10_000));
    fs::write(&disk, &content).unwrap();
    let second = raksha.json(&["disk", "backup", &text(&disk), "--name", "web"]);
    let expected = [
        "hint_lied",
        "logical_bytes",
        "new_bytes",
        "point",
        "read_bytes",
        "seconds",
        "stored_bytes",
    ];
    assert_eq!(keys(&second), expected);
    assert_eq!(second["logical_bytes"], 64 * MIB);
    let new = second["new_bytes"].as_u64().unwrap();
    assert!(
        (10_000..MIB).contains(&new),
        "10000 bytes changed, {new} were new"
    );
    let second = second["point"].as_str().unwrap().to_owned();

    let points = raksha.json(&["points"]);
    let listed: Vec<&str> = points
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, [first.as_str(), second.as_str()]);
    assert_eq!(points[0]["summary"]["name"], "web");
    let table = raksha.ok(&["points"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.contains(&first[..12]) && table.contains(&second[..12]),
        "{table}"
    );

    let diff = raksha.json(&["disk", "diff", &first[..12], &second[..12]]);
    let ranges = diff.as_array().unwrap();
    assert!(!ranges.is_empty());
    let (mut bytes, mut inside) = (0, 0);
    for range in ranges {
        let (offset, length) = (
            range["offset"].as_u64().unwrap(),
            range["length"].as_u64().unwrap(),
        );
        bytes += length;
        let from = offset.max(changed as u64);
        let to = (offset + length).min(changed as u64 + 10_000);
        inside += to.saturating_sub(from);
    }
    assert_eq!(inside, 10_000, "all that changed must be in {diff}");
    assert!(bytes <= MIB, "{bytes} bytes are said to differ, 10000 do");

    let out = place.path("out.raw");
    raksha.ok(&["disk", "restore", &second, &text(&out)]);
    assert!(
        fs::read(&out).unwrap() == content,
        "the disk came back different"
    );
    let allocated = out.metadata().unwrap().blocks() * 512;
    assert!(
        allocated < 4 * MIB,
        "{allocated} bytes are allocated for some 800 KB of data"
    );
    fs::write(&out, b"precious").unwrap();
    let refused = raksha.fails(&["disk", "restore", &first, &text(&out), "-q"]);
    assert!(
        refused.contains("out.raw") && refused.contains("exists"),
        "{refused}"
    );
    assert_eq!(
        fs::read(&out).unwrap(),
        b"precious",
        "a refusal must change nothing"
    );
    raksha.ok(&["disk", "restore", &first, &text(&out), "--force"]);
    assert_eq!(out.metadata().unwrap().len(), 64 * MIB);
    assert!(!place.path("out.raw.partial").exists());

    let stats = raksha.json(&["stats"]);
    assert_eq!(stats["stats"]["points"], 2);
    assert_eq!(stats["stats"]["logical_bytes"], 128 * MIB);
    let whole = raksha.json(&["verify"]);
    assert_eq!(whole["damage"], Value::Array(Vec::new()));
    assert_eq!(whole["points"], 2);

    raksha.ok(&["hold", &first]);
    let held = raksha.fails(&["forget", &first]);
    assert!(held.contains("held") || held.contains("hold"), "{held}");
    raksha.ok(&["hold", &first, "--lift"]);
    raksha.ok(&["forget", &first]);
    let log = raksha.json(&["log"]);
    let log = log.as_array().unwrap();
    let kinds: Vec<&str> = log
        .iter()
        .map(|e| e["action"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "created");
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["hold_set", "hold_lifted", "points_forgotten"]
    );
    assert_eq!(log.last().unwrap()["by"], "tester");
    let (end, lines) = (
        log.len() - 2,
        raksha.ok(&["log", "--from", &(log.len() - 2).to_string()]),
    );
    assert_eq!(
        lines.lines().count(),
        3,
        "a heading and two entries: {lines}"
    );
    assert!(
        lines.contains(&end.to_string()) && lines.contains("hold_lifted"),
        "{lines}"
    );
    let unknown = raksha.fails(&["disk", "restore", &first, &text(&place.path("gone.raw"))]);
    assert!(unknown.contains("no"), "{unknown}");
    let collected = raksha.json(&["collect"]);
    for key in ["retired_packs", "deleted_objects", "live_bytes", "fenced"] {
        assert!(keys(&collected).contains(&key), "{collected}");
    }
    raksha.ok(&["disk", "restore", &second, &text(&out), "--force"]);
    assert!(
        fs::read(&out).unwrap() == content,
        "collecting harmed another point"
    );
    raksha.ok(&["verify"]);
}

#[test]
fn damage_is_found_without_the_key_and_named() {
    let place = Place::new();
    let disk = place.file("disk.raw", &Random::new(1).bytes(3_000_000));
    place.raksha.ok(&["disk", "backup", &disk, "--name", "web"]);
    // Without any key: whoever holds the bytes can check them.
    let keyless = Program::find(Build::Newest)
        .at_home(place.folder())
        .with("RAKSHA_TARGET", place.path("target"));
    assert_eq!(
        keyless.json(&["verify", "--keyless"])["damage"],
        Value::Array(Vec::new())
    );
    let no_key = keyless.fails(&["points"]);
    assert!(
        no_key.contains("RAKSHA_PASSPHRASE") || no_key.contains("--passphrase-file"),
        "{no_key}"
    );

    let pack = files(&place.path("target/packs"))
        .into_iter()
        .max_by_key(|f| f.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let name = pack.strip_prefix(place.path("target")).unwrap();
    let said = keyless.call(&["verify", "--keyless", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["damage"][0]["object"], text(name));
    let said = place.raksha.call(&["verify"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains(&text(name)), "{said:?}");
}

#[test]
fn keys_open_and_never_show() {
    let place = Place::new();
    let secret = "a phrase that nobody must ever see";
    let file = place.file("passphrase", format!("{secret}\nsecond line\n").as_bytes());
    let added = place
        .raksha
        .json(&["key", "add", "anna", "--new-passphrase-file", &file]);
    assert_eq!(added["added"], "anna");
    let slots = place.raksha.json(&["key", "list"]);
    assert_eq!(slots.as_array().unwrap().len(), 2);

    let anna = Program::find(Build::Newest)
        .at_home(place.folder())
        .with("RAKSHA_TARGET", place.path("target"));
    let by_file = anna.clone().with("RAKSHA_PASSPHRASE_FILE", &file);
    let by_variable = anna.clone().with("RAKSHA_PASSPHRASE", secret);
    by_file.ok(&["points"]);
    by_variable.ok(&["points"]);
    let wrong = anna
        .clone()
        .with("RAKSHA_PASSPHRASE", "another phrase, the wrong one");
    let refused = wrong.fails(&["points"]);
    assert!(
        refused.contains("passphrase") && refused.contains("slots"),
        "{refused}"
    );
    assert!(
        !refused.contains("another phrase"),
        "a secret was printed: {refused}"
    );
    let missing = anna
        .with("RAKSHA_PASSPHRASE_FILE", place.path("nowhere"))
        .fails(&["points"]);
    assert!(missing.contains("nowhere"), "{missing}");

    // The slot that was there first can go once another opens the repository; the last one cannot.
    by_file.ok(&["key", "remove", "first"]);
    let gone = place.raksha.fails(&["points"]);
    assert!(gone.contains("opens none"), "{gone}");
    let last = by_file.fails(&["key", "remove", "anna"]);
    assert!(last.contains("anna"), "{last}");
    by_file.ok(&["points"]);
    for said in [
        by_file.call(&["stats"]),
        by_file.call(&["key", "list"]),
        by_variable.call(&["verify"]),
    ] {
        assert!(
            !said.out.contains(secret) && !said.err.contains(secret),
            "a secret was printed"
        );
    }
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let place = Place::new();
    let raksha = &place.raksha;
    for wrong in [
        &["no-such-verb"][..],
        &[],
        &["disk", "backup"],
        &["disk", "backup", "x"],
        &["points", "--memory", "lots"],
        &["collect", "--fence-after", "soon"],
    ] {
        let said = raksha.call(wrong);
        assert_eq!(said.code, Some(2), "raksha {wrong:?}: {said:?}");
        assert_eq!(said.out, "", "raksha {wrong:?}");
        assert!(!said.err.is_empty());
    }
    let again = raksha.fails(&["init"]);
    assert!(again.contains("already"), "{again}");
    let nowhere = raksha.clone().with("RAKSHA_TARGET", place.path("empty"));
    fs::create_dir(place.path("empty")).unwrap();
    assert!(nowhere.fails(&["points"]).contains("raksha.json"));
    let no_disk = raksha.fails(&[
        "disk",
        "backup",
        &text(&place.path("absent")),
        "--name",
        "x",
        "-q",
    ]);
    assert!(no_disk.contains("absent"), "{no_disk}");
    let no_point = raksha.fails(&["forget", "0123456789ab"]);
    assert!(no_point.contains("0123456789ab"), "{no_point}");
    let no_target = Program::find(Build::Newest)
        .at_home(place.folder())
        .with("RAKSHA_KEY_FILE", place.path("key"))
        .fails(&["points"]);
    assert!(no_target.contains("--target"), "{no_target}");
    let no_cloud = raksha.fails(&["discover"]);
    assert!(no_cloud.contains("--cloud"), "{no_cloud}");
}

/// A cloud with two servers, two disks each, on one network.
async fn two_servers(folder: &Path, random: &mut Random) -> LocalCloud {
    let cloud = LocalCloud::create(folder, Env::system()).await.unwrap();
    for (n, name) in ["web", "db"].into_iter().enumerate() {
        let server = NewServer::new(name)
            .local_disk("root", 12 * MIB)
            .volume(format!("{name}-data"), 24 * MIB)
            .on_network("private", "10.0.0.0/24", format!("10.0.0.{}", n + 5));
        cloud.add_server(server).await.unwrap();
    }
    for path in disks(&cloud).await.into_values() {
        use std::os::unix::fs::FileExt;
        let file = fs::File::options().write(true).open(path).unwrap();
        let data = random.bytes(3_000_000);
        file.write_all_at(&data, random.below(64) * 4096).unwrap();
        file.write_all_at(&data[..1_000_000], 9 * MIB).unwrap();
    }
    cloud
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_are_protected_and_brought_back() {
    let place = Place::new();
    let mut random = Random::announced("command");
    let here = two_servers(&place.path("here"), &mut random).await;
    let cloud = format!("local:{}", place.path("here").display());
    let raksha = place.raksha.clone().with("RAKSHA_CLOUD", &cloud);

    let graph = raksha.json(&["discover"]);
    assert_eq!(graph["servers"].as_array().unwrap().len(), 2);
    let table = raksha.ok(&["discover", "web"]);
    assert!(
        table.contains("10.0.0.5") && !table.contains("10.0.0.6"),
        "{table}"
    );

    let job = raksha.ok(&[
        "job", "create", "nightly", "--server", "web", "--server", "db",
    ]);
    assert!(is_id(&job), "{job}");
    assert_eq!(raksha.json(&["job", "list"])[0]["name"], "nightly");
    assert_eq!(
        raksha.json(&["job", "show", "nightly"])["job"]["id"],
        job.as_str()
    );
    let taken = raksha.fails(&["job", "create", "nightly", "--server", "web"]);
    assert!(taken.contains("nightly"), "{taken}");

    let was = contents(&here).await;
    let first = raksha.ok(&["job", "run", "nightly"]);
    assert!(is_id(&first), "{first}");
    let web = disks(&here).await[&("web".to_owned(), 1)].clone();
    let mut changed = fs::read(&web).unwrap();
    changed[5_000_000..5_100_000].copy_from_slice(&random.bytes(100_000));
    fs::write(&web, &changed).unwrap();
    let report = raksha.json(&["job", "run", "nightly"]);
    for key in ["run", "point", "counts", "disks", "ledger", "warnings"] {
        assert!(keys(&report).contains(&key), "{report}");
    }
    let new = report["counts"]["new_bytes"].as_u64().unwrap();
    assert!(
        (100_000..2 * MIB).contains(&new),
        "100000 bytes changed, {new} were new"
    );
    let second = report["run"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(raksha.json(&["run", "list"]).as_array().unwrap().len(), 2);
    let shown = raksha.json(&["run", "show", &second]);
    assert_eq!(shown["disks"].as_array().unwrap().len(), 4);
    assert_eq!(
        raksha.json(&["job", "show", "nightly"])["runs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let is = contents(&here).await;

    // Into another cloud; and a plan changes nothing.
    let there = LocalCloud::create(place.path("there"), Env::system())
        .await
        .unwrap();
    let into = format!("local:{}", place.path("there").display());
    let elsewhere = raksha.clone().with("RAKSHA_CLOUD", &into);
    let plan = elsewhere.json(&["restore", &first, "--plan"]);
    assert!(plan["steps"].as_array().unwrap().len() >= 7, "{plan}");
    assert!(
        there.graph().await.unwrap().servers.is_empty(),
        "a plan must change nothing"
    );
    let restored = elsewhere.ok(&["restore", &first]);
    assert!(is_id(&restored), "{restored}");
    assert!(
        contents(&there).await == was,
        "the first run came back different"
    );
    let graph = there.graph().await.unwrap();
    let addresses: Vec<_> = graph
        .ports
        .iter()
        .flat_map(|p| &p.fixed_ips)
        .map(|ip| ip.address.as_str())
        .collect();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.contains(&"10.0.0.5") && addresses.contains(&"10.0.0.6"));

    // Whatever the jobs were kept in: the target and the key are enough.
    for file in files(place.folder()) {
        if file.to_string_lossy().contains("jobs.sqlite") {
            fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(
        raksha.json(&["run", "list"]),
        Value::Array(Vec::new()),
        "the jobs must be gone now"
    );
    let again = LocalCloud::create(place.path("again"), Env::system())
        .await
        .unwrap();
    let into = format!("local:{}", place.path("again").display());
    let point = report["point"].as_str().unwrap();
    let report = elsewhere.json(&["restore", &point[..16], "--into", &into]);
    assert_eq!(report["point"], point);
    assert!(
        contents(&again).await == is,
        "the point came back different"
    );
    raksha.ok(&["verify"]);
}
