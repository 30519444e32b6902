//! Pools of Ceph, without a gateway.
//!
//! librados is loaded when a target of this kind is opened, not linked: building needs no Ceph, and a program with this feature runs
//! on machines that have none. What it needs then is `librados.so.2` of Ceph 15 (Octopus) or later, which `ceph-common` brings.
//!
//! An object of ours is an object of RADOS of the same name, written in one step; creating one is exclusive in the OSD, so that the
//! commit log may lie here. Objects are not striped: what is larger than the cluster takes at once is refused. Names are kept in an
//! index besides, see `index.rs`.

mod errors;
#[allow(
    unsafe_code,
    reason = "librados is a C library; the file says why each call is sound"
)]
mod ffi;
mod index;
mod listing;
mod reindex;
mod store;

use std::io;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use percent_encoding::percent_decode_str;
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};

use crate::address::{Address, invalid};
use crate::credentials::Credentials;
use crate::layers::GuardOptions;
use crate::open::{OpenOptions, OpenedTarget, TargetCapabilities};
use ffi::{Cluster, Connecting, Pool};
use index::Index;
pub use reindex::{Reindexed, reindex};
use store::{Inner, Rados};

const OPEN: &str = "open RADOS target";

pub(crate) const OPTIONS: &[(&str, &str)] = &[
    ("user", "the name after 'client.'; admin if not given"),
    ("conf", "/etc/ceph/ceph.conf if not given"),
    (
        "timeout",
        "seconds that one operation may take; 45 if not given",
    ),
    (
        "index_pool",
        "a replicated pool for the names, where the pool of the objects is erasure coded",
    ),
    (
        "index_shards",
        "objects over which a new index spreads; 16 if not given, which is enough for three million names",
    ),
];

/// A target, as its address says it.
#[derive(Debug, Clone)]
struct Place {
    pool: String,
    namespace: String,
    prefix: Path,
    index_pool: Option<String>,
    shards: usize,
    user: String,
    conf: String,
    timeout: u64,
}

impl Place {
    fn read(mut address: Address) -> Result<Self> {
        let (pool, below) = address.host_and_prefix("pool")?;
        let mut parts = below.parts();
        let namespace = parts.next().map(|part| part.as_ref().to_owned());
        let user: String = address.take("user")?.unwrap_or_else(|| "admin".to_owned());
        let place = Self {
            pool: percent_decode_str(&pool).decode_utf8_lossy().into_owned(),
            namespace: namespace.ok_or_else(|| {
                invalid("the namespace is missing: write rados://pool/namespace/prefix")
            })?,
            prefix: parts.collect(),
            index_pool: address.take("index_pool")?,
            shards: address.take("index_shards")?.unwrap_or(index::SHARDS),
            user: user.strip_prefix("client.").unwrap_or(&user).to_owned(),
            conf: (address.take("conf")?).unwrap_or_else(|| "/etc/ceph/ceph.conf".to_owned()),
            timeout: address.take("timeout")?.unwrap_or(45),
        };
        address.finish(OPTIONS)?;
        Ok(place)
    }

    /// Opens it. Blocks.
    fn open(&self, create: bool, env: Env) -> Result<Inner> {
        let timeout = self.timeout.to_string();
        let settings = [
            ("rados_osd_op_timeout", timeout.clone()),
            ("rados_mon_op_timeout", timeout.clone()),
            ("client_mount_timeout", timeout),
            // What librados has to say is in its answers; a program's standard error is not its place.
            ("log_to_stderr", "false".to_owned()),
            ("err_to_stderr", "false".to_owned()),
            ("log_file", String::new()),
        ];
        let user = format!("client.{}", self.user);
        let cluster =
            Cluster::connect(&user, &self.conf, &settings).map_err(|e| self.unconnected(e))?;
        let pool = |name: &str| {
            Pool::open(&cluster, name, &self.namespace).map_err(|e| self.no_pool(name, e))
        };
        let data = pool(&self.pool)?;
        let index_pool = self.index_pool.as_ref().unwrap_or(&self.pool);
        let index = match Index::find(pool(index_pool)?) {
            Err((pool, e)) if e.kind() == io::ErrorKind::NotFound && create => {
                Index::make(pool, self.shards, &env)
            }
            found => found,
        };
        let index = index.map_err(|(_, e)| self.no_index(e))?;
        Ok(Inner {
            data,
            index,
            largest: largest(&cluster),
            env,
            description: self.to_string(),
        })
    }

