//! The OpenAPI document: made from the table of routes, and from the schemas of what goes in and out.

use raksha_core::{Error, Kind, Result};
use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::routes::{Right, Route};

/// What goes in and out.
const SCHEMAS: &str = include_str!("schemas.json");

pub async fn show(call: Call) -> Result<Reply> {
    Ok(Reply::json(200, call.app.document.clone()))
}

/// The document.
///
/// # Errors
/// [`Kind::Internal`] if the schemas are no JSON, or a route names one that is not there.
pub fn document(routes: &[Route]) -> Result<Value> {
    let schemas: Value = serde_json::from_str(SCHEMAS)
        .map_err(|e| internal("the schemas are no JSON").caused_by(e))?;
    let mut paths = Map::new();
    for route in routes {
        for name in route.takes.iter().chain(&route.gives.1) {
            if !name.contains('/') && schemas.get(name).is_none() {
                return Err(
                    internal("a route names a schema that is not there").with("schema", name)
                );
            }
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Raksha", "version": env!("CARGO_PKG_VERSION"),
            "description": "Backups of whole servers, administered by the projects that own them. Every answer has the header x-openstack-request-id.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "A token of Keystone for the project of the path" },
            },
        },
    }))
}

fn internal(why: &str) -> Error {
    Error::new(Kind::Internal, "make OpenAPI document", why)
}

fn operation(route: &Route) -> Value {
    let named = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = named.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = route.query.iter().map(|(name, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } })
    });
    let (status, gives) = route.gives;
    let success = match gives {
        None => json!({ "description": "Done" }),
        Some(media) if media.contains('/') => {
            json!({ "description": route.summary, "content": { media: {} } })
        }
        Some(schema) => json!({ "description": route.summary, "content": content(schema) }),
    };
    let failure = json!({ "description": "It failed", "content": content("Failure") });
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": { status.to_string(): success, "default": failure },
        "security": [],
    });
    if route.right != Right::None {
        operation["security"] = json!([{ "token": [] }]);
    }
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({ "content": content(schema) });
    }
    operation
}

fn content(schema: &str) -> Value {
    let schema = format!("#/components/schemas/{schema}");
    json!({ "application/json": { "schema": { "$ref": schema } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::all;

    #[test]
    fn every_route_is_in_the_document_and_its_name_is_its_own() {
        let routes = all();
        let document = document(routes).unwrap();
        let names: BTreeSet<&str> = routes.iter().map(|route| route.operation).collect();
        assert_eq!(names.len(), routes.len());
        for route in routes {
            let method = route.method.as_str().to_lowercase();
            let found = &document["paths"][route.path][&method];
            assert_eq!(found["operationId"], route.operation);
            let of_project = route.path.starts_with("/v1/{project_id}");
            let asked = matches!(route.right, Right::Look | Right::Change);
            assert_eq!(of_project, asked, "{}", route.path);
        }
    }
}
