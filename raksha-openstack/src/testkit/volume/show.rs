//! How volumes and snapshots look, by microversion.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Refusal;
use super::super::state::{Record, merge, set};
use super::super::world::World;
use super::minor;

fn links(world: &World, project: &str, of: &str, id: &str) -> Value {
    let base = format!("{}/volume", world.base);
    json!([{"rel": "self", "href": format!("{base}/v3/{project}/{of}/{id}")},
        {"rel": "bookmark", "href": format!("{base}/{project}/{of}/{id}")}])
}

/// A volume; in full it tells whose it is, and of which image.
pub(super) fn volume(
    world: &World,
    call: &Call,
    record: &Record,
    in_full: bool,
) -> Result<Value, Refusal> {
    let minor = minor(call)?;
    let mut body =
        json!({"id": record.id, "links": links(world, &record.project, "volumes", &record.id)});
    let shown = [
        "status",
        "size",
        "availability_zone",
        "created_at",
        "updated_at",
        "name",
        "description",
        "volume_type",
        "snapshot_id",
        "source_volid",
        "metadata",
        "user_id",
        "bootable",
        "encrypted",
        "replication_status",
        "consistencygroup_id",
        "multiattach",
        "attachments",
    ];
    for key in shown {
        set(&mut body, key, record.get(key).clone());
    }
    if minor >= 13 {
        set(&mut body, "group_id", record.get("group_id").clone());
    }
    if minor >= 48 {
        merge(
            &mut body,
            &json!({"shared_targets": false, "service_uuid": record.get("service_uuid")}),
        );
    }
    if minor >= 63 {
        set(
            &mut body,
            "volume_type_id",
            record.inner("volume_type_id").clone(),
        );
    }
    if minor >= 65 {
        set(&mut body, "consumes_quota", json!(true));
    }
    if in_full {
        set(
            &mut body,
            "os-vol-tenant-attr:tenant_id",
            json!(record.project),
        );
        if call.who()?.is_admin() {
            merge(
                &mut body,
                &json!({"os-vol-host-attr:host": "devcloud@rbd#rbd",
                "os-vol-mig-status-attr:migstat": null, "os-vol-mig-status-attr:name_id": null}),
            );
        }
        let image = record.get("volume_image_metadata");
        if image.as_object().is_some_and(|map| !map.is_empty()) {
            set(&mut body, "volume_image_metadata", image.clone());
        }
    }
    Ok(body)
}

pub(super) fn volume_in_short(world: &World, record: &Record) -> Value {
    json!({"id": record.id, "name": record.get("name"),
        "links": links(world, &record.project, "volumes", &record.id)})
}

/// A snapshot; in full it tells whose it is, and how far.
pub(super) fn snapshot(call: &Call, record: &Record, in_full: bool) -> Result<Value, Refusal> {
    let minor = minor(call)?;
    let mut body = json!({"id": record.id});
    let shown = [
        "created_at",
        "updated_at",
        "name",
        "description",
        "volume_id",
        "status",
        "size",
        "metadata",
    ];
    for key in shown {
        set(&mut body, key, record.get(key).clone());
    }
    if minor >= 14 {
        set(
            &mut body,
            "group_snapshot_id",
            record.get("group_snapshot_id").clone(),
        );
    }
    if minor >= 41 {
        set(&mut body, "user_id", record.get("user_id").clone());
    }
    if minor >= 65 {
        set(&mut body, "consumes_quota", json!(true));
    }
    if in_full {
        let progress = if record.text("status") == "available" {
            "100%"
        } else {
            "0%"
        };
        merge(
            &mut body,
            &json!({"os-extended-snapshot-attributes:project_id": record.project,
            "os-extended-snapshot-attributes:progress": progress}),
        );
    }
    Ok(body)
}
