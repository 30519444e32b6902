//! Servers, their flavors and disks: from Nova's words to values.

use raksha_core::cloud::{
    Attachment, DiskSource, Flavor, KeyPair, PowerState, Server, ServerGroup,
};
use raksha_core::id::{ImageId, KeyPairId, PortId, ServerGroupId, ServerId, VolumeId};
use raksha_core::{Error, Kind, Result};
use serde_json::Value;

use super::OPERATION;
use super::fields::Fields;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Under which key a server's `raw` holds what Nova lists of its volumes.
pub(super) const ATTACHMENTS: &str = "os-volume_attachments";

/// What stands beside a server.
pub(super) struct Around {
    pub(super) flavor: Flavor,
    pub(super) image: Option<ImageId>,
    /// Size of the local root disk where the flavor does not say, in bytes.
    pub(super) image_size: Option<u64>,
    pub(super) key_pair: Option<KeyPairId>,
    pub(super) server_group: Option<ServerGroupId>,
    pub(super) ports: Vec<PortId>,
    /// Of the volumes that may be seen.
    pub(super) volumes: Vec<VolumeSlot>,
}

/// A volume in a server's slot, as Nova lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct VolumeSlot {
    pub(super) volume: VolumeId,
    pub(super) device: Option<String>,
    pub(super) delete_on_termination: bool,
    pub(super) tag: Option<String>,
    /// Whether Cinder says that one can boot from it.
    pub(super) bootable: bool,
}

/// The slots of `server`: from what `os-volume_attachments` lists or, where that may not be seen, from the server itself.
pub(super) fn volume_slots(
    server: &Value,
    attachments: Option<&[Value]>,
) -> Result<Vec<VolumeSlot>> {
    let server = Fields::of("server", server);
    let attached = server.list("os-extended-volumes:volumes_attached");
    let with_server = |id: &str| {
        let mut attached = attached.iter().map(|v| Fields::of("attached volume", v));
        let found = attached.find(|v| v.maybe("id").as_deref() == Some(id));
        found.is_some_and(|v| v.flag("delete_on_termination", false))
    };
    let slots = match attachments {
        Some(listed) => listed
            .iter()
            .map(|listed| {
                let listed = Fields::of("volume attachment", listed);
                let id = listed.text("volumeId")?;
                Ok(VolumeSlot {
                    volume: VolumeId::new(id),
                    device: listed.maybe("device"),
                    delete_on_termination: listed.flag("delete_on_termination", with_server(id)),
                    tag: listed.maybe("tag"),
                    bootable: false,
                })
            })
            .collect::<Result<Vec<_>>>()?,
        None => attached
            .iter()
            .map(|attached| {
                let attached = Fields::of("attached volume", attached);
                Ok(VolumeSlot {
                    volume: VolumeId::new(attached.text("id")?),
                    device: None,
                    delete_on_termination: attached.flag("delete_on_termination", false),
                    tag: None,
                    bootable: false,
                })
            })
            .collect::<Result<Vec<_>>>()?,
    };
    Ok(slots)
}

/// The image that `server` was made from; none if it boots from a volume.
pub(super) fn image_of(server: &Value) -> Option<String> {
    Fields::of("server", server).inner("image")?.maybe("id")
}

/// The flavor, where the server tells it as values (2.47).
pub(super) fn embedded_flavor(server: &Value) -> Result<Option<Flavor>> {
    let flavor = Fields::of("server", server).inner("flavor");
    match flavor {
        Some(flavor) if flavor.get("vcpus").is_some() => {
            self::flavor(&flavor, "original_name", "ephemeral").map(Some)
        }
        _ => Ok(None),
    }
}

/// A flavor as Nova lists it by itself.
pub(super) fn listed_flavor(flavor: &Value) -> Result<Flavor> {
    self::flavor(
        &Fields::of("flavor", flavor),
        "name",
        "OS-FLV-EXT-DATA:ephemeral",
    )
}

fn flavor(fields: &Fields<'_>, name: &'static str, ephemeral: &str) -> Result<Flavor> {
    Ok(Flavor {
        name: fields.text(name)?.to_owned(),
        vcpus: u32::try_from(fields.number("vcpus")?).unwrap_or(u32::MAX),
        memory_mib: fields.number("ram")?,
        root_gib: fields.number("disk")?,
        ephemeral_gib: fields.count(ephemeral).unwrap_or_default(),
        // Empty text where there is none.
        swap_mib: fields.count("swap").unwrap_or_default(),
        extra_specs: fields.texts("extra_specs"),
    })
}

