//! Which errors another attempt may cure.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::Error;

/// What a server answered instead of what was asked for: for implementations of targets that speak HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}{}", hint(.message))]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body, where it is text.
    pub message: String,
    /// For those who look for an operating system's error, as [`raksha_core::Error::object`] does.
    #[source]
    like: Option<io::Error>,
}

impl Refusal {
    /// An answer of `status`. 408, 425, 429 and 498 (Swift: rate limit reached) ask to come again; 5xx are the server's own troubles, except
    /// those that say that it cannot do this at all (501, 505) or has no room (507).
    pub fn new(status: u16, retry_after: Option<Duration>, message: &str) -> Self {
        let refusal = Self {
            status,
            retryable: match status {
                408 | 425 | 429 | 498 => true,
                501 | 505 | 507 => false,
                _ => (500..=599).contains(&status),
            },
            retry_after,
            message: message.trim().chars().take(300).collect(),
            like: None,
        };
        match status {
            507 => refusal.full(),
            _ => refusal,
        }
    }

    /// The same, known to be because of a lack of room or a quota.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.retryable = false;
        self.like = Some(io::ErrorKind::StorageFull.into());
        self
    }

    /// The same, known to be because the credentials do not allow it.
    #[must_use]
    pub fn denied(mut self) -> Self {
        self.retryable = false;
        self.like = Some(io::ErrorKind::PermissionDenied.into());
        self
    }

    /// The same, known to pass or not.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}

fn hint(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another attempt gives the same.
    Permanent,
    /// Another attempt may succeed, no earlier than after the given time.
    Transient(Option<Duration>),
}

/// Judges the error of one attempt.
pub(super) fn classify(error: &Error) -> Verdict {
    match error {
        Error::Generic { source, .. } => chain(source.as_ref()),
        _ => Verdict::Permanent,
    }
}

/// The first cause that says something decides; if none does, trying again does no harm.
fn chain(error: &(dyn StdError + 'static)) -> Verdict {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(verdict) = judge(error) {
            return verdict;
        }
        at = error.source();
    }
    Verdict::Transient(None)
}

fn judge(error: &(dyn StdError + 'static)) -> Option<Verdict> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(match refusal.retryable {
            true => Verdict::Transient(refusal.retry_after),
            false => Verdict::Permanent,
        });
    }
    if let Some(error) = error.downcast_ref::<raksha_core::Error>() {
        return Some(match error.is_retryable() {
            true => Verdict::Transient(None),
            false => Verdict::Permanent,
        });
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(operating_system(error.kind()));
    }
    None
}

/// What a further attempt would meet again; anything else (connections, name resolution) may pass.
fn operating_system(kind: io::ErrorKind) -> Verdict {
    use io::ErrorKind as E;
    match kind {
        E::NotFound
        | E::PermissionDenied
        | E::AlreadyExists
        | E::NotADirectory
        | E::IsADirectory
        | E::DirectoryNotEmpty
        | E::ReadOnlyFilesystem
        | E::StorageFull
        | E::QuotaExceeded
        | E::FileTooLarge
        | E::InvalidFilename
        | E::InvalidInput
        | E::InvalidData
        | E::Unsupported => Verdict::Permanent,
        _ => Verdict::Transient(None),
    }
}

/// The error of an attempt that took too long.
pub(super) fn timed_out(after: Duration, what: &str) -> Error {
    let message = format!("{what} within {:.1} s", after.as_secs_f64());
    Error::Generic {
        store: "target",
        source: Box::new(io::Error::new(io::ErrorKind::TimedOut, message)),
    }
}

/// The error of a body that ended early.
pub(super) fn cut_short(missing: u64) -> Error {
    let message = format!("the body ended {missing} bytes too early");
    Error::Generic {
        store: "target",
        source: Box::new(io::Error::new(io::ErrorKind::UnexpectedEof, message)),
    }
}
