//! Neutron: networks, subnets, ports, routers, floating addresses, security groups.

mod addresses;
mod floating;
mod networks;
mod ports;
mod quotas;
mod routers;
mod security;
mod show;
mod subnets;
mod tags;

use serde_json::{Value, json};

pub(super) use floating::of_port as floating_of_port;
pub(super) use networks::seed_public;
pub(super) use ports::{Wanted, create as create_port, delete as delete_port};

use super::call::Call;
use super::page;
use super::reply::{Outcome, Refusal, Reply};
use super::state::{Kind, Record, set};
use super::world::World;

/// A kind of thing as the API names it.
#[derive(Debug, Clone, Copy)]
struct Collection {
    kind: Kind,
    one: &'static str,
    many: &'static str,
}

fn collection(segment: &str) -> Option<Collection> {
    let (kind, one, many) = match segment {
        "networks" => (Kind::Network, "network", "networks"),
        "subnets" => (Kind::Subnet, "subnet", "subnets"),
        "ports" => (Kind::Port, "port", "ports"),
        "routers" => (Kind::Router, "router", "routers"),
        "floatingips" => (Kind::FloatingIp, "floatingip", "floatingips"),
        "security-groups" => (Kind::SecurityGroup, "security_group", "security_groups"),
        _ => return None,
    };
    Some(Collection { kind, one, many })
}

pub(super) fn serve(world: &mut World, call: &Call) -> Outcome {
    let segments = call.segments();
    let method = call.method.as_str();
    if segments.is_empty() {
        let link = format!("{}/network/v2.0/", world.base);
        let version =
            json!({"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": link}]});
        return Ok(Reply::json(200, json!({"versions": [version]})));
    }
    let who = call.who()?.clone();
    if !who.project.is_empty() {
        security::default_group(world, &who.project, call.now)?;
    }
    let Some(("v2.0", rest)) = segments.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(nothing_here());
    };
    match (method, rest) {
        ("GET", ["extensions"]) => Ok(Reply::json(200, extensions(world))),
        (_, ["quotas", rest @ ..]) => quotas::serve(world, call, rest),
        (_, ["security-group-rules", rest @ ..]) => security::rules(world, call, rest),
        (_, [of, id, "tags", rest @ ..]) => tags::serve(world, call, of, id, rest),
        ("PUT", ["routers", id, "add_router_interface"]) => routers::add(world, call, id),
        ("PUT", ["routers", id, "remove_router_interface"]) => routers::remove(world, call, id),
        (_, [of]) => {
            let of = collection(of).ok_or_else(nothing_here)?;
            match method {
                "GET" => list(world, call, of),
                "POST" => create(world, call, of),
                _ => Err(nothing_here()),
            }
        }
        (_, [of, id]) => {
            let of = collection(of).ok_or_else(nothing_here)?;
            match method {
                "GET" => {
                    let record = find(world, call, of.kind, id)?;
                    Ok(answer(200, of, show::body(world, call, record)))
                }
                "PUT" => update(world, call, of, id),
                "DELETE" => delete(world, call, of, id),
                _ => Err(nothing_here()),
            }
        }
        _ => Err(nothing_here()),
    }
}

fn answer(status: u16, of: Collection, body: Value) -> Reply {
    let mut whole = json!({});
    set(&mut whole, of.one, body);
    Reply::json(status, whole)
}

fn create(world: &mut World, call: &Call, of: Collection) -> Outcome {
    let Some(wanted) = call.body.get(of.one).filter(|wanted| wanted.is_object()) else {
        let message = format!("Unable to find '{}' in request body", of.one);
        return Err(Refusal::bad(message));
    };
    let quota = if of.kind == Kind::SecurityGroup {
        "security_group"
    } else {
        of.one
    };
    check_names(world, wanted)?;
    quotas::check(world, call, of.kind, quota)?;
    let id = match of.kind {
        Kind::Network => networks::create(world, call, wanted)?,
        Kind::Subnet => subnets::create(world, call, wanted)?,
        Kind::Port => ports::create_by_call(world, call, wanted)?,
        Kind::Router => routers::create(world, call, wanted)?,
        Kind::FloatingIp => floating::create(world, call, wanted)?,
        _ => security::create(world, call, wanted)?,
    };
    let record = find(world, call, of.kind, &id)?;
    Ok(answer(201, of, show::body(world, call, record)))
}