/// The server.
///
/// # Errors
/// [`Kind::Corrupt`] if Nova leaves out what must be there; [`Kind::Unsupported`] if nothing tells the size of the local root disk.
pub(super) fn server(raw: Value, around: Around) -> Result<Server> {
    let fields = Fields::of("server", &raw);
    let id = ServerId::new(fields.text("id")?);
    let attachments = attachments(&fields, &id, &around)?;
    let Around {
        flavor,
        image,
        key_pair,
        server_group,
        ports,
        image_size: _,
        volumes: _,
    } = around;
    Ok(Server {
        name: fields.maybe("name").unwrap_or_default(),
        description: fields.maybe("description"),
        flavor,
        image,
        power: match fields.text("status")? {
            "ACTIVE" => PowerState::Running,
            "SHUTOFF" => PowerState::Stopped,
            _ => PowerState::Other,
        },
        availability_zone: fields.maybe("OS-EXT-AZ:availability_zone"),
        key_pair,
        server_group,
        config_drive: fields.flag("config_drive", false),
        user_data: fields.maybe("OS-EXT-SRV-ATTR:user_data"),
        attachments,
        ports,
        metadata: fields.texts("metadata"),
        tags: fields.words("tags"),
        id,
        raw,
    })
}

/// The disks as the guest sees them: the root disk, the server's further own disks, then volumes by their devices.
fn attachments(fields: &Fields<'_>, id: &ServerId, around: &Around) -> Result<Vec<Attachment>> {
    let local = |name: &str, size: u64| Attachment {
        source: DiskSource::Local {
            name: name.to_owned(),
            size,
        },
        device: None,
        boot_index: None,
        // As long as the server lives, and no longer.
        delete_on_termination: true,
        tag: None,
    };
    let root_device = fields.maybe("OS-EXT-SRV-ATTR:root_device_name");
    let from_image = image_of(fields.value()).is_some();
    let mut disks = Vec::new();
    if from_image {
        let size = match around.flavor.root_gib {
            0 => around.image_size.ok_or_else(|| {
                let message = "nothing tells how large the server's root disk is: its flavor leaves that to the image, which is gone or does not say";
                Error::new(Kind::Unsupported, OPERATION, message).with("server", id)
            })?,
            gib => gib.saturating_mul(GIB),
        };
        disks.push(Attachment {
            device: root_device.clone(),
            boot_index: Some(0),
            ..local("root", size)
        });
    }
    let mut volumes: Vec<&VolumeSlot> = around.volumes.iter().collect();
    volumes.sort_by(|a, b| place(a).cmp(&place(b)));
    let root = match from_image {
        true => None,
        false => root_volume(&volumes, root_device.as_deref()),
    };
    if let Some(root) = root {
        disks.push(Attachment {
            boot_index: Some(0),
            ..slot(root)
        });
    }
    if around.flavor.ephemeral_gib > 0 {
        let size = around.flavor.ephemeral_gib.saturating_mul(GIB);
        disks.push(local("ephemeral0", size));
    }
    let others = volumes.into_iter().filter(|volume| Some(*volume) != root);
    disks.extend(others.map(slot));
    Ok(disks)
}

fn slot(volume: &VolumeSlot) -> Attachment {
    Attachment {
        source: DiskSource::Volume(volume.volume.clone()),
        device: volume.device.clone(),
        boot_index: None,
        delete_on_termination: volume.delete_on_termination,
        tag: volume.tag.clone(),
    }
}

/// The volume that the server boots from. Nova tells boot orders to nobody and the root device to administrators; else it is the first
/// bootable volume.
fn root_volume<'a>(volumes: &[&'a VolumeSlot], device: Option<&str>) -> Option<&'a VolumeSlot> {
    let named = volumes
        .iter()
        .find(|volume| device.is_some() && volume.device.as_deref() == device);
    named
        .or_else(|| volumes.iter().find(|volume| volume.bootable))
        .or_else(|| volumes.first())
        .copied()
}

/// `/dev/vdb` before `/dev/vdaa`, and what has no device last.
fn place(volume: &VolumeSlot) -> (bool, usize, Option<&str>, &VolumeId) {
    let device = volume.device.as_deref();
    (
        device.is_none(),
        device.map_or(0, str::len),
        device,
        &volume.volume,
    )
}

