//! From HTTP to a call and back.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::call::{Area, Call, Fate, Upload};
use super::faults::{Faults, Trouble};
use super::peer::Peer;
use super::policy::action;
use super::reply::{Body, Refusal, Reply};
use super::requests::{RequestRecord, Requests};
use super::world::World;
use super::{objects, services, wording};

/// The most bytes of a body that is not a disk or an object. Nova takes 114 688 bytes, Glance and Swift more in places.
const MAX_JSON: usize = 4 << 20;

/// How much of a file is read at once.
const PIECE: usize = 256 << 10;

/// What every connection shares.
#[derive(Debug, Clone)]
pub(super) struct Cloud {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) faults: Faults,
    pub(super) requests: Requests,
}

impl Cloud {
    /// The world, for a short time.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request.
pub(super) async fn answer(
    Shared(cloud): Shared<Cloud>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let uri = parts
        .uri
        .path_and_query()
        .map_or("/", |uri| uri.as_str())
        .to_owned();
    let method = parts.method.as_str().to_owned();
    let mut call = {
        let mut world = cloud.world();
        let now = world.now();
        world.tick(now);
        services::read(&world, &method, &uri, parts.headers, now)
    };
    let read = read_body(&cloud, &mut call, body).await;
    let action = action(&call).map(str::to_owned);
    let troubles = cloud.faults.take(&method, &uri, action.as_deref());
    let forced = prepare(&mut call, &troubles).await;
    let who = call.who.clone().unwrap_or_default();
    let record = |status, request_id| {
        let who = who.clone();
        cloud.requests.add(RequestRecord {
            method: method.clone(),
            path: uri.clone(),
            action: action.clone(),
            user: who.user,
            project: who.project,
            status,
            request_id,
        });
    };
    if troubles.contains(&Trouble::Reset) {
        record(0, String::new());
        peer.reset();
        return Response::new(HttpBody::empty());
    }
    if troubles.contains(&Trouble::Hangs { done: false }) {
        record(0, String::new());
        return std::future::pending().await;
    }
    let refused = read.err().or(forced);
    let mut reply = match refused {
        Some(refusal) => wording::refuse(&call, refusal),
        None => serve(&cloud, &mut call).await,
    };
    let request_id = wording::stamp(&cloud.world(), &call, &mut reply);
    if troubles.contains(&Trouble::WrongChecksum) {
        spoil_checksums(&mut reply);
    }
    if troubles.contains(&Trouble::LostAnswer) {
        record(0, request_id);
        peer.reset();
        return Response::new(HttpBody::empty());
    }
    if troubles.contains(&Trouble::Hangs { done: true }) {
        record(0, request_id);
        return std::future::pending().await;
    }
    record(reply.status, request_id);
    respond(&call, reply, &troubles).await
}

/// Waits and changes the call as the troubles say; a refusal if one of them is an answer.
async fn prepare(call: &mut Call, troubles: &[Trouble]) -> Option<Refusal> {
    let mut forced = None;
    for trouble in troubles {
        match trouble {
            Trouble::Delay(time) => tokio::time::sleep(*time).await,
            Trouble::EndsInError => call.fate = Fate::Error,
            Trouble::NeverFinishes => call.fate = Fate::Unfinished,
            Trouble::WrongChecksum => {
                if let Some(upload) = &mut call.upload {
                    upload.md5 = "0".repeat(upload.md5.len());
                    upload.sha512 = "0".repeat(upload.sha512.len());
                }
            }
            Trouble::Status {
                status,
                retry_after,
            } => {
                let mut refusal = Refusal::new(*status, "This answer was asked for by a test.");
                refusal.retry_after = *retry_after;
                forced = Some(refusal);
            }
            _ => {}
        }
    }
    forced
}

/// Lets the service do its work, off the threads that drive input and output: it copies disks.
async fn serve(cloud: &Cloud, call: &mut Call) -> Reply {
    let cloud = cloud.clone();
    let nothing = services::nothing(call);
    let owned = std::mem::replace(call, nothing);
    let done = tokio::task::spawn_blocking(move || {
        let mut world = cloud.world();
        let reply = services::serve(&mut world, &owned);
        (owned, reply)
    });
    match done.await {
        Ok((owned, (reply, pause))) => {
            *call = owned;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            reply
        }
        Err(error) => wording::refuse(call, Refusal::new(500, error.to_string())),
    }
}

/// Reads the body into the call; what may be large goes to a file.
async fn read_body(cloud: &Cloud, call: &mut Call, body: HttpBody) -> Result<(), Refusal> {
    if services::is_upload(call) {
        if call.area == Area::Objects {
            objects::precondition(&cloud.world(), call)?;
        }
        let path = cloud.world().scratch()?;
        call.upload = Some(receive(&path, body.into_data_stream()).await?);
        return Ok(());
    }
    let bytes = axum::body::to_bytes(body, MAX_JSON).await;
    let bytes = bytes.map_err(|_| Refusal::new(413, "Request is too large."))?;
    if !bytes.is_empty() {
        match serde_json::from_slice(&bytes) {
            Ok(value) => call.body = value,
            Err(_) => call.garbled = true,
        }
    }
    Ok(())
}

/// Writes a body to a file. Zeroes at the place of whole pieces stay holes.
async fn receive(
    path: &Path,
    mut body: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
) -> Result<Upload, Refusal> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut md5 = Md5::new();
    let mut sha512 = ring::digest::Context::new(&ring::digest::SHA512);
    let mut size = 0;
    while let Some(piece) = body.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let _ = tokio::fs::remove_file(path).await;
                return Err(Refusal::bad(format!("The body ended early: {error}")));
            }
        };
        md5.update(&piece);
        sha512.update(&piece);
        size += piece.len() as u64;
        if piece.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Start(size)).await?;
        } else {
            file.write_all(&piece).await?;
        }
    }
    file.flush().await?;
    file.set_len(size).await?;
    Ok(Upload {
        path: path.to_owned(),
        size,
        md5: hex(&md5.finalize()),
        sha512: hex(sha512.finish().as_ref()),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spoil_checksums(reply: &mut Reply) {
    for (name, value) in &mut reply.headers {
        if matches!(name.to_lowercase().as_str(), "content-md5" | "etag") {
            *value = "0".repeat(32);
        }
    }
    if let Body::Json(body) = &mut reply.body {
        for key in ["checksum", "os_hash_value"] {
            if body.get(key).is_some_and(serde_json::Value::is_string) {
                super::state::set(body, key, "0".repeat(32).into());
            }
        }
    }
}

/// The reply in HTTP, with what goes wrong on the way.
async fn respond(call: &Call, reply: Reply, troubles: &[Trouble]) -> Response {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&*name), HeaderValue::from_str(&value))
        {
            headers.append(name, value);
        }
    }
    let mut kind = |text: &'static str| {
        headers
            .entry("content-type")
            .or_insert(HeaderValue::from_static(text));
    };
    let (length, body): (u64, Pieces) = match reply.body {
        Body::Empty => (0, stream::empty().boxed()),
        Body::Json(value) => {
            kind("application/json");
            whole(serde_json::to_vec(&value).unwrap_or_default())
        }
        Body::Text(text_kind, text) => {
            kind(text_kind);
            whole(text.into_bytes())
        }
        Body::File(path, range) => (range.end - range.start, file(&path, range).await),
    };
    if ![204, 304].contains(&reply.status) {
        headers.insert("content-length", HeaderValue::from(length));
    }
    if call.method == "HEAD" {
        return response;
    }
    let body = troubles.iter().fold(body, |body, trouble| match trouble {
        Trouble::Truncated(after) => truncated(body, *after),
        Trouble::FlippedByte => flipped(body, length / 2),
        _ => body,
    });
    *response.body_mut() = HttpBody::from_stream(body);
    response
}

