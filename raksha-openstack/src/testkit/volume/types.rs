//! Volume types.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::policy::admin_only;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge};
use super::super::world::World;
use super::nothing_here;

/// The type that a volume will have.
pub(super) struct Type {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) multiattach: bool,
}

/// The types of the lab.
pub(in super::super) fn seed(world: &mut World) -> Result<(), Refusal> {
    let types = [
        ("__DEFAULT__", json!({})),
        ("rbd", json!({"volume_backend_name": "rbd"})),
        (
            "rbd-multiattach",
            json!({"volume_backend_name": "rbd", "multiattach": "<is> True"}),
        ),
        ("nfs", json!({"volume_backend_name": "nfs"})),
        ("rbd-groups", json!({"volume_backend_name": "rbd-groups"})),
    ];
    for (name, specs) in types {
        let description = (name == "__DEFAULT__").then_some("Default Volume Type");
        let id = world.uuid()?;
        let body = json!({"name": name, "description": description, "is_public": true, "extra_specs": specs});
        world.state.add(Kind::VolumeType, "", &id, body);
    }
    for name in ["default_cgsnapshot_type", "consistent", "generic"] {
        let id = world.uuid()?;
        let body = json!({"name": name, "description": null, "is_public": true});
        world.state.add(Kind::GroupType, "", &id, body);
    }
    Ok(())
}

fn find<'a>(world: &'a World, wanted: &str) -> Option<&'a Record> {
    let types = world.state.all(Kind::VolumeType);
    types
        .into_iter()
        .find(|kind| kind.id == wanted || kind.text("name") == wanted)
}

/// The type of a name or id, or else that of the source, or else the default one.
pub(super) fn resolve(
    world: &World,
    wanted: Option<&str>,
    source: Option<&str>,
) -> Result<Type, Refusal> {
    let name = wanted
        .or(source.filter(|source| !source.is_empty()))
        .unwrap_or("rbd");
    let found = find(world, name);
    let found = found.ok_or_else(|| {
        Refusal::missing(format!("Volume type with name {name} could not be found."))
    })?;
    Ok(Type {
        id: found.id.clone(),
        name: found.text("name").to_owned(),
        multiattach: found.get("extra_specs").get("multiattach").is_some(),
    })
}

/// A type as `os-volume_upload_image` tells it.
pub(super) fn of(world: &World, name: &str) -> Value {
    let Some(kind) = find(world, name) else {
        return Value::Null;
    };
    let mut body = kind.body.clone();
    let more = json!({"id": kind.id, "qos_specs_id": null, "created_at": "2026-01-01T00:00:00.000000",
        "updated_at": null, "deleted_at": null, "deleted": false});
    merge(&mut body, &more);
    body
}

fn show(call: &Call, kind: &Record) -> Value {
    let admin = call
        .who
        .as_ref()
        .is_some_and(super::super::call::Who::is_admin);
    let mut specs = kind.get("extra_specs").clone();
    if !admin && let Some(map) = specs.as_object_mut() {
        // Where a type's volumes lie is the operator's business.
        map.retain(|key, _| {
            [
                "multiattach",
                "RESKEY:availability_zones",
                "replication_enabled",
            ]
            .contains(&key.as_str())
        });
    }
    let mut body = json!({"id": kind.id, "name": kind.get("name"), "is_public": true,
        "description": kind.get("description"), "extra_specs": specs, "os-volume-type-access:is_public": true});
    if admin {
        merge(&mut body, &json!({"qos_specs_id": null}));
    }
    body
}

/// `/types`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    match (call.method.as_str(), path) {
        ("GET", []) => {
            let mut types = world.state.all(Kind::VolumeType);
            types.reverse();
            let types: Vec<_> = types.into_iter().map(|kind| show(call, kind)).collect();
            Ok(Reply::json(200, json!({"volume_types": types})))
        }
        ("GET", ["default"]) => {
            let kind = find(world, "rbd").ok_or_else(nothing_here)?;
            Ok(Reply::json(200, json!({"volume_type": show(call, kind)})))
        }
        ("GET", [id]) => {
            let kind = world.state.get(Kind::VolumeType, id);
            let kind = kind
                .ok_or_else(|| Refusal::missing(format!("Volume type {id} could not be found.")))?;
            Ok(Reply::json(200, json!({"volume_type": show(call, kind)})))
        }
        ("POST", []) => {
            admin_only(call, "volume_extension:types_manage")?;
            let wanted = call.body.get("volume_type").cloned().unwrap_or_default();
            let mut body =
                json!({"name": "", "description": null, "is_public": true, "extra_specs": {}});
            merge(&mut body, &wanted);
            let id = world.uuid()?;
            let kind = world.state.add(Kind::VolumeType, "", &id, body).clone();
            Ok(Reply::json(200, json!({"volume_type": show(call, &kind)})))
        }
        _ => Err(nothing_here()),
    }
}
