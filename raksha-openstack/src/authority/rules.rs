//! The requests that a backup sends, as access rules of an application credential.
//!
//! A service that knows such rules (keystonemiddleware, with `service_type` set) refuses with 401 whatever matches none. In a path, `*` stands for a part of it, and `**` for
//! any number of parts. The path is the whole path of the request, with whatever stands before the API's version, and names the service as the service itself is configured, which is one of
//! the types that the catalog has for it: so there is a rule for each of those.

use raksha_core::{Error, Kind, Result};
use serde::Serialize;
use serde_json::Value;

use super::GRANT;
use crate::client::{Client, Request, Service};

/// A request that a credential is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessRule {
    /// The type of the service.
    pub service: String,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with stars.
    pub path: String,
}

/// A method, and the paths that it is needed with.
type Allowed = (&'static str, &'static [&'static str]);

/// What a backup reads and makes, by service: finding servers and what belongs to them, snapshots, reading those by each road, and releasing all of it.
///
/// An empty path is the document that tells of the API's version: Nova shows it to everybody, Cinder only by a rule.
///
/// `servers/*/action` is one path for many actions: a copy of a local disk (`createImage`) and pausing need it, and others come with it.
const NEEDED: &[(Service, &[Allowed])] = &[
    (
        Service::Compute,
        &[
            (
                "GET",
                &[
                    "",
                    "servers",
                    "servers/detail",
                    "servers/*",
                    "servers/*/os-volume_attachments",
                    "servers/*/os-instance-actions",
                    "flavors/*",
                    "flavors/*/os-extra_specs",
                    "os-keypairs/*",
                    "os-server-groups",
                ],
            ),
            ("POST", &["servers/*/action"]),
        ],
    ),
    (
        Service::BlockStorage,
        &[
            (
                "GET",
                &[
                    "",
                    "volumes",
                    "volumes/detail",
                    "volumes/*",
                    "snapshots/detail",
                    "snapshots/*",
                    "attachments/detail",
                    "attachments/*",
                    "groups/*",
                    "group_types/*",
                    "group_snapshots/detail",
                    "group_snapshots/*",
                ],
            ),
            (
                "POST",
                &[
                    "volumes",
                    "volumes/*/action",
                    "snapshots",
                    "snapshots/*/metadata",
                    "group_snapshots",
                    "attachments",
                    "attachments/*/action",
                ],
            ),
            ("PUT", &["snapshots/*"]),
            (
                "DELETE",
                &[
                    "volumes/*",
                    "snapshots/*",
                    "attachments/*",
                    "group_snapshots/*",
                ],
            ),
        ],
    ),
    (
        Service::Image,
        &[
            ("GET", &["images", "images/*", "images/*/file"]),
            ("DELETE", &["images/*"]),
        ],
    ),
    (
        Service::Network,
        &[(
            "GET",
            &[
                "ports",
                "networks",
                "subnets",
                "routers",
                "security-groups",
                "floatingips",
            ],
        )],
    ),
];

/// The rules for the project that `client` is for.
pub(super) async fn for_backups(client: &Client) -> Result<Vec<AccessRule>> {
    let mut rules = Vec::new();
    for (service, methods) in NEEDED {
        let types = client.types_of(*service);
        if types.is_empty() {
            continue;
        }
        let base = client.location(*service).await?;
        let base = base.path().trim_end_matches('/').to_owned();
        for (method, paths) in *methods {
            for path in *paths {
                let path = match *path {
                    "" => client.version_document(*service).await?,
                    path => format!("{base}/{path}"),
                };
                rules.extend(types.iter().map(|service| AccessRule {
                    service: service.clone(),
                    method,
                    path: path.clone(),
                }));
            }
        }
    }
    Ok(rules)
}

/// The same as Keystone wants them.
pub(super) async fn as_json(client: &Client) -> Result<Value> {
    let rules = for_backups(client).await?;
    serde_json::to_value(rules).map_err(|source| {
        Error::new(Kind::Internal, GRANT, "the rules cannot be written").caused_by(source)
    })
}

/// Looks whether every service accepts a credential with rules.
///
/// # Errors
/// [`Kind::Unsupported`], naming the service and what its operator has to do.
pub(super) async fn accepted(client: &Client) -> Result<()> {
    for (service, path) in [
        (Service::Compute, "servers"),
        (Service::BlockStorage, "volumes"),
        (Service::Image, "images"),
        (Service::Network, "networks"),
    ] {
        if !client.has(service) {
            continue;
        }
        let request = Request::get(path).query("limit", 1).operation(GRANT);
        let tried = async {
            client.microversions(service).await?;
            client.send(service, request).await
        };
        match tried.await {
            Err(error) if error.kind() == Kind::Unauthenticated => {
                let message = "the service accepts no application credential with access rules: its operator has to set service_type in its [keystone_authtoken], to the type that \
                               the catalog has for it; until then take a trust, or a credential without access rules";
                return Err(Error::new(Kind::Unsupported, GRANT, message)
                    .with("service", service)
                    .caused_by(error));
            }
            done => done.map(drop)?,
        }
    }
    Ok(())
}
