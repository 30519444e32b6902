//! How each service words refusals, and the headers that it adds to everything.

use serde_json::{Map, Value, json};

use super::call::{Area, Call};
use super::reply::{Refusal, Reply};
use super::state::set;
use super::world::World;
use super::{compute, volume};

/// A refusal in the service's words.
pub(super) fn refuse(call: &Call, refusal: Refusal) -> Reply {
    let Refusal {
        status,
        message,
        kind,
        retry_after,
    } = refusal;
    let mut reply = match (call.area, status) {
        (Area::Image, 401) => html(401, UNAUTHORIZED_HTML),
        (Area::Objects, _) => objects(status),
        (_, 401) => Reply::json(
            401,
            json!({"error": {"code": 401, "title": "Unauthorized", "message": message}}),
        ),
        (Area::Identity, _) => Reply::json(
            status,
            json!({"error": {"code": status, "title": title(status), "message": message}}),
        ),
        (Area::Compute | Area::Volume, _) => {
            let mut fault_body = json!({"code": status, "message": message});
            if let Some(seconds) = retry_after {
                set(&mut fault_body, "retryAfter", json!(seconds.to_string()));
            }
            let mut body = Map::new();
            body.insert(fault(status).to_owned(), fault_body);
            Reply::json(status, Value::Object(body))
        }
        (Area::Image, _) => html(status, &message),
        (Area::Network, _) => {
            let kind = match (kind, status) {
                ("", 400) => "HTTPBadRequest",
                ("", 403) => "HTTPForbidden",
                ("", 404) => "HTTPNotFound",
                ("", 409) => "HTTPConflict",
                ("", _) => "HTTPInternalServerError",
                (kind, _) => kind,
            };
            Reply::json(
                status,
                json!({"NeutronError": {"type": kind, "message": message, "detail": ""}}),
            )
        }
    };
    if status == 401 {
        let uri = "Keystone uri=\"http://127.0.0.1/identity/v3\"";
        reply = reply.header("www-authenticate", uri);
    }
    if let Some(seconds) = retry_after {
        reply = reply.header("retry-after", seconds.to_string());
    }
    reply
}

/// The headers that a service adds to every answer; gives the request's id.
pub(super) fn stamp(world: &World, call: &Call, reply: &mut Reply) -> String {
    let id = format!("req-{}", world.uuid().unwrap_or_default());
    let nobody = call.area == Area::Image && reply.status == 401;
    let no_root = [Area::Compute, Area::Image, Area::Network];
    if nobody || (call.is_root() && no_root.contains(&call.area)) {
        // These answers come from before the part that gives ids.
        return id;
    }
    // Who is not let in is told no version.
    let refused = reply.status == 401;
    let mut add = |name: &'static str, value: String| reply.headers.push((name.into(), value));
    match call.area {
        Area::Objects => {
            let transaction = format!("tx{}", id.replace("req-", "").replace('-', ""));
            add("x-trans-id", transaction.clone());
            add("x-openstack-request-id", transaction.clone());
            return transaction;
        }
        Area::Compute => {
            add("x-compute-request-id", id.clone());
            let version = spoken(call, compute::minor(call), "compute", 2);
            if let Some(version) = version.filter(|_| !refused) {
                add("openstack-api-version", format!("compute {version}"));
                add("x-openstack-nova-api-version", version);
            }
            add(
                "vary",
                "OpenStack-API-Version, X-OpenStack-Nova-API-Version".to_owned(),
            );
        }
        Area::Volume => {
            add("x-compute-request-id", id.clone());
            let version = spoken(call, volume::minor(call), "volume", 3);
            if let Some(version) = version.filter(|_| !refused) {
                add("openstack-api-version", format!("volume {version}"));
            }
            add("vary", "OpenStack-API-Version".to_owned());
        }
        Area::Identity => add("vary", "X-Auth-Token".to_owned()),
        Area::Image | Area::Network => {}
    }
    add("x-openstack-request-id", id.clone());
    id
}

/// The version that an answer says it speaks: the one that was asked for, even if there is none such.
fn spoken(call: &Call, minor: Result<u32, Refusal>, service: &str, major: u32) -> Option<String> {
    match minor {
        Ok(minor) => Some(format!("{major}.{minor}")),
        Err(refusal) if refusal.status == 406 => {
            let asked = call.header("openstack-api-version")?;
            Some(asked.trim_start_matches(service).trim().to_owned())
        }
        Err(_) => None,
    }
}

fn fault(status: u16) -> &'static str {
    match status {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    }
}

fn title(status: u16) -> &'static str {
    match status {
        300 => "Multiple Choices",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

const UNAUTHORIZED_HTML: &str = "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.";

/// A page as WebOb makes it.
fn html(status: u16, message: &str) -> Reply {
    let title = if status == 416 {
        "Request Range Not Satisfiable"
    } else {
        title(status)
    };
    let line = format!("{status} {title}");
    let page = format!(
        "<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n  {message}<br /><br />\n\n\n\n </body>\n</html>"
    );
    Reply::text(status, "text/html; charset=UTF-8", page)
}

/// A page as Swift makes it.
fn objects(status: u16) -> Reply {
    let text = match status {
        401 => {
            "This server could not verify that you are authorized to access the document you requested."
        }
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        409 => "There was a conflict when trying to complete your request.",
        412 => "A precondition for this request was not met.",
        416 => "The Range requested is not available.",
        422 => "Unable to process the contained instructions.",
        _ => "",
    };
    let name = match status {
        416 => "Requested Range Not Satisfiable",
        422 => "Unprocessable Entity",
        status => title(status),
    };
    let page = format!("<html><h1>{name}</h1><p>{text}</p></html>");
    Reply::text(status, "text/html; charset=UTF-8", page)
}
