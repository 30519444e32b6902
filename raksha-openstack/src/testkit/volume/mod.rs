//! Cinder: volumes, snapshots, attachments.

mod actions;
mod attachments;
mod groups;
mod limits;
mod metadata;
mod reimage;
mod show;
mod snapshots;
mod types;
mod volumes;

use serde_json::{Value, json};

pub(super) use attachments::{attach, detach};
pub(super) use snapshots::take as take_snapshot;
pub(super) use types::seed as seed_types;
pub(super) use volumes::{make as make_volume, unpack};

use super::call::Call;
use super::page;
use super::reply::{Outcome, Refusal, Reply};
use super::state::{Kind, Record, merge, set};
use super::version;
use super::world::World;

/// The minor version that a call asks for.
pub(super) fn minor(call: &Call) -> Result<u32, Refusal> {
    version::minor(call, "volume", None, 3, (0, 70))
}

pub(super) fn serve(world: &mut World, call: &Call) -> Outcome {
    let segments = call.segments();
    match segments.as_slice() {
        [] => return Ok(Reply::json(300, versions(world))),
        ["v3"] => {
            call.who()?;
            return Ok(Reply::json(200, versions(world)));
        }
        _ => {}
    }
    let who = call.who()?.clone();
    minor(call)?;
    let (project, rest) = match segments.as_slice() {
        ["v3", project, rest @ ..] => (*project, rest),
        _ => return Err(nothing_here()),
    };
    if project != who.project {
        return Err(Refusal::bad("Malformed request url"));
    }
    let method = call.method.as_str();
    match (method, rest) {
        ("GET", ["volumes", "summary"]) => {
            let all = world.state.of(Kind::Volume, &who.project);
            let size: u64 = all
                .iter()
                .filter_map(|volume| volume.get("size").as_u64())
                .sum();
            Ok(Reply::json(
                200,
                json!({"volume-summary": {"total_count": all.len(), "total_size": size}}),
            ))
        }
        (_, ["volumes" | "snapshots", _, "metadata", ..]) => metadata::serve(world, call, rest),
        ("POST", ["volumes"]) => volumes::create(world, call),
        ("GET", ["volumes"]) => list(world, call, Kind::Volume, false),
        ("GET", ["volumes", "detail"]) => list(world, call, Kind::Volume, true),
        ("GET", ["volumes", id]) => {
            let volume = find(world, call, Kind::Volume, id)?;
            let body = show::volume(world, call, volume, true)?;
            Ok(Reply::json(200, json!({"volume": body})))
        }
        ("PUT", ["volumes", id]) => volumes::update(world, call, id),
        ("DELETE", ["volumes", id]) => volumes::delete(world, call, id),
        ("POST", ["volumes", id, "action"]) => actions::serve(world, call, id),
        ("GET", ["volumes", id, "encryption"]) => {
            find(world, call, Kind::Volume, id)?;
            Ok(Reply::json(200, json!({"encryption_key_id": null})))
        }
        ("POST", ["snapshots"]) => snapshots::create(world, call),
        ("GET", ["snapshots"]) => list(world, call, Kind::Snapshot, false),
        ("GET", ["snapshots", "detail"]) => list(world, call, Kind::Snapshot, true),
        ("GET", ["snapshots", id]) => {
            let snapshot = find(world, call, Kind::Snapshot, id)?;
            let body = show::snapshot(call, snapshot, true)?;
            Ok(Reply::json(200, json!({"snapshot": body})))
        }
        ("PUT", ["snapshots", id]) => snapshots::update(world, call, id),
        ("DELETE", ["snapshots", id]) => snapshots::delete(world, call, id),
        ("POST", ["snapshots", id, "action"]) => actions::on_snapshot(world, call, id),
        (_, ["attachments", rest @ ..]) => attachments::serve(world, call, rest),
        (_, ["types", rest @ ..]) => types::serve(world, call, rest),
        (_, ["group_types", rest @ ..]) => groups::types(world, call, rest),
        (_, ["groups", rest @ ..]) => groups::serve(world, call, rest),
        (_, ["group_snapshots", rest @ ..]) => groups::snapshots(world, call, rest),
        ("GET", ["limits"]) => limits::absolute(world, &who.project),
        (_, ["os-quota-sets", rest @ ..]) => limits::sets(world, call, rest),
        ("GET", ["os-availability-zone"]) => Ok(Reply::json(
            200,
            json!({"availabilityZoneInfo": [{"zoneName": world.options.zone, "zoneState": {"available": true}}]}),
        )),
        ("GET", ["scheduler-stats", "get_pools"]) => {
            super::policy::admin_only(call, "scheduler_extension:scheduler_stats:get_pools")?;
            let name = "devcloud@rbd#rbd";
            Ok(Reply::json(200, json!({"pools": [{"name": name}]})))
        }
        ("GET", ["os-services"]) => {
            super::policy::admin_only(call, "volume_extension:services:index")?;
            Ok(Reply::json(200, json!({"services": []})))
        }
        ("GET", ["backups" | "os-volume-transfer" | "consistencygroups", ..]) => {
            Ok(Reply::json(200, json!({"backups": [], "transfers": []})))
        }
        _ => Err(nothing_here()),
    }
}

