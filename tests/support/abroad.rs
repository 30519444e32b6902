//! A second cloud, in this process, to which the lab's and a test cloud as it comes are foreign, and in which nothing is called as it is there: flavors, types
//! of volumes, the zone, the network outside and its addresses. Packets are larger, and ports have names in DNS.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use raksha_openstack::testkit::{DevCloud, Kind, Options};
use serde_json::{Value, json};

use crate::{Program, Random};

/// Where on the traveller's own disk its sign is: behind everything that the guest has there.
const SIGN_AT: u64 = 512 << 20;

/// The cloud; in clouds.yaml it is `abroad-demo`, `abroad-other` and `abroad-admin`.
#[derive(Debug)]
pub struct Abroad {
    /// The cloud itself.
    pub cloud: DevCloud,
    /// The network outside.
    outside: String,
}

impl Abroad {
    /// What home has not, of what the traveller needs; so the plan of a restore there calls it.
    pub const FOREIGN: [&'static str; 4] = [
        "flavor small",
        "volume type ssd",
        "zone east",
        "network internet",
    ];

    /// A new one, with no server in it.
    pub async fn start() -> Self {
        let mut options = Options::default();
        options.zone = "east";
        options.mtu = 8950;
        options.dns = true;
        let cloud = DevCloud::start(options).await.unwrap();
        let ask =
            |method: &str, path: &str, body: Value| cloud.ask("admin", method, path, body).unwrap();
        for (kind, name, path) in [
            (Kind::Flavor, "raksha.tiny", "/compute/v2.1/flavors"),
            (Kind::Flavor, "raksha.eph", "/compute/v2.1/flavors"),
            (Kind::Network, "public", "/network/v2.0/networks"),
        ] {
            let id = cloud.id_of(kind, name).unwrap();
            ask("DELETE", &format!("{path}/{id}"), Value::Null);
        }
        let flavor = json!({ "name": "small", "vcpus": 1, "ram": 256, "disk": 1 });
        ask("POST", "/compute/v2.1/flavors", json!({ "flavor": flavor }));
        let ssd = json!({ "volume_type": { "name": "ssd" } });
        ask("POST", "/volume/v3/{project}/types", ssd);
        let network = json!({ "network": { "name": "internet", "router:external": true } });
        ask("POST", "/network/v2.0/networks", network);
        let outside = cloud.id_of(Kind::Network, "internet").unwrap();
        let subnet = json!({
            "network_id": outside, "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": false,
        });
        ask("POST", "/network/v2.0/subnets", json!({ "subnet": subnet }));
        Self { cloud, outside }
    }

