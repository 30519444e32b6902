//! What administrators do to users, projects and roles.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::policy::admin_only;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, merge};
use super::super::world::World;
use super::{directory, nothing_here};

/// Everything but `GET` of users, projects and roles.
pub(super) fn serve(world: &mut World, call: &Call, path: &[&str]) -> Outcome {
    admin_only(call, "identity:administer")?;
    match (call.method.as_str(), path) {
        ("POST", ["users"]) => {
            let wanted = call.body.get("user").unwrap_or(&Value::Null);
            let name = name(wanted)?;
            let id = world.hex()?;
            let body = json!({"name": name, "domain_id": "default", "enabled": true,
                "password_expires_at": null, "options": {}});
            let record = world.state.add(Kind::User, "", &id, body);
            record.set_inner(
                "password",
                wanted.get("password").cloned().unwrap_or_default(),
            );
            show(world, Kind::User, &id, 201)
        }
        ("POST", ["projects"]) => {
            let wanted = call.body.get("project").unwrap_or(&Value::Null);
            let id = directory::add_project(world, name(wanted)?)?;
            show(world, Kind::Project, &id, 201)
        }
        ("PATCH", [of, id]) => {
            let (kind, key) = kind(of)?;
            let wanted = call.body.get(key).cloned().unwrap_or_default();
            let record = world
                .state
                .get_mut(kind, id)
                .ok_or_else(|| missing(key, id))?;
            merge(&mut record.body, &wanted);
            show(world, kind, id, 200)
        }
        ("DELETE", [of, id]) => {
            let (kind, key) = kind(of)?;
            world
                .state
                .remove(kind, id)
                .ok_or_else(|| missing(key, id))?;
            forget(world, id);
            Ok(Reply::empty(204))
        }
        (method @ ("PUT" | "DELETE"), ["projects", project, "users", user, "roles", role]) => {
            let name = world
                .state
                .get(Kind::Role, role)
                .map(|role| role.text("name").to_owned());
            let name = name.ok_or_else(|| missing("role", role))?;
            let mut roles = directory::roles(world, user, project);
            match method {
                "PUT" => roles.push(name),
                _ => roles.retain(|one| !directory::with_implied(&[&name]).contains(&one.as_str())),
            }
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            directory::grant(world, user, project, &roles);
            Ok(Reply::empty(204))
        }
        _ => Err(nothing_here()),
    }
}

fn name(wanted: &Value) -> Result<&str, Refusal> {
    let name = wanted.get("name").and_then(Value::as_str);
    name.ok_or_else(|| Refusal::bad("'name' is a required property"))
}

fn kind(of: &str) -> Result<(Kind, &'static str), Refusal> {
    match of {
        "users" => Ok((Kind::User, "user")),
        "projects" => Ok((Kind::Project, "project")),
        _ => Err(nothing_here()),
    }
}

fn missing(key: &str, id: &str) -> Refusal {
    Refusal::missing(format!("Could not find {key}: {id}."))
}

fn show(world: &World, kind: Kind, id: &str, status: u16) -> Outcome {
    let (of, key) = match kind {
        Kind::User => ("users", "user"),
        _ => ("projects", "project"),
    };
    let record = world.state.get(kind, id).ok_or_else(|| missing(key, id))?;
    let mut body = json!({});
    super::super::state::set(&mut body, key, directory::show(world, of, record));
    Ok(Reply::json(status, body))
}

/// What a user or a project that is gone had lent, or was lent.
fn forget(world: &mut World, gone: &str) {
    let trusts = world.state.ids(Kind::Trust, |trust| {
        let concerned = ["trustor_user_id", "trustee_user_id", "project_id"];
        concerned.iter().any(|key| trust.text(key) == gone)
    });
    let credentials = world.state.ids(Kind::ApplicationCredential, |credential| {
        ["user_id", "project_id"]
            .iter()
            .any(|key| credential.text(key) == gone)
    });
    for id in trusts {
        world.state.remove(Kind::Trust, &id);
    }
    for id in credentials {
        world.state.remove(Kind::ApplicationCredential, &id);
    }
}
