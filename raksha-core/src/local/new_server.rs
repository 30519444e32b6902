//! A server in few words, for examples and tests.

use super::LocalCloud;
use crate::cloud::{
    Attachment, DiskSource, FixedIp, Flavor, Network, Port, PowerState, Raw, ResourceGraph, Server,
    Subnet, Volume,
};
use crate::error::Result;
use crate::id::{NetworkId, PortId, ServerId, SubnetId, VolumeId};

/// A server to be added to a [`LocalCloud`], with new disks that hold nothing yet.
///
/// For everything that it has no word for there is [`LocalCloud::add`].
#[derive(Debug, Clone)]
pub struct NewServer {
    name: String,
    disks: Vec<NewDisk>,
    ports: Vec<(String, String, String)>,
}

#[derive(Debug, Clone)]
struct NewDisk {
    name: String,
    size: u64,
    volume: bool,
}

impl NewServer {
    /// A running server of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            disks: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Gives it a disk that comes and goes with it, of `size` bytes.
    #[must_use]
    pub fn local_disk(self, name: impl Into<String>, size: u64) -> Self {
        self.disk(name.into(), size, false)
    }

    /// Gives it a volume of `size` bytes.
    #[must_use]
    pub fn volume(self, name: impl Into<String>, size: u64) -> Self {
        self.disk(name.into(), size, true)
    }

    fn disk(mut self, name: String, size: u64, volume: bool) -> Self {
        self.disks.push(NewDisk { name, size, volume });
        self
    }

    /// Puts it on the network of this name, at `address`. A network that is not there is created with the range `cidr`.
    #[must_use]
    pub fn on_network(
        mut self,
        network: impl Into<String>,
        cidr: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        self.ports
            .push((network.into(), cidr.into(), address.into()));
        self
    }
}

impl LocalCloud {
    /// Adds a server. Its disks appear in the order in which they were given; it boots from the first.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub async fn add_server(&self, server: NewServer) -> Result<ServerId> {
        let NewServer { name, disks, ports } = server;
        let live = self.graph().await?;
        let id = ServerId::new(self.new_id()?);
        let mut part = ResourceGraph::default();
        let mut attachments = Vec::new();
        for (i, disk) in (0u32..).zip(disks) {
            let NewDisk { name, size, volume } = disk;
            let source = if volume {
                let id = VolumeId::new(self.new_id()?);
                part.volumes
                    .push(new_volume(id.clone(), name, size, i == 0));
                DiskSource::Volume(id)
            } else {
                DiskSource::Local { name, size }
            };
            let letter = char::from_u32(u32::from('a') + i).unwrap_or('z');
            attachments.push(Attachment {
                source,
                device: Some(format!("/dev/vd{letter}")),
                boot_index: (i == 0).then_some(0),
                delete_on_termination: false,
                tag: None,
            });
        }
        let mut port_ids = Vec::new();
        for (network, cidr, address) in ports {
            let (network, subnet) = match find_network(&live, &part, &network) {
                Some(known) => known,
                None => self.new_network(&mut part, network, cidr)?,
            };
            let port = self.new_port(network, subnet, address)?;
            port_ids.push(port.id.clone());
            part.ports.push(port);
        }
        part.servers.push(Server {
            id: id.clone(),
            name,
            description: None,
            flavor: Flavor {
                name: "small".to_owned(),
                vcpus: 1,
                memory_mib: 512,
                root_gib: 0,
                ephemeral_gib: 0,
                swap_mib: 0,
                extra_specs: std::collections::BTreeMap::new(),
            },
            image: None,
            power: PowerState::Running,
            availability_zone: None,
            key_pair: None,
            server_group: None,
            config_drive: false,
            user_data: None,
            attachments,
            ports: port_ids,
            metadata: std::collections::BTreeMap::new(),
            tags: Vec::new(),
            raw: Raw::Null,
        });
        self.add(part, Vec::new()).await?;
        Ok(id)
    }

    fn new_network(
        &self,
        part: &mut ResourceGraph,
        name: String,
        cidr: String,
    ) -> Result<(NetworkId, SubnetId)> {
        let (network, subnet) = (
            NetworkId::new(self.new_id()?),
            SubnetId::new(self.new_id()?),
        );
        part.subnets.push(Subnet {
            id: subnet.clone(),
            name: name.clone(),
            network: network.clone(),
            cidr,
            gateway: None,
            dhcp: true,
            dns: Vec::new(),
            pools: Vec::new(),
            routes: Vec::new(),
            tags: Vec::new(),
            raw: Raw::Null,
        });
        part.networks.push(Network {
            id: network.clone(),
            name,
            description: None,
            mtu: None,
            external: false,
            shared: false,
            port_security: true,
            tags: Vec::new(),
            raw: Raw::Null,
        });
        Ok((network, subnet))
    }

    fn new_port(&self, network: NetworkId, subnet: SubnetId, address: String) -> Result<Port> {
        // The prefix that OpenStack gives its ports.
        let [a, b, c] = self.env.random::<3>()?;
        Ok(Port {
            id: PortId::new(self.new_id()?),
            name: String::new(),
            network,
            mac: format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}"),
            fixed_ips: vec![FixedIp { subnet, address }],
            security_groups: Vec::new(),
            port_security: true,
            allowed_address_pairs: Vec::new(),
            qos_policy: None,
            tags: Vec::new(),
            raw: Raw::Null,
        })
    }
}

fn new_volume(id: VolumeId, name: String, size: u64, bootable: bool) -> Volume {
    Volume {
        id,
        name,
        description: None,
        size,
        volume_type: None,
        availability_zone: None,
        bootable,
        multiattach: false,
        encrypted: false,
        metadata: std::collections::BTreeMap::new(),
        image_metadata: std::collections::BTreeMap::new(),
        raw: Raw::Null,
    }
}

/// The network of this name and its first subnet.
fn find_network(
    live: &ResourceGraph,
    part: &ResourceGraph,
    name: &str,
) -> Option<(NetworkId, SubnetId)> {
    [live, part].into_iter().find_map(|graph| {
        let network = graph.networks.iter().find(|n| n.name == name)?;
        let subnet = graph.subnets.iter().find(|s| s.network == network.id)?;
        Some((network.id.clone(), subnet.id.clone()))
    })
}
