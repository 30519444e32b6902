//! How connections are made: TLS, certificates, no redirects.

use std::path::Path;

use raksha_core::{Error, Kind, Result};
use reqwest::{Certificate, Identity, redirect};
use zeroize::Zeroizing;

use super::ClientOptions;
use crate::config::CloudConfig;

const OPERATION: &str = "prepare connections";

/// Two pools. A server may close an idle connection at the moment when a request is written to it, and nobody can tell whether
/// that took effect: so what must not happen twice goes over a connection of its own.
pub(super) struct Connections {
    kept: reqwest::Client,
    fresh: reqwest::Client,
}

impl Connections {
    pub(super) async fn new(config: &CloudConfig, options: &ClientOptions) -> Result<Self> {
        // Unless the embedder chose one before: an error here says just that.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = Tls::read(config).await?;
        let build = |idle: usize| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("raksha/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(options.connect)
                .pool_max_idle_per_host(idle)
                .http1_only()
                // A redirect would carry the token to wherever it points.
                .redirect(redirect::Policy::none())
                // No settings but those of the cloud.
                .no_proxy();
            if !tls.authorities.is_empty() {
                builder = builder.tls_certs_only(tls.authorities.clone());
            }
            if let Some(identity) = tls.identity.clone() {
                builder = builder.identity(identity);
            }
            if !config.verify {
                builder = builder.tls_danger_accept_invalid_certs(true);
            }
            builder.build().map_err(|source| {
                Error::new(
                    Kind::Invalid,
                    OPERATION,
                    "the TLS settings cannot be used: check cacert, cert and key of the cloud",
                )
                .with("cloud", &config.name)
                .caused_by(source)
            })
        };
        Ok(Self {
            kept: build(options.connections)?,
            fresh: build(0)?,
        })
    }

    pub(super) fn pick(&self, idempotent: bool) -> &reqwest::Client {
        if idempotent { &self.kept } else { &self.fresh }
    }
}

struct Tls {
    /// Empty: those that the system trusts.
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Tls {
    async fn read(config: &CloudConfig) -> Result<Self> {
        let authorities = match &config.ca_certificate {
            None => Vec::new(),
            Some(path) => {
                let found = Certificate::from_pem_bundle(&read(path, "cacert").await?)
                    .map_err(|source| unreadable(path, "cacert").caused_by(source))?;
                if found.is_empty() {
                    return Err(unreadable(path, "cacert"));
                }
                found
            }
        };
        let identity = match &config.client_certificate {
            None => None,
            Some(path) => {
                let mut pem = read(path, "cert").await?;
                if let Some(key) = &config.client_key {
                    let key = read(key, "key").await?;
                    let mut both = Zeroizing::new(Vec::with_capacity(pem.len() + key.len() + 1));
                    both.extend_from_slice(&pem);
                    both.push(b'\n');
                    both.extend_from_slice(&key);
                    pem = both;
                }
                let identity = Identity::from_pem(&pem)
                    .map_err(|source| unreadable(path, "cert").caused_by(source))?;
                Some(identity)
            }
        };
        Ok(Self {
            authorities,
            identity,
        })
    }
}

async fn read(path: &Path, setting: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    tokio::fs::read(path)
        .await
        .map(Zeroizing::new)
        .map_err(|source| {
            Error::io(OPERATION, source)
                .with("file", path.display())
                .with("setting", setting)
        })
}

fn unreadable(path: &Path, setting: &'static str) -> Error {
    let reason = "the file does not hold what its setting says, in PEM form";
    Error::new(Kind::Invalid, OPERATION, reason)
        .with("file", path.display())
        .with("setting", setting)
}
