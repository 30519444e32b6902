//! Servers and what they are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resource::Raw;
use crate::id::{ImageId, KeyPairId, PortId, ServerGroupId, ServerId, VolumeId};

/// A server: a virtual machine with its hardware, disks and ports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its id in the cloud in which it was discovered.
    pub id: ServerId,
    /// What its owner calls it.
    pub name: String,
    /// Free text of its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its hardware, as values: a flavor's id means nothing in another cloud, or after the operator changed it.
    pub flavor: Flavor,
    /// The image it was made from; none if it boots from a volume or the image is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Whether it was running.
    pub power: PowerState,
    /// Where it was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// The key pair that its owner logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pair: Option<KeyPairId>,
    /// The group whose placement policy it obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_group: Option<ServerGroupId>,
    /// Whether its metadata reaches it on a drive of its own.
    #[serde(default)]
    pub config_drive: bool,
    /// What its owner gave it at birth, base64 as the cloud has it; none where the cloud does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Its disks in the order in which the guest sees them.
    pub attachments: Vec<Attachment>,
    /// Its ports in the order in which the guest sees them.
    pub ports: Vec<PortId>,
    /// Key-value pairs of its owner.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Labels of its owner.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// The hardware of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flavor {
    /// What the operator calls it.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB; 0 where the disk's own size counts.
    pub root_gib: u64,
    /// Extra empty disk in GiB.
    #[serde(default)]
    pub ephemeral_gib: u64,
    /// Swap disk in MiB.
    #[serde(default)]
    pub swap_mib: u64,
    /// Properties that the scheduler and the hypervisor read.
    #[serde(default)]
    pub extra_specs: BTreeMap<String, String>,
}

/// Whether a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PowerState {
    /// It runs.
    Running,
    /// It is shut down.
    Stopped,
    /// It is paused, suspended, shelved, in error or in a state that this library has no word for.
    Other,
}

/// A disk in a server's slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which disk.
    pub source: DiskSource,
    /// The device name that the cloud shows, such as `/dev/vdb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its place in the boot order; none if it is never booted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_index: Option<u32>,
    /// Whether the disk goes when the server is deleted.
    #[serde(default)]
    pub delete_on_termination: bool,
    /// A label that the guest can see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Where the bytes of a disk live.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskSource {
    /// With the server: it comes and goes with it.
    Local {
        /// Which of the server's own disks: `root`, `ephemeral0` ...
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// In a volume of its own.
    Volume(VolumeId),
}

/// A volume: a disk with a life of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id in the cloud in which it was discovered.
    pub id: VolumeId,
    /// What its owner calls it.
    pub name: String,
    /// Free text of its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// The operator's name for the kind of storage it lies on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,
    /// Where it was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether a server can boot from it.
    #[serde(default)]
    pub bootable: bool,
    /// Whether several servers can have it at once.
    #[serde(default)]
    pub multiattach: bool,
    /// Whether the cloud encrypts it underneath; what is backed up is what the guest sees.
    #[serde(default)]
    pub encrypted: bool,
    /// Key-value pairs of its owner.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Properties that it took over from the image it was made from.
    #[serde(default)]
    pub image_metadata: BTreeMap<String, String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// An image, by its properties: its bytes are part of the disks that were made from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its id in the cloud in which it was discovered.
    pub id: ImageId,
    /// What its owner calls it.
    pub name: String,
    /// Its disk format, such as `qcow2`.
    pub disk_format: String,
    /// The smallest root disk it fits on, in GiB.
    #[serde(default)]
    pub min_disk_gib: u64,
    /// The least memory it needs, in MiB.
    #[serde(default)]
    pub min_memory_mib: u64,
    /// Properties that decide how a guest's hardware is made.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// A key pair: only its public half ever leaves its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its name, which is its id.
    pub id: KeyPairId,
    /// The public key, in OpenSSH's form.
    pub public_key: String,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}

/// Servers that are placed with regard to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerGroup {
    /// Its id in the cloud in which it was discovered.
    pub id: ServerGroupId,
    /// What its owner calls it.
    pub name: String,
    /// Its rule, such as `anti-affinity`.
    pub policy: String,
    /// What else the cloud said.
    #[serde(default)]
    pub raw: Raw,
}
