//! Glance: images.

mod data;
mod members;
mod patch;

use serde_json::{Value, json};

pub(super) use data::{fill, range};

use super::call::{Call, Who};
use super::page;
use super::policy::admin_only;
use super::reply::{Outcome, Refusal, Reply};
use super::state::{Kind, Record, merge, set};
use super::world::{World, short_time};

/// What every image has, and its owner cannot add by himself.
const BASE: [&str; 24] = [
    "id",
    "name",
    "status",
    "visibility",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "owner",
    "created_at",
    "updated_at",
    "min_ram",
    "min_disk",
    "protected",
    "os_hidden",
    "tags",
    "self",
    "file",
    "schema",
    "disk_format",
    "container_format",
    "direct_url",
    "stores",
];

const DISK_FORMATS: [&str; 11] = [
    "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop",
];

pub(super) fn serve(world: &mut World, call: &Call) -> Outcome {
    let segments = call.segments();
    if matches!(segments.as_slice(), [] | ["versions"]) {
        let status = if segments.is_empty() { 300 } else { 200 };
        return Ok(Reply::json(status, versions(world)));
    }
    call.who()?;
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["v2", "images"]) => list(world, call),
        ("POST", ["v2", "images"]) => create(world, call),
        ("GET", ["v2", "images", id]) => {
            let image = find(world, call, id)?;
            Ok(Reply::json(200, show(image)))
        }
        ("PATCH", ["v2", "images", id]) => patch::serve(world, call, id),
        ("DELETE", ["v2", "images", id]) => delete(world, call, id),
        ("PUT", ["v2", "images", id, "file"]) => data::upload(world, call, id),
        ("GET", ["v2", "images", id, "file"]) => data::download(world, call, id),
        (_, ["v2", "images", id, "members", rest @ ..]) => members::serve(world, call, id, rest),
        ("PUT" | "DELETE", ["v2", "images", id, "tags", tag]) => tag_image(world, call, id, tag),
        ("GET", ["v2", "info", "import"]) => Ok(Reply::json(
            200,
            json!({"import-methods": {"description": "Import methods available.", "type": "array",
                "value": ["glance-direct", "web-download", "copy-image"]}}),
        )),
        ("GET", ["v2", "info", "stores"]) => Ok(Reply::json(
            200,
            json!({"stores": [{"id": "file", "default": "true"}]}),
        )),
        _ => Err(Refusal::missing("The resource could not be found.")),
    }
}

fn versions(world: &World) -> Value {
    let link = format!("{}/image/v2/", world.base);
    let minors = [15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
    let versions = minors.iter().map(|minor| {
        let status = if *minor == 15 { "CURRENT" } else { "SUPPORTED" };
        json!({"id": format!("v2.{minor}"), "status": status, "links": [{"rel": "self", "href": link}]})
    });
    json!({"versions": versions.collect::<Vec<_>>()})
}

/// The texts of an array.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn is_member(image: &Record, project: &str) -> bool {
    image.inner("members").get(project).is_some()
}

/// Whether somebody may look at an image.
fn may_see(who: &Who, image: &Record) -> bool {
    let open = matches!(image.text("visibility"), "public" | "community");
    who.is_admin() || open || image.project == who.project || is_member(image, &who.project)
}

/// The image, if the caller may see it.
pub(super) fn find<'a>(world: &'a World, call: &Call, id: &str) -> Result<&'a Record, Refusal> {
    let who = call.who()?;
    let image = world
        .state
        .get(Kind::Image, id)
        .filter(|image| may_see(who, image));
    image.ok_or_else(|| Refusal::missing(format!("No image found with ID {id}")))
}

/// The image, if the caller may change it.
fn own<'a>(world: &'a World, call: &Call, id: &str) -> Result<&'a Record, Refusal> {
    let image = find(world, call, id)?;
    let who = call.who()?;
    if image.project != who.project && !who.is_admin() {
        return Err(Refusal::denied("You do not own this image"));
    }
    Ok(image)
}

