//! What a principal can do in a cloud with this library, and what to change for more.
//!
//! Looking changes nothing. Rights that can only be known by trying are tried with the smallest things there are, if that is
//! allowed; they are called `raksha-validate-...` and gone afterwards, or named.

mod consistency;
mod report;
mod roads;
mod tries;

use raksha_core::Result;
use serde::{Deserialize, Serialize};

use crate::OpenStack;
use crate::client::{Microversion, Request, Service};

/// What validation may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ValidateOptions {
    /// Whether rights are tried by making the smallest things and removing them again: a network, a security group, an image without
    /// bytes, a volume of 1 GiB and what belongs to it.
    pub try_rights: bool,
}

impl ValidateOptions {
    /// Looking only, or trying as well.
    pub fn new(try_rights: bool) -> Self {
        Self { try_rights }
    }
}

/// What was found. Display is a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The identity service's address.
    pub cloud: String,
    /// Who asked: user, project and roles, by name.
    pub user: String,
    /// See [`user`](Self::user).
    pub project: String,
    /// See [`user`](Self::user).
    pub roles: Vec<String>,
    /// Each service that this library speaks to.
    pub services: Vec<ServiceFinding>,
    /// The roads to the bytes of disks.
    pub roads: Vec<Finding>,
    /// The levels of consistency, the best first.
    pub consistency: Vec<Finding>,
    /// Rights, as far as they can be known.
    pub rights: Vec<Finding>,
    /// What could not be removed again, for whoever has to do it by hand.
    pub left: Vec<String>,
}

/// How a service answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFinding {
    /// Its official type.
    pub service: String,
    /// The oldest and the newest microversion, where it has them.
    pub microversions: Option<(String, String)>,
    /// Whether it serves this principal.
    pub answer: Answer,
}

/// Something that can be had, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Whether it can be had.
    pub answer: Answer,
}

/// Whether something can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "because", rename_all = "snake_case")]
pub enum Answer {
    /// Yes, and what there is to know about it.
    Yes(String),
    /// Nobody looked, and what would tell.
    Unknown(String),
    /// No: why, and what to change.
    No(String),
}

impl Finding {
    fn new(what: impl Into<String>, answer: Answer) -> Self {
        Self {
            what: what.into(),
            answer,
        }
    }
}

/// Finds out what `cloud`'s principal can do.
///
/// # Errors
/// None of what is found is an error; that nothing can be found is.
pub async fn validate(cloud: &OpenStack, options: ValidateOptions) -> Result<Validation> {
    let principal = cloud.client().principal();
    let mut found = Validation {
        cloud: cloud.client().config().auth_url.to_string(),
        user: principal.user.name,
        project: principal.project.name,
        roles: principal.roles,
        services: Vec::new(),
        roads: roads::look(cloud).await,
        consistency: consistency::look(cloud).await,
        rights: Vec::new(),
        left: Vec::new(),
    };
    for service in Service::ALL {
        found.services.push(look_at(cloud, service).await);
    }
    tries::rights(cloud, options, &mut found).await;
    Ok(found)
}

/// Asks a service for something small that every member may see.
async fn look_at(cloud: &OpenStack, service: Service) -> ServiceFinding {
    let client = cloud.client();
    let path = match service {
        Service::Compute => "flavors",
        Service::BlockStorage => "types",
        Service::Image => "images",
        Service::Network => "networks",
        _ => "",
    };
    let microversions = client.microversions(service).await.ok().flatten();
    let answer = if !client.has(service) {
        let change = match service {
            Service::ObjectStore => "the catalog has none; it is needed only to keep backups there",
            _ => {
                "the catalog has none for this region and interface: correct the cloud's settings, or the catalog"
            }
        };
        Answer::No(change.to_owned())
    } else if path.is_empty() {
        Answer::Yes("it is in the catalog".to_owned())
    } else {
        let request = Request::get(path).query("limit", 1);
        match client.send(service, request).await {
            Ok(_) => Answer::Yes(lacks(service, microversions.map(|(_, newest)| newest))),
            Err(error) => Answer::No(error.to_string()),
        }
    };
    let named =
        |(oldest, newest): (Microversion, Microversion)| (oldest.to_string(), newest.to_string());
    ServiceFinding {
        service: service.to_string(),
        microversions: microversions.map(named),
        answer,
    }
}

/// What a service of this age does not know yet, and what is done instead.
fn lacks(service: Service, newest: Option<Microversion>) -> String {
    const LATER: [(Service, Microversion, &str); 5] = [
        (
            Service::Compute,
            Microversion::new(2, 45),
            "images of servers are found by a header",
        ),
        (
            Service::Compute,
            Microversion::new(2, 52),
            "tags are set after a server is created",
        ),
        (
            Service::Compute,
            Microversion::new(2, 61),
            "extra specs of flavors are not compared",
        ),
        (
            Service::BlockStorage,
            Microversion::new(3, 27),
            "volumes cannot be attached to be read or written where they lie",
        ),
        (
            Service::BlockStorage,
            Microversion::new(3, 68),
            "restored volumes are made of images, each with a new id, by tenants",
        ),
    ];
    let Some(newest) = newest else {
        return "it serves".to_owned();
    };
    let later = LATER
        .iter()
        .filter(|(of, since, _)| *of == service && newest < *since);
    let lacks: Vec<String> = later
        .map(|(_, since, what)| format!("before {since} {what}"))
        .collect();
    match lacks.is_empty() {
        true => "it serves".to_owned(),
        false => format!("it serves; {}", lacks.join("; ")),
    }
}
