//! `os-reimage`: an image takes the place of what a volume holds.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::image;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::Kind;
use super::super::world::{GIB, World};
use super::volumes::{image_metadata, unpack};
use super::{change, find, minor};

/// From this minor version on.
const SINCE: u32 = 68;

pub(super) fn reimage(world: &mut World, call: &Call, id: &str, arguments: &Value) -> Outcome {
    if minor(call)? < SINCE {
        return Err(Refusal::missing("The resource could not be found."));
    }
    let volume = find(world, call, Kind::Volume, id)?;
    let status = volume.text("status");
    let reserved = arguments.get("reimage_reserved") == Some(&json!(true));
    if !(matches!(status, "available" | "error") || reserved && status == "reserved") {
        return Err(Refusal::conflict(format!(
            "Invalid volume: Volume status must be available or error to be reimaged, currently {status}."
        )));
    }
    let size = volume.get("size").as_u64().unwrap_or_default();
    let image = arguments.get("image_id").and_then(Value::as_str);
    let image = image.unwrap_or_default().to_owned();
    let found = image::find(world, call, &image).map_err(|_| {
        Refusal::bad("Invalid image identifier or unable to access requested image.")
    })?;
    if found.text("status") != "active" {
        return Err(Refusal::bad(format!(
            "Invalid input received: Image {image} is not active."
        )));
    }
    let metadata = image_metadata(&found.body, &image);
    unpack(world, &image, id, size * GIB)?;
    let key = (Kind::Volume, id);
    change(world, call, key, &json!({"status": "downloading"}));
    let done =
        json!({"status": "available", "bootable": "true", "volume_image_metadata": metadata});
    let pace = world.options.pace.volume;
    world.settle(call, key, pace, done, json!({"status": "error"}));
    Ok(Reply::text(202, "text/html; charset=UTF-8", ""))
}
