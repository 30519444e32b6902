//! Flavors.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::page;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge, set};
use super::super::world::World;
use super::{links, minor, nothing_here};

/// The flavors of the lab.
pub(in super::super) fn seed(world: &mut World) -> Result<(), Refusal> {
    for (name, ephemeral, swap) in [("raksha.tiny", 0, 0), ("raksha.eph", 1, 64)] {
        let id = world.uuid()?;
        let body = json!({"name": name, "ram": 192, "disk": 1, "swap": swap, "OS-FLV-EXT-DATA:ephemeral": ephemeral,
            "OS-FLV-DISABLED:disabled": false, "vcpus": 1, "os-flavor-access:is_public": true, "rxtx_factor": 1.0,
            "description": null, "extra_specs": {}});
        world.state.add(Kind::Flavor, "", &id, body);
    }
    Ok(())
}

fn show(world: &World, call: &Call, flavor: &Record) -> Result<Value, Refusal> {
    let minor = minor(call)?;
    let mut body = flavor.body.clone();
    merge(
        &mut body,
        &json!({"id": flavor.id, "links": links(world, "flavors", &flavor.id)}),
    );
    if minor < 75 && flavor.get("swap") == &json!(0) {
        set(&mut body, "swap", json!(""));
    }
    if let Some(map) = body.as_object_mut() {
        if minor < 55 {
            map.remove("description");
        }
        if minor < 61 {
            map.remove("extra_specs");
        }
    }
    Ok(body)
}

/// `/flavors`.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    let missing = |id: &str| Refusal::missing(format!("Flavor {id} could not be found."));
    match (call.method.as_str(), path) {
        ("GET", []) | ("GET", ["detail"]) => {
            let mut all = world.state.all(Kind::Flavor);
            all.sort_by(|a, b| a.id.cmp(&b.id));
            let (all, next) = page::cut(call, all, world.options.page)?;
            let mut shown = Vec::new();
            for flavor in all {
                shown.push(if path.is_empty() {
                    let mut short = json!({"id": flavor.id, "name": flavor.get("name"),
                        "links": links(world, "flavors", &flavor.id)});
                    if minor(call)? >= 55 {
                        set(&mut short, "description", flavor.get("description").clone());
                    }
                    short
                } else {
                    show(world, call, flavor)?
                });
            }
            let mut body = json!({"flavors": shown});
            if let Some(marker) = next {
                set(
                    &mut body,
                    "flavors_links",
                    page::links(&world.base, call, &marker),
                );
            }
            Ok(Reply::json(200, body))
        }
        ("GET", [id]) => {
            let flavor = world
                .state
                .get(Kind::Flavor, id)
                .ok_or_else(|| missing(id))?;
            Ok(Reply::json(
                200,
                json!({"flavor": show(world, call, flavor)?}),
            ))
        }
        ("GET", [id, "os-extra_specs"]) => {
            let flavor = world
                .state
                .get(Kind::Flavor, id)
                .ok_or_else(|| missing(id))?;
            Ok(Reply::json(
                200,
                json!({"extra_specs": flavor.get("extra_specs")}),
            ))
        }
        ("POST", []) => {
            super::super::policy::admin_only(call, "os_compute_api:os-flavor-manage:create")?;
            let wanted = call.body.get("flavor").cloned().unwrap_or_default();
            let id = match wanted.get("id").and_then(Value::as_str) {
                Some(id) if id != "auto" => id.to_owned(),
                _ => world.uuid()?,
            };
            let mut body = json!({"swap": 0, "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": false,
                "os-flavor-access:is_public": true, "rxtx_factor": 1.0, "description": null, "extra_specs": {}});
            merge(&mut body, &wanted);
            let flavor = world.state.add(Kind::Flavor, "", &id, body).clone();
            Ok(Reply::json(
                200,
                json!({"flavor": show(world, call, &flavor)?}),
            ))
        }
        ("DELETE", [id]) => {
            super::super::policy::admin_only(call, "os_compute_api:os-flavor-manage:delete")?;
            world
                .state
                .remove(Kind::Flavor, id)
                .ok_or_else(|| missing(id))?;
            Ok(Reply::empty(202))
        }
        _ => Err(nothing_here()),
    }
}
