//! Changes of images, as JSON patches.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, as_map, set};
use super::super::world::{World, short_time};
use super::{BASE, check_properties, find, own, show};

/// `PATCH /images/ID`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str) -> Outcome {
    let kind = call.header("content-type").unwrap_or_default();
    let patch = "application/openstack-images-v2.";
    if !kind.starts_with(patch) || !kind.ends_with("-json-patch") {
        let message = format!("The request media type {kind} is not supported by this server.");
        return Err(Refusal::new(415, message));
    }
    let mut body = own(world, call, id)?.body.clone();
    for operation in call.body.as_array().into_iter().flatten() {
        apply(call, &mut body, operation)?;
    }
    if let Some(image) = world.state.get_mut(Kind::Image, id) {
        image.body = body;
        image.set("updated_at", short_time(call.now));
    }
    Ok(Reply::json(200, show(find(world, call, id)?)))
}

fn apply(call: &Call, body: &mut Value, operation: &Value) -> Result<(), Refusal> {
    let text = |key: &str| {
        operation
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    // Properties may have any name; the slashes in it are escaped.
    let name = text("path")
        .trim_start_matches('/')
        .replace("~1", "/")
        .replace("~0", "~");
    let known =
        body.get(&name).is_some_and(|value| !value.is_null()) || BASE.contains(&name.as_str());
    match text("op") {
        "remove" if BASE.contains(&name.as_str()) => {
            return Err(Refusal::denied(format!(
                "Access was denied to this resource.<br /><br />\nProperty {name} may not be removed."
            )));
        }
        "remove" | "replace" if !known => {
            return Err(Refusal::conflict(format!(
                "There was a conflict when trying to complete your request.<br /><br />\nProperty {name} does not exist."
            )));
        }
        "remove" => {
            if let Some(map) = as_map(body) {
                map.remove(&name);
            }
            return Ok(());
        }
        "add" | "replace" => {}
        other => {
            return Err(Refusal::bad(format!(
                "Unable to find '{other}' in JSON Schema change"
            )));
        }
    }
    let value = operation.get("value").cloned().unwrap_or_default();
    let mut one = json!({});
    set(&mut one, &name, value.clone());
    check_properties(call, &one)?;
    set(body, &name, value);
    Ok(())
}