type Pieces = stream::BoxStream<'static, std::io::Result<Bytes>>;

fn whole(bytes: Vec<u8>) -> (u64, Pieces) {
    let length = bytes.len() as u64;
    (length, stream::iter([Ok(Bytes::from(bytes))]).boxed())
}

async fn file(path: &Path, range: Range<u64>) -> Pieces {
    let opened = async {
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(SeekFrom::Start(range.start)).await?;
        std::io::Result::Ok(file.take(range.end - range.start))
    };
    let file = match opened.await {
        Ok(file) => file,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), file)))
    });
    pieces.boxed()
}

/// The first bytes of a body, and then the end of the connection.
fn truncated(body: Pieces, after: u64) -> Pieces {
    let cut = body.scan(after, |left, piece| {
        let piece = piece.map(|piece: Bytes| {
            let keep = piece
                .len()
                .min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= keep as u64;
            piece.slice(..keep)
        });
        futures_util::future::ready(Some(piece))
    });
    let cut = cut.filter(|piece| {
        let something = !matches!(piece, Ok(piece) if piece.is_empty());
        futures_util::future::ready(something)
    });
    // What was sent before shall reach the client before the connection ends.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::ErrorKind::ConnectionReset.into())
    });
    cut.chain(end).boxed()
}

fn flipped(body: Pieces, at: u64) -> Pieces {
    let spoiled = body.scan(0_u64, move |begin, piece| {
        let piece = piece.map(|piece: Bytes| {
            let mut bytes = piece.to_vec();
            let offset = at
                .checked_sub(*begin)
                .and_then(|at| usize::try_from(at).ok());
            *begin += bytes.len() as u64;
            if let Some(byte) = offset.and_then(|offset| bytes.get_mut(offset)) {
                *byte ^= 1;
            }
            Bytes::from(bytes)
        });
        futures_util::future::ready(Some(piece))
    });
    spoiled.boxed()
}
