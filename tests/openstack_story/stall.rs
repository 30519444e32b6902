//! How long a guest's disks stand still while it is backed up, as the guest itself measures it.

use std::process::Command;

use raksha_tests::text;

use crate::story::{SERVERS, Story};

/// Where the guest's volumes are mounted, each with a file for it to write.
const FILES: &str = "/stall /data/vdb/stall /data/vdc/stall";

/// The longest that writes to volumes in Ceph may stand still if no freeze is demanded, in seconds.
const BOUND: f64 = 1.0;

impl Story {
    /// Seconds since a guest booted.
    fn uptime(&self, id: &str) -> f64 {
        let shown = self.lab.inside(id, "cut -d' ' -f1 /proc/uptime");
        shown.trim().parse().unwrap()
    }

    /// The longest write between two instants of a guest.
    fn longest(&self, id: &str, from: f64, to: f64) -> f64 {
        let shown = self.lab.inside(id, "cat /tmp/stall.txt");
        let writes = shown.lines().filter_map(|line| {
            let (at, took) = line.split_once(' ')?;
            Some((at.parse::<f64>().ok()?, took.parse::<f64>().ok()?))
        });
        // A line tells of the second before it.
        let between = writes.filter(|(at, _)| (from..to + 2.0).contains(at));
        between.map(|(_, took)| took).fold(0.0, f64::max)
    }
}

#[test]
fn a_guest_hardly_notices_that_it_is_backed_up() {
    let story = Story::begin("?ceph_user=openstack");
    let id = story.id("case2");
    // The machine has two processors, and the guests are emulated: the others would be what is measured.
    let others: Vec<&str> = SERVERS
        .into_iter()
        .filter(|name| *name != "case2")
        .collect();
    let rest = |verb: &str| {
        let all = [&["server", verb][..], &others].concat();
        story.lab.openstack(&story.cloud, &all);
    };
    rest("pause");
    let program = story.place.path("stall");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/guest/stall.c");
    let built = Command::new("cc")
        .args(["-O2", "-o", &text(&program), source])
        .status();
    assert!(built.unwrap().success(), "{source} must compile");
    story
        .lab
        .put(&id, "/stall.bin", &std::fs::read(&program).unwrap());
    let start = format!(
        "killall -STOP raksha-writer; chmod 755 /stall.bin; /stall.bin 900 {FILES} >/tmp/stall.txt 2>&1 </dev/null &"
    );
    story.lab.inside(&id, &start);
    let began = story.uptime(&id);
    std::thread::sleep(std::time::Duration::from_secs(30));
    let idle = story.longest(&id, began, story.uptime(&id));
    println!("with nothing done to it, its longest write took {idle:.2} s");

    let mut longest = Vec::new();
    for level in ["crash", "file-system"] {
        let name = format!("stall-{level}");
        let create = [
            "job",
            "create",
            &name,
            "--server",
            "case2",
            "--consistency",
            level,
        ];
        let job = story.place.raksha.ok(&create);
        for _ in 0..2 {
            let from = story.uptime(&id);
            let report = story.run(&job);
            let to = story.uptime(&id);
            let took = story.longest(&id, from, to);
            println!(
                "{level}: in {:.0} s its longest write took {took:.2} s; {}",
                to - from,
                report["ledger"]
            );
            longest.push((level, took));
        }
    }
    let again =
        "killall stall.bin; rm -f /stall.bin /stall /data/vd?/stall; killall -CONT raksha-writer";
    story.lab.inside(&id, again);
    rest("unpause");
    for (level, took) in longest {
        assert!(
            level != "crash" || took < BOUND,
            "{level}: writes stood still for {took:.2} s"
        );
    }
}
