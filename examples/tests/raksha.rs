//! The `raksha` command from outside: what it prints where, and how it exits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A folder with a target, clouds and a key file, which is quicker than a passphrase.
struct Bench(tempfile::TempDir);

const CLOUD: &str = r#"{
  "version": 1,
  "graph": {
    "servers": [{
      "id": "web-1", "name": "web", "power": "running",
      "flavor": { "name": "small", "vcpus": 1, "memory_mib": 512, "root_gib": 0 },
      "attachments": [{ "source": { "volume": "web-data" }, "boot_index": 0 }],
      "ports": []
    }],
    "volumes": [{ "id": "web-data", "name": "data", "size": 3000000 }]
  },
  "disks": [{ "disk": { "volume": "web-data" }, "file": "data.raw", "format": "raw" }]
}"#;

const EMPTY: &str = r#"{ "version": 1, "graph": {}, "disks": [] }"#;

const KEY: &str = "thirty-two bytes or more that must not be shown";

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for (cloud, description) in [("cloud", CLOUD), ("elsewhere", EMPTY)] {
            fs::create_dir(bench.path(cloud)).unwrap();
            fs::write(bench.path(cloud).join("cloud.json"), description).unwrap();
        }
        fs::write(bench.path("cloud/data.raw"), content(3_000_000, 1)).unwrap();
        fs::write(bench.path("key"), KEY).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raksha"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RAKSHA_") {
                command.env_remove(name);
            }
        }
        let cloud = format!("local:{}", self.path("cloud").display());
        command
            .current_dir(self.0.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("RAKSHA_TARGET", self.path("target"))
            .env("RAKSHA_CLOUD", cloud)
            .env("RAKSHA_KEY_FILE", self.path("key"))
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        for shown in [&output.stdout, &output.stderr] {
            let shown = String::from_utf8_lossy(shown);
            assert!(!shown.contains(KEY), "{arguments:?} shows the key");
        }
        output
    }

    /// What a command that succeeds prints on stdout.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// The one line on stderr of a command that fails.
    fn failed(&self, arguments: &[&str]) -> String {
        let output = self.run(&[arguments, &["--quiet"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?} printed a result");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors
    }
}

/// Bytes that do not compress well and differ from one `seed` to the next.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    });
    words
        .flat_map(|word| [word[0], word[1], word[2]])
        .take(length)
        .collect()
}

fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

#[test]
fn disks_go_in_and_come_out() {
    let bench = Bench::new();
    bench.done(&["init", "--segment-size", "1M"]);
    let disk = bench.path("disk.img");
    let mut bytes = content(2_500_001, 2);
    fs::write(&disk, &bytes).unwrap();
    let first = bench.done(&["disk", "backup", "disk.img", "--name", "d"]);
    assert_eq!(first.len(), 64, "the point's id and nothing else: {first}");

    bytes[1_200_000] ^= 1;
    fs::write(&disk, &bytes).unwrap();
    let second = bench.json(&["disk", "backup", "disk.img", "--name", "d"]);
    let fields: Vec<&str> = second
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "hint_lied",
        "logical_bytes",
        "new_bytes",
        "point",
        "read_bytes",
        "seconds",
        "stored_bytes",
    ];
    assert_eq!(fields, expected);
    assert_eq!(second["logical_bytes"], 2_500_001);
    let new = second["new_bytes"].as_u64().unwrap();
    assert!(new > 0 && new < 600_000, "{second}");
    let second = second["point"].as_str().unwrap();

    let changed = bench.json(&["disk", "diff", &first[..12], &second[..12]]);
    let changed = changed[0].clone();
    let start = changed["offset"].as_u64().unwrap();
    let end = start + changed["length"].as_u64().unwrap();
    assert!((start..end).contains(&1_200_000), "{changed}");

    bench.done(&["disk", "restore", &second[..12], "out.img"]);
    assert!(same(&disk, &bench.path("out.img")));
    let error = bench.failed(&["disk", "restore", &first[..12], "out.img"]);
    assert!(error.contains("exists"), "{error}");
    assert!(same(&disk, &bench.path("out.img")), "it was not touched");
    bench.done(&["disk", "restore", &first[..12], "out.img", "--force"]);
    assert!(!same(&disk, &bench.path("out.img")));
}

