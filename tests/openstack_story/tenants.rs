//! Two tenants and the service: each administers its own jobs through it, and gets nothing of the other's.

use std::time::Duration;

use raksha_core::env::Env;
use raksha_tests::{Lab, Place, Served, Tenant, wait};
use serde_json::{Value, json};

use crate::story::Story;

/// The project of the second tenant.
const OTHER: &str = "raksha-other";

/// Rights are looked at a minute before they are needed.
const SETTINGS: &str = "
[authority]
sealing_key_file = 'sealing-key'
probe = '1m'
[workers]
poll = '1s'
";

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// The ids of what a list of `things` at `path` shows.
fn ids(served: &Served<Lab>, tenant: &Tenant, path: &str, things: &str) -> Vec<String> {
    let shown = served.get(tenant, path);
    let listed = shown[things].as_array().unwrap().iter();
    listed.map(|one| text(&one["id"]).to_owned()).collect()
}

/// What the tenant did to protect a server: the ids of job, run and point.
fn protect(served: &Served<Lab>, tenants: [(&Tenant, &str); 2]) -> [[String; 3]; 2] {
    // Both give the same name; both runs go on at the same time.
    let begun = tenants.map(|(tenant, server)| {
        let wanted = json!({ "backupjob": { "name": "nightly", "servers": [{ "name": server }] } });
        let made = served.done(tenant, "POST", "/backupjobs", &wanted, 201);
        let job = text(&made["backupjob"]["id"]).to_owned();
        let run = served.done(
            tenant,
            "POST",
            &format!("/backupjobs/{job}"),
            &Value::Null,
            202,
        );
        (job, text(&run["backupjobrun"]["id"]).to_owned())
    });
    let mut begun = begun.into_iter();
    tenants.map(|(tenant, server)| {
        let (job, run) = begun.next().unwrap();
        let ended = served.ended(tenant, &format!("/backupjobruns/{run}"), "backupjobrun");
        println!("{server}: {} {}", ended["status"], ended["counts"]);
        assert_eq!(ended["status"], "succeeded", "{ended}");
        [job, run, text(&ended["point"]).to_owned()]
    })
}

#[test]
fn two_tenants_administer_their_jobs_and_one_who_takes_a_right_back_is_told() {
    let story = Story::begin("");
    let lab = &story.lab;
    let before = lab.inventory(OTHER);
    lab.openstack(OTHER, &["network", "create", "theirs"]);
    let subnet = ["subnet", "create", "theirs", "--network", "theirs"];
    lab.openstack(
        OTHER,
        &[&subnet[..], &["--subnet-range", "10.79.0.0/24"]].concat(),
    );
    let create = [
        "server",
        "create",
        "--image",
        "raksha-guest",
        "--flavor",
        "raksha.tiny",
        "--network",
        "theirs",
        "--wait",
        "theirs",
        "-f",
        "value",
        "-c",
        "id",
    ];
    let id = lab.openstack(OTHER, &create).trim().to_owned();
    lab.agent_answers(&id);
    let last = |id: &str| raksha_tests::lines(&lab.inside(id, "tail -n 1 /journal.txt")).pop();
    let patience = Duration::from_secs(300);
    let wrote = wait("theirs to write", patience, || {
        last(&id).filter(|line| line.0 > 5)
    });

    let served = Served::on_lab(lab.clone(), Place::new(), SETTINGS);
    let (demo, other) = (served.sign_in("demo"), served.sign_in("other"));
    let [of_demo, of_other] = protect(&served, [(&demo, "case3a"), (&other, "theirs")]);
    isolated(&served, (&demo, &of_demo), (&other, &of_other));

    // The second loses its server, and brings it back by a plan that it looks at.
    lab.openstack(OTHER, &["server", "delete", "--wait", "theirs"]);
    let run = format!("/backupjobruns/{}", of_other[1]);
    let planned = served.done(&other, "POST", &format!("{run}/plan"), &Value::Null, 200);
    assert!(planned["refused"].is_null(), "{}", planned["in_words"]);
    let plan = json!({ "plan": planned["plan"] });
    let begun = served.done(&other, "POST", &run, &plan, 202);
    let restore = format!("/restores/{}", text(&begun["restore"]["id"]));
    let restored = served.ended(&other, &restore, "restore");
    assert_eq!(restored["status"], "succeeded", "{restored}");
    let show = ["server", "show", "theirs", "-f", "value", "-c", "id"];
    let again = lab.openstack(OTHER, &show).trim().to_owned();
    assert_ne!(again, id);
    lab.agent_answers(&again);
    let goes_on = wait("theirs to write again", patience, || {
        last(&again).filter(|line| line.0 > wrote.0)
    });
    println!("theirs goes on from {} to {}", wrote.0, goes_on.0);

    revoked(&served, &demo);
    lab.openstack(OTHER, &["server", "delete", "--wait", "theirs"]);
    lab.remove_since(OTHER, &before);
}

