//! `raksha`, killed at any moment of what it does in a real cloud: cleaning up leaves the cloud as it was, and the next try succeeds.

use std::process::Stdio;
use std::time::{Duration, Instant};

use raksha_tests::{Program, Random};
use serde_json::Value;

use crate::story::Story;

/// So many times each is killed.
const KILLS: u32 = 10;

/// Where the server is restored to.
const OTHER: &str = "raksha-other";

/// Kills a call at moments spread over the time that it takes; cleans up after each and compares what `cloud` has with what it had. Says whether it had once succeeded
/// before it was killed, which ends this.
fn kill_and_clean_up(
    story: &Story,
    (raksha, cloud): (&Program, &str),
    arguments: &[&str],
    takes: Duration,
    random: &mut Random,
    succeeded: impl Fn() -> bool,
) -> bool {
    let before = story.lab.inventory(cloud);
    let mut hit = 0;
    for turn in 0..KILLS {
        let share = (f64::from(turn) + random.below(1000) as f64 / 1000.0) / f64::from(KILLS);
        let after = takes.mul_f64(share);
        let mut command = raksha.command(arguments);
        let mut child = (command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()).unwrap();
        std::thread::sleep(after);
        hit += u32::from(child.try_wait().unwrap().is_none());
        // SIGKILL: nothing of the process runs after it.
        let _ = child.kill();
        child.wait().unwrap();
        let had = story.lab.inventory(cloud);
        raksha.ok(&["reap", "--all"]);
        if succeeded() {
            println!("it had succeeded after {after:.1?}");
            return true;
        }
        let left = story.lab.inventory(cloud);
        let what = difference(&before["ids"], &had["ids"]);
        println!("killed after {after:.1?} with {what:?} in the cloud");
        assert_eq!(left["ids"], before["ids"], "killed after {after:?}");
    }
    assert!(hit >= KILLS / 2, "too few were killed at work: {hit}");
    false
}

/// How many of each kind there are more than before.
fn difference(before: &Value, after: &Value) -> Vec<String> {
    let count = |of: &Value, kind: &str| of[kind].as_array().map_or(0, Vec::len);
    let kinds = after.as_object().unwrap().keys();
    let more = kinds.map(|kind| (count(after, kind) as i64 - count(before, kind) as i64, kind));
    more.filter(|(n, _)| *n != 0)
        .map(|(n, kind)| format!("{n:+} {kind}"))
        .collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

#[test]
fn killed_backups_and_restores_leave_the_cloud_as_it_was() {
    // Without hints nothing stays behind on purpose.
    let story = Story::begin("?ceph_user=openstack&hints=false");
    let mut random = Random::announced("kills in a real cloud");
    let raksha = &story.place.raksha;
    let job = raksha.ok(&["job", "create", "killed", "--server", "case3a"]);
    let first = story.run(&job);
    // The next ones find most of it stored.
    let (_, takes) = timed(|| story.run(&job));
    let at_home = (raksha, story.cloud.as_str());
    // One that has succeeded is a run like any other.
    let run = ["job", "run", &job];
    kill_and_clean_up(&story, at_home, &run, takes, &mut random, || false);
    story.run(&job);

    let into = story
        .raksha_of(OTHER, "?ceph_user=openstack")
        .with("RAKSHA_PROJECT", story.project());
    let restore = ["restore", first["run"].as_str().unwrap()];
    let before = story.lab.inventory(OTHER);
    let (_, takes) = timed(|| into.ok(&restore));
    story
        .lab
        .openstack(OTHER, &["server", "delete", "--wait", "case3a"]);
    story.lab.remove_since(OTHER, &before);
    // What a restore that succeeded brought back is its owner's.
    let list = ["server", "list", "-f", "value", "-c", "Name"];
    let there = || story.lab.openstack(OTHER, &list).contains("case3a");
    if !kill_and_clean_up(&story, (&into, OTHER), &restore, takes, &mut random, there) {
        into.ok(&restore);
    }
    story
        .lab
        .openstack(OTHER, &["server", "delete", "--wait", "case3a"]);
    story.lab.remove_since(OTHER, &before);
    raksha.ok(&["verify", "--keyless"]);
}