#[test]
fn servers_go_in_and_come_out() {
    let bench = Bench::new();
    bench.done(&["init"]);
    assert_eq!(bench.json(&["discover"])["servers"][0]["name"], "web");
    bench.failed(&["job", "create", "nightly", "--server", "ghost"]);
    let job = bench.done(&["job", "create", "nightly", "--server", "web"]);
    assert_eq!(bench.json(&["job", "list"])[0]["id"], job.as_str());
    let run = bench.done(&["job", "run", "nightly"]);
    let old = fs::read(bench.path("cloud/data.raw")).unwrap();
    fs::write(bench.path("cloud/data.raw"), content(3_000_000, 3)).unwrap();
    let later = bench.json(&["job", "run", &job[..8]]);
    assert_eq!(bench.json(&["points"]).as_array().unwrap().len(), 2);
    assert_eq!(bench.json(&["run", "show", &run[..8]])["id"], run.as_str());

    let error = bench.failed(&["restore", &run]);
    assert!(error.contains("web"), "{error}");
    let elsewhere = format!("local:{}", bench.path("elsewhere").display());
    let plan = bench.json(&[
        "restore",
        &run,
        "--into",
        &elsewhere,
        "--plan",
        "--rename",
        "server:web=web-2",
    ]);
    assert_eq!(plan["conflicts"], Value::Array(Vec::new()));
    assert_eq!(
        fs::read_to_string(bench.path("elsewhere/cloud.json")).unwrap(),
        EMPTY,
        "only a plan"
    );
    bench.done(&[
        "restore",
        &run,
        "--into",
        &elsewhere,
        "--rename",
        "server:web=web-2",
    ]);
    let there = bench.json(&["discover", "--cloud", &elsewhere]);
    assert_eq!(there["servers"][0]["name"], "web-2");
    let mut disks = fs::read_dir(bench.path("elsewhere/disks")).unwrap();
    assert_eq!(
        fs::read(disks.next().unwrap().unwrap().path()).unwrap(),
        old
    );

    bench.done(&["forget", &run_point(&bench, &run)]);
    bench.failed(&["restore", &run, "--into", &elsewhere, "--plan"]);
    bench.done(&["collect"]);
    assert!(bench.done(&["verify"]).ends_with("everything is intact"));
    assert_eq!(bench.json(&["points"])[0]["id"], later["point"]);
    bench.done(&["job", "delete", "nightly"]);
    assert_eq!(
        fs::read_dir(bench.path("cloud/snapshots")).unwrap().count(),
        0
    );
}

fn run_point(bench: &Bench, run: &str) -> String {
    let points = bench.json(&["points"]);
    let mut points = points.as_array().unwrap().iter();
    let point = points.find(|point| point["summary"]["run"] == run).unwrap();
    point["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_repository_says_how_it_compresses() {
    let auto = json!({ "algorithm": "zstd_adaptive", "fastest": -1, "smallest": 6 });
    let level = json!({ "algorithm": "zstd", "level": -3 });
    for (options, compression) in [
        (&["init"][..], &auto),
        (&["init", "--compression", "auto"], &auto),
        (&["init", "--compression", "-3"], &level),
        (
            &["init", "--compression=0"],
            &json!({ "algorithm": "none" }),
        ),
    ] {
        let bench = Bench::new();
        bench.done(options);
        let stats = bench.json(&["stats"]);
        assert_eq!(&stats["parameters"]["compression"], compression);
    }
}

#[test]
fn damage_is_found_with_and_without_the_key() {
    let bench = Bench::new();
    bench.done(&["init"]);
    fs::write(bench.path("disk.img"), content(500_000, 4)).unwrap();
    bench.done(&["disk", "backup", "disk.img", "--name", "d"]);
    let mut folder = bench.path("target/packs");
    while folder.is_dir() {
        folder = fs::read_dir(&folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
    }
    let mut bytes = fs::read(&folder).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&folder, bytes).unwrap();
    for how in [&["verify"][..], &["verify", "--keyless"]] {
        let output = bench.run(how);
        assert_eq!(output.status.code(), Some(1), "{how:?}");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("damaged: packs/"), "{shown}");
    }
}