/// The size of the swap disk in bytes, if there is one: its content is worth nothing after a restart.
pub(super) fn swap_size(flavor: &Flavor) -> Option<u64> {
    (flavor.swap_mib > 0).then(|| flavor.swap_mib.saturating_mul(MIB))
}

/// A key pair.
pub(super) fn key_pair(raw: Value) -> Result<KeyPair> {
    let fields = Fields::of("key pair", &raw);
    Ok(KeyPair {
        id: KeyPairId::new(fields.text("name")?),
        public_key: fields.text("public_key")?.to_owned(),
        raw,
    })
}

/// A server group: with one `policy` since 2.64, with `policies` before.
pub(super) fn server_group(raw: Value) -> Result<ServerGroup> {
    let fields = Fields::of("server group", &raw);
    let policy = fields
        .maybe("policy")
        .or_else(|| fields.words("policies").into_iter().next());
    Ok(ServerGroup {
        id: ServerGroupId::new(fields.text("id")?),
        name: fields.maybe("name").unwrap_or_default(),
        policy: policy.unwrap_or_default(),
        raw,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(id: &str, device: Option<&str>, bootable: bool) -> VolumeSlot {
        VolumeSlot {
            volume: VolumeId::new(id),
            device: device.map(str::to_owned),
            delete_on_termination: false,
            tag: None,
            bootable,
        }
    }

    /// Names of the disks in order, the one that is booted from marked.
    fn disks(raw: Value, volumes: Vec<VolumeSlot>) -> Vec<String> {
        let around = Around {
            flavor: listed_flavor(&json!({"name": "f", "vcpus": 1, "ram": 1, "disk": 1})).unwrap(),
            image: None,
            image_size: None,
            key_pair: None,
            server_group: None,
            ports: Vec::new(),
            volumes,
        };
        let server = server(raw, around).unwrap();
        let disks = server.attachments.into_iter().map(|disk| {
            let name = match disk.source {
                DiskSource::Local { name, .. } => name,
                DiskSource::Volume(id) => id.to_string(),
            };
            let boots = if disk.boot_index == Some(0) { "*" } else { "" };
            format!("{name}{boots}")
        });
        disks.collect()
    }

    #[test]
    fn disks_come_in_the_order_of_their_devices() {
        let raw = json!({"id": "s", "status": "ACTIVE", "image": {"id": "i"}});
        let volumes = vec![
            volume("z", Some("/dev/vdaa"), false),
            volume("none", None, true),
            volume("c", Some("/dev/vdc"), true),
            volume("b", Some("/dev/vdb"), false),
        ];
        assert_eq!(disks(raw, volumes), ["root*", "b", "c", "z", "none"]);
    }

    #[test]
    fn a_server_without_image_boots_from_its_root_device_or_the_first_bootable_volume() {
        let volumes = || {
            vec![
                volume("old", Some("/dev/vdb"), true),
                volume("data", Some("/dev/vda"), false),
            ]
        };
        let mut raw = json!({"id": "s", "status": "ACTIVE", "image": ""});
        assert_eq!(disks(raw.clone(), volumes()), ["old*", "data"]);
        raw["OS-EXT-SRV-ATTR:root_device_name"] = json!("/dev/vda");
        assert_eq!(disks(raw.clone(), volumes()), ["data*", "old"]);
        assert!(disks(raw, Vec::new()).is_empty());
    }

    #[test]
    fn what_the_server_says_of_its_volumes_fills_in_what_older_novas_do_not_list() {
        let raw = json!({"os-extended-volumes:volumes_attached": [
            {"id": "a", "delete_on_termination": true}, {"id": "b", "delete_on_termination": false}]});
        let listed = [
            json!({"volumeId": "a", "device": "/dev/vda"}),
            json!({"volumeId": "b", "delete_on_termination": true}),
        ];
        let goes = |slots: Vec<VolumeSlot>| -> Vec<bool> {
            slots
                .iter()
                .map(|slot| slot.delete_on_termination)
                .collect()
        };
        assert_eq!(
            goes(volume_slots(&raw, Some(&listed)).unwrap()),
            [true, true]
        );
        assert_eq!(goes(volume_slots(&raw, None).unwrap()), [true, false]);
    }
}
