//! The vocabulary of a cloud, and the small traits by which a cloud offers itself.
//!
//! A cloud is described as values: a [`ResourceGraph`] of servers, disks and networks that holds what matters in typed
//! fields and all that the cloud said beside them. What a cloud can *do* is four traits:
//! [`ResourceDiscovery`] finds the graph, [`SnapshotProvider`] takes the disks at one instant and reads them,
//! [`ResourceRestorer`] brings things back, [`DiskReader`] and [`DiskWriter`] move bytes.
//!
//! Nothing here names a vendor.

mod consistency;
mod credential;
mod discovery;
mod disk;
mod graph;
mod network;
mod resource;
mod restorer;
mod server;
mod snapshot;
mod temporary;

pub use consistency::{Consistency, ConsistencyLedger, DiskConsistency};
pub use credential::{SecretText, Token, TokenSource};
pub use discovery::{ResourceDiscovery, Selection, ServerSelector};
pub use disk::{DiskId, DiskReader, DiskWriter, Extent, ExtentKind};
pub use graph::{Omission, ResourceGraph};
pub use network::{
    AddressPair, AddressPool, Direction, FixedIp, FloatingIp, Network, Port, Route, Router,
    RouterInterface, SecurityGroup, SecurityGroupRule, Subnet,
};
pub use resource::{Raw, ResourceKey, ResourceKind, ResourceRef};
pub use restorer::{
    Created, Finding, IdMap, Presence, Problem, ResourceMapping, ResourceRestorer, RestoreRequest,
    Survey,
};
pub use server::{
    Attachment, DiskSource, Flavor, Image, KeyPair, PowerState, Server, ServerGroup, Volume,
};
pub use snapshot::{
    Anchor, ChangeHint, HintSupport, OpenedDisk, SnapshotCapabilities, SnapshotProvider,
    SnapshotRequest, SnapshotSet, SnapshottedDisk,
};
pub use temporary::{Recorder, Temporary};
