//! The dashboard of `raksha-service` in a real browser: what a newcomer does, and what is shown meanwhile.
//!
//! With `RAKSHA_PICTURES` set to a directory, pictures of it are put there: those of docs/service.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use raksha_openstack::testkit::{Case, Kind};
use raksha_tests::tenant::lose;
use raksha_tests::{Browser, Served};
use serde_json::{Value, json};

const PACE: Duration = Duration::from_millis(300);

const POLICY: &str = "
[[policies]]
name = 'gold'
description = 'Every night, kept for a year'
schedule = { trigger = { cron = '30 2 * * *' }, zone = 'Europe/Berlin', jitter = '30m' }
retention = { daily = 7, weekly = 4, monthly = 12, zone = 'Europe/Berlin' }
objective = { rpo = '26h' }
";

/// Two hooks, of which the first notes its calls in a file.
fn hooks(notes: &str) -> String {
    format!(
        "
[[hooks]]
name = 'orders'
description = 'The shop takes no orders meanwhile'
command = ['/bin/sh', '-c', 'cat >/dev/null; echo $RAKSHA_MOMENT $RAKSHA_HOOK >>{notes}']
within = 20

[[hooks]]
name = 'wiki'
description = 'Pages cannot be edited meanwhile'
command = ['/bin/false']
"
    )
}

/// A name that does harm where text is taken for markup.
const HARMFUL: &str = "web <img src=x onerror=\"document.title='harmed'\"> & more";

