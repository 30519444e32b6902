//! TLS: its cryptography, and certificates to trust besides the system's.

use raksha_core::{Error, Result};

use crate::address::invalid;

/// Chooses the cryptography of TLS for this process, unless the embedder chose one before. Without it no HTTP client can be made, not even one
/// that never uses TLS.
pub(crate) fn choose_cryptography() {
    // An error says that one was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The bytes of `file`, which holds PEM certificates.
pub(crate) async fn read(file: &str) -> Result<Vec<u8>> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let pem = read
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|e| Error::io("read certificates", e).with("ca", file))?;
    let mark = b"-----BEGIN CERTIFICATE-----";
    match pem.windows(mark.len()).any(|window| window == mark) {
        true => Ok(pem),
        false => Err(unfit(file)),
    }
}

/// The error of a file that holds something else.
pub(crate) fn unfit(file: &str) -> Error {
    invalid("this file holds no PEM certificates").with("ca", file)
}