pub(super) fn show(image: &Record) -> Value {
    let mut body = image.body.clone();
    let myself = format!("/v2/images/{}", image.id);
    merge(
        &mut body,
        &json!({"id": image.id, "self": myself, "file": format!("{myself}/file"),
        "schema": "/v2/schemas/image"}),
    );
    body
}

/// A queued image with these properties.
pub(super) fn add(world: &mut World, (project, now): (&str, u64), id: &str, properties: &Value) {
    let stamp = short_time(now);
    let mut body = json!({"name": null, "disk_format": null, "container_format": null, "visibility": "shared",
        "size": null, "virtual_size": null, "status": "queued", "checksum": null, "protected": false, "min_ram": 0,
        "min_disk": 0, "os_hidden": false, "os_hash_algo": null, "os_hash_value": null, "tags": []});
    merge(&mut body, properties);
    merge(
        &mut body,
        &json!({"owner": project, "created_at": stamp, "updated_at": stamp}),
    );
    world.state.add(Kind::Image, project, id, body);
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let who = call.who()?;
    let wanted = &call.body;
    check_properties(call, wanted)?;
    let id = match wanted.get("id").and_then(Value::as_str) {
        Some(id) if world.state.get(Kind::Image, id).is_some() => {
            return Err(Refusal::conflict(format!("Image ID {id} already exists!")));
        }
        Some(id) => id.to_owned(),
        None => world.uuid()?,
    };
    let owner = wanted
        .get("owner")
        .and_then(Value::as_str)
        .unwrap_or(&who.project);
    if owner != who.project {
        admin_only(call, "add_image")?;
    }
    add(world, (owner, call.now), &id, wanted);
    let image = find(world, call, &id)?;
    let location = format!("{}/image/v2/images/{id}", world.base);
    Ok(Reply::json(201, show(image))
        .header("location", location)
        .header(
            "openstack-image-import-methods",
            "glance-direct,web-download,copy-image",
        ))
}

/// Refuses what Glance's schema or policy does.
fn check_properties(call: &Call, wanted: &Value) -> Result<(), Refusal> {
    let format = wanted.get("disk_format").and_then(Value::as_str);
    if let Some(format) = format.filter(|format| !DISK_FORMATS.contains(format)) {
        return Err(Refusal::bad(format!(
            "Provided object does not match schema 'image': '{format}' is not one of [None, 'ami', 'ari', 'aki', 'vhd', 'vhdx', 'vmdk', 'raw', 'qcow2', 'vdi', 'iso', 'ploop']"
        )));
    }
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if !BASE.contains(&key.as_str()) && !value.is_string() {
            return Err(Refusal::bad(format!(
                "Provided object does not match schema 'image': {value} is not of type 'string'"
            )));
        }
        let read_only = [
            "size",
            "virtual_size",
            "checksum",
            "status",
            "created_at",
            "updated_at",
            "direct_url",
            "stores",
            "self",
            "file",
            "schema",
            "os_hash_algo",
            "os_hash_value",
        ];
        if read_only.contains(&key.as_str()) {
            return Err(Refusal::denied(format!("Attribute '{key}' is read-only.")));
        }
    }
    if wanted
        .get("visibility")
        .is_some_and(|visibility| visibility == "public")
        && !call.who()?.is_admin()
    {
        return Err(Refusal::denied(
            "You are not authorized to complete publicize_image action.",
        ));
    }
    Ok(())
}

fn delete(world: &mut World, call: &Call, id: &str) -> Outcome {
    let who = call.who()?;
    if world
        .state
        .get(Kind::Image, id)
        .is_none_or(|image| !may_see(who, image))
    {
        return Err(Refusal::missing(format!(
            "Failed to find image {id} to delete"
        )));
    }
    let image = own(world, call, id)?;
    if image.get("protected") == &json!(true) {
        return Err(Refusal::denied(format!(
            "Image {id} is protected and cannot be deleted."
        )));
    }
    // Glance forgets an image at once; its bytes may stay a little longer.
    world.state.work.retain(|work| work.id != id);
    if let Some(image) = world.state.remove(Kind::Image, id) {
        gone(world, &image);
    }
    Ok(Reply::empty(204))
}

