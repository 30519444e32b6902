//! The bytes of images.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::super::call::{Call, Fate};
use super::super::http::hex;
use super::super::qcow2;
use super::super::reply::{Body, Outcome, Refusal, Reply};
use super::super::state::Kind;
use super::super::world::{World, short_time};
use super::{find, own};

/// `PUT /images/ID/file`.
pub(super) fn upload(world: &mut World, call: &Call, id: &str) -> Outcome {
    let image = own(world, call, id)?;
    let kind = call.header("content-type").unwrap_or_default();
    if kind != "application/octet-stream" {
        let message = format!("The request media type {kind} is not supported by this server.");
        return Err(Refusal::new(415, message));
    }
    let status = image.text("status").to_owned();
    if !["queued", "uploading"].contains(&status.as_str()) {
        return Err(Refusal::conflict(format!(
            "Image status transition from {status} to saving is not allowed"
        )));
    }
    let format = image.text("disk_format").to_owned();
    let Some(upload) = &call.upload else {
        return Err(Refusal::bad("There is no body."));
    };
    std::fs::rename(&upload.path, world.disks.path(id))?;
    let virtual_size = match format.as_str() {
        "qcow2" => qcow2::virtual_size(&world.disks.path(id)).ok(),
        "raw" => Some(upload.size),
        _ => None,
    };
    // The answer comes when all is stored: real uploads are not asynchronous.
    let fields = match call.fate {
        Fate::Fine => json!({"status": "active", "size": upload.size, "virtual_size": virtual_size,
            "checksum": upload.md5, "os_hash_algo": "sha512", "os_hash_value": upload.sha512,
            "direct_url": format!("file://{}", world.disks.path(id).display()), "stores": "file"}),
        Fate::Error => json!({"status": "killed"}),
        Fate::Unfinished => json!({"status": "saving"}),
    };
    if let Some(image) = world.state.get_mut(Kind::Image, id) {
        image.merge(&fields);
        image.set("updated_at", short_time(call.now));
    }
    Ok(Reply::text(204, "text/html; charset=UTF-8", ""))
}

/// `GET /images/ID/file`.
pub(super) fn download(world: &World, call: &Call, id: &str) -> Outcome {
    let image = find(world, call, id)?;
    let size = image.get("size").as_u64().unwrap_or_default();
    if image.text("status") != "active" {
        return Ok(Reply::empty(204));
    }
    let reply = |status, range| Reply {
        status,
        headers: vec![
            ("content-type".into(), "application/octet-stream".to_owned()),
            ("content-md5".into(), image.text("checksum").to_owned()),
        ],
        body: Body::File(world.disks.path(id), range),
    };
    let Some(asked) = call.header("range") else {
        return Ok(reply(200, 0..size));
    };
    let Some((start, end)) = range(asked, size) else {
        return Err(Refusal::new(
            416,
            "The Range requested is not available.<br /><br />\nThe byte range passed in the 'Range' header did not match any available byte range in the current file.",
        ));
    };
    let stated = format!("bytes {start}-{}/{size}", end - 1);
    Ok(reply(206, start..end).header("content-range", stated))
}

/// The bytes that a `Range` header means, of so many.
pub(in super::super) fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start.parse::<u64>(), end.parse::<u64>()) {
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(size)),
        (Ok(start), Err(_)) if end.is_empty() => (start, size),
        (Err(_), Ok(suffix)) if start.is_empty() => (size.saturating_sub(suffix), size),
        _ => return None,
    };
    (start < end).then_some((start, end))
}

/// Gives an image the bytes of a raw disk, in the image's format; the fields that it then has.
pub(in super::super) fn fill(
    world: &World,
    from: &str,
    image: &str,
    format: &str,
) -> Result<Value, Refusal> {
    let target = world.disks.path(image);
    let size = world.disks.size(from)?;
    if format == "qcow2" {
        qcow2::write(&world.disks.path(from), &target)?;
    } else {
        world.disks.copy(from, image, 0)?;
    }
    let (md5, sha512) = checksums(&target)?;
    Ok(
        json!({"status": "active", "size": world.disks.size(image)?, "virtual_size": size, "checksum": md5,
        "os_hash_algo": "sha512", "os_hash_value": sha512, "direct_url": format!("file://{}", target.display()),
        "stores": "file"}),
    )
}

fn checksums(path: &Path) -> std::io::Result<(String, String)> {
    let mut file = File::open(path)?;
    let mut md5 = Md5::new();
    let mut sha512 = ring::digest::Context::new(&ring::digest::SHA512);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Ok((hex(&md5.finalize()), hex(sha512.finish().as_ref())));
        }
        md5.update(piece);
        sha512.update(piece);
    }
}
