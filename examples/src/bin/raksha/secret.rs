//! What opens the repository: read where it is kept, never printed, never an argument.

use std::io::Read;
use std::path::{Path, PathBuf};

use raksha_core::authority::SealingKey;
use raksha_core::repository::Secret;
use raksha_core::{Error, Kind, Result};

/// From a passphrase file or a key file; if neither is given, from what the environment variables say whose names begin with
/// `prefix`.
pub fn read(
    passphrase_file: Option<&Path>,
    key_file: Option<&Path>,
    prefix: &str,
) -> Result<Secret> {
    let given = passphrase_file.is_some() || key_file.is_some();
    let variable = |name: &str| match given {
        true => None,
        false => std::env::var_os(format!("{prefix}_{name}")).filter(|value| !value.is_empty()),
    };
    let named = |path: Option<&Path>, name| {
        let path = path.map(Path::to_owned);
        path.or_else(|| variable(name).map(PathBuf::from))
    };
    if let Some(path) = named(key_file, "KEY_FILE") {
        let bytes = std::fs::read(&path)
            .map_err(|e| Error::io("read key file", e).with("file", path.display()))?;
        return Ok(Secret::key_file(&bytes));
    }
    let passphrase = match named(passphrase_file, "PASSPHRASE_FILE") {
        Some(path) => first_line(&path)?,
        None => variable("PASSPHRASE")
            .and_then(|value| value.into_string().ok())
            .unwrap_or_default(),
    };
    if passphrase.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "read key",
            format!("a passphrase or key file is needed: name a file, or set {prefix}_PASSPHRASE"),
        ));
    }
    Ok(Secret::passphrase(passphrase))
}

/// The key of a service, by which what is secret about delegations is sealed.
pub fn service_key(path: &Path) -> Result<SealingKey> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::io("read service key", e).with("file", path.display()))?;
    SealingKey::new(&bytes).map_err(|error| error.with("file", path.display()))
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