/// Neither sees or touches anything of the other, by whatever id.
fn isolated(
    served: &Served<Lab>,
    (demo, of_demo): (&Tenant, &[String; 3]),
    (other, of_other): (&Tenant, &[String; 3]),
) {
    for (me, mine, them, theirs) in [
        (demo, of_demo, other, of_other),
        (other, of_other, demo, of_demo),
    ] {
        let [job, run, point] = theirs;
        assert_eq!(
            ids(served, me, "/backupjobs", "backupjobs"),
            [mine[0].as_str()]
        );
        assert_eq!(
            ids(served, me, "/backupjobruns", "backupjobruns"),
            [mine[1].as_str()]
        );
        assert_eq!(ids(served, me, "/points", "points"), [mine[2].as_str()]);
        for (method, path) in [
            ("GET", format!("/backupjobs/{job}")),
            ("POST", format!("/backupjobs/{job}")),
            ("DELETE", format!("/backupjobs/{job}")),
            ("GET", format!("/backupjobruns/{run}")),
            ("POST", format!("/backupjobruns/{run}")),
            ("POST", format!("/backupjobruns/{run}/plan")),
            ("POST", format!("/backupjobruns/{run}/cancel")),
            ("DELETE", format!("/backupjobruns/{run}")),
            ("GET", format!("/points/{point}")),
        ] {
            let body = match method {
                "POST" if path.contains("runs") && !path.ends_with("cancel") => {
                    json!({ "options": {} })
                }
                _ => Value::Null,
            };
            served.done(me, method, &path, &body, 404);
            let path = format!("/v1/{}{path}", them.project);
            let answer = served.ask_at(Some(me), method, &path, &body);
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        }
    }
}

/// A job runs by a trust of its tenant. The trust is taken back in Keystone itself: that is known before the run is due, with the remedy.
fn revoked(served: &Served<Lab>, tenant: &Tenant) {
    let due = Env::system().now().after(Duration::from_secs(150));
    let schedule = json!({ "trigger": { "interval": { "every": "1h", "anchor": due } } });
    let wanted = json!({ "backupjob": { "name": "hourly", "servers": [{ "name": "case3a" }], "schedule": schedule } });
    let made = served.done(tenant, "POST", "/backupjobs", &wanted, 201);
    let path = format!("/backupjobs/{}", text(&made["backupjob"]["id"]));
    let shown = || served.get(tenant, &path)["backupjob"].clone();
    let patience = Duration::from_secs(120);
    wait("the right to be looked at", patience, || {
        let standing = &shown()["protection"]["authority"]["standing"];
        (standing == "good").then_some(())
    });

    let headers = [("X-Auth-Token", tenant.token.as_str())];
    let me = served.keystone(
        "GET",
        "/auth/tokens",
        &[headers[0], ("X-Subject-Token", &tenant.token)],
        "",
    );
    let me = me.json()["token"]["user"]["id"].clone();
    let list = format!("/OS-TRUST/trusts?trustor_user_id={}", text(&me));
    let trusts = served.keystone("GET", &list, &headers, "").json();
    for trust in trusts["trusts"].as_array().unwrap() {
        let gone = format!("/OS-TRUST/trusts/{}", text(&trust["id"]));
        assert_eq!(served.keystone("DELETE", &gone, &headers, "").status, 204);
    }
    let lost = wait("the loss to be told", patience, || {
        let shown = shown();
        let lost = shown["protection"]["authority"]["standing"] == "lost";
        lost.then_some(shown)
    });
    let authority = &lost["protection"]["authority"];
    println!("{authority}");
    assert!(
        text(&authority["since"]) < due.to_string().as_str(),
        "{authority}, due {due}"
    );
    assert!(
        text(&authority["reason"]).contains("revoked"),
        "{authority}"
    );
    assert!(text(&authority["remedy"]).contains("renew"), "{authority}");
    served.done(tenant, "DELETE", &path, &Value::Null, 204);
}
