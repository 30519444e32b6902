//! Swift's rarer answers, from a server that gives them on demand. The common ones are given by the real one: see `tests/lab`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::cloud::{SecretText, Token, TokenSource};
use raksha_core::{Kind, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::{Credentials, GuardOptions, OpenOptions, OpenedTarget, RetryOptions, open};

/// What the server is asked: method, path with query, token, body.
struct Asked {
    line: String,
    token: String,
    body: String,
}

type Answer = (u16, &'static str, String);

/// Serves on loopback and says where.
async fn serve(answer: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/account", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut socket = BufReader::new(socket);
                loop {
                    let mut line = String::new();
                    if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let (mut token, mut length) = (String::new(), 0);
                    loop {
                        let mut header = String::new();
                        socket.read_line(&mut header).await.unwrap();
                        let header = header.trim();
                        match header.to_lowercase().split_once(": ") {
                            Some(("x-auth-token", value)) => token = value.into(),
                            Some(("content-length", value)) => length = value.parse().unwrap(),
                            Some(_) => {}
                            None => break,
                        }
                    }
                    let mut body = vec![0; length];
                    socket.read_exact(&mut body).await.unwrap();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    let line = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
                    let head = line.starts_with("HEAD");
                    let (status, headers, body) = answer(Asked { line, token, body });
                    let length = body.len();
                    let body = if head { String::new() } else { body };
                    let response = format!(
                        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
                    );
                    socket.write_all(response.as_bytes()).await.unwrap();
                }
            });
        }
    });
    url
}

/// Gives `token-0`, `token-1` and so on, slowly.
#[derive(Debug)]
struct Counting {
    endpoint: String,
    given: AtomicU64,
}

#[async_trait]
impl TokenSource for Counting {
    async fn token(&self) -> Result<Token> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        Ok(Token {
            value: SecretText::new(format!("token-{number}")),
            endpoint: self.endpoint.clone(),
            expires: None,
        })
    }

    async fn renew(&self, _stale: &Token) -> Result<Token> {
        self.token().await
    }
}

async fn connect(endpoint: String) -> (OpenedTarget, Arc<Counting>) {
    let given = AtomicU64::default();
    let source = Arc::new(Counting { endpoint, given });
    let mut guard = GuardOptions::remote();
    guard.retry = Some(RetryOptions::default());
    let options = OpenOptions::default()
        .guard(guard)
        .credentials(Credentials::Tokens(source.clone()));
    let target = open("swift://box?allow_http=true", &options).await.unwrap();
    (target, source)
}

const INFO: &str =
    r#"{"swift": {"container_listing_limit": 3}, "bulk_delete": {"max_deletes_per_request": 50}}"#;

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all() {
    let url = serve(|asked| match (asked.line.as_str(), asked.token.as_str()) {
        ("GET /info", _) => (200, "", INFO.into()),
        ("HEAD /v1/account/box", "token-0") => (204, "", String::new()),
        // From now on, the first token has ended.
        (_, "token-0") => (401, "", String::new()),
        _ => (
            200,
            "X-Timestamp: 1700000000.5\r\nETag: e\r\n",
            "hello".into(),
        ),
    })
    .await;
    let (target, source) = connect(url).await;
    let location = Path::from("o");
    let gets = join_all((0..20).map(|_| target.objects.get(&location))).await;
    for got in gets {
        let got = got.unwrap();
        assert_eq!(got.meta.last_modified.timestamp_millis(), 1_700_000_000_500);
        assert_eq!(got.bytes().await.unwrap(), "hello");
    }
    assert_eq!(
        source.given.load(Ordering::SeqCst),
        2,
        "one token, one renewal"
    );
}