#[test]
fn wrong_keys_and_wrong_words_are_told_apart() {
    let bench = Bench::new();
    bench.done(&["init"]);
    bench.failed(&["init"]);
    fs::write(bench.path("other"), "another passphrase\n").unwrap();
    let error = bench.failed(&["points", "--passphrase-file", "other"]);
    assert!(error.contains("passphrase"), "{error}");
    bench.failed(&["points", "--target", "nowhere"]);
    for wrong in [
        &["frobnicate"][..],
        &["points", "--frobnicate"],
        &["job", "create", "x"],
        &["init", "--segment-size", "1X"],
        &["init", "--compression", "20"],
    ] {
        assert_eq!(bench.run(wrong).status.code(), Some(2), "{wrong:?}");
    }

    bench.done(&["key", "add", "spare", "--new-passphrase-file", "other"]);
    bench.done(&["points", "--passphrase-file", "other"]);
    assert_eq!(bench.json(&["key", "list"]).as_array().unwrap().len(), 2);
    bench.done(&["key", "remove", "spare"]);
    bench.failed(&["points", "--passphrase-file", "other"]);
}

#[test]
fn an_interrupt_stops_a_run_and_leaves_nothing() {
    let bench = Bench::new();
    bench.done(&["init"]);
    bench.done(&["job", "create", "nightly", "--server", "web"]);
    // So slow that the run surely lasts until it is stopped.
    let slow = format!(
        "file://{}?bytes_per_second=300000",
        bench.path("target").display()
    );
    let jobs = format!("sqlite:{}", bench.path("target.jobs.sqlite").display());
    let mut child = bench
        .command(&["job", "run", "nightly", "--target", &slow, "--jobs", &jobs])
        .spawn()
        .unwrap();
    let snapshots = || fs::read_dir(bench.path("cloud/snapshots")).map_or(0, Iterator::count);
    while snapshots() == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it began"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(snapshots(), 0);
    assert_eq!(
        bench.json(&["run", "list"])[0]["state"]["ended"]["outcome"],
        "cancelled"
    );
    assert!(
        bench
            .done(&["stats"])
            .lines()
            .any(|l| l.starts_with("open sessions") && l.ends_with(" 0"))
    );
}

