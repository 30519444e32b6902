//! The one error type of this library.
//!
//! An [`Error`] answers the question that a caller really has: *what should I do now?* That is its
//! [`Kind`] and whether it [is retryable](Error::is_retryable). Everything else (which operation, on what,
//! because of what) is for the person who reads the one-line message.

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as coarse as a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The caller's input cannot be carried out as it stands: correct it.
    Invalid,
    /// The thing does not exist.
    NotFound,
    /// The thing exists already and would have been overwritten.
    AlreadyExists,
    /// This implementation, target, cloud or format version cannot do that.
    Unsupported,
    /// Authentication is missing, wrong or expired.
    Unauthenticated,
    /// The principal is known but may not do that.
    Denied,
    /// The key does not open this repository.
    WrongKey,
    /// Stored or received bytes are not what they must be: damaged, truncated or forged.
    Corrupt,
    /// Somebody else was faster; look again and decide anew.
    Conflict,
    /// This session was fenced off: nothing that it does can take effect any more. Start anew.
    Fenced,
    /// A quota is used up or the target is full.
    Full,
    /// The service, target or device cannot be reached or answers with errors.
    Unavailable,
    /// It took longer than its deadline.
    Timeout,
    /// The caller asked to stop.
    Cancelled,
    /// A fault of this library: an invariant does not hold.
    Internal,
}

impl Kind {
    fn retryable_by_nature(self) -> bool {
        matches!(self, Kind::Unavailable | Kind::Timeout | Kind::Conflict)
    }
}

/// An error: kind, operation, message, context and source. Display is one line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    retryable: bool,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `operation` (a short verb phrase, such as `open repository`).
    ///
    /// `message` names the reason and, where the reader can do something, what to do.
    pub fn new(kind: Kind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            retryable: kind.retryable_by_nature(),
            operation,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// Names a thing that was involved, for example `("disk", "volume:7f…")`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// The error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides whether trying the same again can help.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the same request, tried again later, may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The operation that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What went wrong and, where somebody can do something, what to do: without the things involved, and without what caused it.
    pub fn reason(&self) -> &str {
        &self.0.message
    }

    /// The things involved, in the order in which they were added: innermost first.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(k, v)| (*k, v.as_str()))
    }

    /// An operating system error on a file, directory or device.
    pub fn io(operation: &'static str, source: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match source.kind() {
            E::NotFound => Kind::NotFound,
            E::AlreadyExists => Kind::AlreadyExists,
            E::PermissionDenied | E::ReadOnlyFilesystem => Kind::Denied,
            E::StorageFull | E::QuotaExceeded => Kind::Full,
            E::TimedOut => Kind::Timeout,
            E::UnexpectedEof => Kind::Corrupt,
            E::InvalidInput => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, operation, "the operating system refused")
            .retryable(false)
            .caused_by(source)
    }

    /// An error of an object store, on the object at `location`.
    pub fn object(
        operation: &'static str,
        location: &object_store::path::Path,
        source: object_store::Error,
    ) -> Self {
        use object_store::Error as E;
        let (kind, message) = match &source {
            E::NotFound { .. } => (Kind::NotFound, "the object is not in the target"),
            E::AlreadyExists { .. } => (Kind::AlreadyExists, "the object exists already"),
            E::Precondition { .. } => (Kind::Conflict, "somebody else changed the object"),
            E::NotSupported { .. } | E::NotImplemented { .. } => {
                (Kind::Unsupported, "the target does not offer this")
            }
            E::PermissionDenied { .. } => (Kind::Denied, "the target denies this"),
            E::Unauthenticated { .. } => (
                Kind::Unauthenticated,
                "the target does not accept the credentials",
            ),
            E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => {
                (Kind::Invalid, "the target does not accept the name")
            }
            _ => match io_error(&source) {
                Some(io) => match io.kind() {
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (
                        Kind::Full,
                        "the target is full: free space or raise its quota",
                    ),
                    std::io::ErrorKind::PermissionDenied => {
                        (Kind::Denied, "the target denies this")
                    }
                    std::io::ErrorKind::ReadOnlyFilesystem => {
                        (Kind::Denied, "the target cannot be written")
                    }
                    std::io::ErrorKind::TimedOut => {
                        (Kind::Timeout, "the target did not answer in time")
                    }
                    _ => (Kind::Unavailable, "the target failed"),
                },
                None => (Kind::Unavailable, "the target failed"),
            },
        };
        Self::new(kind, operation, message)
            .with("object", location)
            .caused_by(source)
    }
}

/// The operating system error at the bottom of `error`'s chain of sources, if there is one.
fn io_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a std::io::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        at = error.source();
    }
    None
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            let open = if i == 0 { " (" } else { ", " };
            write!(f, "{open}{name} {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}
