//! Opening a target by its address.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use raksha_core::env::Env;
use raksha_core::repository::Target;
use raksha_core::store::ManifestCatalog;
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::address::{Address, invalid};
use crate::credentials::Credentials;
use crate::directory::Directory;
use crate::layers::{GuardOptions, Guarded, Metrics};
use crate::retention::Retention;

/// How to open a target.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Whether to make the directory or container if it is not there.
    pub create: bool,
    /// The policies around the target; what suits its scheme if not given. Limits in the address go before these.
    pub guard: Option<GuardOptions>,
    /// What proves who asks.
    pub credentials: Credentials,
    /// Randomness for pauses and temporary names.
    pub env: Env,
}

impl OpenOptions {
    /// The same, making the directory or container if it is not there.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The same with these policies.
    #[must_use]
    pub fn guard(mut self, guard: GuardOptions) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The same with these credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// The same in another world.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }
}

/// What a target declares about itself. [`validate`](crate::validate()) finds out whether that is so. The default is to declare nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetCapabilities {
    /// Of several creators of one name exactly one wins: then the commit log may lie in the target.
    pub atomic_create: bool,
    /// Listings come in the order of names.
    pub ordered_list: bool,
    /// What was stored survives a crash of this process.
    pub durable: bool,
    /// The largest object that one request may store, in bytes.
    pub largest_put: u64,
    /// Large objects may be written in parts.
    pub multipart: bool,
}

/// An open target.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenedTarget {
    /// Its objects, behind its policies.
    pub objects: Arc<dyn ObjectStore>,
    /// Where its commit log lies, if not among its objects, which then have a copy of it.
    pub catalog: Option<Arc<dyn ManifestCatalog>>,
    /// What it declares.
    pub capabilities: TargetCapabilities,
    /// What it is, for people: no secrets. Catalogs know a target by this.
    pub description: String,
    /// What it was asked, and what came of it.
    pub metrics: Metrics,
    /// What keeps its objects from being deleted, where it can.
    pub retention: Option<Arc<dyn Retention>>,
}

impl OpenedTarget {
    /// Puts the commit log elsewhere; the target gets a copy of it.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Arc<dyn ManifestCatalog>) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// What a repository is created or opened in.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if no catalog was given and the target cannot create an object atomically.
    pub fn repository(&self) -> Result<Target> {
        let objects = Arc::clone(&self.objects);
        match &self.catalog {
            Some(catalog) => Ok(Target::mirrored(objects, Arc::clone(catalog))),
            None if self.capabilities.atomic_create => Ok(Target::new(objects)),
            None => Err(Error::new(
                Kind::Unsupported,
                OPEN,
                "here several writers may all believe that they created an object, so the commit log must lie in a SQL catalog: name one",
            )
            .with("target", &self.description)),
        }
    }

    /// A target of one's own: `objects` behind the policies of `guard`.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        capabilities: TargetCapabilities,
        description: String,
        guard: GuardOptions,
        env: &Env,
    ) -> Self {
        let ordered = capabilities.ordered_list;
        let guarded = Guarded::named(objects, &description, ordered, guard, env.clone());
        Self {
            metrics: guarded.metrics().clone(),
            objects: Arc::new(guarded),
            catalog: None,
            capabilities,
            description,
            retention: None,
        }
    }
}

impl fmt::Display for OpenedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

const OPEN: &str = "open target";

/// The schemes of this build, for messages.
const SCHEMES: &[&str] = &[
    "file:///directory (or its plain path)",
    "memory:",
    #[cfg(feature = "rados")]
    "rados://pool/namespace/prefix",
    #[cfg(feature = "s3")]
    "s3://bucket/prefix",
    #[cfg(feature = "swift")]
    "swift://container/prefix",
];

