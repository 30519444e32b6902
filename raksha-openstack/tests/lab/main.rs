//! The client and discovery against the lab's real OpenStack (see `tests/lab/README.md` at the top), as a tenant with plain member rights.
//!
//! Needs the feature `lab`, the services, and the servers of `tests/lab/openstack-cases.sh`. `RAKSHA_LAB_CLOUDS` names another `clouds.yaml` than
//! the lab's own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[cfg(test)]
mod cases;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod everything;
#[cfg(test)]
#[path = "../shapes/mod.rs"]
mod shapes;

use std::path::PathBuf;

use raksha_core::cloud::{ResourceDiscovery, ResourceGraph, Selection, ServerSelector};
use raksha_core::env::Env;
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::{OpenStack, OpenStackOptions};

fn config(cloud: &str) -> CloudConfig {
    let variable = std::env::var_os("RAKSHA_LAB_CLOUDS");
    let file = variable.map_or("/var/lib/raksha-lab/clouds.yaml".into(), PathBuf::from);
    assert!(
        file.is_file(),
        "no lab: {} is not there; start it with tests/lab/openstack-up.sh, or set RAKSHA_LAB_CLOUDS",
        file.display()
    );
    let sources = Sources::default().variable("OS_CLIENT_CONFIG_FILE", file.to_str().unwrap());
    CloudConfig::named(cloud, &sources).unwrap()
}

async fn cloud(name: &str) -> OpenStack {
    let connected =
        OpenStack::connect(&config(name), OpenStackOptions::default(), Env::system()).await;
    connected.unwrap_or_else(|error| panic!("the lab's OpenStack does not answer: {error}"))
}

async fn discover(cloud: &OpenStack, selectors: Vec<ServerSelector>) -> ResourceGraph {
    let graph = cloud.discover(&Selection(selectors)).await.unwrap();
    graph.check().unwrap();
    graph
}

fn named(name: &str) -> ServerSelector {
    ServerSelector::Name(name.to_owned())
}

/// A name that nothing else in the lab has.
fn unique(what: &str) -> String {
    let drawn: [u8; 4] = Env::system().random().unwrap();
    format!("client-{what}-{:08x}", u32::from_le_bytes(drawn))
}
