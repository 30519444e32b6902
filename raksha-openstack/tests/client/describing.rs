//! What errors say, and what nothing ever says.

use raksha_core::Kind;
use raksha_openstack::client::{Request, Service};
use serde_json::json;

use crate::server::{Reply, Server};

#[tokio::test]
async fn errors_say_what_the_cloud_says_and_where_to_look() {
    let html = "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1>You are not authorized\nto complete this action.<br /></body></html>";
    let neutron = json!({"NeutronError": {"type": "IpAddressAlreadyAllocated", "message": "IP address 10.0.0.5 already allocated in subnet s", "detail": ""}});
    let quota = json!({"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}});
    let nova = json!({"forbidden": {"code": 403, "message": "Quota exceeded for cores: Requested 1, but already used 8 of 8 cores"}});
    let cases = [
        (400, json!({"badRequest": {"code": 400, "message": "Invalid imageRef provided."}}).to_string(), Kind::Invalid, "Invalid imageRef provided."),
        (403, html.to_owned(), Kind::Denied, "403 Forbidden You are not authorized to complete this action."),
        (403, nova.to_string(), Kind::Full, "Quota exceeded for cores"),
        (404, json!({"itemNotFound": {"code": 404, "message": "Instance x could not be found."}}).to_string(), Kind::NotFound, "Instance x could not be found."),
        (404, json!({"code": "404 Not Found", "title": "Not Found", "message": "No image found with ID x<br /><br />\n\n\n"}).to_string(), Kind::NotFound, "No image found with ID x"),
        (409, neutron.to_string(), Kind::Conflict, "IpAddressAlreadyAllocated: IP address 10.0.0.5 already allocated"),
        (409, quota.to_string(), Kind::Full, "OverQuota: Quota exceeded"),
        (406, String::new(), Kind::Unsupported, "status 406"),
        (410, String::new(), Kind::NotFound, "status 410"),
        (501, String::new(), Kind::Unsupported, "status 501"),
        (505, "<<<\u{7}weird".to_owned(), Kind::Unavailable, "status 505"),
    ];
    for (status, body, kind, words) in cases {
        let text = body.clone();
        let server = Server::start(move |_, _| {
            Reply::with(
                status,
                &[("x-openstack-request-id", "req-from-the-cloud")],
                &text,
            )
        })
        .await;
        let client = server.client().await;
        let request = Request::post("servers", json!({})).operation("create server");
        let error = client.send(Service::Compute, request).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert_eq!(error.is_retryable(), kind == Kind::Unavailable, "{text}");
        for part in [
            words,
            "create server: ",
            "service compute",
            "POST /compute/v2.1/servers",
            "req-from-the-cloud",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(
            !text.contains('<') && !text.contains(char::is_control),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_never_came_can_be_looked_for_too() {
    let server = Server::start(|_, _| Reply::Reset).await;
    let client = server.client().await;
    let request = Request::post("servers", json!({}));
    let error = client.send(Service::Compute, request).await.unwrap_err();
    let sent = server.seen()[0].header("x-openstack-request-id").to_owned();
    assert_eq!(sent.len(), "req-".len() + 36);
    assert!(
        error.to_string().contains(&sent),
        "{sent} is not in {error}"
    );
}

#[tokio::test]
async fn what_is_no_json_is_no_answer() {
    let server =
        Server::start(|_, _| Reply::with(200, &[], "<html>Welcome to the hotel</html>")).await;
    let client = server.client().await;
    let sent = client.send(Service::Compute, Request::get("servers")).await;
    assert_eq!(sent.unwrap_err().kind(), Kind::Corrupt);
    let server = Server::start(|_, _| Reply::with(202, &[], "")).await;
    let client = server.client().await;
    let request = Request::post("servers/1/action", json!({"os-stop": null}));
    let answer = client.send(Service::Compute, request).await.unwrap();
    assert_eq!((answer.status, &answer.body), (202, &json!(null)));
    assert_eq!(answer.take("server").unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn secrets_are_never_printed() {
    let server =
        Server::start(|_, _| Reply::Json(200, json!({"server": {"adminPass": "secret-admin"}})))
            .await;
    let client = server.client().await;
    let request =
        Request::post("servers", json!({"user_data": "secret-data"})).header("X-Key", "secret-key");
    let mut printed = format!("{request:?}");
    let answer = client.send(Service::Compute, request).await.unwrap();
    printed.push_str(&format!(
        "{answer:?} {client:?} {:?} {:?}",
        client.config(),
        client.principal()
    ));
    server.keystone().valid.clear();
    server.keystone().open = false;
    let error = client.send(Service::Compute, Request::get("servers")).await;
    printed.push_str(&format!("{:?}", error.unwrap_err()));
    for secret in ["secret-", "correct-horse"] {
        assert!(!printed.contains(secret), "{secret} is in {printed}");
    }
    assert!(printed.contains("demo"), "{printed}");
}

#[tokio::test]
async fn the_principal_is_who_the_token_says() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let principal = server.client().await.principal();
    assert_eq!(
        (principal.user.id.as_str(), principal.user.name.as_str()),
        ("u1", "demo")
    );
    assert_eq!(principal.project.id, "p1");
    assert_eq!(principal.roles, ["member"]);
}
