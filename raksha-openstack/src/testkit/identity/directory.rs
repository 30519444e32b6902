//! Users, projects and roles.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::policy::admin_only;
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record};
use super::super::world::World;
use super::{list, nothing_here, texts};

/// Whoever is there from the beginning: users `admin`, `demo` and `other` with a project of that name each, and the password `raksha`.
pub(in super::super) fn seed(world: &mut World) -> Result<(), Refusal> {
    for name in ["admin", "member", "reader", "service"] {
        let id = world.hex()?;
        let options = if name == "service" {
            json!({})
        } else {
            json!({"immutable": true})
        };
        let body =
            json!({"name": name, "domain_id": null, "description": null, "options": options});
        world.state.add(Kind::Role, "", &id, body);
    }
    for name in ["admin", "demo", "other"] {
        let project = add_project(world, name)?;
        let user = world.hex()?;
        let body = json!({"name": name, "domain_id": "default", "enabled": true,
            "default_project_id": project, "password_expires_at": null, "options": {}});
        let record = world.state.add(Kind::User, "", &user, body);
        record.set_inner("password", "raksha");
        let role = if name == "admin" { "admin" } else { "member" };
        grant(world, &user, &project, &[role]);
    }
    Ok(())
}

pub(super) fn add_project(world: &mut World, name: &str) -> Result<String, Refusal> {
    let id = world.hex()?;
    let body = json!({"name": name, "domain_id": "default", "description": "", "enabled": true,
        "parent_id": "default", "is_domain": false, "tags": [], "options": {}});
    world.state.add(Kind::Project, "", &id, body);
    Ok(id)
}

/// The user has these roles, and those that they imply, in the project, and no other ones there.
pub(in super::super) fn grant(world: &mut World, user: &str, project: &str, roles: &[&str]) {
    let all = with_implied(roles);
    if let Some(user) = world.state.get_mut(Kind::User, user) {
        let mut granted = user.inner("roles").clone();
        super::super::state::set(&mut granted, project, json!(all));
        user.set_inner("roles", granted);
    }
}

/// Roles and those that they imply.
pub(super) fn with_implied<'a>(roles: &[&'a str]) -> Vec<&'a str> {
    let mut all: Vec<&str> = roles.to_vec();
    if all.contains(&"admin") {
        all.push("member");
    }
    if all.contains(&"member") {
        all.push("reader");
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether a user or project is there and enabled.
pub(super) fn enabled(world: &World, kind: Kind, id: &str) -> bool {
    let found = world.state.get(kind, id);
    found.is_some_and(|found| found.get("enabled") != &json!(false))
}

/// The names of the roles that a user has in a project.
pub(super) fn roles(world: &World, user: &str, project: &str) -> Vec<String> {
    let user = world.state.get(Kind::User, user);
    let roles = user.and_then(|user| user.inner("roles").get(project));
    roles.map(texts).unwrap_or_default()
}

/// The projects in which a user has a role.
fn projects_of<'a>(world: &'a World, user: &str) -> Vec<&'a Record> {
    world.state.filter(Kind::Project, |project| {
        !roles(world, user, &project.id).is_empty()
    })
}

pub(super) fn show(world: &World, of: &str, record: &Record) -> Value {
    let mut body = record.body.clone();
    let fields = json!({"id": record.id,
        "links": {"self": format!("{}/identity/v3/{of}/{}", world.base, record.id)}});
    super::super::state::merge(&mut body, &fields);
    body
}

/// `GET` of users, projects and roles.
pub(super) fn serve(world: &World, call: &Call, path: &[&str]) -> Outcome {
    let who = call.who()?;
    let one = |of: &'static str, key: &'static str, kind, id: &str| {
        let record = world.state.get(kind, id);
        let record =
            record.ok_or_else(|| Refusal::missing(format!("Could not find {key}: {id}.")))?;
        let mut body = json!({});
        super::super::state::set(&mut body, key, show(world, of, record));
        Ok(Reply::json(200, body))
    };
    let many = |of: &'static str, records: Vec<&Record>| {
        let records = records.into_iter().filter(|record| {
            call.query("name")
                .is_none_or(|name| name == record.text("name"))
        });
        let items = records.map(|record| show(world, of, record)).collect();
        list(world, call, of, items)
    };
    match path {
        ["auth", "projects"] => many("projects", projects_of(world, &who.user)),
        ["users", id, "projects"] if *id == who.user || who.is_admin() => {
            many("projects", projects_of(world, id))
        }
        ["users", id] => {
            if *id != who.user {
                admin_only(call, "identity:get_user")?;
            }
            one("users", "user", Kind::User, id)
        }
        ["projects", id] => {
            if *id != who.project {
                admin_only(call, "identity:get_project")?;
            }
            one("projects", "project", Kind::Project, id)
        }
        ["users"] => {
            admin_only(call, "identity:list_users")?;
            many("users", world.state.all(Kind::User))
        }
        ["projects"] => {
            admin_only(call, "identity:list_projects")?;
            many("projects", world.state.all(Kind::Project))
        }
        ["roles"] => {
            admin_only(call, "identity:list_roles")?;
            many("roles", world.state.all(Kind::Role))
        }
        _ => Err(nothing_here()),
    }
}
