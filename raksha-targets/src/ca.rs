//! Certificates to trust besides the system's.

use raksha_core::{Error, Result};

use crate::address::invalid;

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
