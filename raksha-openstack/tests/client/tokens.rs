//! Tokens: one for all, renewed once for all.

use std::time::Duration;

use raksha_core::Kind;
use raksha_core::cloud::TokenSource;
use raksha_openstack::client::{Client, Request, Service};

use crate::server::{Reply, Server};

async fn many(client: &Client, count: usize) -> Vec<raksha_core::Result<()>> {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        all.spawn(async move {
            let sent = client.send(Service::Compute, Request::get("servers")).await;
            sent.map(drop)
        });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = all.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_for_all() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let client = server.client().await;
    {
        let mut keystone = server.keystone();
        keystone.valid.clear();
        keystone.delay = Duration::from_millis(100);
    }
    for outcome in many(&client, 20).await {
        outcome.unwrap();
    }
    assert_eq!(server.keystone().asked, 2, "one at first, one for all");
}

#[tokio::test]
async fn a_renewal_that_fails_fails_once_for_all_who_wait() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let client = server.client().await;
    {
        let mut keystone = server.keystone();
        keystone.valid.clear();
        keystone.open = false;
        keystone.delay = Duration::from_millis(300);
    }
    // As many as have places at once, so that all wait for the same renewal.
    for outcome in many(&client, 8).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
        assert!(
            error.to_string().contains("Invalid user credentials"),
            "{error}"
        );
    }
    assert_eq!(server.keystone().asked, 2);
    // And it recovers, once the credentials are accepted again.
    server.keystone().open = true;
    for outcome in many(&client, 4).await {
        outcome.unwrap();
    }
    assert_eq!(server.keystone().asked, 3);
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_is_the_end() {
    let server = Server::start(|_, _| Reply::Json(401, serde_json::json!({}))).await;
    let client = server.client().await;
    let request = Request::get("servers");
    let error = client.send(Service::Compute, request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert_eq!(server.keystone().asked, 2);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_by_the_cloud_s_own_clock() {
    let server = Server::start(|_, _| Reply::ok()).await;
    server.keystone().life = 8;
    let client = server.client().await;
    let request = || Request::get("servers");
    client.send(Service::Compute, request()).await.unwrap();
    assert_eq!(server.keystone().asked, 1, "it lives, though in 1999");
    tokio::time::sleep(Duration::from_millis(7500)).await;
    client.send(Service::Compute, request()).await.unwrap();
    assert_eq!(server.keystone().asked, 2);
    let tokens: Vec<String> = (server.seen().iter())
        .map(|seen| seen.header("x-auth-token").to_owned())
        .collect();
    assert_eq!(
        tokens,
        ["secret-token-1", "secret-token-2"],
        "none was refused"
    );
}

#[tokio::test]
async fn while_keystone_is_away_a_token_serves_until_it_ends() {
    let server = Server::start(|_, _| Reply::ok()).await;
    server.keystone().life = 12;
    let client = server.client().await;
    server.keystone().open = false;
    tokio::time::sleep(Duration::from_millis(10_900)).await;
    let sent = client.send(Service::Compute, Request::get("servers")).await;
    sent.unwrap();
    assert_eq!(server.keystone().asked, 2, "it was tried");
}

#[tokio::test]
async fn a_token_source_gives_the_session_s_tokens_and_the_catalog_s_endpoint() {
    let server = Server::start(|_, _| Reply::ok()).await;
    let client = server.client().await;
    let source: std::sync::Arc<dyn TokenSource> = client.token_source(Service::ObjectStore);
    let token = source.token().await.unwrap();
    assert_eq!(token.value.expose(), "secret-token-1");
    assert_eq!(
        token.endpoint,
        format!("{}/object-store/v1/AUTH_p1", server.url)
    );
    let (one, other) = tokio::join!(source.renew(&token), source.renew(&token));
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(server.keystone().asked, 2);
    assert_eq!(
        source.token().await.unwrap().value.expose(),
        "secret-token-2"
    );
    assert!(!format!("{source:?}{token:?}").contains("secret-token"));
}
