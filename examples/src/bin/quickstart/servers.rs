//! The servers of the story: `web` and `db`, each with a disk of its own and a volume, on one private network.

use std::path::Path;

use bytes::Bytes;
use raksha_core::cloud::{
    Attachment, DiskId, DiskSource, FixedIp, Flavor, Network, Port, PowerState, Raw, ResourceGraph,
    Server, Subnet, Volume,
};
use raksha_core::id::{NetworkId, PortId, ServerId, SubnetId, VolumeId};
use raksha_core::local::{DiskFile, LocalCloud};
use raksha_core::{Error, Kind, Result};

use crate::disks;

const ROOT: u64 = 1 << 30;
const DATA: u64 = 512 << 20;

/// Fills an empty cloud.
pub async fn build(cloud: &LocalCloud, home: &Path) -> Result<()> {
    let folder = home.join("images");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("make image directory", e))?;
    let mut part = network();
    let mut files = Vec::new();
    for (n, name) in ["web", "db"].into_iter().enumerate() {
        let (server, volume) = (
            ServerId::new(format!("server-{name}")),
            VolumeId::new(format!("volume-{name}")),
        );
        let root = DiskId::Local {
            server: server.clone(),
            name: "root".into(),
        };
        // Both roots are filled alike, as servers made from one image are; one of the volumes is qcow2.
        files.push(image(&folder, &format!("{name}-root"), ROOT, 0, false, root).await?);
        files.push(
            image(
                &folder,
                &format!("{name}-data"),
                DATA,
                n + 1,
                n == 0,
                DiskId::Volume(volume.clone()),
            )
            .await?,
        );
        part.volumes
            .push(new_volume(volume.clone(), format!("{name}-data")));
        part.ports.push(new_port(name, n));
        part.servers.push(new_server(server, name, volume));
    }
    cloud.add(part, files).await
}

/// Makes a disk image and says where it is.
async fn image(
    folder: &Path,
    name: &str,
    size: u64,
    nth: usize,
    qcow2: bool,
    disk: DiskId,
) -> Result<DiskFile> {
    let path = folder.join(format!("{name}.raw"));
    let file = format!("images/{name}");
    let make = move || -> Result<bool> {
        disks::make(&path, size, nth)?;
        Ok(qcow2 && disks::to_qcow2(&path)?.is_some())
    };
    let made = tokio::task::spawn_blocking(make).await;
    let converted =
        made.map_err(|e| Error::new(Kind::Internal, "make disk", "it stopped").caused_by(e))??;
    Ok(match converted {
        true => DiskFile::qcow2(disk, format!("{file}.qcow2")),
        false => DiskFile::raw(disk, format!("{file}.raw")),
    })
}

/// The servers write: a log grows, a database touches pages all over its disk.
pub async fn write(cloud: &LocalCloud) -> Result<()> {
    let root = DiskId::Local {
        server: ServerId::new("server-web"),
        name: "root".into(),
    };
    let line = b"10.0.0.21 - - \"GET / HTTP/1.1\" 200\n";
    let log: Vec<u8> = line.iter().copied().cycle().take(8 << 20).collect();
    cloud.write_disk(&root, 900 << 20, Bytes::from(log)).await?;
    println!("  web appended 8 MiB to its log");
    let data = DiskId::Volume(VolumeId::new("volume-db"));
    for page in 0..200u64 {
        let bytes: Vec<u8> = (0..4096u64)
            .map(|i| (page.wrapping_mul(31) ^ i.wrapping_mul(i >> 3)) as u8)
            .collect();
        let offset = page.wrapping_mul(2_654_435_761) % (DATA / 4096) * 4096;
        cloud.write_disk(&data, offset, Bytes::from(bytes)).await?;
    }
    println!("  db wrote 200 pages of 4 KiB, scattered");
    Ok(())
}

fn network() -> ResourceGraph {
    let mut part = ResourceGraph::default();
    part.networks.push(Network {
        id: NetworkId::new("network-private"),
        name: "private".into(),
        description: None,
        mtu: Some(1500),
        external: false,
        shared: false,
        port_security: true,
        tags: vec![],
        raw: Raw::Null,
    });
    part.subnets.push(Subnet {
        id: SubnetId::new("subnet-private"),
        name: "private".into(),
        network: NetworkId::new("network-private"),
        cidr: "10.0.0.0/24".into(),
        gateway: Some("10.0.0.1".into()),
        dhcp: true,
        dns: vec![],
        pools: vec![],
        routes: vec![],
        tags: vec![],
        raw: Raw::Null,
    });
    part
}

fn new_port(server: &str, n: usize) -> Port {
    Port {
        id: PortId::new(format!("port-{server}")),
        name: String::new(),
        network: NetworkId::new("network-private"),
        mac: format!("fa:16:3e:00:00:{:02x}", 20 + n),
        fixed_ips: vec![FixedIp {
            subnet: SubnetId::new("subnet-private"),
            address: format!("10.0.0.{}", 20 + n),
        }],
        security_groups: vec![],
        port_security: true,
        allowed_address_pairs: vec![],
        qos_policy: None,
        tags: vec![],
        raw: Raw::Null,
    }
}

fn new_volume(id: VolumeId, name: String) -> Volume {
    Volume {
        id,
        name,
        description: None,
        size: DATA,
        volume_type: None,
        availability_zone: None,
        bootable: false,
        multiattach: false,
        encrypted: false,
        metadata: Default::default(),
        image_metadata: Default::default(),
        raw: Raw::Null,
    }
}

fn new_server(id: ServerId, name: &str, volume: VolumeId) -> Server {
    let attachment = |source, device: &str, boot_index| Attachment {
        source,
        device: Some(device.to_owned()),
        boot_index,
        delete_on_termination: false,
        tag: None,
    };
    let root = DiskSource::Local {
        name: "root".into(),
        size: ROOT,
    };
    Server {
        id,
        name: name.to_owned(),
        description: None,
        flavor: Flavor {
            name: "small".into(),
            vcpus: 1,
            memory_mib: 1024,
            root_gib: 1,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: Default::default(),
        },
        image: None,
        power: PowerState::Running,
        availability_zone: None,
        key_pair: None,
        server_group: None,
        config_drive: false,
        user_data: None,
        attachments: vec![
            attachment(root, "/dev/vda", Some(0)),
            attachment(DiskSource::Volume(volume), "/dev/vdb", None),
        ],
        ports: vec![PortId::new(format!("port-{name}"))],
        metadata: Default::default(),
        tags: vec![],
        raw: Raw::Null,
    }
}