#[test]
fn jobs_run_by_themselves_and_keep_what_they_should() {
    let bench = Bench::new();
    bench.done(&["init"]);
    fn create<'a>(options: &[&'a str]) -> Vec<&'a str> {
        [&["job", "create", "nightly", "--server", "web"], options].concat()
    }
    // What cannot be meant names the field and what it may be.
    let error = bench.failed(&create(&["--schedule", "61 2 * * *"]));
    assert!(
        error.contains("minute") && error.contains("0 to 59"),
        "{error}"
    );
    let error = bench.failed(&create(&["--every", "1day", "--rpo", "2h"]));
    assert!(
        error.contains("objective") && error.contains("shorter interval"),
        "{error}"
    );
    let error = bench.failed(&create(&["--window", "22:00-05:00"]));
    assert!(error.contains("--schedule or --every"), "{error}");
    for wrong in [
        &["--zone", "Europe/Atlantis"],
        &["--window", "22-05"],
        &["--every", "soon"],
    ] {
        assert_eq!(
            bench.run(&create(wrong)).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }

    // Long overdue: of the runs that were missed one is made up for.
    let anchor = [
        "--every",
        "1h",
        "--anchor",
        "2026-01-01T00:00:00Z",
        "--rpo",
        "3h",
    ];
    bench.done(&create(&[&anchor[..], &["--keep-last", "1"]].concat()));
    let job = bench.json(&["job", "list"])[0].clone();
    assert_eq!(job["schedule"]["trigger"]["interval"]["every"], "1h");
    assert_eq!(bench.json(&["schedule", "list"]), Value::Array(Vec::new()));
    bench.done(&["schedule", "run", "--once"]);
    assert_eq!(
        bench.json(&["points"]).as_array().unwrap().len(),
        0,
        "nothing is due yet"
    );

    // What is given is changed, and the rest stays.
    let changed = bench.json(&[
        "job",
        "update",
        "nightly",
        "--name",
        "hourly",
        "--keep-daily",
        "7",
    ]);
    assert_eq!(
        (&changed["id"], &changed["name"]),
        (&job["id"], &Value::from("hourly"))
    );
    assert_eq!(changed["schedule"], job["schedule"]);
    assert_eq!(
        (
            &changed["retention"]["daily"],
            changed["retention"].get("last")
        ),
        (&Value::from(7), None)
    );
    let changed = bench.json(&[
        "job",
        "update",
        "hourly",
        "--no-schedule",
        "--no-rpo",
        "--keep-everything",
    ]);
    assert!(
        changed.get("schedule").is_none() && changed.get("objective").is_none(),
        "{changed}"
    );
    assert!(changed["retention"].get("daily").is_none(), "{changed}");
    assert_eq!(changed["servers"], job["servers"]);
    bench.failed(&["job", "update", "hourly", "--server", "ghost"]);
    bench.done(&["job", "delete", "hourly"]);

    // A job whose interval is that of the clock's next minutes.
    let soon = [
        "job",
        "create",
        "soon",
        "--server",
        "web",
        "--every",
        "1min",
        "--keep-last",
        "1",
    ];
    bench.done(&soon);
    let began = std::time::Instant::now();
    let due = loop {
        bench.done(&["schedule", "run", "--once", "--quiet"]);
        let due = bench.json(&["schedule", "list", "soon"]);
        if due.as_array().is_some_and(|due| !due.is_empty()) {
            break due;
        }
        assert!(began.elapsed().as_secs() < 150, "no run became due");
        std::thread::sleep(std::time::Duration::from_secs(2));
    };
    let run = due[0]["state"]["ended"]["end"]["ran"]["run"]
        .as_str()
        .unwrap();
    assert_eq!(run_point(&bench, run).len(), 64);
    let shown = bench.json(&["job", "show", "soon"]);
    assert_eq!(
        shown["protection"]["verified"]["point"],
        run_point(&bench, run).as_str()
    );
    assert_eq!(shown["runs"][0]["due"], due[0]["due"]);
    let table = bench.done(&["schedule", "list"]);
    assert!(
        table.contains("soon") && table.contains("succeeded: run"),
        "{table}"
    );

    let policy = [
        "--schedule",
        "0 */6 * * *",
        "--zone",
        "Europe/Berlin",
        "--keep-daily",
        "7",
        "--keep-weekly",
        "4",
    ];
    let from = ["--from", "2026-01-01T00:00:00Z"];
    let simulated = bench.done(&[&["job", "simulate"], &policy[..], &from].concat());
    let last = simulated.lines().last().unwrap();
    assert!(
        last.contains("365 days") && last.contains("1460"),
        "{simulated}"
    );
    let of_job = bench.done(&["job", "simulate", "soon", "--days", "1"]);
    assert!(
        of_job.contains("every 1m") && of_job.contains("1 last"),
        "{of_job}"
    );
}
