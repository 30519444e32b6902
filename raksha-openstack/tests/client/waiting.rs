//! Waiting for the cloud.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use raksha_core::{Error, Kind};

use crate::server::{Reply, Server};

#[tokio::test]
async fn it_waits_until_it_is_there() {
    let client = Server::start(|_, _| Reply::ok()).await.client().await;
    let looks = AtomicU32::new(0);
    let found = client
        .wait("the third look", Duration::from_secs(5), || async {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            Ok((look == 2).then_some("there"))
        })
        .await;
    assert_eq!(found.unwrap(), "there");
}

#[tokio::test]
async fn it_gives_up_at_the_deadline_and_looks_once_more_then() {
    let client = Server::start(|_, _| Reply::ok()).await.client().await;
    let start = Instant::now();
    let looks = AtomicU32::new(0);
    let waited = client.wait("godot to come", Duration::from_millis(300), || async {
        looks.fetch_add(1, Ordering::Relaxed);
        Ok(None::<()>)
    });
    let error = waited.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("godot to come"), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(300));
    // 10 ms, 15, 22 ... up to 200: fewer than with a constant pause, more than one.
    let looks = looks.into_inner();
    assert!((4..20).contains(&looks), "{looks}");

    let hangs = client.wait("a look that hangs", Duration::from_millis(100), || async {
        std::future::pending::<raksha_core::Result<Option<()>>>().await
    });
    assert_eq!(hangs.await.unwrap_err().kind(), Kind::Timeout);
}

#[tokio::test]
async fn a_look_that_fails_ends_the_wait() {
    let client = Server::start(|_, _| Reply::ok()).await.client().await;
    let waited = client.wait("nothing", Duration::from_secs(5), || async {
        Err::<Option<()>, _>(Error::new(Kind::NotFound, "look", "it is gone"))
    });
    assert_eq!(waited.await.unwrap_err().kind(), Kind::NotFound);
}
