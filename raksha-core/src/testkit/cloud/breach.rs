//! What a suite answers.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// Whether the contract was kept, as far as was looked.
pub type Verdict = Result<(), Breach>;

/// A rule that was broken, and how it was seen.
#[derive(Debug, Clone)]
pub struct Breach {
    /// The rule, as a sentence.
    pub rule: String,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}; seen: {}", self.rule, self.seen)
    }
}

impl std::error::Error for Breach {}

/// Holds if `kept`.
pub(super) fn hold(kept: bool, rule: &str, seen: impl FnOnce() -> String) -> Verdict {
    if kept {
        return Ok(());
    }
    Err(Breach {
        rule: rule.to_owned(),
        seen: seen(),
    })
}

/// Holds if both are the same.
pub(super) fn same<T: PartialEq + fmt::Debug>(seen: &T, wanted: &T, rule: &str) -> Verdict {
    hold(seen == wanted, rule, || {
        format!("{seen:?} instead of {wanted:?}")
    })
}

/// Holds if `outcome` is an error of this kind.
pub(super) fn refused<T>(outcome: Result<T>, kind: Kind, rule: &str) -> Verdict {
    match outcome {
        Ok(_) => hold(false, rule, || "it succeeded".to_owned()),
        Err(e) => hold(e.kind() == kind, rule, || format!("{:?}: {e}", e.kind())),
    }
}

/// Turns errors that must not happen into breaches.
pub(super) trait Must<T> {
    /// The value; `what` says what should have worked.
    fn must(self, what: &str) -> Result<T, Breach>;
}

impl<T> Must<T> for Result<T, Error> {
    fn must(self, what: &str) -> Result<T, Breach> {
        self.map_err(|e| Breach {
            rule: format!("{what} works"),
            seen: format!("{:?}: {e}", e.kind()),
        })
    }
}

impl<T> Must<T> for Option<T> {
    fn must(self, what: &str) -> Result<T, Breach> {
        self.ok_or_else(|| Breach {
            rule: format!("{what} is there"),
            seen: "it is not".to_owned(),
        })
    }
}