fn update(world: &mut World, call: &Call, of: Collection, id: &str) -> Outcome {
    let wanted = call.body.get(of.one).cloned().unwrap_or_default();
    let record = find(world, call, of.kind, id)?;
    let who = call.who()?;
    if record.project != who.project && !who.is_admin() {
        let rule = format!("update_{} and rule:update_{}", of.one, of.one);
        return Err(super::policy::denied(call.area, &rule));
    }
    check_names(world, &wanted)?;
    match of.kind {
        Kind::Network => networks::update(world, call, id, &wanted)?,
        Kind::Subnet => subnets::update(world, id, &wanted)?,
        Kind::Port => ports::update(world, call, id, &wanted)?,
        Kind::Router => routers::update(world, call, id, &wanted)?,
        Kind::FloatingIp => floating::update(world, call, id, &wanted)?,
        _ => security::update(world, id, &wanted)?,
    }
    changed(world, call, of.kind, id);
    let record = find(world, call, of.kind, id)?;
    Ok(answer(200, of, show::body(world, call, record)))
}

fn delete(world: &mut World, call: &Call, of: Collection, id: &str) -> Outcome {
    let record = find(world, call, of.kind, id)?;
    let who = call.who()?;
    if record.project != who.project && !who.is_admin() {
        return Err(missing(of.kind, id));
    }
    match of.kind {
        Kind::Network => networks::delete(world, id)?,
        Kind::Subnet => subnets::delete(world, id)?,
        Kind::Port => ports::delete_by_call(world, id)?,
        Kind::Router => routers::delete(world, id)?,
        Kind::FloatingIp => floating::delete(world, id),
        _ => security::delete(world, id)?,
    }
    Ok(Reply::empty(204))
}

fn list(world: &World, call: &Call, of: Collection) -> Outcome {
    let shown = world
        .state
        .filter(of.kind, |record| visible(call, of.kind, record));
    let mut shown: Vec<_> = shown
        .into_iter()
        .filter(|record| show::matches(call, &show::body(world, call, record)))
        .collect();
    // Pages are cut by id; without pages the order is the database's.
    shown.sort_by(|a, b| a.id.cmp(&b.id));
    let (page, next) = page::cut(call, shown, world.options.page)?;
    let mut whole = json!({});
    let items = page
        .into_iter()
        .map(|record| show::fields(call, show::body(world, call, record)));
    set(&mut whole, of.many, items.collect());
    if let Some(marker) = next {
        set(
            &mut whole,
            &format!("{}_links", of.many),
            page::links(&world.base, call, &marker),
        );
    }
    Ok(Reply::json(200, whole))
}

/// Whether the caller may see a thing.
fn visible(call: &Call, kind: Kind, record: &Record) -> bool {
    let Some(who) = &call.who else { return false };
    let everybodys = match kind {
        Kind::Network => {
            record.get("shared") == &json!(true) || record.get("router:external") == &json!(true)
        }
        Kind::Subnet => record.inner("shared") == &json!(true),
        _ => false,
    };
    who.is_admin() || everybodys || record.project == who.project
}

fn find<'a>(world: &'a World, call: &Call, kind: Kind, id: &str) -> Result<&'a Record, Refusal> {
    let record = world.state.get(kind, id);
    let record = record.filter(|record| visible(call, kind, record));
    record.ok_or_else(|| missing(kind, id))
}

