//! A project sees and touches only what is its own, whatever id it guesses: over every route of `raksha-service`, as its own document lists them.

use std::collections::BTreeMap;
use std::time::Duration;

use raksha_openstack::testkit::Case;
use raksha_tests::{Served, Tenant, until};
use serde_json::{Value, json};

/// What the owner has, by the names that paths have for it.
type Things = BTreeMap<&'static str, String>;

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// One of everything: a job, a run with its point, a restore.
fn one_of_everything(served: &Served, tenant: &Tenant) -> Things {
    let wanted = json!({ "backupjob": { "name": "secret-job", "servers": ["all"] } });
    let job = id(&served.done(tenant, "POST", "/backupjobs", &wanted, 201)["backupjob"]);
    let path = format!("/backupjobs/{job}");
    let run = id(&served.done(tenant, "POST", &path, &Value::Null, 202)["backupjobrun"]);
    let ended = served.ended(tenant, &format!("/backupjobruns/{run}"), "backupjobrun");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let shown = format!("/backupjobs/{job}");
    until("the point to be verified", || {
        let shown = served.get(tenant, &shown);
        shown["backupjob"]["protection"]["verified"].is_object()
    });
    // Networks are there already and are used as they are.
    let options = json!({ "options": { "scope": "networks" } });
    let path = format!("/backupjobruns/{run}");
    let restore = id(&served.done(tenant, "POST", &path, &options, 202)["restore"]);
    let restored = served.ended(tenant, &format!("/restores/{restore}"), "restore");
    assert_eq!(restored["status"], "succeeded", "{restored}");
    let point = ended["point"].as_str().unwrap().to_owned();
    BTreeMap::from([
        ("job_id", job),
        ("run_id", run),
        ("restore_id", restore),
        ("point_id", point),
    ])
}

/// All that somebody sees.
fn everything(served: &Served, tenant: &Tenant) -> Vec<Value> {
    let lists = [
        "/backupjobs/detail",
        "/backupjobruns/detail",
        "/restores",
        "/points",
        "/quotas",
    ];
    lists.iter().map(|path| served.get(tenant, path)).collect()
}

/// A body that the route would take from its owner.
fn body(schema: Option<&str>) -> Value {
    match schema {
        None => Value::Null,
        Some("NewJob") => json!({ "backupjob": { "name": "mine now", "servers": ["all"] } }),
        Some("JobChange") => json!({ "backupjob": { "name": "mine now" } }),
        Some("RestoreOptions" | "NewRestore") => json!({ "options": {} }),
        Some("Simulate") => json!({ "schedule": { "trigger": { "cron": "0 1 * * *" } } }),
        Some(other) => panic!("say here what a body of {other} is"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_route_gives_or_does_anything_of_another_project() {
    let served = Served::start(Duration::from_millis(5), "").await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let (demo, other) = (served.sign_in("demo"), served.sign_in("other"));
    assert_ne!(demo.project, other.project);
    let things = one_of_everything(&served, &demo);
    let before = everything(&served, &demo);
    let nobodys: Vec<Value> = everything(&served, &other);

    let (mut refused, mut guessed, mut lists) = (0, 0, 0);
    for (pattern, methods) in served.document()["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            if route["security"] == json!([]) {
                // What anybody may ask for holds nothing of any project.
                assert!(
                    !pattern.contains("{project_id}"),
                    "{pattern} asks nobody who they are"
                );
                continue;
            }
            let method = method.to_uppercase();
            let schema =
                route["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            let schema = schema.map(|reference| reference.rsplit('/').next().unwrap());
            let path = |project: &str| {
                let mut path = pattern.replace("{project_id}", project);
                for (name, id) in &things {
                    path = path.replace(&format!("{{{name}}}"), id);
                }
                assert!(
                    !path.contains('{'),
                    "say in this test what {path} stands for"
                );
                path
            };
            let what = format!("{method} {pattern}");

            // Without a token there is nothing.
            let answer = served.ask_at(None, &method, &path(&demo.project), &body(schema));
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
            if !pattern.contains("{project_id}") {
                continue;
            }
            // In the owner's project, whether the id is right or not.
            for (name, id) in &things {
                let wrong = path(&demo.project).replace(id.as_str(), &id.replace(['0', '1'], "2"));
                let answer = served.ask_at(Some(&other), &method, &wrong, &body(schema));
                assert_eq!(answer.status, 403, "{what} with another {name}: {answer:?}");
            }
            let answer = served.ask_at(Some(&other), &method, &path(&demo.project), &body(schema));
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
            refused += 1;
            // In one's own project, with the ids of another.
            let answer = served.ask_at(Some(&other), &method, &path(&other.project), &body(schema));
            if pattern.matches('{').count() > 1 {
                assert_eq!(answer.status, 404, "{what}: {answer:?}");
                guessed += 1;
            } else {
                lists += 1;
            }
            assert!(!answer.text.contains("secret-job"), "{what}: {answer:?}");
            let told = things
                .values()
                .filter(|id| answer.text.contains(id.as_str()));
            // That an id is unknown may be said with the id that was asked for.
            assert!(
                answer.status == 404 || told.count() == 0,
                "{what}: {answer:?}"
            );
        }
    }
    assert!(
        refused > 20 && guessed > 10 && lists > 8,
        "{refused}, {guessed}, {lists}"
    );
    for path in [
        format!("/backupjobruns?job={}", things["job_id"]),
        format!("/backupjobruns/detail?job={}", things["job_id"]),
    ] {
        assert_eq!(
            served.get(&other, &path)["backupjobruns"],
            json!([]),
            "{path}"
        );
    }
    for list in ["/backupjobs", "/backupjobruns", "/restores", "/points"] {
        for id in things.values() {
            let path = format!("{list}?marker={id}");
            let answer = served.ask(&other, "GET", &path, &Value::Null);
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
        }
    }
    assert_eq!(
        everything(&served, &demo),
        before,
        "nothing of the owner's has changed"
    );
    assert_eq!(everything(&served, &other).len(), nobodys.len());
}
