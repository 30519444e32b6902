//! Guests that a hook freezes while the disks of a job are taken, as its operator publishes it (`tests/lab/freeze-guests.py`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use raksha_tests::{Program, text, wait};
use serde_json::json;

use crate::story::Story;

/// One boots from an image and has a volume beside it, of which the cloud takes no picture of one instant; the other has three volumes.
const SERVERS: [(&str, usize); 2] = [("case1", 2), ("case2", 3)];

fn in_lab(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(name)
}

/// The program with the hooks: one that freezes, one that hangs while the file `hang` is there, and one that lets go what another has frozen.
fn hooked(story: &Story) -> Program {
    let place = &story.place;
    let frozen = place.path("frozen");
    std::fs::create_dir(&frozen).unwrap();
    let hang = format!("[ ! -e {} ] || exec sleep 120", text(&place.path("hang")));
    let thaw = r#"{"execute": "guest-fsfreeze-thaw"}"#;
    let case1 = story.id("case1");
    let meddle = [
        "virsh",
        "-c",
        "qemu:///system",
        "qemu-agent-command",
        &case1,
        thaw,
    ];
    let hooks = json!([
        { "name": "freeze", "command": [in_lab("freeze-guests.py"), frozen], "within": 120, "holds": "file_system" },
        { "name": "wait", "command": ["/bin/sh", "-c", hang], "within": 600 },
        { "name": "meddle", "command": meddle },
    ]);
    let file = place.file("hooks.json", hooks.to_string().as_bytes());
    place.raksha.clone().with("RAKSHA_HOOKS", file)
}

#[test]
fn guests_that_a_hook_freezes_are_of_one_instant_and_always_go_on() {
    let mut story = Story::begin("");
    story.place.raksha = hooked(&story);
    let raksha = &story.place.raksha;
    let ids = SERVERS.map(|(server, _)| story.id(server));
    let create = |name: &str, hooks: &[&str]| {
        let job = [
            "job",
            "create",
            name,
            "--consistency",
            "file-system",
            "--refuse",
        ];
        let servers = SERVERS.iter().flat_map(|(server, _)| ["--server", server]);
        let hooks = hooks.iter().flat_map(|hook| ["--hook", hook]);
        let call: Vec<&str> = job.into_iter().chain(servers).chain(hooks).collect();
        raksha.ok(&call)
    };

    let refused = |job: &str| {
        let said = raksha.call(&["job", "run", job]);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.err
    };

    let said = refused(&create("by the cloud alone", &[]));
    assert!(
        said.contains("demands the consistency `file system`"),
        "{said}"
    );

    let job = create("frozen", &["freeze", "wait"]);
    let report = story.run(&job);
    let ledger = &report["ledger"];
    assert_eq!(ledger["skew"], 0, "{ledger}");
    for disk in ledger["disks"].as_array().unwrap() {
        assert_eq!(disk["level"], "file_system", "{ledger}");
        let means = disk["means"].as_str().unwrap();
        assert!(means.ends_with("all held by the hook freeze"), "{means}");
        println!("frozen for {} ms", disk["freeze"].as_u64().unwrap() / 1000);
    }
    for (server, disks) in SERVERS {
        let journals = story.journals(&report, server);
        let last = journals.iter().map(|lines| lines.last().unwrap().0);
        let last: Vec<u64> = last.collect();
        println!("{server}: the last numbers on its disks are {last:?}");
        assert_eq!(last, vec![last[0]; disks], "{server} wrote meanwhile");
        story.writes(server);
    }

    // Somebody lets one go before its time: nothing is claimed, and nothing kept.
    let meddled = create("meddled", &["freeze", "meddle"]);
    let said = refused(&meddled);
    assert!(said.contains("and it reached `crash`"), "{said}");
    raksha.ok(&["reap", "--all"]);

    // The program dies while the guests stand still.
    let before = story.lab.inventory(&story.cloud);
    story.place.file("hang", b"");
    let frozen = || ids.iter().all(|id| story.lab.is_frozen(id));
    raksha.killed(&["job", "run", &job], Duration::from_millis(500), frozen);
    assert!(frozen(), "they stand still until somebody cares");
    raksha.ok(&["reap", "--all"]);
    for (server, _) in SERVERS {
        story.writes(server);
    }
    wait(
        "the cloud to be as it was",
        Duration::from_secs(120),
        || (story.lab.inventory(&story.cloud)["ids"] == before["ids"]).then_some(()),
    );
}