    fn unconnected(&self, error: Connecting) -> Error {
        match error {
            Connecting::Library(e) => Error::new(
                Kind::Unsupported,
                OPEN,
                "librados 15 or later is needed: install ceph-common (or librados2)",
            )
            .caused_by(e),
            Connecting::Step("conf", e) => Error::io(OPEN, e).with("conf", &self.conf),
            Connecting::Step(_, e) => {
                let (kind, message) = match e.kind() {
                    io::ErrorKind::TimedOut => (Kind::Timeout, "no monitor of the cluster answers"),
                    io::ErrorKind::PermissionDenied => (
                        Kind::Unauthenticated,
                        "the cluster does not know this user, or the key is another",
                    ),
                    io::ErrorKind::NotFound => (
                        Kind::Unauthenticated,
                        "there is no keyring for this user: put its key into the file that ceph.conf names, by default /etc/ceph/ceph.client.USER.keyring",
                    ),
                    _ => (Kind::Unavailable, "the cluster cannot be reached"),
                };
                let error = Error::new(kind, OPEN, message).caused_by(e);
                error.with("user", &self.user).with("conf", &self.conf)
            }
        }
    }

    fn no_pool(&self, pool: &str, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => Error::new(
                Kind::NotFound,
                OPEN,
                "there is no such pool: create it (`ceph osd pool create`)",
            )
            .with("pool", pool),
            _ => Error::io(OPEN, error).with("pool", pool),
        }
    }

    fn no_index(&self, error: io::Error) -> Error {
        let error = match error.kind() {
            io::ErrorKind::NotFound => Error::new(
                Kind::NotFound,
                OPEN,
                "nothing of ours is in this namespace: create it (`raksha init` does); if its index was lost, `raksha target reindex` makes it again",
            ),
            io::ErrorKind::PermissionDenied => Error::new(
                Kind::Denied,
                OPEN,
                "this user may not read or write the pool: grant it `osd 'allow rwx pool=POOL'`",
            )
            .caused_by(error),
            _ => Error::object(OPEN, &Path::from("index"), errors::failed(error, "/index")),
        };
        error.with("target", self).with("user", &self.user)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pool, namespace, ..
        } = self;
        write!(f, "RADOS pool {pool}, namespace {namespace}")?;
        match self.prefix.as_ref() {
            "" => Ok(()),
            prefix => write!(f, ", prefix {prefix}"),
        }
    }
}

/// The largest object that one operation may write, as far as this client is told; Ceph's own limits otherwise.
fn largest(cluster: &Cluster) -> u64 {
    let setting = |name, otherwise| {
        let text = cluster.setting(name);
        text.and_then(|t| t.parse().ok()).unwrap_or(otherwise)
    };
    let object: u64 = setting("osd_max_object_size", 128 << 20);
    let write: u64 = setting("osd_max_write_size", 90);
    object.min(write << 20)
}

/// Opens `rados://pool/namespace/prefix`.
pub(crate) async fn open(
    address: Address,
    guard: GuardOptions,
    options: &OpenOptions,
) -> Result<OpenedTarget> {
    if !matches!(options.credentials, Credentials::Environment) {
        return Err(invalid(
            "RADOS takes its key from the keyring that ceph.conf names, and no other credentials",
        ));
    }
    let place = Place::read(address)?;
    let description = place.to_string();
    let prefix = place.prefix.clone();
    let inner = place.open_off_thread(options.create, &options.env).await?;
    let capabilities = TargetCapabilities {
        atomic_create: true,
        ordered_list: true,
        durable: true,
        largest_put: inner.largest,
        multipart: false,
    };
    let rados = Rados {
        inner: Arc::new(inner),
    };
    let objects: Arc<dyn ObjectStore> = match prefix.as_ref().is_empty() {
        true => Arc::new(rados),
        false => Arc::new(PrefixStore::new(rados, prefix)),
    };
    Ok(OpenedTarget::new(
        objects,
        capabilities,
        description,
        guard,
        &options.env,
    ))
}

impl Place {
    async fn open_off_thread(self, create: bool, env: &Env) -> Result<Inner> {
        let env = env.clone();
        let opened = tokio::task::spawn_blocking(move || self.open(create, env));
        opened
            .await
            .map_err(|e| Error::new(Kind::Internal, OPEN, "a thread did not finish").caused_by(e))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        for (address, reason) in [
            ("rados://pool", "namespace is missing"),
            ("rados:///", "pool is missing"),
            ("rados://pool/space?colour=red", "index_pool"),
            ("rados://pool/space?timeout=soon", "timeout"),
        ] {
            let error = crate::open(address, &OpenOptions::default())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{address}: {error}");
            assert!(error.to_string().contains(reason), "{address}: {error}");
        }
    }
}
