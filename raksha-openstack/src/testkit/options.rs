//! How the cloud is to behave.

use std::time::Duration;

use raksha_core::env::Env;

use crate::client::Service;

/// How a [`DevCloud`](super::DevCloud) is to behave. [`Options::default`] is a cloud in a hurry: every change of state takes a few milliseconds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Time and randomness.
    pub env: Env,
    /// How long changes of state take.
    pub pace: Pace,
    /// How long a token is good for.
    pub token_lifetime: Duration,
    /// The port to listen on, on 127.0.0.1; 0 for any that is free.
    pub port: u16,
    /// Whether Swift removes many objects in one request (`?bulk-delete`).
    pub bulk_delete: bool,
    /// The format of the images that Nova makes of local disks: `qcow2`, as where disks are qcow2 files, or `raw`.
    pub local_image_format: &'static str,
    /// The most entries of one page of a list, whatever a client asks for (`max_limit` of the real services).
    pub page: usize,
    /// Services that know no access rules of application credentials (no `service_type` in their configuration), and refuse whoever has any.
    pub without_access_rules: Vec<Service>,
    /// The only availability zone, of servers and of volumes.
    pub zone: &'static str,
    /// The largest packets of networks, in bytes: what a new one has unless it asks for less.
    pub mtu: u64,
    /// Whether Neutron knows names in DNS (its extension `dns-integration`), which many clouds do and the lab does not.
    pub dns: bool,
    /// How long Nova waits for a guest's agent before it gives up freezing it.
    pub agent_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            env: Env::system(),
            pace: Pace::default(),
            token_lifetime: Duration::from_secs(3600),
            port: 0,
            bulk_delete: false,
            local_image_format: "qcow2",
            page: 1000,
            without_access_rules: Vec::new(),
            zone: "nova",
            mtu: 1500,
            dns: false,
            agent_timeout: Duration::from_millis(200),
        }
    }
}

/// How long it takes from the request until the thing is what was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pace {
    /// Volumes: creating, attaching, detaching, growing.
    pub volume: Duration,
    /// Snapshots of volumes.
    pub snapshot: Duration,
    /// Images: import, upload of a volume, createImage.
    pub image: Duration,
    /// Servers: building, starting, stopping.
    pub server: Duration,
    /// Whatever is deleted.
    pub deletion: Duration,
}

impl Pace {
    /// Everything takes `time`.
    pub fn all(time: Duration) -> Self {
        Self {
            volume: time,
            snapshot: time,
            image: time,
            server: time,
            deletion: time,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::all(Duration::from_millis(5))
    }
}
