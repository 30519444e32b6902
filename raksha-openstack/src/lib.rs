//! Raksha for OpenStack clouds.
//!
//! # What is here
//!
//! | module | what it does |
//! | --- | --- |
//! | [`OpenStack`] | a cloud as raksha-core's traits see it: servers are discovered, their disks taken and read, and everything brought back |
//! | [`client`] | speaks to the services: tokens, endpoints, microversions, retries, streams |
//! | [`snapshots`] | takes all disks of servers as consistently as the cloud lets it, and says what was proven |
//! | [`roads`] | reaches the bytes of a disk: straight from Ceph, as a file, or through an image |
//! | [`restore`] | compares a point with the cloud, creates what is missing, fills disks, removes what it made |
//! | [`mod@validate`] | tells a principal which services, roads, levels of consistency and rights it has, and what to change |
//! | [`temporary`] | what is made in the cloud for a while, and how each kind is found and removed |
//! | [`config`] | reads how to reach a cloud and as whom: `clouds.yaml`, `secure.yaml`, `clouds-public.yaml`, `OS_*` variables |
//! | [`auth`] | who one is and for what ([`auth::Auth`]); the Keystone v3 request for a token as a value ([`auth::request`]); what a token's answer says ([`auth::answer`]) |
//! | [`hooks`] | publishes commands and addresses that are called before disks are taken and after |
//! | [`authority`] | acts for a tenant while nobody of it is there: trusts, application credentials, the operator's right |
//! | [`catalog`] | which endpoint serves which service, by region and interface |
//! | [`service`] | the official service types and their aliases |
//! | `testkit` (a feature of that name) | an OpenStack in this process, real HTTP on loopback, for tests of those who embed this crate |
//!
//! Discovery follows what a tenant may see, and names what is left out in the graph's omissions: a server's user data and root device,
//! which Nova shows to administrators alone, swap disks, trunks, rules of security groups whose other side is an address group, and whatever a policy hides.
//!
//! # What is not here
//!
//! - Proxies, HTTP/2 and redirects: see [`client`].
//! - Requests for services beyond those of [`client::Service`]: no secrets (Barbican), load balancers, shares, stacks.
//! - Settings of openstacksdk about caches, metrics and API versions: see [`config`].
//!
//! # Features
//!
//! | feature | what | what it costs |
//! | --- | --- | --- |
//! | `testkit` | an OpenStack cloud in this process, for tests | the crate `axum` |
//! | `lab` | tests against the real cloud of `tests/lab` | no further crate |
//!
//! # Example
//!
//! ```
//! use raksha_openstack::auth::{Auth, request};
//! use raksha_openstack::config::{CloudConfig, Sources};
//!
//! let sources = Sources::default()
//!     .variable("OS_AUTH_URL", "https://keystone.example/v3")
//!     .variable("OS_USERNAME", "demo")
//!     .variable("OS_PASSWORD", "correct horse")
//!     .variable("OS_PROJECT_NAME", "demo")
//!     .variable("OS_DEFAULT_DOMAIN_ID", "default");
//! let cloud = CloudConfig::from_environment(&sources)?;
//! assert!(matches!(cloud.auth, Auth::Password { .. }));
//! assert!(!format!("{cloud:?}{sources:?}").contains("horse"), "secrets are not printed");
//!
//! let request = request::issue_token(&cloud.auth_url, &cloud.auth)?;
//! assert_eq!(request.url.as_str(), "https://keystone.example/v3/auth/tokens");
//! # raksha_core::Result::<()>::Ok(())
//! ```

pub mod auth;
pub mod authority;
pub mod catalog;
pub mod client;
mod cloud;
pub mod config;
mod discovery;
pub mod hooks;
pub mod restore;
pub mod roads;
mod secret;
pub mod service;
pub mod snapshots;
pub mod temporary;
#[cfg(feature = "testkit")]
pub mod testkit;
mod things;
pub mod validate;

/// What parsers are fed with in tests.
#[cfg(test)]
const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");

pub use cloud::{CephAccess, OpenStack, OpenStackOptions};
pub use secret::Secret;
pub use validate::validate;
