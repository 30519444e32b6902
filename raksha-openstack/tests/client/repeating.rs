//! What is sent again, and what is not.

use std::time::{Duration, Instant};

use raksha_core::Kind;
use raksha_openstack::client::{Request, Service};
use serde_json::json;

use crate::server::{Reply, Server, nowhere, options};

fn unavailable() -> Reply {
    Reply::Json(503, json!({"message": "database is away"}))
}

#[tokio::test]
async fn what_is_idempotent_is_sent_until_it_works() {
    for trouble in [unavailable as fn() -> Reply, || Reply::Reset] {
        let server = Server::start(move |_, n| if n < 4 { trouble() } else { Reply::ok() }).await;
        let client = server.client().await;
        client
            .send(Service::Compute, Request::get("servers"))
            .await
            .unwrap();
        assert_eq!(server.seen().len(), 4);
    }
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_again() {
    for (reply, kind) in [
        (unavailable as fn() -> Reply, Kind::Unavailable),
        (|| Reply::Reset, Kind::Unavailable),
        (|| Reply::Silence, Kind::Timeout),
    ] {
        let server = Server::start(move |_, _| reply()).await;
        let mut options = options();
        options.effect = Duration::from_millis(300);
        let client = server.client_with(options).await;
        let request = Request::post("servers", json!({})).operation("create server");
        let error = client.send(Service::Compute, request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(server.seen().len(), 1, "{error}");
        assert!(error.to_string().starts_with("create server: "), "{error}");
    }
}

#[tokio::test]
async fn it_gives_up_in_the_end_and_says_how_often_it_tried() {
    let server = Server::start(|_, _| unavailable()).await;
    let client = server.client().await;
    let request = Request::get("servers");
    let error = client.send(Service::Compute, request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.is_retryable());
    assert_eq!(server.seen().len(), 6);
    let text = error.to_string();
    assert!(text.contains("attempts 6"), "{text}");
    assert!(text.contains("database is away"), "{text}");
}

#[tokio::test]
async fn who_is_asked_to_come_later_comes_later() {
    let server = Server::start(|_, n| match n {
        1 => Reply::with(429, &[("Retry-After", "1")], "slow down"),
        _ => Reply::ok(),
    })
    .await;
    let client = server.client().await;
    let start = Instant::now();
    // Turned away, so that sending it again is safe though it is not idempotent.
    let request = Request::post("servers", json!({}));
    client.send(Service::Compute, request).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn who_is_asked_to_come_much_later_does_not_wait() {
    let server = Server::start(|_, _| Reply::with(429, &[("Retry-After", "86400")], "")).await;
    let client = server.client().await;
    let request = Request::get("servers");
    let error = client.send(Service::Compute, request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_not_waited_for() {
    let server = Server::start(|_, _| {
        let message = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota.";
        Reply::Json(413, json!({"overLimit": {"code": 413, "message": message, "retryAfter": "0"}}))
    })
    .await;
    let client = server.client().await;
    let request = Request::put("volumes/1", json!({}));
    let error = client
        .send(Service::BlockStorage, request)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Full);
    assert!(!error.is_retryable());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_service_that_does_not_run_is_tried_again_whatever_was_asked() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let gone = nowhere().await;
    server
        .keystone()
        .urls
        .insert("compute".to_owned(), format!("{gone}/v2.1"));
    let client = server.client().await;
    let request = Request::post("servers", json!({}));
    let error = client.send(Service::Compute, request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("attempts 6"), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_cloud_that_fails_everywhere_is_not_flooded() {
    let server = Server::start(|_, _| unavailable()).await;
    let client = server.client().await;
    for _ in 0..60 {
        let failed = client.send(Service::Network, Request::get("ports")).await;
        assert!(failed.is_err());
    }
    // 60 first attempts and a budget of 100 repetitions instead of 300.
    let seen = server.seen().len();
    assert!((155..=165).contains(&seen), "{seen}");
}

#[tokio::test]
async fn so_many_requests_at_once_and_no_more() {
    let pause = Duration::from_millis(20);
    let server = Server::start(move |_, _| Reply::Later(pause, Box::new(Reply::ok()))).await;
    let mut options = options();
    options.connections = 3;
    let client = server.client_with(options).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let client = client.clone();
        all.spawn(async move { client.send(Service::Image, Request::get("images")).await });
    }
    while let Some(outcome) = all.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(server.seen().len(), 30);
    assert_eq!(server.busiest(), 3);
}