#[tokio::test]
async fn who_is_asked_to_wait_waits_and_who_is_full_says_so() {
    let times = Mutex::new(Vec::new());
    let url = serve(
        move |asked| match asked.line.split(' ').collect::<Vec<_>>()[..] {
            ["GET", "/info"] => (200, "", INFO.into()),
            ["PUT", path] if path.ends_with("/full") => {
                (507, "", "<html><p>Insufficient Storage".into())
            }
            ["PUT", path] if path.ends_with("/quota") => (413, "", "Upload exceeds quota.".into()),
            ["GET", _] => {
                let mut times = times.lock().unwrap();
                times.push(tokio::time::Instant::now());
                match times[..] {
                    [_] => (498, "Retry-After: 1\r\n", "Slow down".into()),
                    [first, second] => {
                        assert!(second - first >= Duration::from_secs(1));
                        (200, "X-Timestamp: 1700000000\r\nETag: e\r\n", "late".into())
                    }
                    _ => (500, "", String::new()),
                }
            }
            _ => (204, "", String::new()),
        },
    )
    .await;
    let (target, _) = connect(url).await;
    let got = target.objects.get(&Path::from("o")).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "late");
    for (name, reason) in [("full", "Insufficient Storage"), ("quota", "exceeds quota")] {
        let location = Path::from(name);
        let error = target.objects.put(&location, "x".into()).await.unwrap_err();
        let error = raksha_core::Error::object("store", &location, error);
        assert_eq!(error.kind(), Kind::Full, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// What the service says it stored is compared with what was sent; a token that ends in the middle of uploads is renewed.
#[tokio::test]
async fn uploads_are_checked_and_go_on_under_another_token() {
    // The MD5 of "hello", RFC 1321's algorithm by md5sum.
    const HELLO: &str = "ETag: 5d41402abc4b2a76b9719d911017c592\r\n";
    let wrong = AtomicU64::new(1);
    let url = serve(
        move |asked| match (asked.line.as_str(), asked.token.as_str()) {
            ("GET /info", _) => (200, "", INFO.into()),
            ("HEAD /v1/account/box", _) => (204, "", String::new()),
            (_, "token-0") => (401, "", String::new()),
            (line, _) if line.starts_with("PUT") => {
                assert_eq!(asked.body, "hello", "the body must be sent again, too");
                let damaged = line.ends_with("/always") || wrong.swap(0, Ordering::SeqCst) == 1;
                let headers = if damaged { "ETag: 0123\r\n" } else { HELLO };
                (201, headers, String::new())
            }
            _ => (404, "", String::new()),
        },
    )
    .await;
    let (target, source) = connect(url).await;
    let put = |name: &'static str| {
        let objects = Arc::clone(&target.objects);
        async move { objects.put(&Path::from(name), "hello".into()).await }
    };
    for stored in join_all((0..8).map(|_| put("once"))).await {
        stored.unwrap();
    }
    assert_eq!(source.given.load(Ordering::SeqCst), 2);
    let error = tokio::time::timeout(Duration::from_secs(1), put("always")).await;
    assert!(
        error.is_err(),
        "a wrong checksum is no success, and is tried again"
    );
}

#[tokio::test]
async fn listings_go_page_by_page_and_stop_if_they_go_in_circles() {
    let names: Vec<String> = (0..8).map(|i| format!("n{i}")).collect();
    let expected = names.clone();
    let url = serve(move |asked| {
        let Some((_, query)) = asked.line.split_once("?format=json&limit=3&prefix=") else {
            return (200, "", INFO.into());
        };
        let (prefix, marker) = query.split_once("&marker=").unwrap();
        let rows: Vec<_> = names
            .iter()
            .filter(|n| n.as_str() > marker || prefix == "circle%2F")
            .take(3)
            .map(|n| {
                serde_json::json!({"name": n, "bytes": 1, "hash": "h", "last_modified": "2026-01-02T03:04:05.678900"})
            })
            .collect();
        (200, "", serde_json::json!(rows).to_string())
    })
    .await;
    let (target, _) = connect(url).await;
    let listed = target.objects.list(None).map_ok(|m| m.location.to_string());
    let listed: Vec<String> = listed.try_collect().await.unwrap();
    assert_eq!(listed, expected);
    let circle = target.objects.list(Some(&Path::from("circle")));
    let error = circle.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("forward"), "{error}");
}

#[tokio::test]
async fn of_many_deletes_each_has_its_own_outcome() {
    let asked_for = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked_for);
    let url = serve(move |asked| {
        if asked.line != "POST /v1/account?bulk-delete" {
            return (200, "", INFO.into());
        }
        seen.lock().unwrap().push(asked.body.lines().count());
        let errors = if asked.body.contains("/box/o%207") {
            r#"[["/box/o%207", "403 Forbidden"], ["box/o%208", "404 Not Found"]]"#
        } else {
            "[]"
        };
        let answer = format!(
            r#"  {{"Response Status": "400 Bad Request", "Response Body": "", "Errors": {errors}, "Number Deleted": 1}}"#
        );
        match errors {
            "[]" => (200, "", answer.replace("400 Bad Request", "200 OK")),
            _ => (200, "", answer),
        }
    })
    .await;
    let (target, _) = connect(url).await;
    let locations: Vec<_> = (0..60).map(|i| Ok(Path::from(format!("o {i}")))).collect();
    let outcomes = target
        .objects
        .delete_stream(stream::iter(locations).boxed());
    let outcomes: Vec<_> = outcomes.collect().await;
    let (deleted, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|o| o.is_ok());
    assert_eq!((deleted.len(), failed.len()), (59, 1), "{failed:?}");
    assert!(
        failed[0].as_ref().unwrap_err().to_string().contains("o 7"),
        "{failed:?}"
    );
    assert_eq!(
        *asked_for.lock().unwrap(),
        [50, 10],
        "as many at once as allowed"
    );
}
