//! Where a target is, as text: a URL whose query holds options, or the path of a directory.

use std::borrow::Cow;
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
    options: Options,
}

/// The options of an address. They are taken out one by one; [`finish`](Self::finish) refuses what nobody took.
#[derive(Debug)]
pub(crate) struct Options {
    operation: &'static str,
    given: BTreeMap<String, String>,
}

impl Options {
    /// Those that were given to `operation`.
    pub(crate) fn new<'a>(
        operation: &'static str,
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            let (name, value) = (name.into_owned(), value.into_owned());
            if given.insert(name.clone(), value).is_some() {
                let message = "an option is given twice";
                return Err(Error::new(Kind::Invalid, operation, message).with("option", name));
            }
        }
        Ok(Self { operation, given })
    }

    /// The option `name`, if it was given.
    pub(crate) fn take<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(value) = self.given.remove(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => {
                let message = "this option cannot have this value";
                Err(Error::new(Kind::Invalid, self.operation, message)
                    .with("option", name)
                    .with("value", value))
            }
        }
    }

    /// Refuses options that nobody took; `valid` are those of the scheme.
    pub(crate) fn finish(self, scheme: &str, valid: &[(&str, &str)]) -> Result<()> {
        let Some(unknown) = self.given.into_keys().next() else {
            return Ok(());
        };
        let mut message = format!("'{scheme}' has no such option; it has");
        for (name, meaning) in valid {
            // Writing to a string cannot fail.
            let _ = write!(message, " {name} ({meaning}),");
        }
        message.pop();
        Err(Error::new(Kind::Invalid, self.operation, message).with("option", unknown))
    }
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
                    options: Options::new(OPERATION, std::iter::empty())?,
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
        let options = Options::new(OPERATION, url.query_pairs())?;
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
        self.options.take(name)
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
        self.options.finish(&self.scheme, &[valid, COMMON].concat())
    }
}

/// The scheme that `text` begins with. A single letter is none.
pub(crate) fn scheme(text: &str) -> Option<String> {
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
