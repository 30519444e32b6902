//! Private authorities, and clients that must prove who they are.

use std::path::PathBuf;
use std::sync::Arc;

use raksha_core::env::Env;
use raksha_core::{Kind, Result};
use raksha_openstack::client::Client;
use raksha_openstack::config::CloudConfig;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::server::{Reply, Server, options};

/// Certificates for 127.0.0.1 and for a client, by an authority whose key was thrown away; good until 2126.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/client/tls")
        .join(name)
}

async fn server(asks_clients: bool) -> Server {
    let certificate = |name| CertificateDer::from_pem_file(file(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder();
    let config = if asks_clients {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        config.with_client_cert_verifier(verifier.unwrap())
    } else {
        config.with_no_client_auth()
    };
    let config = config.with_single_cert(vec![certificate("server.pem")], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    Server::start_with(Some(acceptor), |_, _| Reply::ok()).await
}

async fn connect(config: &CloudConfig) -> Result<Client> {
    Client::connect_with(config, options(), Env::system()).await
}

#[tokio::test]
async fn only_the_authority_that_is_named_is_trusted() {
    let server = server(false).await;
    let mut config = server.config();
    let error = connect(&config).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("check cacert"), "{error}");
    assert_eq!(server.keystone().asked, 0);

    config.ca_certificate = Some(file("ca.pem"));
    connect(&config).await.unwrap();
    // Another one does not vouch for it.
    config.ca_certificate = Some(file("client.pem"));
    assert_eq!(connect(&config).await.unwrap_err().kind(), Kind::Invalid);

    config.ca_certificate = None;
    config.verify = false;
    connect(&config).await.unwrap();
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let server = server(true).await;
    let mut config = server.config();
    config.ca_certificate = Some(file("ca.pem"));
    let error = connect(&config).await.unwrap_err();
    assert_eq!(server.keystone().asked, 0, "{error}");
    config.client_certificate = Some(file("client.pem"));
    config.client_key = Some(file("client.key"));
    connect(&config).await.unwrap();

    // Both in one file, as openstacksdk allows.
    let both = tempfile::NamedTempFile::new().unwrap();
    let read = |name| std::fs::read_to_string(file(name)).unwrap();
    std::fs::write(both.path(), read("client.pem") + &read("client.key")).unwrap();
    config.client_certificate = Some(both.path().to_owned());
    config.client_key = None;
    connect(&config).await.unwrap();
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_named() {
    let server = server(false).await;
    let mut config = server.config();
    for (path, kind) in [
        ("missing.pem", Kind::NotFound),
        ("server.key", Kind::Invalid),
    ] {
        config.ca_certificate = Some(file(path));
        let error = connect(&config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    config.ca_certificate = Some(file("ca.pem"));
    config.client_certificate = Some(file("client.pem"));
    let error = connect(&config).await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Invalid,
        "a certificate without its key: {error}"
    );
}