/// An image is gone: so are its bytes.
pub(super) fn gone(world: &mut World, image: &Record) {
    world.disks.remove(&image.id);
}

fn tag_image(world: &mut World, call: &Call, id: &str, tag: &str) -> Outcome {
    let mut tags = texts(Some(own(world, call, id)?.get("tags")));
    let known = tags.iter().any(|known| known == tag);
    match (call.method.as_str(), known) {
        ("PUT", false) => tags.push(tag.to_owned()),
        ("DELETE", true) => tags.retain(|known| known != tag),
        ("DELETE", false) => {
            return Err(Refusal::missing("The resource could not be found."));
        }
        _ => {}
    }
    if let Some(image) = world.state.get_mut(Kind::Image, id) {
        image.set("tags", tags);
    }
    Ok(Reply::empty(204))
}

fn list(world: &World, call: &Call) -> Outcome {
    let who = call.who()?;
    let mut images = world
        .state
        .filter(Kind::Image, |image| listed(call, who, image));
    sort(call, &mut images);
    // Without a limit Glance gives 25.
    let limit = if call.query("limit").is_some() {
        world.options.page
    } else {
        25
    };
    let (images, next) = page::cut(call, images, limit)?;
    let place = |marker: Option<&str>| page::place(call, marker).replacen("/image/v2", "/v2", 1);
    let first = place(None);
    let images: Vec<_> = images.into_iter().map(show).collect();
    let mut body = json!({"images": images, "first": first, "schema": "/v2/schemas/images"});
    if let Some(marker) = next {
        set(&mut body, "next", json!(place(Some(&marker))));
    }
    Ok(Reply::json(200, body))
}

fn sort(call: &Call, images: &mut [&Record]) {
    let sort = call.query("sort").unwrap_or("created_at:desc");
    let (key, direction) = sort.split_once(':').unwrap_or((sort, "desc"));
    let key = call.query("sort_key").unwrap_or(key);
    let descending = call.query("sort_dir").unwrap_or(direction) == "desc";
    images.sort_by(|a, b| {
        let order = match key {
            "created_at" | "updated_at" => a.serial.cmp(&b.serial),
            "size" => a.get("size").as_u64().cmp(&b.get("size").as_u64()),
            key => a.text(key).cmp(b.text(key)),
        };
        if descending { order.reverse() } else { order }
    });
}

/// Whether a list with the call's filters shows an image.
fn listed(call: &Call, who: &Who, image: &Record) -> bool {
    let wanted = call.query("visibility");
    let member = image
        .inner("members")
        .get(&who.project)
        .and_then(|member| member.get("status"));
    let status = call.query("member_status").unwrap_or("accepted");
    let as_member = member.is_some_and(|member| status == "all" || member == status);
    let seen = match image.text("visibility") {
        "public" => true,
        "community" => wanted == Some("community") || image.project == who.project,
        _ => image.project == who.project || as_member || who.is_admin(),
    };
    let hidden = image.get("os_hidden") == &json!(true);
    if !seen || hidden != call.query("os_hidden").is_some_and(|text| text == "true") {
        return false;
    }
    call.query.iter().all(|(key, value)| match key.as_str() {
        "limit" | "marker" | "sort" | "sort_key" | "sort_dir" | "member_status" | "os_hidden" => {
            true
        }
        "visibility" => value == "all" || image.text("visibility") == value,
        "tag" => texts(Some(image.get("tags"))).contains(value),
        "size_min" => image.get("size").as_u64() >= value.parse().ok(),
        "size_max" => image.get("size").as_u64() <= value.parse().ok(),
        key => {
            let actual = match image.get(key) {
                Value::String(text) => text.clone(),
                Value::Null if key == "id" => image.id.clone(),
                Value::Null => return false,
                other => other.to_string(),
            };
            match value.strip_prefix("in:") {
                Some(values) => values
                    .split(',')
                    .any(|value| value.trim_matches('"') == actual),
                None => actual == *value,
            }
        }
    })
}
