//! The storage services of the lab as targets: where they are, and what opens them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use raksha_core::Result;
use raksha_core::cloud::{SecretText, Token, TokenSource};
use raksha_core::env::Env;
use raksha_openstack::client::{self as openstack, Client};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_targets::{Credentials, OpenOptions, OpenedTarget};
use tokio::sync::OnceCell;

use crate::{Lab, text};

/// A service that `tests/lab/services-up.sh` brings up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A light S3 server.
    S3,
    /// The RADOS Gateway's S3.
    RgwS3,
    /// A pool of Ceph.
    Rados,
    /// Swift, with its own authentication.
    Swift,
    /// The same Swift, with Keystone's tokens.
    SwiftOfCloud,
    /// The RADOS Gateway's Swift API.
    RgwSwift,
}

/// A place in a service that no other test uses.
#[derive(Debug, Clone)]
pub struct Site {
    /// The address of the target.
    pub address: String,
    /// What the environment of a program must have besides.
    pub environment: Vec<(&'static str, String)>,
    /// The same for the library.
    pub credentials: Credentials,
}

/// What a script of the lab says of the service that it brought up.
pub fn ready(name: &str) -> BTreeMap<String, String> {
    let lab = std::env::var_os("RAKSHA_LAB");
    let lab = lab.map_or_else(|| PathBuf::from("/var/lib/raksha-lab"), PathBuf::from);
    let file = lab.join(format!("{name}_READY"));
    let Ok(text) = std::fs::read_to_string(&file) else {
        panic!(
            "{} is missing, so this service of the lab is not up: run tests/lab/services-up.sh, as tests/run does",
            file.display()
        );
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The bucket or container that `services-up.sh` makes for tests, or tests themselves.
const BOX: &str = "raksha-tests";

impl Service {
    /// A new place in it; `test` is part of its name.
    pub fn site(self, test: &str) -> Site {
        let unlike_any_other = RandomState::new().hash_one(test);
        let prefix = format!("{test}-{unlike_any_other:016x}");
        let s3 = |ready: BTreeMap<String, String>, of: &str| {
            let get = |name: &str| ready[&format!("{of}{name}")].clone();
            let keys = (get("ACCESS_KEY"), get("SECRET_KEY"));
            let (endpoint, region) = (get("ENDPOINT"), get("REGION"));
            Site {
                address: format!(
                    "s3://{BOX}/{prefix}?endpoint={endpoint}&allow_http=true&region={region}"
                ),
                environment: vec![
                    ("AWS_ACCESS_KEY_ID", keys.0.clone()),
                    ("AWS_SECRET_ACCESS_KEY", keys.1.clone()),
                ],
                credentials: Credentials::Keys {
                    access_key: keys.0,
                    secret_key: SecretText::new(keys.1),
                    session_token: None,
                },
            }
        };
        let swift = |ready: BTreeMap<String, String>, of: &str, container: &str| {
            let get = |name: &str| ready[&format!("{of}{name}")].clone();
            let (user, key) = (get("USER"), get("KEY"));
            Site {
                address: format!(
                    "swift://{container}/{prefix}?auth={}&allow_http=true",
                    get("AUTH")
                ),
                environment: vec![("ST_USER", user.clone()), ("ST_KEY", key.clone())],
                credentials: Credentials::Password {
                    user,
                    password: SecretText::new(key),
                },
            }
        };
        match self {
            Self::S3 => s3(ready("S3"), "S3_"),
            Self::RgwS3 => s3(ready("RGW"), "RGW_S3_"),
            Self::Swift => swift(ready("SWIFT"), "SWIFT_", BOX),
            Self::SwiftOfCloud => {
                let clouds = Lab::find().clouds();
                Site {
                    address: format!("swift://{BOX}/{prefix}?allow_http=true"),
                    credentials: Credentials::Tokens(Arc::new(Keystone::of(&clouds))),
                    environment: vec![
                        ("OS_CLOUD", CLOUD.to_owned()),
                        ("OS_CLIENT_CONFIG_FILE", text(&clouds)),
                    ],
                }
            }
            // Buckets and containers are the same there.
            Self::RgwSwift => swift(ready("RGW"), "RGW_SWIFT_", "raksha-tests-swift"),
            Self::Rados => {
                let ready = ready("CEPH");
                let get = |name: &str| ready[&format!("CEPH_{name}")].clone();
                let (pool, user, conf) = (get("RAKSHA_POOL"), get("RAKSHA_USER"), get("CONF"));
                Site {
                    address: format!("rados://{pool}/{BOX}/{prefix}?user={user}&conf={conf}"),
                    environment: Vec::new(),
                    credentials: Credentials::Environment,
                }
            }
        }
    }
}

/// The cloud whose Swift tests use.
const CLOUD: &str = "raksha-demo";

/// Tokens of a cloud. It is connected to when the first one is asked for.
#[derive(Debug)]
struct Keystone {
    config: CloudConfig,
    tokens: OnceCell<Arc<dyn TokenSource>>,
}

impl Keystone {
    fn of(clouds: &Path) -> Self {
        let sources = Sources::default().variable("OS_CLIENT_CONFIG_FILE", text(clouds));
        Self {
            config: CloudConfig::named(CLOUD, &sources).unwrap(),
            tokens: OnceCell::new(),
        }
    }

    async fn tokens(&self) -> Result<&Arc<dyn TokenSource>> {
        let connect = || async {
            let client = Client::connect(&self.config, Env::system()).await?;
            Ok(client.token_source(openstack::Service::ObjectStore))
        };
        self.tokens.get_or_try_init(connect).await
    }
}

#[async_trait]
impl TokenSource for Keystone {
    async fn token(&self) -> Result<Token> {
        self.tokens().await?.token().await
    }

    async fn renew(&self, stale: &Token) -> Result<Token> {
        self.tokens().await?.renew(stale).await
    }
}

impl Site {
    /// How the library opens it.
    pub fn options(&self) -> OpenOptions {
        OpenOptions::default()
            .create(true)
            .credentials(self.credentials.clone())
    }

    /// Opens it.
    pub async fn open(&self) -> OpenedTarget {
        raksha_targets::open(&self.address, &self.options())
            .await
            .unwrap()
    }

    /// The names of all that is in it.
    pub async fn names(&self) -> Vec<String> {
        let listed = self.open().await.objects.list(None);
        let names = listed.map_ok(|meta| meta.location.to_string());
        names.try_collect().await.unwrap()
    }

    /// Removes all that is in it.
    pub async fn clear(&self) {
        let objects = self.open().await.objects;
        let locations = objects.list(None).map_ok(|meta| meta.location).boxed();
        let gone: Vec<_> = objects
            .delete_stream(locations)
            .try_collect()
            .await
            .unwrap();
        drop(gone);
    }
}

/// A bucket of the RADOS Gateway with a policy of its own, made and dropped by `tests/lab/s3-bucket.py`: its owner may do everything, and a second
/// user may list, read and create.
#[derive(Debug)]
pub struct Bucket(String);

impl Bucket {
    /// A new one, whose versions can be locked if `lock`.
    pub fn new(test: &str, lock: bool) -> Self {
        let unlike_any_other = RandomState::new().hash_one(test);
        let bucket = Self(format!("raksha-tests-{test}-{unlike_any_other:016x}"));
        let lock: &[&str] = if lock { &["--lock"] } else { &[] };
        bucket.script(&[&["make", &bucket.0], lock].concat());
        bucket
    }

    /// The address of this bucket, where `other` is the address of another one.
    pub fn address(&self, other: &str) -> String {
        other.replacen(BOX, &self.0, 1)
    }

    /// The owner tries to delete everything, in every version. How many are gone, and how many are left.
    pub fn attack(&self) -> (u64, u64) {
        let said = self.script(&["attack", &self.0]);
        let (gone, left) = said.trim().split_once(' ').unwrap();
        (gone.parse().unwrap(), left.parse().unwrap())
    }

    fn script(&self, arguments: &[&str]) -> String {
        let lab = std::env::var_os("RAKSHA_LAB");
        let lab = lab.map_or_else(|| PathBuf::from("/var/lib/raksha-lab"), PathBuf::from);
        let python = lab.join("s3-venv/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/s3-bucket.py");
        let done = std::process::Command::new(&python)
            .arg(script)
            .args(arguments)
            .output();
        let said = match done {
            Ok(done) if done.status.success() => {
                return String::from_utf8_lossy(&done.stdout).into_owned();
            }
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(e) => {
                let python = python.display();
                format!("{python} cannot be run ({e}): run tests/lab/s3-up.sh, as tests/run does")
            }
        };
        match std::thread::panicking() {
            false => panic!("{arguments:?}: {said}"),
            true => eprintln!("{arguments:?}: {said}"),
        }
        String::new()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.script(&["drop", &self.0]);
    }
}
