//! The dashboard of `raksha-service` in a real browser: what a newcomer does, and what is shown meanwhile.
//!
//! With `RAKSHA_PICTURES` set to a directory, pictures of it are put there: those of docs/service.

use std::path::PathBuf;
use std::time::Duration;

use raksha_openstack::testkit::{Case, Kind};
use raksha_tests::{Browser, Served, Web};

const SETTINGS: &str = "
[[policies]]
name = 'gold'
description = 'Every night, kept for a year'
schedule = { trigger = { cron = '30 2 * * *' }, zone = 'Europe/Berlin', jitter = '30m' }
retention = { daily = 7, weekly = 4, monthly = 12, zone = 'Europe/Berlin' }
objective = { rpo = '26h' }
";

/// A name that does harm where text is taken for markup.
const HARMFUL: &str = "web <img src=x onerror=\"document.title='harmed'\"> & more";

fn picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("RAKSHA_PICTURES") {
        browser.picture(&PathBuf::from(directory).join(name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_newcomer_signs_in_protects_a_server_and_brings_it_back() {
    let served = Served::start(Duration::from_millis(300), SETTINGS).await;
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
    picture(&mut browser, "new-job.png");
    browser.click("Make job");
    browser.sees("no verified point");
    browser.click("Run now");
    browser.wait("document.querySelector('#runs progress')");
    picture(&mut browser, "run.png");
    browser.wait("document.querySelector('#runs .good')");
    browser.wait("document.querySelector('#points tr')");

    // Its disks are lost, and the server with them.
    let web = Web::at(served.cloud.url().as_str());
    let token = [("X-Auth-Token", demo.token.as_str())];
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
    let gone = web.ask(
        "DELETE",
        &format!("/compute/v2.1/servers/{server}"),
        &token,
        "",
    );
    assert_eq!(gone.status, 204, "{gone:?}");
    served.cloud.settle();
    for volume in ["case2-root", "case2-a", "case2-b"] {
        if let Some(id) = served.cloud.id_of(Kind::Volume, volume) {
            let gone = web.ask(
                "DELETE",
                &format!("/volume/v3/{}/volumes/{id}", demo.project),
                &token,
                "",
            );
            assert_eq!(gone.status, 202, "{gone:?}");
        }
    }
    served.cloud.settle();
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