fn picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("RAKSHA_PICTURES") {
        browser.picture(&PathBuf::from(directory).join(name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_newcomer_signs_in_protects_a_server_and_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let settings = format!("{POLICY}{}", hooks(&notes.display().to_string()));
    let served = Served::start(PACE, &settings).await;
    served.cloud.seed("demo", Case::BootedFromVolume).unwrap();
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let server = served.cloud.id_of(Kind::Server, "case2").unwrap();
    served.cloud.write_records(&server).unwrap();
    let demo = served.sign_in("demo");
    let page = served.web().ask("GET", "/", &[], "");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );

    let mut browser = Browser::open(&served.url(), 1200, 760);
    browser.sees("Sign in");
    picture(&mut browser, "sign-in.png");
    browser.write("token", "forged");
    browser.click("Sign in");
    browser.sees("the token is unknown, expired or revoked");
    let refused = browser.complaints().len();
    assert_eq!(
        refused,
        1,
        "the refusal, and nothing else: {:?}",
        browser.complaints()
    );

    browser.write("token", &demo.token);
    browser.click("Sign in");
    browser.sees("demo in project demo");
    browser.sees("There are no jobs yet");
    browser.click("New job");
    browser.write("job-name", "web nightly");
    browser.write("job-servers", "case2");
    browser.write("job-policy", "gold");
    browser.sees("keeps 7 daily, 4 weekly, 12 monthly");
    browser.sees("Pages cannot be edited meanwhile · takes 30 s at most");
    browser.tick("orders");
    browser.write("hook-fails-0", "warn");
    picture(&mut browser, "new-job.png");
    browser.click("Make job");
    browser.sees("no verified point");
    browser.sees("calls orders (goes on if it fails)");
    let job = &served.get(&demo, "/backupjobs")["backupjobs"][0];
    assert_eq!(
        job["hooks"],
        json!([{ "name": "orders", "if_fails": "warn" }])
    );
    browser.click("Run now");
    browser.wait("document.querySelector('#runs progress')");
    picture(&mut browser, "run.png");
    browser.wait("document.querySelector('#runs .good')");
    browser.wait("document.querySelector('#points tr')");
    let called = fs::read_to_string(notes).unwrap();
    assert_eq!(called, "before orders\nafter orders\n");

    // A plan first, while the server is there: it is in the way.
    browser.click("Restore…");
    browser.click("Make a plan");
    browser.sees("What is in the way");
    browser.sees("This cannot be carried out as it stands.");
    assert_eq!(
        browser.eval("document.getElementById('approve').disabled"),
        true
    );
    picture(&mut browser, "in-the-way.png");
    // Its disks are lost, and the server with them.
    lose(
        &served,
        &demo,
        "case2",
        &["case2-root", "case2-a", "case2-b"],
    );
    browser.click("Make a plan");
    browser.sees("Nothing stands in the way");
    picture(&mut browser, "plan.png");
    assert!(
        served.cloud.id_of(Kind::Server, "case2").is_none(),
        "a plan changes nothing"
    );
    browser.click("Approve and restore");
    browser.wait("document.querySelector('#restores progress')");
    browser.wait("document.querySelector('#restores .good')");
    assert!(served.cloud.id_of(Kind::Server, "case2").is_some());

    browser.wait("document.querySelector('#jobs .good')");
    picture(&mut browser, "overview.png");

    // What tenants write is text, wherever it is shown.
    browser.click("New job");
    browser.write("job-name", HARMFUL);
    browser.write("job-servers", "case1");
    browser.click("Make job");
    browser.sees(HARMFUL);
    assert_eq!(
        browser.eval("document.querySelectorAll('main img').length"),
        0
    );
    assert_eq!(browser.eval("document.title"), "Raksha");

    // What is revoked leads back to the door.
    served.cloud.expire_tokens();
    assert_eq!(
        browser.complaints().len(),
        refused,
        "{:#?}",
        browser.complaints()
    );
    browser.click("Sign out");
    browser.sees("Paste a token");
    assert_eq!(browser.eval("document.getElementById('token').value"), "");
    assert_eq!(
        browser.eval("[localStorage.length, sessionStorage.length, document.cookie].join()"),
        "0,0,"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hooks_are_offered_as_they_are_published_and_what_they_say_is_text() {
    let mut served = Served::start(PACE, "").await;
    served.cloud.seed("demo", Case::LocalDisk).unwrap();
    served.cloud.settle();
    let demo = served.sign_in("demo");
    let enter = |served: &Served| {
        let mut browser = Browser::open(&served.url(), 1200, 760);
        browser.write("token", &demo.token);
        browser.click("Sign in");
        browser.sees("There are no jobs yet");
        browser
    };
    let mut browser = enter(&served);
    browser.click("New job");
    browser.sees("Servers, by name or id");
    assert_eq!(
        browser.eval("document.getElementById('job-hooks').offsetParent"),
        Value::Null,
        "there is none to choose"
    );

    served.kill();
    let complaint = served.place.file("complaint", HARMFUL.as_bytes());
    let settings = fs::read_to_string(served.place.path("service.toml")).unwrap();
    let published = format!(
        "{settings}
[[hooks]]
name = 'broken'
description = '''{HARMFUL}'''
command = ['/bin/sh', '-c', 'cat >/dev/null; cat {complaint} >&2; exit 1']

[[hooks]]
name = 'unused'
command = ['/bin/false']

[[hooks]]
name = 'slow'
command = ['/bin/sh', '-c', 'cat >/dev/null; sleep 3']
holds = 'file_system'
"
    );
    served.place.file("service.toml", published.as_bytes());
    served.begin();
    let mut browser = enter(&served);
    browser.click("New job");
    browser.write("job-name", "one");
    browser.write("job-servers", "case1");
    browser.sees(&format!("{HARMFUL} · takes 30 s at most"));
    // What the operator says that a hook brings, in plain words.
    browser.sees("by the operator's word, file systems are written out and hold still");
    browser.tick("slow");
    browser.tick("broken");
    browser.write("hook-fails-0", "warn");
    browser.click("Make job");
    browser.sees("calls broken (goes on if it fails), then slow");
    let job = &served.get(&demo, "/backupjobs")["backupjobs"][0];
    let chosen =
        json!([{ "name": "broken", "if_fails": "warn" }, { "name": "slow", "if_fails": "refuse" }]);
    assert_eq!(job["hooks"], chosen);

    // That one failed is shown while the run goes on, in its own words.
    browser.click("Run now");
    let warned = serde_json::to_string(HARMFUL).unwrap();
    browser.wait(&format!(
        "[...document.querySelectorAll('#runs .warn')].some((told) => told.textContent.includes({warned}))"
    ));
    browser.wait("document.querySelector('#runs .good')");
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), 0);
    assert_eq!(browser.eval("document.title"), "Raksha");
    assert!(
        browser.complaints().is_empty(),
        "{:#?}",
        browser.complaints()
    );
}
