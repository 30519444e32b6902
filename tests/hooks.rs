//! Hooks of jobs, by the programs: a command is called round the moment at which disks are taken, and after also if the program was killed.

use std::fs;
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::local::{LocalCloud, NewServer};
use raksha_openstack::testkit::Case;
use raksha_tests::{Place, Program, Served, text};
use serde_json::{Value, json};

/// A server, and hooks that note their calls in a file.
async fn site() -> (Place, Program) {
    let place = Place::new();
    let cloud = place.path("cloud");
    let local = LocalCloud::create(&cloud, Env::system()).await.unwrap();
    let web = NewServer::new("web").volume("data", 1 << 20);
    local.add_server(web).await.unwrap();
    let (notes, slow) = (text(&place.path("notes")), text(&place.path("slow")));
    let note = format!("cat >/dev/null; echo $RAKSHA_MOMENT $RAKSHA_HOOK >>{notes}");
    let hang = format!("{note}; [ ! -e {slow} ] || [ $RAKSHA_MOMENT = after ] || exec sleep 20");
    let hooks = json!([
        { "name": "database", "description": "Orders are not taken", "command": ["/bin/sh", "-c", note] },
        { "name": "mail", "command": ["/bin/sh", "-c", hang], "within": 600 },
        { "name": "broken", "command": ["/bin/sh", "-c", "echo out of order >&2; exit 1"] },
    ]);
    let hooks = place.file("hooks.json", hooks.to_string().as_bytes());
    let raksha = (place.raksha.clone())
        .with("RAKSHA_CLOUD", format!("local:{}", cloud.display()))
        .with("RAKSHA_HOOKS", hooks);
    (place, raksha)
}

fn notes(place: &Place) -> Vec<String> {
    let file = place.path("notes");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let _ = fs::remove_file(file);
    text.lines().map(str::to_owned).collect()
}

const ALL: [&str; 4] = [
    "before database",
    "before mail",
    "after mail",
    "after database",
];

#[tokio::test]
async fn hooks_of_a_job_are_called_before_and_after() {
    let (place, raksha) = site().await;
    let hooked = ["--hook", "database", "--hook", "mail"];
    raksha.ok(&[&["job", "create", "hooked", "--server", "web"], &hooked[..]].concat());
    raksha.ok(&["job", "run", "hooked"]);
    assert_eq!(notes(&place), ALL);
    let shown = raksha.ok(&["job", "show", "hooked"]);
    assert!(shown.contains("hooks        database, mail"), "{shown}");

    raksha.ok(&["job", "update", "hooked", "--hook", "broken"]);
    let said = raksha.call(&["job", "run", "hooked"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let last = said.err.lines().last().unwrap();
    assert!(
        last.contains("out of order") && last.contains("hook broken, moment before"),
        "{said:?}"
    );
    // What did not work before is called after, too, and does not work either.
    let left = raksha.call(&["reap"]);
    assert!(left.err.contains("hook broken"), "{left:?}");
    raksha.ok(&["job", "update", "hooked", "--hook", "broken:warn"]);
    let said = raksha.call(&["job", "run", "hooked"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("out of order"), "{said:?}");

    let said = raksha.fails(&["job", "create", "other", "--server", "web", "--hook", "rm"]);
    assert!(
        said.contains("choose from database, mail, broken"),
        "{said}"
    );
}

#[tokio::test]
async fn what_was_held_when_the_program_was_killed_is_let_go_by_the_reaper() {
    let (place, raksha) = site().await;
    let hooked = ["--hook", "database", "--hook", "mail"];
    raksha.ok(&[&["job", "create", "hooked", "--server", "web"], &hooked[..]].concat());
    place.file("slow", b"");
    let called = || {
        let notes = fs::read_to_string(place.path("notes"));
        notes.is_ok_and(|notes| notes.contains("before mail"))
    };
    raksha.killed(&["job", "run", "hooked"], Duration::from_millis(5), called);
    assert_eq!(notes(&place), ALL[..2]);
    raksha.ok(&["reap", "--all"]);
    assert_eq!(notes(&place), ALL[2..]);
    raksha.ok(&["reap", "--all"]);
    assert!(notes(&place).is_empty(), "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_the_service_chooses_from_what_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let settings = format!(
        "[[hooks]]\nname = 'orders'\ndescription = 'No orders meanwhile'\ncommand = ['/bin/sh', '-c', 'cat >>{}']\n",
        told.display()
    );
    let served = Served::start(Duration::from_millis(5), &settings).await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let published = json!([{ "name": "orders", "description": "No orders meanwhile", "within": 30, "holds": null }]);
    assert_eq!(served.get(&demo, "/hooks")["hooks"], published);
    let wanted = |hook: &str| json!({ "backupjob": { "name": "nightly", "servers": [{ "name": "case1" }], "hooks": [{ "name": hook }] } });
    served.done(&demo, "POST", "/backupjobs", &wanted("rm"), 404);
    let made = served.done(&demo, "POST", "/backupjobs", &wanted("orders"), 201);
    assert_eq!(
        made["backupjob"]["hooks"],
        json!([{ "name": "orders", "if_fails": "refuse" }])
    );
    let path = format!("/backupjobs/{}", made["backupjob"]["id"].as_str().unwrap());
    let run = served.done(&demo, "POST", &path, &Value::Null, 202);
    let run = format!(
        "/backupjobruns/{}",
        run["backupjobrun"]["id"].as_str().unwrap()
    );
    let ended = served.ended(&demo, &run, "backupjobrun");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let told = fs::read_to_string(told).unwrap();
    let told: Vec<Value> = serde_json::Deserializer::from_str(&told)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let moments: Vec<&Value> = told.iter().map(|one| &one["moment"]).collect();
    assert_eq!(moments, ["before", "after"]);
    assert_eq!(told[0]["project"], demo.project.as_str());
    assert_eq!(told[0]["servers"][0][1], "case1");
}