fn versions(world: &World) -> Value {
    json!({"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0",
        "updated": "2022-08-31T00:00:00Z",
        "links": [{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": format!("{}/volume/v3/", world.base)}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}]}]})
}

fn nothing_here() -> Refusal {
    Refusal::missing("The resource could not be found.")
}

/// The API since `least`; before, there is nothing at its path.
fn since(call: &Call, least: u32) -> Result<(), Refusal> {
    if minor(call)? < least {
        return Err(nothing_here());
    }
    Ok(())
}

/// The thing, if the caller may see it.
pub(super) fn find<'a>(
    world: &'a World,
    call: &Call,
    kind: Kind,
    id: &str,
) -> Result<&'a Record, Refusal> {
    let who = call.who()?;
    let record = world.state.get(kind, id);
    let record = record.filter(|record| record.project == who.project || who.is_admin());
    record.ok_or_else(|| missing(kind, id))
}

fn missing(kind: Kind, id: &str) -> Refusal {
    let name = match kind {
        Kind::Volume => "Volume",
        Kind::Snapshot => "Snapshot",
        Kind::Group => "Group",
        Kind::GroupSnapshot => "GroupSnapshot",
        Kind::VolumeType => "Volume type",
        _ => {
            return Refusal::missing(format!(
                "Volume attachment could not be found with filter: attachment_id = {id}."
            ));
        }
    };
    Refusal::missing(format!("{name} {id} could not be found."))
}

/// Whether a thing's bytes or those that depend on it are gone: what is to be done then.
pub(super) fn gone(world: &mut World, record: &Record) {
    let is_snapshot = record.body.get("volume_id").is_some();
    if is_snapshot {
        // On RBD a snapshot with clones cannot go: the driver says busy, and it is available again.
        let clones = world.state.ids(Kind::Volume, |volume| {
            volume.text("snapshot_id") == record.id
        });
        if !clones.is_empty() {
            let back = world.state.add(
                Kind::Snapshot,
                &record.project,
                &record.id,
                record.body.clone(),
            );
            back.inner = record.inner.clone();
            back.set("status", "available");
            return;
        }
    }
    world.disks.remove(&record.id);
}

fn list(world: &World, call: &Call, kind: Kind, detail: bool) -> Outcome {
    let who = call.who()?;
    let all = call.all_projects(who);
    let mut found = world.state.filter(kind, |record| {
        (all || record.project == who.project) && listed(call, record)
    });
    sort(call, &mut found);
    let (found, next) = page::cut(call, found, world.options.page)?;
    let mut items = Vec::new();
    for record in found {
        items.push(match (kind, detail) {
            (Kind::Volume, true) => show::volume(world, call, record, true)?,
            (Kind::Volume, false) => show::volume_in_short(world, record),
            (_, detail) => show::snapshot(call, record, detail)?,
        });
    }
    let key = if kind == Kind::Volume {
        "volumes"
    } else {
        "snapshots"
    };
    let mut body = json!({});
    set(&mut body, key, json!(items));
    if let Some(marker) = next {
        set(
            &mut body,
            &format!("{key}_links"),
            page::links(&world.base, call, &marker),
        );
    }
    Ok(Reply::json(200, body))
}

/// Newest first, unless the call wants another order.
fn sort(call: &Call, found: &mut [&Record]) {
    let sort = call.query("sort").unwrap_or("created_at:desc");
    let (key, direction) = sort.split_once(':').unwrap_or((sort, "desc"));
    let key = call.query("sort_key").unwrap_or(key);
    let descending = call.query("sort_dir").unwrap_or(direction) == "desc";
    found.sort_by(|a, b| {
        let order = match key {
            "name" | "status" => a.text(key).cmp(b.text(key)),
            "size" => a.get("size").as_u64().cmp(&b.get("size").as_u64()),
            "id" => a.id.cmp(&b.id),
            _ => a.serial.cmp(&b.serial),
        };
        if descending { order.reverse() } else { order }
    });
}

/// Whether a thing has what the query's filters ask for.
fn listed(call: &Call, record: &Record) -> bool {
    call.query.iter().all(|(key, value)| match key.as_str() {
        "limit" | "marker" | "offset" | "sort" | "sort_key" | "sort_dir" | "all_tenants"
        | "with_count" => true,
        "project_id" => record.project == *value,
        "metadata" => {
            // Written as Python writes a dictionary.
            let wanted: Value =
                serde_json::from_str(&value.replace('\'', "\"")).unwrap_or_default();
            let mut wanted = wanted.as_object().into_iter().flatten();
            wanted.all(|(key, value)| record.get("metadata").get(key) == Some(value))
        }
        "bootable" => record.text("bootable").eq_ignore_ascii_case(value),
        "id" => record.id == *value,
        key => match record.get(key) {
            Value::String(text) => text == value,
            Value::Null => false,
            other => *value == other.to_string().as_str(),
        },
    })
}

/// Sets fields of a thing and when it was changed.
fn change(world: &mut World, call: &Call, (kind, id): (Kind, &str), fields: &Value) {
    let stamp = super::world::cinder_time(call.now / 1000 * 1000);
    if let Some(record) = world.state.get_mut(kind, id) {
        merge(&mut record.body, fields);
        record.set("updated_at", stamp);
    }
}

/// Whether a text can be an id.
fn is_uuid(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    digits == 32 && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
