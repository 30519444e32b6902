//! An OpenStack in this process: for tests of those who embed this crate.
//!
//! [`DevCloud`] speaks real HTTP on loopback. Behind it are a state machine for everything that exists, and disks as sparse files in
//! a directory. It knows Keystone, Nova, Cinder, Glance, Neutron and Swift as far as protecting servers needs them; its answers are
//! copied from OpenStack Zed, and `tests/devcloud_like_the_real_one` asks both the same questions and compares.
//!
//! There are the users and projects `demo`, `other` and `admin` (the password is `raksha`), flavors, volume types and an external
//! network `public` from the beginning; [`DevCloud::seed`] adds servers.
//!
//! ```
//! use raksha_openstack::testkit::{Case, DevCloud, Options, Trouble};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let cloud = DevCloud::start(Options::default()).await?;
//! let servers = cloud.seed("demo", Case::BootedFromVolume)?;
//! cloud.write_records(&servers[0])?;
//! let config = cloud.cloud_config("demo");
//! assert!(config.auth_url.as_str().starts_with("http://127.0.0.1:"));
//!
//! // Trouble on demand: the next snapshot ends in the state `error`.
//! cloud.faults().once("POST /volume/v3/*/snapshots", Trouble::EndsInError)?;
//! # raksha_core::Result::<()>::Ok(())
//! # }).unwrap();
//! ```
//!
//! # What it does not do
//!
//! Nothing runs in its servers: a guest is a counter of records that [`DevCloud::write_records`] writes round its disks. There are no
//! packets. IPv6, encryption, resizing, migration, QoS, Placement, cinder-backup and administrators' APIs are missing, and quotas,
//! lists and filters are as complete as their use here.

mod access;
mod call;
mod cases;
mod cloud;
mod compute;
mod disks;
mod faults;
mod guest;
mod http;
mod identity;
mod image;
mod network;
mod objects;
mod options;
mod page;
mod pattern;
mod peer;
mod policy;
mod qcow2;
mod reply;
mod requests;
mod services;
mod state;
#[cfg(test)]
mod tests;
mod version;
mod volume;
mod wording;
mod world;

pub use cases::Case;
pub use cloud::DevCloud;
pub use faults::{Faults, Trouble};
pub use guest::{Guest, RECORD_STRIDE, RECORDS, RECORDS_AT, last_record, record};
pub use options::{Options, Pace};
pub use pattern::Pattern;
pub use requests::RequestRecord;
pub use state::{Inventory, Kind};
