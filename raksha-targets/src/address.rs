//! Where a target is, as text: a URL whose query holds options, or the path of a directory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;

#[cfg(any(feature = "rados", feature = "s3", feature = "swift"))]
use object_store::path::Path;
use raksha_core::{Error, Kind, Result};
use url::Url;

const OPERATION: &str = "open target";

/// What every scheme understands.
pub(crate) const COMMON: &[(&str, &str)] = &[
    ("concurrency", "requests under way at once"),
    ("requests_per_second", "requests begun each second"),
    ("bytes_per_second", "bytes sent and received each second"),
];

/// A parsed address. Options are taken out one by one; [`finish`](Self::finish) refuses what nobody took.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    /// The URL without its options; for a plain path, as if it had been a `file` URL.
    pub(crate) url: Option<Url>,
    /// The plain path, if it was one.
    pub(crate) path: Option<String>,
    options: BTreeMap<String, String>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let Some(scheme) = scheme(text) else {
            return match text.is_empty() {
                true => Err(invalid("the address is empty: name a directory or a URL")),
                false => Ok(Self {
                    scheme: "file".into(),
                    url: None,
                    path: Some(text.into()),
                    options: BTreeMap::new(),
                }),
            };
        };
        let mut url = Url::parse(text).map_err(|e| {
            // The text may hold a password where none belongs: it is not repeated.
            invalid("the address is not a URL")
                .with("scheme", &scheme)
                .caused_by(e)
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            let remedy = "an address holds no user and password: give them as credentials";
            return Err(invalid(remedy).with("scheme", scheme));
        }
        let mut options = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            let (name, value) = (name.into_owned(), value.into_owned());
            if options.insert(name.clone(), value).is_some() {
                return Err(invalid("an option is given twice").with("option", name));
            }
        }
        url.set_query(None);
        Ok(Self {
            scheme,
            url: Some(url),
            path: None,
            options,
        })
    }

    /// The option `name`, if it was given.
    pub(crate) fn take<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(value) = self.options.remove(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(invalid("this option cannot have this value")
                .with("option", name)
                .with("value", value)),
        }
    }

    /// The host of the URL, which names a `what`, and the path below it as a prefix.
    #[cfg(any(feature = "rados", feature = "s3", feature = "swift"))]
    pub(crate) fn host_and_prefix(&self, what: &str) -> Result<(String, Path)> {
        let scheme = &self.scheme;
        let url = self.url.as_ref();
        let host = url.and_then(Url::host_str).filter(|host| !host.is_empty());
        let (Some(url), Some(host)) = (url, host) else {
            let message = format!("the {what} is missing: write {scheme}://{what}/prefix");
            return Err(invalid(message));
        };
        if url.port().is_some() || url.fragment().is_some() {
            let message =
                format!("write {scheme}://{what}/prefix; a service is named by an option");
            return Err(invalid(message));
        }
        let prefix = Path::from_url_path(url.path()).map_err(|e| {
            invalid("this cannot be a prefix")
                .with("prefix", url.path())
                .caused_by(e)
        })?;
        Ok((host.to_owned(), prefix))
    }

    /// Refuses options that nobody took; `valid` are those of the scheme.
    pub(crate) fn finish(self, valid: &[(&str, &str)]) -> Result<()> {
        let Some(unknown) = self.options.into_keys().next() else {
            return Ok(());
        };
        let mut message = format!("'{}' has no such option; it has", self.scheme);
        for (name, meaning) in valid.iter().chain(COMMON) {
            let _ = write!(message, " {name} ({meaning}),");
        }
        message.pop();
        Err(invalid(message).with("option", unknown))
    }
}

/// The scheme that `text` begins with. A single letter is none.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// An error in an address.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, OPERATION, message)
}
