//! Downloads and uploads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use raksha_core::{Error, Kind, Result};
use raksha_openstack::client::{ChecksumAlgorithm, Client, Download, Request, Service};

use crate::server::{Reply, Seen, Server, options, owned};

/// Bytes that are nowhere the same as shortly before.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * i / 7 + i / 251) as u8).collect()
}

fn start_of(seen: &Seen) -> Option<usize> {
    let range = seen.headers.get("range")?;
    let start = range.strip_prefix("bytes=")?.strip_suffix('-')?;
    Some(start.parse().unwrap())
}

/// A server of `all` that breaks off (or stands still) after `each` bytes, and knows ranges or not.
fn unreliable(
    all: &Arc<Vec<u8>>,
    each: usize,
    stall: bool,
    ranges: bool,
) -> impl Fn(&Seen, usize) -> Reply + use<> {
    let all = Arc::clone(all);
    move |seen, n| {
        let (start, status) = match start_of(seen) {
            Some(start) if ranges => (start, 206),
            _ => (0, 200),
        };
        // Without ranges it comes a bit further each time.
        let more = if ranges { each } else { each * n };
        let end = (start + more).min(all.len());
        let mut headers = owned(&[("Content-MD5", "0123")]);
        if status == 206 {
            let last = all.len() - 1;
            headers.push((
                "Content-Range".to_owned(),
                format!("bytes {start}-{last}/{}", all.len()),
            ));
        }
        let body = all[start..end].to_vec();
        let length = all.len() - start;
        if body.len() == length {
            Reply::Full {
                status,
                headers,
                body,
            }
        } else {
            Reply::Partial {
                status,
                headers,
                length,
                body,
                stall,
            }
        }
    }
}

async fn download(client: &Client) -> Result<Download> {
    let request = Request::get("images/1/file").operation("download image");
    client.download(Service::Image, request).await
}

async fn collect(download: Download) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = download.stream.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let all = Arc::new(content(1_000_000));
    for (stall, ranges) in [(false, true), (false, false), (true, true)] {
        let each = if stall { 400_000 } else { 70_000 };
        let server = Server::start(unreliable(&all, each, stall, ranges)).await;
        let client = server.client().await;
        let download = download(&client).await.unwrap();
        assert_eq!(download.length, Some(1_000_000));
        assert_eq!(download.header("content-md5"), Some("0123"));
        let received = collect(download).await.unwrap();
        assert!(received == *all, "stall {stall}, ranges {ranges}");
        assert!(server.seen().len() > 2);
    }
}

#[tokio::test]
async fn a_download_that_never_goes_on_says_where_it_stopped() {
    let server = Server::start(|seen, _| match start_of(seen) {
        None => Reply::Partial {
            status: 200,
            headers: vec![],
            length: 100,
            body: content(60),
            stall: false,
        },
        Some(_) => Reply::Json(503, serde_json::json!({})),
    })
    .await;
    let mut options = options();
    options.attempts = 2;
    let client = server.client_with(options).await;
    let error = collect(download(&client).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("at byte 60"), "{error}");
    assert!(error.to_string().starts_with("download image: "), "{error}");
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_pieced_together() {
    let wrong_start = owned(&[("Content-Range", "bytes 50-99/100")]);
    let other = owned(&[
        ("Content-MD5", "other"),
        ("Content-Range", "bytes 60-99/100"),
    ]);
    for headers in [wrong_start, other] {
        let server = Server::start(move |seen, _| match start_of(seen) {
            None => Reply::Partial {
                status: 200,
                headers: owned(&[("Content-MD5", "one")]),
                length: 100,
                body: content(60),
                stall: false,
            },
            Some(_) => Reply::Full {
                status: 206,
                headers: headers.clone(),
                body: content(40),
            },
        })
        .await;
        let client = server.client().await;
        let error = collect(download(&client).await.unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn checksums_are_checked() {
    // printf abc | sha512sum
    let abc = "DDAF35A193617ABACC417349AE20413112E6FA4E89A97EA20A9EEEE64B55D39A2192992A274FC1A836BA3C23A3FEEBBD454D4423643CE80E2A9AC94FA54CA49F";
    let server = Server::start(|_, _| Reply::with(200, &[], "abc")).await;
    let client = server.client().await;
    let algorithm = ChecksumAlgorithm::named("sha512").unwrap();
    let good = download(&client).await.unwrap().verified(algorithm, abc);
    assert_eq!(collect(good).await.unwrap(), b"abc");
    let bad = download(&client)
        .await
        .unwrap()
        .verified(algorithm, &abc.replace("DDAF", "DDAE"));
    assert_eq!(collect(bad).await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(ChecksumAlgorithm::named("md5"), None);
}

#[tokio::test]
async fn what_cannot_be_downloaded_says_so_at_once() {
    let server = Server::start(|_, _| Reply::with(404, &[], "no such image")).await;
    let error = download(&server.client().await).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

fn pieces(count: usize, size: usize) -> impl futures_util::Stream<Item = Result<Bytes>> + Send {
    let all = content(count * size);
    stream::iter(0..count).map(move |i| Ok(Bytes::copy_from_slice(&all[i * size..][..size])))
}

#[tokio::test]
async fn an_upload_arrives_as_it_was_with_or_without_its_length() {
    for length in [None, Some(1_000_000)] {
        let server = Server::start(|_, _| Reply::with(204, &[], "")).await;
        let client = server.client().await;
        let request = Request::put_bytes("images/1/file");
        let sent = client.upload(Service::Image, request, pieces(100, 10_000), length);
        assert_eq!(sent.await.unwrap().status, 204);
        let seen = &server.seen()[0];
        assert_eq!(seen.header("content-type"), "application/octet-stream");
        assert_eq!(
            seen.headers.contains_key("content-length"),
            length.is_some()
        );
        assert!(seen.body == content(1_000_000));
    }
}

#[tokio::test]
async fn an_upload_of_another_length_than_was_said_fails() {
    for said in [999_999, 1_000_001] {
        let server = Server::start(|_, _| Reply::with(204, &[], "")).await;
        let client = server.client().await;
        let request = Request::put_bytes("images/1/file");
        let sent = client.upload(Service::Image, request, pieces(100, 10_000), Some(said));
        let error = sent.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn an_upload_whose_source_fails_fails_with_the_source_s_error() {
    let server = Server::start(|_, _| Reply::with(204, &[], "")).await;
    let client = server.client().await;
    let broken = Error::new(Kind::Corrupt, "read disk", "a bad sector");
    let body = pieces(3, 1000).chain(stream::once(async { Err(broken) }));
    let request = Request::put_bytes("images/1/file");
    let error = client
        .upload(Service::Image, request, body, None)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "read disk: a bad sector");
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_upload_that_nobody_takes_ends_but_a_slow_source_may_take_its_time() {
    let server = Server::start(|_, _| Reply::with(204, &[], "")).await;
    let mut options = options();
    options.stall = Duration::from_secs(2);
    let client = server.client_with(options).await;
    let slow = pieces(2, 1000).then(|piece| async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        piece
    });
    let request = || Request::put_bytes("images/1/file").operation("upload image");
    client
        .upload(Service::Image, request(), slow, None)
        .await
        .unwrap();

    *server.state.takes_bodies.lock().unwrap() = false;
    let start = Instant::now();
    // More than the buffers of both ends hold.
    let sent = client.upload(Service::Image, request(), pieces(4000, 10_000), None);
    let error = sent.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(error.to_string().contains("took no bytes"), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(2));
}
