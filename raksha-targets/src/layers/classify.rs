//! Which errors another attempt may cure.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::Error;

/// What a server answered instead of what was asked for: for implementations of targets that speak HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}{}", hint(.message))]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body, where it is text.
    pub message: String,
    /// For those who look for an operating system's error, as [`raksha_core::Error::object`] does: a full target, a time-out.
    #[source]
    pub source: Option<io::Error>,
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
        return Some(status(refusal.status, refusal.retry_after));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(operating_system(error.kind()));
    }
    None
}

/// 408, 429 and 498 (Swift: rate limit reached) ask to come again; 5xx are the server's own troubles, except those that say that it
/// cannot do this at all (501, 505) or has no room (507).
fn status(status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        408 | 425 | 429 | 498 => Verdict::Transient(retry_after),
        501 | 505 | 507 => Verdict::Permanent,
        500..=599 => Verdict::Transient(retry_after),
        _ => Verdict::Permanent,
    }
}

fn operating_system(kind: io::ErrorKind) -> Verdict {
    use io::ErrorKind as E;
    match kind {
        E::ConnectionRefused
        | E::ConnectionReset
        | E::ConnectionAborted
        | E::NotConnected
        | E::HostUnreachable
        | E::NetworkUnreachable
        | E::NetworkDown
        | E::BrokenPipe
        | E::TimedOut
        | E::Interrupted
        | E::WouldBlock
        | E::ResourceBusy
        | E::UnexpectedEof
        | E::Other => Verdict::Transient(None),
        _ => Verdict::Permanent,
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
