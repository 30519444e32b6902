//! What is one project's, and what another gets of it.

use std::time::Duration;

use raksha_tests::wait;
use serde_json::Value;

use crate::story::Story;

/// The project that has nothing.
const OTHER: &str = "raksha-other";

#[test]
fn another_project_gets_only_what_it_is_given() {
    let story = Story::begin("?ceph_user=openstack");
    let (lab, raksha) = (&story.lab, &story.place.raksha);
    let before = lab.inventory(OTHER);
    let job = raksha.ok(&["job", "create", "shared", "--server", "case3a"]);
    let report = story.run(&job);
    let run = report["run"].as_str().unwrap();
    let (number, _) = *story.journals(&report, "case3a")[0].last().unwrap();

    // With its own rights it neither finds the server nor, even with the repository's key, the run.
    let theirs = story.raksha_of(OTHER, "");
    let id = story.id("case3a");
    for said in [
        theirs.fails(&["discover", "case3a"]),
        theirs.fails(&["discover", &id]),
        theirs.fails(&["job", "create", "theirs", "--server", &id]),
        theirs.fails(&["restore", run]),
        theirs.fails(&["restore", report["point"].as_str().unwrap()]),
        theirs.fails(&["run", "show", run]),
        theirs.fails(&["job", "show", &job]),
    ] {
        assert!(
            said.contains(&id)
                || said.contains("case3a")
                || said.contains("none")
                || said.contains("no such"),
            "{said}"
        );
    }
    assert_eq!(theirs.json(&["points"]), Value::Array(vec![]));

    // Both agree: who may read the points restores into the other's project, under another name.
    let into = format!("openstack:{OTHER}?ceph_user=openstack");
    let restore = [
        "restore",
        run,
        "--into",
        &into,
        "--rename",
        "server:case3a=theirs",
    ];
    println!("{}", raksha.ok(&[&restore[..], &["--plan"]].concat()));
    raksha.ok(&restore);
    let shown = ["server", "show", "theirs", "-f", "value", "-c", "id"];
    let theirs = lab.openstack(OTHER, &shown).trim().to_owned();
    lab.agent_answers(&theirs);
    let goes_on = wait("theirs to write", Duration::from_secs(300), || {
        let tail = lab.inside(&theirs, "tail -n 1 /journal.txt");
        raksha_tests::lines(&tail)
            .pop()
            .filter(|line| line.0 > number + 3)
    });
    println!("the copy goes on from {number} to {}", goes_on.0);
    let mine = lab.openstack(
        &story.cloud,
        &["server", "list", "-f", "value", "-c", "Name"],
    );
    assert!(!mine.contains("theirs"), "{mine}");

    lab.openstack(OTHER, &["server", "delete", "--wait", "theirs"]);
    lab.remove_since(OTHER, &before);
}
