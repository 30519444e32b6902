//! Actions on servers.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::policy::{action, admin_only};
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, merge};
use super::super::world::{World, short_time};
use super::{create_image, find, minor};

/// Refuses an action unless the server is in one of these states and nothing else is under way.
pub(super) fn state_is(server: &Record, action: &str, states: &[&str]) -> Result<(), Refusal> {
    let id = &server.id;
    let vm_state = server.text("OS-EXT-STS:vm_state");
    if !states.contains(&vm_state) {
        return Err(Refusal::conflict(format!(
            "Cannot '{action}' instance {id} while it is in vm_state {vm_state}"
        )));
    }
    let task = server.text("OS-EXT-STS:task_state");
    if !task.is_empty() {
        return Err(Refusal::conflict(format!(
            "Cannot '{action}' instance {id} while it is in task_state {task}"
        )));
    }
    Ok(())
}

/// A change of a server's state: the task's name meanwhile, and what it is afterwards.
struct Move {
    name: &'static str,
    from: &'static [&'static str],
    task: &'static str,
    to: Value,
}

fn state(status: &str, vm_state: &str, power: u8) -> Value {
    json!({"status": status, "OS-EXT-STS:vm_state": vm_state, "OS-EXT-STS:power_state": power})
}

fn moves(action: &str, hard: bool) -> Option<Move> {
    let (name, from, task, to): (_, &'static [&'static str], _, _) = match action {
        "os-start" => (
            "start",
            &["stopped"],
            "powering-on",
            state("ACTIVE", "active", 1),
        ),
        "os-stop" => (
            "stop",
            &["active", "error"],
            "powering-off",
            state("SHUTOFF", "stopped", 4),
        ),
        "pause" => (
            "pause",
            &["active"],
            "pausing",
            state("PAUSED", "paused", 3),
        ),
        "unpause" => (
            "unpause",
            &["paused"],
            "unpausing",
            state("ACTIVE", "active", 1),
        ),
        "suspend" => (
            "suspend",
            &["active"],
            "suspending",
            state("SUSPENDED", "suspended", 4),
        ),
        "resume" => (
            "resume",
            &["suspended"],
            "resuming",
            state("ACTIVE", "active", 1),
        ),
        "reboot" if hard => (
            "reboot",
            &["active", "stopped", "paused", "suspended", "error"],
            "rebooting_hard",
            state("ACTIVE", "active", 1),
        ),
        "reboot" => (
            "reboot",
            &["active"],
            "rebooting",
            state("ACTIVE", "active", 1),
        ),
        _ => return None,
    };
    Some(Move {
        name,
        from,
        task,
        to,
    })
}

/// `POST /servers/ID/action`.
pub(super) fn serve(world: &mut World, call: &Call, id: &str, pause: &mut Duration) -> Outcome {
    let name = action(call).unwrap_or_default();
    let server = find(world, call, id)?.clone();
    let arguments = call.body.get(name).cloned().unwrap_or_default();
    let hard = arguments
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("hard"));
    if let Some(wanted) = moves(name, hard) {
        state_is(&server, wanted.name, wanted.from)?;
        start(world, call, id, wanted);
        return Ok(Reply::empty(202).header("content-type", "application/json"));
    }
    match name {
        "createImage" => create_image::serve(world, call, &server, &arguments, pause),
        "addSecurityGroup" | "removeSecurityGroup" => {
            security_group(world, &server, name == "addSecurityGroup", &arguments)
        }
        "os-getConsoleOutput" => Ok(Reply::json(200, json!({"output": ""}))),
        "lock" | "unlock" => Ok(Reply::empty(202)),
        "os-resetState" => {
            admin_only(call, "os_compute_api:os-admin-actions:reset_state")?;
            let error = arguments.get("state").and_then(Value::as_str) == Some("error");
            let mut fields = if error {
                state("ERROR", "error", 0)
            } else {
                state("ACTIVE", "active", 1)
            };
            merge(&mut fields, &json!({"OS-EXT-STS:task_state": null}));
            if let Some(server) = world.state.get_mut(Kind::Server, id) {
                server.merge(&fields);
            }
            Ok(Reply::empty(202))
        }
        "addFloatingIp" | "removeFloatingIp" if minor(call)? >= 44 => {
            Err(Refusal::missing("The resource could not be found."))
        }
        other => Err(Refusal::bad(format!("There is no such action: {other}"))),
    }
}

fn start(world: &mut World, call: &Call, id: &str, wanted: Move) {
    if let Some(server) = world.state.get_mut(Kind::Server, id) {
        server.set("OS-EXT-STS:task_state", wanted.task);
    }
    let mut done = wanted.to;
    merge(
        &mut done,
        &json!({"OS-EXT-STS:task_state": null, "updated": short_time(call.now)}),
    );
    let failed =
        json!({"status": "ERROR", "OS-EXT-STS:vm_state": "error", "OS-EXT-STS:task_state": null});
    let pace = world.options.pace.server;
    world.settle(call, (Kind::Server, id), pace, done, failed);
}

fn security_group(world: &mut World, server: &Record, add: bool, arguments: &Value) -> Outcome {
    let name = arguments
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let group = world.state.ids(Kind::SecurityGroup, |group| {
        group.project == server.project && (group.id == name || group.text("name") == name)
    });
    let Some(group) = group.first() else {
        return Err(Refusal::missing(format!(
            "Security group {name} not found for project {}.",
            server.project
        )));
    };
    for port in world
        .state
        .ids(Kind::Port, |port| port.text("device_id") == server.id)
    {
        if let Some(port) = world.state.get_mut(Kind::Port, &port) {
            let mut groups = port
                .get("security_groups")
                .as_array()
                .cloned()
                .unwrap_or_default();
            groups.retain(|known| known != &json!(group));
            if add {
                groups.push(json!(group));
            }
            port.set("security_groups", groups);
        }
    }
    Ok(Reply::empty(202))
}