    /// Adds the server `traveller` for user demo: made of the disk `image`, which has a guest agent, with the volume `traveller-data` full of chance beside it,
    /// on a network of its own, reachable from outside. Gives the sign that its own disk has at half a gibibyte.
    pub fn add_traveller(&self, image: &[u8], random: &mut Random) -> String {
        let make = |kind: &str, path: &str, body: Value| {
            let made = self.cloud.ask("demo", "POST", path, json!({ kind: body }));
            made.unwrap()[kind]["id"].as_str().unwrap().to_owned()
        };
        let neutron = |kind: &str, path: &str, body: Value| {
            make(kind, &format!("/network/v2.0/{path}"), body)
        };
        let network = neutron("network", "networks", json!({ "name": "road" }));
        let subnet = json!({ "network_id": network, "ip_version": 4, "cidr": "10.80.0.0/24" });
        let subnet = neutron("subnet", "subnets", subnet);
        let gateway = json!({ "network_id": self.outside });
        let router = json!({ "name": "gate", "external_gateway_info": gateway });
        let router = neutron("router", "routers", router);
        let join = format!("/network/v2.0/routers/{router}/add_router_interface");
        let joined = self
            .cloud
            .ask("demo", "PUT", &join, json!({ "subnet_id": subnet }));
        joined.unwrap();
        let group = neutron(
            "security_group",
            "security-groups",
            json!({ "name": "guard" }),
        );
        let port = json!({
            "network_id": network, "dns_name": "traveller", "security_groups": [group],
        });
        let port = neutron("port", "ports", port);
        let floating = json!({ "floating_network_id": self.outside, "port_id": port });
        neutron("floatingip", "floatingips", floating);

        let properties = [
            ("hw_qemu_guest_agent", "yes"),
            ("os_require_quiesce", "yes"),
            ("hw_rng_model", "virtio"),
            ("os_type", "linux"),
        ];
        let image = self.cloud.add_image("guest", image, &properties).unwrap();
        let server = json!({
            "name": "traveller", "imageRef": image, "networks": [{ "port": port }],
            "flavorRef": self.cloud.id_of(Kind::Flavor, "small"),
        });
        let server = make("server", "/compute/v2.1/servers", server);
        let data = json!({ "name": "traveller-data", "size": 1, "volume_type": "ssd" });
        let data = make("volume", "/volume/v3/{project}/volumes", data);
        let attach = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
        make("volumeAttachment", &attach, json!({ "volumeId": data }));

        let write = |disk: &str, at: u64, bytes: &[u8]| {
            let file = OpenOptions::new()
                .write(true)
                .open(self.cloud.disk_path(disk));
            file.unwrap().write_all_at(bytes, at).unwrap();
        };
        let sign = blake3::hash(&random.bytes(32)).to_hex().to_string();
        write(&server, SIGN_AT, sign.as_bytes());
        // From the first byte on, so that no guest takes the volume for a blank one and makes a file system on it.
        for at in [0, 300 << 20, (1 << 30) - (1 << 20)] {
            write(&data, at, &random.bytes(1 << 20));
        }
        sign
    }

    /// The file of a volume, or of a server's own disk.
    pub fn disk(&self, kind: Kind, name: &str) -> PathBuf {
        let id = self.cloud.id_of(kind, name);
        self.cloud
            .disk_path(&id.unwrap_or_else(|| panic!("there is no {kind} {name} abroad")))
    }

    /// `raksha`, for which `clouds`, a clouds.yaml that begins with `clouds:`, has this cloud, too.
    #[must_use]
    pub fn beside(&self, clouds: &str, raksha: Program, folder: &Path) -> Program {
        let own = self.cloud.clouds_yaml().replace("devcloud-", "abroad-");
        let file = folder.join("both-clouds.yaml");
        let all = clouds.to_owned() + own.trim_start_matches("clouds:\n");
        std::fs::write(&file, all).unwrap();
        raksha.with("OS_CLIENT_CONFIG_FILE", file)
    }

    /// What translates a point of home, as options of `raksha restore`.
    pub fn from_home(&self) -> Vec<String> {
        let outside = format!("network:public={}", self.outside);
        options(&[
            ("--flavor", "raksha.tiny=small"),
            ("--volume-type", "rbd=ssd"),
            ("--zone", "nova=east"),
            ("--map", &outside),
        ])
    }

    /// What translates the traveller for home, where these are the network outside and an image that can stand for the traveller's.
    pub fn to_home(outside: &str, image: &str) -> Vec<String> {
        let outside = format!("network:internet={}", outside.trim());
        let image = format!("image:guest={}", image.trim());
        options(&[
            ("--flavor", "small=raksha.tiny"),
            ("--volume-type", "ssd=rbd"),
            ("--zone", "east=nova"),
            ("--map", &outside),
            ("--map", &image),
            ("--rename", "server:traveller=settler"),
        ])
    }
}

fn options(pairs: &[(&str, &str)]) -> Vec<String> {
    let words = pairs.iter().flat_map(|(name, value)| [*name, *value]);
    words.map(str::to_owned).collect()
}

/// A call of `raksha restore` with what translates.
pub fn translated<'a>(restore: &[&'a str], mapping: &'a [String]) -> Vec<&'a str> {
    let mapping = mapping.iter().map(String::as_str);
    restore.iter().copied().chain(mapping).collect()
}

/// What a disk holds, in short: they have a gibibyte.
pub fn hash(disk: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(disk).unwrap()).unwrap();
    hasher.finalize()
}