fn missing(kind: Kind, id: &str) -> Refusal {
    let (name, message) = match kind {
        Kind::Network => (
            "NetworkNotFound",
            format!("Network {id} could not be found."),
        ),
        Kind::Subnet => ("SubnetNotFound", format!("Subnet {id} could not be found.")),
        Kind::Port => ("PortNotFound", format!("Port {id} could not be found.")),
        Kind::Router => ("RouterNotFound", format!("Router {id} could not be found")),
        Kind::FloatingIp => (
            "FloatingIPNotFound",
            format!("Floating IP {id} could not be found"),
        ),
        _ => (
            "SecurityGroupNotFound",
            format!("Security group {id} does not exist"),
        ),
    };
    Refusal::missing(message).kind(name)
}

/// Notes that a thing was changed.
fn changed(world: &mut World, call: &Call, kind: Kind, id: &str) {
    let now = super::world::short_time(call.now);
    if let Some(record) = world.state.get_mut(kind, id) {
        let revision = record.get("revision_number").as_u64().unwrap_or_default() + 1;
        record.set("revision_number", revision);
        record.set("updated_at", now);
    }
}

/// What every thing has: when it was made, whose it is.
fn common(call: &Call, project: &str) -> Value {
    let now = super::world::short_time(call.now);
    json!({"tenant_id": project, "project_id": project, "description": "", "tags": [],
        "created_at": now, "updated_at": now, "revision_number": 1})
}

/// Refuses attributes that are not among `known`.
fn only(wanted: &Value, known: &[&str]) -> Result<(), Refusal> {
    let keys = wanted.as_object().into_iter().flat_map(|map| map.keys());
    let strange: Vec<_> = keys.filter(|key| !known.contains(&key.as_str())).collect();
    if strange.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = strange.iter().map(|name| format!("'{name}'")).collect();
    let message = format!("Unrecognized attribute(s) {}", names.join(", "));
    Err(Refusal::bad(message))
}

/// Refuses names in DNS where there are none.
fn check_names(world: &World, wanted: &Value) -> Result<(), Refusal> {
    let mut names = ["dns_name", "dns_domain"].into_iter();
    match names.find(|name| wanted.get(name).is_some()) {
        Some(name) if !world.options.dns => {
            let message = format!("Unrecognized attribute(s) '{name}'");
            Err(Refusal::bad(message))
        }
        _ => Ok(()),
    }
}

/// The project in which to create: the caller's, or for administrators the one that is named.
fn project(call: &Call, wanted: &Value, of: &str) -> Result<String, Refusal> {
    let who = call.who()?;
    let named = wanted.get("project_id").or_else(|| wanted.get("tenant_id"));
    match named.and_then(Value::as_str) {
        Some(named) if named != who.project && !who.is_admin() => {
            let rule = format!("create_{of} and rule:create_{of}:tenant_id");
            Err(super::policy::denied(call.area, &rule))
        }
        Some(named) => Ok(named.to_owned()),
        None => Ok(who.project.clone()),
    }
}

/// The attributes of administrators.
fn admin_attribute(call: &Call, wanted: &Value, of: &str, names: &[&str]) -> Result<(), Refusal> {
    for name in names {
        let harmless = matches!(
            wanted.get(*name),
            None | Some(Value::Null | Value::Bool(false))
        );
        if !harmless && !call.who()?.is_admin() {
            let rule = format!("create_{of} and rule:create_{of}:{name}");
            return Err(super::policy::denied(call.area, &rule));
        }
    }
    Ok(())
}

fn nothing_here() -> Refusal {
    Refusal::missing("The resource could not be found.")
}

fn extensions(world: &World) -> Value {
    let mut aliases = vec![
        "allowed-address-pairs",
        "external-net",
        "extra_dhcp_opt",
        "port-security",
        "qos",
        "quotas",
        "router",
        "security-group",
        "standard-attr-tag",
        "pagination",
        "sorting",
        "project-id",
    ];
    if world.options.dns {
        aliases.push("dns-integration");
    }
    let extensions = aliases.iter().map(|alias| {
        json!({"alias": alias, "name": alias, "description": "", "updated": "2016-01-01T00:00:00-00:00", "links": []})
    });
    json!({"extensions": extensions.collect::<Vec<_>>()})
}
