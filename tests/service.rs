//! `raksha-service` as tenants use it: the program itself, beside a cloud over real HTTP. Every answer is held against the OpenAPI document.

use std::fs;
use std::time::Duration;

use raksha_core::env::Env;
use raksha_openstack::testkit::{Case, Kind, record};
use raksha_tests::tenant::{begin, job, lose, run, text};
use raksha_tests::{Served, Tenant, until};
use serde_json::{Value, json};

const QUICK: Duration = Duration::from_millis(5);
/// Slow enough that something can be done meanwhile.
const SLOW: Duration = Duration::from_millis(1500);

const POLICY: &str = "
[[policies]]
name = 'gold'
description = 'Every night, kept for a year'
schedule = { trigger = { cron = '30 2 * * *' }, zone = 'Europe/Berlin', jitter = '30m' }
retention = { last = 3, daily = 7, weekly = 4, monthly = 12, zone = 'Europe/Berlin' }
objective = { rpo = '26h' }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tenant_backs_up_loses_and_restores_a_server_and_every_byte_is_back() {
    let mut served = Served::start(QUICK, POLICY).await;
    served.cloud.seed("demo", Case::BootedFromVolume).unwrap();
    served.cloud.settle();
    let server = served.cloud.id_of(Kind::Server, "case2").unwrap();
    served.cloud.write_records(&server).unwrap();
    let demo = served.sign_in("demo");

    // A job, with what the operator publishes.
    let policies = served.get(&demo, "/policies");
    assert_eq!(
        policies["policies"][0]["in_words"]["retention"],
        "3 last, 7 daily, 4 weekly, 12 monthly (Europe/Berlin)"
    );
    let wanted = json!({ "backupjob": { "name": "nightly", "servers": [{ "name": "case2" }], "policy": "gold" } });
    let made = served.done(&demo, "POST", "/backupjobs", &wanted, 201)["backupjob"].clone();
    assert_eq!(made["policy"], "gold");
    assert_eq!(made["retention"]["daily"], 7);
    assert!(
        made["next_due"].is_string() && made["newest_run"].is_null(),
        "{made}"
    );
    let job = text(&made["id"]).to_owned();
    served.done(&demo, "POST", "/backupjobs", &wanted, 409);

    // Two runs, and one that reads everything.
    let first = run(&served, &demo, &job, "");
    let last = served.cloud.write_records(&server).unwrap();
    let second = run(&served, &demo, &job, "");
    let counts = |run: &Value, what: &str| run["counts"][what].as_u64().unwrap();
    let size = counts(&first, "logical_bytes");
    assert_eq!(size, 3 << 30);
    assert!(counts(&second, "new_bytes") < counts(&first, "new_bytes"));
    assert_eq!(second["disks"].as_array().unwrap().len(), 3);
    let full = run(&served, &demo, &job, "?prepare=1");
    assert!(counts(&full, "read_bytes") >= counts(&first, "read_bytes"));
    let detail = served.get(&demo, &format!("/backupjobs/{job}"));
    // What was asked for by hand counts as well, once it was verified.
    let point = text(&full["point"]);
    until("the point to be verified", || {
        let detail = served.get(&demo, &format!("/backupjobs/{job}"));
        detail["backupjob"]["protection"]["verified"]["point"] == point
    });
    assert_eq!(detail["backupjob"]["newest_run"]["id"], full["id"]);

    // Pages.
    let page = served.get(&demo, "/backupjobruns?limit=2");
    assert_eq!(page["backupjobruns"].as_array().unwrap().len(), 2);
    let rest = served.get(
        &demo,
        &format!("/backupjobruns?limit=2&marker={}", text(&page["next"])),
    );
    assert_eq!(rest["backupjobruns"][0]["id"], first["id"]);
    assert!(rest["next"].is_null());
    assert_eq!(
        served.get(&demo, "/backupjobruns/detail")["backupjobruns"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    // Sizes: each point needs packs, and what is not shared with others is little.
    let points = served.get(&demo, "/points?sizes=1")["points"].clone();
    let points = points.as_array().unwrap();
    assert_eq!(points.len(), 3);
    let stored: u64 = [&first, &second, &full]
        .iter()
        .map(|run| counts(run, "stored_bytes"))
        .sum();
    for point in points {
        let (unique, shared) = (
            point["unique_bytes"].as_u64().unwrap(),
            point["shared_bytes"].as_u64().unwrap(),
        );
        assert_eq!(point["logical_bytes"], size);
        assert!(
            shared > 0 && unique < stored,
            "{point}, {stored} bytes are stored in all"
        );
    }
    let shown = served.get(&demo, &format!("/points/{point}"))["point"].clone();
    assert_eq!(shown["server_names"], json!(["case2"]));

    // What is there is in the way: the plan says so, and is refused.
    let restore = format!("/backupjobruns/{}", text(&second["id"]));
    let plan = format!("{restore}/plan");
    let planned = served.done(&demo, "POST", &plan, &json!({ "options": {} }), 200);
    assert!(planned["refused"].is_string(), "{planned}");
    assert!(!planned["plan"]["conflicts"].as_array().unwrap().is_empty());
    served.done(&demo, "POST", &restore, &json!({}), 409);

    let disks = ["case2-root", "case2-a", "case2-b"];
    let read = |name: &str| {
        let id = served
            .cloud
            .id_of(Kind::Volume, name)
            .unwrap_or_else(|| panic!("no volume {name}"));
        fs::read(served.cloud.disk_path(&id)).unwrap()
    };
    let (at, bytes) = record(last);
    let before: Vec<Vec<u8>> = disks.iter().map(|name| read(name)).collect();
    for disk in &before {
        let at = usize::try_from(at).unwrap();
        assert_eq!(disk[at..at + bytes.len()], bytes);
    }
    lose(&served, &demo, "case2", &disks);

    // A plan, looked at, and carried out as it is.
    let planned = served.done(&demo, "POST", &plan, &Value::Null, 200);
    assert!(planned["refused"].is_null(), "{}", planned["in_words"]);
    assert_eq!(planned["bytes"], size);
    let mut other = planned["plan"].clone();
    other["point"] = first["point"].clone();
    served.done(&demo, "POST", &restore, &json!({ "plan": other }), 400);
    let begun = served.done(
        &demo,
        "POST",
        &restore,
        &json!({ "plan": planned["plan"] }),
        202,
    );
    let id = text(&begun["restore"]["id"]);
    let restored = served.ended(&demo, &format!("/restores/{id}"), "restore");
    assert_eq!(restored["status"], "succeeded", "{restored}");
    for (name, before) in disks.iter().zip(&before) {
        assert!(read(name) == *before, "{name} is not what it was");
    }
    assert!(served.cloud.id_of(Kind::Server, "case2").is_some());
    assert_eq!(served.get(&demo, "/restores")["restores"][0]["id"], id);
    served.done(
        &demo,
        "POST",
        &format!("/restores/{id}/cancel"),
        &Value::Null,
        409,
    );

    // A run's point is forgotten, and the others are whole.
    served.done(
        &demo,
        "DELETE",
        &format!("/backupjobruns/{}", text(&first["id"])),
        &Value::Null,
        204,
    );
    assert_eq!(
        served.get(&demo, &format!("/backupjobruns/{}", text(&first["id"])))["backupjobrun"]["restorable"],
        false
    );
    assert_eq!(
        served.get(&demo, "/points")["points"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(served.get(&demo, "/quotas")["quotas"]["points"]["used"], 2);

    let metrics = served.web().ask("GET", "/metrics", &[], "").text;
    for line in [
        format!(
            "raksha_job_last_success_timestamp_seconds{{project=\"{}\",job=\"{job}\",name=\"nightly\"}}",
            demo.project
        ),
        "raksha_objectives{state=\"met\"} 1".to_owned(),
        "raksha_ended_total{what=\"run\",outcome=\"succeeded\"} 3".to_owned(),
        "raksha_ended_total{what=\"restore\",outcome=\"succeeded\"} 1".to_owned(),
        format!("raksha_run_bytes_total{{kind=\"logical\"}} {}", 3 * size),
        format!("raksha_restored_bytes_total {size}"),
        "raksha_phases_total{phase=\"reading_disks\"} 3".to_owned(),
        "raksha_queue_length{state=\"waiting\"} 0".to_owned(),
        "raksha_http_requests_total{operation=\"run_job\",status=\"202\"} 3".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(
        metrics.contains("raksha_job_newest_verified_point_age_seconds{"),
        "{metrics}"
    );

    served.done(
        &demo,
        "DELETE",
        &format!("/backupjobs/{job}"),
        &Value::Null,
        204,
    );
    assert_eq!(served.get(&demo, "/backupjobs")["backupjobs"], json!([]));
    assert_eq!(served.terminate(), Some(0), "{}", served.log());
    assert!(!served.log().contains(&demo.token), "tokens are in no log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_is_changed_and_what_is_not_known_is_refused_by_its_name() {
    let served = Served::start(QUICK, POLICY).await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let id = job(&served, &demo, "one", "case1");
    let path = format!("/backupjobs/{id}");
    let change = |body: Value| {
        served.done(&demo, "PATCH", &path, &json!({ "backupjob": body }), 200)["backupjob"].clone()
    };

    let changed = change(json!({ "policy": "gold" }));
    assert_eq!(
        (&changed["name"], &changed["policy"]),
        (&json!("one"), &json!("gold"))
    );
    let changed = change(json!({ "schedule": { "trigger": { "cron": "0 4 * * *" } } }));
    assert!(
        changed.get("policy").is_none(),
        "it is the operator's policy no more: {changed}"
    );
    assert_eq!(changed["retention"]["daily"], 7, "what was not given stays");
    let changed = change(json!({ "schedule": null, "objective": null, "name": "two" }));
    assert!(
        changed.get("schedule").is_none() && changed["next_due"].is_null(),
        "{changed}"
    );
    let replaced = json!({ "backupjob": { "name": "three", "servers": ["all"] } });
    let replaced = served.done(&demo, "PUT", &path, &replaced, 200)["backupjob"].clone();
    assert!(replaced["retention"].get("daily").is_none(), "{replaced}");
    assert_eq!(replaced["id"], id.as_str());

    for (method, path, body, status, word) in [
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": ["all"], "colour": 1 } }),
            400,
            "colour",
        ),
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": [] } }),
            400,
            "server",
        ),
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": [{ "name": "ghost" }] } }),
            404,
            "ghost",
        ),
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": ["all"], "policy": "iron" } }),
            404,
            "iron",
        ),
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": ["all"], "policy": "gold", "retention": {} } }),
            400,
            "gold",
        ),
        (
            "POST",
            "/backupjobs",
            json!({ "backupjob": { "name": "x", "servers": ["all"], "schedule": { "trigger": { "cron": "61 * * * *" } } } }),
            400,
            "61",
        ),
        ("POST", "/backupjobs", json!([]), 400, "body"),
        ("GET", "/backupjobs?colour=1", Value::Null, 400, "colour"),
        ("GET", "/backupjobs?limit=0", Value::Null, 400, "limit"),
        (
            "GET",
            "/backupjobs?limit=1&limit=1",
            Value::Null,
            400,
            "limit",
        ),
        (
            "GET",
            "/backupjobs?marker=nothing",
            Value::Null,
            400,
            "marker",
        ),
        ("GET", "/backupjobs", json!({}), 400, "body"),
        ("GET", "/backupjobs/nothing", Value::Null, 404, "nothing"),
        ("POST", "/simulate", json!({}), 400, "schedule"),
        ("GET", "/nothing", Value::Null, 404, "route"),
        ("PUT", "/backupjobs", Value::Null, 404, "route"),
    ] {
        let refused = served.done(&demo, method, path, &body, status);
        assert!(
            refused.to_string().contains(word),
            "{method} {path} {body}: {refused}"
        );
    }
    let long = json!({ "backupjob": { "name": "x".repeat(2 << 20), "servers": ["all"] } });
    served.done(&demo, "POST", "/backupjobs", &long, 400);

    let year = json!({ "policy": "gold", "from": "2026-01-01T00:00:00Z" });
    let kept = served.done(&demo, "POST", "/simulate", &year, 200)["simulation"].clone();
    assert_eq!(
        (
            &kept["runs"],
            &kept["samples"].as_array().unwrap().last().unwrap()["kept"]
        ),
        (&json!(365), &json!(20))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_are_keystones_to_judge() {
    let served = Served::start(QUICK, "tokens = { believed_for = '1s' }\n").await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let path = format!("/v1/{}/backupjobs", demo.project);
    let wanted = json!({ "backupjob": { "name": "one", "servers": ["all"] } });
    let status = |tenant: Option<&Tenant>| served.ask_at(tenant, "GET", &path, &Value::Null).status;
    assert_eq!(status(None), 401);
    let forged = Tenant {
        token: "gAAAAAforged".to_owned(),
        ..demo.clone()
    };
    assert_eq!(status(Some(&forged)), 401);
    let session = served
        .ask_at(Some(&demo), "GET", "/v1/session", &Value::Null)
        .json();
    assert_eq!(session["session"]["project"]["id"], demo.project.as_str());
    assert_eq!(session["session"]["may_change"], true);
    served.done(&demo, "POST", "/backupjobs", &wanted, 201);

    // Who may only look, looks.
    served.cloud.grant("demo", "demo", &["reader"]).unwrap();
    let reader = served.sign_in("demo");
    assert_eq!(
        served.get(&reader, "/backupjobs")["backupjobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let refused = served.done(&reader, "POST", "/backupjobs", &wanted, 403);
    assert!(refused.to_string().contains("roles"), "{refused}");

    // What is revoked is not believed for longer than was said.
    served.cloud.expire_tokens();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(status(Some(&demo)), 401);
    let again = served.sign_in("demo");
    assert_eq!(status(Some(&again)), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_watched_and_cancelled_and_leaves_nothing() {
    let served = Served::start(SLOW, "[quotas.default]\nruns_per_day = 1\n").await;
    served.cloud.seed("demo", Case::BootedFromVolume).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let before = served.cloud.state();
    let id = job(&served, &demo, "one", "case2");
    let run = begin(&served, &demo, &id, "");
    let path = format!("/backupjobruns/{run}");
    until("snapshots", || {
        let shown = served.get(&demo, &path)["backupjobrun"].clone();
        shown["phase"] == "snapshotting" || shown["phase"] == "reading"
    });
    let refused = served.done(&demo, "DELETE", &path, &Value::Null, 409);
    assert!(refused.to_string().contains("under way"), "{refused}");
    served.done(
        &demo,
        "DELETE",
        &format!("/backupjobs/{id}"),
        &Value::Null,
        409,
    );
    let refused = served.done(
        &demo,
        "POST",
        &format!("/backupjobs/{id}"),
        &Value::Null,
        413,
    );
    assert!(refused.to_string().contains("quota"), "{refused}");
    served.done(&demo, "POST", &format!("{path}/cancel"), &Value::Null, 202);
    let ended = served.ended(&demo, &path, "backupjobrun");
    assert_eq!(
        (&ended["status"], &ended["restorable"]),
        (&json!("cancelled"), &json!(false))
    );
    served.done(&demo, "POST", &format!("{path}/cancel"), &Value::Null, 409);
    served.done(&demo, "POST", &format!("{path}/plan"), &json!({}), 404);
    served.cloud.settle();
    let left = before.difference(&served.cloud.state());
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_died_in_a_run_goes_on_and_cleans_up() {
    let mut served = Served::start(SLOW, "[workers]\ndead_after = '1s'\n").await;
    served.cloud.seed("demo", Case::BootedFromVolume).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let id = job(&served, &demo, "one", "case2");
    let run = begin(&served, &demo, &id, "");
    let died = format!("/backupjobruns/{run}");
    until("snapshots in the cloud", || {
        served.cloud.state().count(Kind::Snapshot) > 0
    });
    served.kill();
    served.begin();
    assert_eq!(
        served.get(&demo, &died)["backupjobrun"]["status"],
        "running",
        "nobody knows yet"
    );
    std::thread::sleep(Duration::from_secs(2));
    // The next one finds it dead.
    let next = begin(&served, &demo, &id, "");
    let shown = served.get(&demo, &died)["backupjobrun"].clone();
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (&json!("failed"), &json!("interrupted"))
    );
    let ended = served.ended(&demo, &format!("/backupjobruns/{next}"), "backupjobrun");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    // Of the one that died nothing is left; of the one that succeeded what the next one counts from.
    served.cloud.settle();
    let kept = served.cloud.state().count(Kind::Snapshot);
    assert!(kept <= 3, "{kept} snapshots");
    served.done(
        &demo,
        "DELETE",
        &format!("/backupjobs/{id}"),
        &Value::Null,
        204,
    );
    served.cloud.settle();
    assert_eq!(served.cloud.state().count(Kind::Snapshot), 0);
    // Asked to end in the middle of a run, it brings it to its end.
    let id = job(&served, &demo, "two", "case2");
    let run = begin(&served, &demo, &id, "");
    assert_eq!(served.terminate(), Some(0), "{}", served.log());
    served.begin();
    let shown = served.get(&demo, &format!("/backupjobruns/{run}"));
    assert_eq!(shown["backupjobrun"]["status"], "succeeded", "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_due_runs_by_the_right_that_the_tenant_lent_and_its_loss_is_told_with_the_remedy() {
    let settings = "[authority]\nsealing_key_file = 'sealing-key'\n[workers]\npoll = '200ms'\n";
    let served = Served::start(QUICK, settings).await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    // Due in a moment, and each minute after that.
    let soon = Env::system().now().after(Duration::from_secs(3));
    let schedule = json!({ "trigger": { "interval": { "every": "1m", "anchor": soon } } });
    let wanted =
        json!({ "backupjob": { "name": "often", "servers": ["all"], "schedule": schedule } });
    let made = served.done(&demo, "POST", "/backupjobs", &wanted, 201)["backupjob"].clone();
    assert_eq!(
        (&made["authority"]["kind"], &made["authority"]["granted"]),
        (&json!("trust"), &json!(true))
    );
    let path = format!("/backupjobs/{}", text(&made["id"]));

    // The token that it was made with is worth nothing any more when the run is due.
    served.cloud.expire_tokens();
    let demo = served.sign_in("demo");
    let due = |n: usize| {
        until("a run that is due to end", || {
            let shown = served.get(&demo, &path)["backupjob"].clone();
            let due = shown["due"].as_array().unwrap().iter();
            due.filter(|one| one["state"].get("ended").is_some())
                .count()
                >= n
        });
        served.get(&demo, &path)["backupjob"].clone()
    };
    let shown = due(1);
    let run = shown["newest_run"].clone();
    assert_eq!(
        (&run["status"], &run["due"]),
        (&json!("succeeded"), &json!(soon)),
        "{shown}"
    );
    assert_eq!(shown["protection"]["authority"]["standing"], "good");
    assert_eq!(shown["protection"]["verified"]["point"], run["point"]);
    let point = served.get(&demo, &format!("/points/{}", text(&run["point"])))["point"].clone();
    assert!(
        text(&point["principal"]).contains("demo")
            && text(&point["principal"]).contains("by trust"),
        "{point}"
    );

    // A role is lost: the next run cannot begin, and says what helps.
    served.cloud.grant("demo", "demo", &["reader"]).unwrap();
    let shown = due(2);
    let error = text(&shown["due"][0]["state"]["ended"]["end"]["failed"]["error"]);
    assert!(error.contains("authority"), "{error}");
    let standing = &shown["protection"]["authority"];
    assert_eq!(standing["standing"], "lost");
    assert!(!text(&standing["remedy"]).is_empty());
    served
        .cloud
        .grant("demo", "demo", &["member", "reader"])
        .unwrap();
    let demo = served.sign_in("demo");
    let renewed = served.done(
        &demo,
        "POST",
        &format!("{path}/authority"),
        &Value::Null,
        200,
    );
    assert_eq!(renewed["backupjob"]["authority"]["granted"], true);
    let run = begin(&served, &demo, text(&made["id"]), "");
    let ended = served.ended(&demo, &format!("/backupjobruns/{run}"), "backupjobrun");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(served.cloud.state().count(Kind::Trust), 1);
    served.done(&demo, "DELETE", &path, &Value::Null, 204);
    assert_eq!(
        served.cloud.state().count(Kind::Trust),
        0,
        "a job that is gone leaves no right behind"
    );
}
