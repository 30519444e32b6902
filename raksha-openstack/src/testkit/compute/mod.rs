//! Nova: servers and what belongs to them.

mod actions;
mod boot;
mod create_image;
mod devices;
mod extras;
mod flavors;
mod keypairs;
mod metadata;
mod nics;
mod quotas;
mod servers;
mod show;

use std::time::Duration;

use serde_json::{Value, json};

pub(super) use devices::disks_of;
pub(super) use flavors::seed as seed_flavors;
pub(super) use servers::gone;

use super::call::Call;
use super::reply::{Outcome, Refusal, Reply};
use super::state::{Kind, Record};
use super::version;
use super::world::World;

/// The minor version that a call asks for.
pub(super) fn minor(call: &Call) -> Result<u32, Refusal> {
    version::minor(
        call,
        "compute",
        Some("x-openstack-nova-api-version"),
        2,
        (1, 93),
    )
}

pub(super) fn serve(world: &mut World, call: &Call, pause: &mut Duration) -> Outcome {
    let segments = call.segments();
    match segments.as_slice() {
        [] => return Ok(Reply::json(200, versions(world))),
        ["v2.1"] => return Ok(Reply::json(200, version_2_1(world))),
        _ => {}
    }
    call.who()?;
    minor(call)?;
    let Some(rest) = segments.strip_prefix(&["v2.1"]) else {
        return Err(nothing_here());
    };
    match (call.method.as_str(), rest) {
        ("GET", ["servers"]) => servers::list(world, call, false),
        ("GET", ["servers", "detail"]) => servers::list(world, call, true),
        ("POST", ["servers"]) => boot::create(world, call),
        ("GET", ["servers", id]) => {
            let server = find(world, call, id)?;
            Ok(Reply::json(
                200,
                json!({"server": show::server(world, call, server)?}),
            ))
        }
        ("PUT", ["servers", id]) => servers::update(world, call, id),
        ("DELETE", ["servers", id]) => servers::delete(world, call, id),
        ("POST", ["servers", id, "action"]) => actions::serve(world, call, id, pause),
        (_, ["servers", id, "os-volume_attachments", rest @ ..]) => {
            devices::serve(world, call, id, rest)
        }
        (_, ["servers", id, "os-interface", rest @ ..]) => nics::serve(world, call, id, rest),
        (_, ["servers", id, "metadata", rest @ ..]) => metadata::serve(world, call, id, rest),
        (_, ["servers", id, "tags", rest @ ..]) => metadata::tags(world, call, id, rest),
        ("GET", ["servers", id, rest @ ..]) => extras::of_server(world, call, id, rest),
        (_, ["flavors", rest @ ..]) => flavors::serve(world, call, rest),
        (_, ["os-keypairs", rest @ ..]) => keypairs::serve(world, call, rest),
        (_, ["os-server-groups", rest @ ..]) => extras::groups(world, call, rest),
        ("GET", ["limits"]) => quotas::limits(world, call),
        ("GET", ["os-quota-sets", rest @ ..]) => quotas::sets(world, call, rest),
        ("GET", ["os-availability-zone"]) => Ok(Reply::json(
            200,
            json!({"availabilityZoneInfo": [{"zoneName": world.options.zone, "zoneState": {"available": true}, "hosts": null}]}),
        )),
        ("GET", ["os-availability-zone", "detail"]) => {
            let rule = "os_compute_api:os-availability-zone:detail";
            Err(super::policy::denied(call.area, rule))
        }
        ("GET", ["os-services" | "os-hypervisors", ..]) => Err(super::policy::denied(
            call.area,
            "os_compute_api:os-services:list",
        )),
        ("GET", ["extensions"]) => Ok(Reply::json(200, json!({"extensions": []}))),
        _ => Err(nothing_here()),
    }
}

fn versions(world: &World) -> Value {
    let link = |version: &str| json!([{"rel": "self", "href": format!("{}/compute/{version}/", world.base)}]);
    json!({"versions": [
        {"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z",
            "links": link("v2")},
        {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z", "links": link("v2.1")}]})
}

fn version_2_1(world: &World) -> Value {
    json!({"version": {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": format!("{}/compute/v2.1/", world.base)},
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]}})
}

fn nothing_here() -> Refusal {
    Refusal::missing("The resource could not be found.")
}

/// The server, if the caller may see it.
fn find<'a>(world: &'a World, call: &Call, id: &str) -> Result<&'a Record, Refusal> {
    let who = call.who()?;
    let server = world.state.get(Kind::Server, id);
    let server = server.filter(|server| server.project == who.project || who.is_admin());
    server.ok_or_else(|| Refusal::missing(format!("Instance {id} could not be found.")))
}

/// The links of a thing.
fn links(world: &World, of: &str, id: &str) -> Value {
    let base = format!("{}/compute", world.base);
    json!([{"rel": "self", "href": format!("{base}/v2.1/{of}/{id}")},
        {"rel": "bookmark", "href": format!("{base}/{of}/{id}")}])
}
