//! What opens the repository: read where it is kept, never printed, never an argument.

use std::io::Read;
use std::path::Path;

use raksha_core::repository::Secret;
use raksha_core::{Error, Kind, Result};

/// From a passphrase file, a key file or, if neither is given, the environment variable `variable`.
pub fn read(
    passphrase_file: Option<&Path>,
    key_file: Option<&Path>,
    variable: &str,
) -> Result<Secret> {
    if let Some(path) = key_file {
        let bytes = std::fs::read(path)
            .map_err(|e| Error::io("read key file", e).with("file", path.display()))?;
        return Ok(Secret::key_file(&bytes));
    }
    let passphrase = match passphrase_file {
        Some(path) => first_line(path)?,
        None => std::env::var(variable).unwrap_or_default(),
    };
    if passphrase.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "read key",
            format!("a passphrase or key file is needed: name a file, or set {variable}"),
        ));
    }
    Ok(Secret::passphrase(passphrase))
}

fn first_line(path: &Path) -> Result<String> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|e| Error::io("read passphrase", e).with("file", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
