//! Three worker processes share a job store in PostgreSQL; two of them are killed again and again. Each run that was due happened once, or is on record as missed.
//!
//! `RAKSHA_WORK_SECONDS` says for how long (130 unless set); `RAKSHA_SEED` repeats the moments of the kills.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use raksha_core::env::Env;
use raksha_core::local::{LocalCloud, NewServer};
use raksha_tests::{Place, Random, ready, wait};
use serde_json::Value;

/// Each with a server of its own.
const JOBS: [&str; 8] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight",
];

/// How far apart a job's runs are: no schedule may have them closer.
const EVERY: Duration = Duration::from_secs(60);

fn start(place: &Place, name: &str) -> Child {
    let arguments = [
        "schedule", "run", "--quiet", "--name", name, "--poll", "500ms", "--lease", "30s",
    ];
    let mut command = place.raksha.command(&arguments);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// What is due and what became of it.
fn due(place: &Place, job: &str) -> Vec<Value> {
    let list = ["schedule", "list", job, "--most", "1000000"];
    place.raksha.json(&list).as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_happens_once_though_workers_die() {
    let database = ready("POSTGRES");
    let seconds = std::env::var("RAKSHA_WORK_SECONDS").map_or(130, |s| s.parse().unwrap());
    let mut random = Random::announced("workers");
    let mut place = Place::new();
    let home = place.path("cloud");
    let cloud = LocalCloud::create(&home, Env::system()).await.unwrap();
    for job in JOBS {
        let server = NewServer::new(job).volume("data", 4 << 20);
        cloud.add_server(server).await.unwrap();
    }
    // Projects of their own keep what others left in the database apart.
    let project = format!("workers-{}", random.number());
    place.raksha = (place.raksha)
        .with("RAKSHA_CLOUD", format!("local:{}", home.display()))
        .with("RAKSHA_JOBS", &database["RAKSHA_POSTGRES"])
        .with("PGPASSWORD", &database["PGPASSWORD"])
        .with("RAKSHA_PROJECT", project);
    let every = format!("{}s", EVERY.as_secs());
    for job in JOBS {
        let create = ["job", "create", job, "--server", job, "--every", &every];
        place.raksha.ok(&create);
    }

    let mut steady = start(&place, "steady");
    let mut mortal = [0, 1].map(|n| (n, start(&place, &format!("mortal{n}"))));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut killed = 0;
    while Instant::now() < until {
        sleep(Duration::from_millis(random.below(3000)));
        let (n, worker) = &mut mortal[usize::from(random.one_in(2))];
        assert_eq!(
            worker.try_wait().unwrap(),
            None,
            "mortal{n} ended by itself"
        );
        worker.kill().unwrap();
        worker.wait().unwrap();
        killed += 1;
        *worker = start(&place, &format!("mortal{n}"));
    }
    for (_, worker) in &mut mortal {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    assert_eq!(
        steady.try_wait().unwrap(),
        None,
        "the steady worker ended by itself"
    );

    // What the dead had is taken over when their leases' time is up; by then the rest is done as well.
    let ends: BTreeMap<&str, String> = (JOBS.iter())
        .map(|job| {
            (
                *job,
                due(&place, job)[0]["due"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let settled = |one: &Value| one["state"].get("ended").is_some();
    wait("all to be settled", Duration::from_secs(120), || {
        let all = JOBS.iter().all(|job| {
            let listed = due(&place, job);
            let old = listed
                .iter()
                .filter(|one| one["due"].as_str().unwrap() <= &*ends[job]);
            old.into_iter().all(settled)
        });
        all.then_some(())
    });
    steady.kill().unwrap();
    steady.wait().unwrap();

    let points = place.raksha.json(&["points"]);
    let mut with_point = BTreeSet::new();
    for point in points.as_array().unwrap() {
        let run = point["summary"]["run"].as_str().unwrap().to_owned();
        assert!(with_point.insert(run), "two points of one run: {point}");
    }
    let runs = place.raksha.json(&["run", "list"]);
    let mut happened: BTreeMap<(String, String), u32> = BTreeMap::new();
    for run in runs.as_array().unwrap() {
        if with_point.contains(run["id"].as_str().unwrap()) {
            let of = |key: &str| run[key].as_str().unwrap().to_owned();
            *happened.entry((of("job"), of("due"))).or_default() += 1;
        }
    }
    let (mut ran, mut missed, mut again) = (0, 0, 0);
    for job in JOBS {
        let listed: Vec<Value> = (due(&place, job).into_iter())
            .filter(|one| one["due"].as_str().unwrap() <= &*ends[job])
            .collect();
        let times: Vec<raksha_core::Timestamp> = (listed.iter())
            .map(|one| one["due"].as_str().unwrap().parse().unwrap())
            .collect();
        for pair in times.windows(2) {
            let apart = pair[0].since(pair[1]);
            assert_eq!(
                apart, EVERY,
                "{job}: none may be left out, nor be there twice"
            );
        }
        for one in &listed {
            let end = &one["state"]["ended"]["end"];
            let key = (
                one["job"].as_str().unwrap().to_owned(),
                one["due"].as_str().unwrap().to_owned(),
            );
            let times = happened.get(&key).copied().unwrap_or(0);
            if end.get("missed").is_some() {
                assert_eq!(times, 0, "missed, but there is a point: {one}");
                missed += 1;
            } else {
                assert!(end["ran"]["outcome"].get("succeeded").is_some(), "{one}");
                assert_eq!(times, 1, "{one}");
                ran += 1;
                again += u32::from(one["token"].as_u64().unwrap_or(1) > 1);
            }
        }
    }
    println!(
        "{killed} workers were killed; {ran} runs happened once, {again} of them after a worker had died; {missed} were missed by the rule"
    );
    assert!(ran > 0);
    place.raksha.ok(&["verify"]);
}
