//! Containers of OpenStack Swift, and of the RADOS Gateway's Swift API.
//!
//! Creating an object is not atomic here, whatever `If-None-Match: *` is answered: of writers that race, several are told that they
//! won. So the commit log of a repository in Swift lies in a SQL catalog.
//!
//! Large objects are static large objects; their segments lie in a container beside, named as the container with `-segments` after
//! it, and go when the object is deleted.

mod client;
mod delete;
mod limits;
mod listing;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use percent_encoding::percent_decode_str;
use raksha_core::cloud::{SecretText, TokenSource};
use raksha_core::{Error, Kind, Result};
use reqwest::{Certificate, Client};

use crate::address::{Address, invalid};
use crate::credentials::Credentials;
use crate::layers::GuardOptions;
use crate::open::{OpenOptions, OpenedTarget, TargetCapabilities};
use crate::tls;
use client::Connection;
use limits::{Limits, about};
use store::{Inner, Swift};
use tokens::{TempAuth, Tokens};

const OPEN: &str = "open Swift target";

pub(crate) const OPTIONS: &[(&str, &str)] = &[
    (
        "auth",
        "URL of Swift's own authentication, where there is no Keystone",
    ),
    ("allow_http", "true allows services without TLS"),
    (
        "ca",
        "file of PEM certificates to trust besides the system's",
    ),
];

/// Opens `swift://container/prefix`.
pub(crate) async fn open(
    mut address: Address,
    guard: GuardOptions,
    options: &OpenOptions,
) -> Result<OpenedTarget> {
    let (container, prefix) = address.host_and_prefix("container")?;
    let container = percent_decode_str(&container)
        .decode_utf8_lossy()
        .into_owned();
    let auth: Option<String> = address.take("auth")?;
    let allow_http = address.take("allow_http")?.unwrap_or(false);
    let ca: Option<String> = address.take("ca")?;
    address.finish(OPTIONS)?;

    let client = http_client(ca.as_deref()).await?;
    let env = options.env.clone();
    let source: Arc<dyn TokenSource> = match &options.credentials {
        Credentials::Tokens(source) => Arc::clone(source),
        credentials => {
            let (user, key) = user_and_key(credentials)?;
            let url = auth.clone().ok_or_else(|| {
                invalid("name Swift's authentication by the option auth, or give Keystone's tokens as credentials")
            })?;
            encrypted(&url, allow_http)?;
            Arc::new(TempAuth {
                client: client.clone(),
                url,
                user,
                key,
                env: env.clone(),
            })
        }
    };
    let connection = Connection::new(client, Tokens::new(source, env.clone()));
    let endpoint = connection.token().await?.endpoint;
    encrypted(&endpoint, allow_http)?;
    let limits = Limits::ask(&connection, &endpoint).await;
    let inner = Arc::new(Inner {
        connection,
        segments: format!("{container}-segments"),
        container,
        limits,
        env,
    });
    make_or_find(&inner, options.create).await?;
    let mut description = format!("Swift container {}", inner.container);
    if !prefix.as_ref().is_empty() {
        description += &format!(", prefix {prefix}");
    }
    description += &format!(", at {endpoint}");
    let capabilities = TargetCapabilities {
        atomic_create: false,
        ordered_list: true,
        durable: true,
        largest_put: inner.limits.largest_put,
        multipart: inner.limits.segments.is_some(),
    };
    let swift = Swift { inner };
    let objects: Arc<dyn ObjectStore> = match prefix.as_ref().is_empty() {
        true => Arc::new(swift),
        false => Arc::new(PrefixStore::new(swift, prefix)),
    };
    let env = &options.env;
    Ok(OpenedTarget::new(
        objects,
        capabilities,
        description,
        guard,
        env,
    ))
}

async fn make_or_find(inner: &Inner, create: bool) -> Result<()> {
    let container = &inner.container;
    let failed = |e| Error::object(OPEN, &about(container), e);
    if inner.has_container(container).await.map_err(failed)? {
        return Ok(());
    }
    if create {
        return inner.make_container(container).await.map_err(failed);
    }
    Err(Error::new(
        Kind::NotFound,
        OPEN,
        "there is no such container: create it",
    )
    .with("container", container))
}

async fn http_client(ca: Option<&str>) -> Result<Client> {
    tls::choose_cryptography();
    // Deadlines are the guard's business: one for all would cut large objects on slow lines.
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none());
    if let Some(file) = ca {
        let pem = tls::read(file).await?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|e| tls::unfit(file).caused_by(e))?;
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder
        .build()
        .map_err(|e| Error::new(Kind::Internal, OPEN, "no HTTP client could be made").caused_by(e))
}

fn user_and_key(credentials: &Credentials) -> Result<(String, SecretText)> {
    match credentials {
        Credentials::Password { user, password } => Ok((user.clone(), password.clone())),
        Credentials::Environment => match (std::env::var("ST_USER"), std::env::var("ST_KEY")) {
            (Ok(user), Ok(key)) => Ok((user, SecretText::new(key))),
            _ => Err(invalid(
                "no credentials: set ST_USER and ST_KEY, or give some",
            )),
        },
        _ => Err(invalid(
            "Swift wants a user and a password, or tokens, not a key pair",
        )),
    }
}

/// Refuses to send secrets in the clear unless that is meant.
fn encrypted(url: &str, allow_http: bool) -> Result<()> {
    match url.starts_with("https://") || allow_http {
        true => Ok(()),
        false => Err(
            invalid("this service has no TLS, so that keys and tokens can be read on the way: if that is meant, add allow_http=true")
                .with("url", url),
        ),
    }
}