/// Opens the target at `address`.
///
/// | address | target | options |
/// | --- | --- | --- |
/// | `file:///directory` or a plain path | files in a [`Directory`] | |
/// | `memory:` | this process's memory: new and empty each time | |
/// | `rados://pool/namespace/prefix` | a namespace of a pool of Ceph (feature `rados`, and librados on the machine) | `user` (`admin` unless given), `conf`, `timeout` (seconds), `index_pool` (a replicated pool for the names, where the other one is erasure coded), `index_shards` |
/// | `s3://bucket/prefix` | a bucket of S3 or of what speaks like it (feature `s3`); it must exist | `endpoint` (a URL, where it is not AWS), `region`, `allow_http=true`, `virtual_host=true` (the endpoint's host contains the bucket), `ca` (a file of PEM certificates), `bulk_delete=false` |
/// | `swift://container/prefix` | a container of OpenStack Swift or of the RADOS Gateway's Swift API (feature `swift`) | `auth` (URL of Swift's own authentication, where there is no Keystone), `allow_http=true`, `ca` |
///
/// Every scheme also has the options `concurrency`, `requests_per_second` and `bytes_per_second`, as in
/// `file:///backup?bytes_per_second=50000000`.
///
/// # Errors
/// [`Kind::Invalid`] names the scheme or option that is unknown and lists those that there are; [`Kind::NotFound`] if there is no such
/// directory or container and [`OpenOptions::create`] does not say to make it.
pub async fn open(address: &str, options: &OpenOptions) -> Result<OpenedTarget> {
    let mut address = Address::parse(address)?;
    let scheme = address.scheme.clone();
    let guard = options.guard.clone();
    let mut guard = guard.unwrap_or_else(|| match scheme.as_str() {
        "file" | "memory" => GuardOptions::default(),
        _ => GuardOptions::remote(),
    });
    guard.concurrency = address.take("concurrency")?.or(guard.concurrency);
    guard.requests_per_second =
        (address.take("requests_per_second")?).or(guard.requests_per_second);
    guard.bytes_per_second = address.take("bytes_per_second")?.or(guard.bytes_per_second);
    match scheme.as_str() {
        "file" => open_directory(address, guard, options).await,
        "memory" => open_memory(address, guard, options),
        #[cfg(feature = "rados")]
        "rados" => crate::rados::open(address, guard, options).await,
        #[cfg(feature = "s3")]
        "s3" => crate::s3::open(address, guard, options).await,
        #[cfg(feature = "swift")]
        "swift" => crate::swift::open(address, guard, options).await,
        _ => {
            let message = format!("there is no such scheme; there are {}", SCHEMES.join(", "));
            Err(invalid(message).with("scheme", scheme))
        }
    }
}

async fn open_directory(
    address: Address,
    guard: GuardOptions,
    options: &OpenOptions,
) -> Result<OpenedTarget> {
    let path = match (&address.path, &address.url) {
        (Some(path), _) => path.into(),
        (None, Some(url)) => url.to_file_path().map_err(|()| {
            invalid("a directory on this machine has three slashes, as in file:///backup")
                .with("address", url)
        })?,
        (None, None) => return Err(invalid("the address names no directory")),
    };
    address.finish(&[])?;
    let directory = Directory::open(path, options.create, options.env.clone()).await?;
    let description = directory.to_string();
    let capabilities = TargetCapabilities {
        atomic_create: true,
        ordered_list: false,
        durable: true,
        largest_put: u64::MAX,
        multipart: true,
    };
    let objects = Arc::new(directory);
    Ok(OpenedTarget::new(
        objects,
        capabilities,
        description,
        guard,
        &options.env,
    ))
}

fn open_memory(
    address: Address,
    guard: GuardOptions,
    options: &OpenOptions,
) -> Result<OpenedTarget> {
    let has_name = address.url.as_ref().is_some_and(|url| {
        url.has_host() || !url.path().trim_matches('/').is_empty() || url.fragment().is_some()
    });
    if has_name {
        return Err(invalid("memory has no name: write memory:"));
    }
    address.finish(&[])?;
    let capabilities = TargetCapabilities {
        atomic_create: true,
        ordered_list: true,
        durable: false,
        largest_put: u64::MAX,
        multipart: true,
    };
    let objects = Arc::new(InMemory::new());
    let description = "memory of this process".to_owned();
    Ok(OpenedTarget::new(
        objects,
        capabilities,
        description,
        guard,
        &options.env,
    ))
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::path::Path;

    use super::*;

    async fn refusal(address: &str) -> String {
        let error = open(address, &OpenOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused_by_name() {
        let unknown = refusal("gopher://bucket/x").await;
        assert!(
            unknown.contains("gopher") && unknown.contains("memory:"),
            "{unknown}"
        );
        let option = refusal("memory:?colour=red").await;
        assert!(
            option.contains("colour") && option.contains("bytes_per_second"),
            "{option}"
        );
        let value = refusal("memory:?concurrency=0").await;
        assert!(
            value.contains("concurrency") && value.contains("value 0"),
            "{value}"
        );
        assert!(
            refusal("memory:?concurrency=1&concurrency=2")
                .await
                .contains("twice")
        );
        assert!(refusal("file://host/x").await.contains("three slashes"));
        assert!(refusal("memory:name").await.contains("no name"));
        assert!(refusal("").await.contains("empty"));
        let secret = refusal("file://user:geheim@/x").await;
        assert!(!secret.contains("geheim"), "{secret}");
    }

    #[tokio::test]
    async fn a_url_and_a_plain_path_name_the_same_directory() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("with space");
        let url = url::Url::from_file_path(&path).unwrap();
        let options = OpenOptions::default().create(true);
        let by_url = open(&format!("{url}?concurrency=2"), &options)
            .await
            .unwrap();
        let location = Path::from("o");
        by_url.objects.put(&location, "x".into()).await.unwrap();
        let by_path = open(path.to_str().unwrap(), &OpenOptions::default())
            .await
            .unwrap();
        assert_eq!(by_path.objects.head(&location).await.unwrap().size, 1);
        assert!(by_path.repository().is_ok());
    }
}
