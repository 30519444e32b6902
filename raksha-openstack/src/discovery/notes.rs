//! What may not be seen, and so is left out.

use std::sync::{Mutex, PoisonError};

use raksha_core::cloud::Omission;
use raksha_core::{Error, Kind, Result};

/// Collects omissions from what is found at the same time.
#[derive(Default)]
pub(super) struct Notes(Mutex<Vec<Omission>>);

impl Notes {
    pub(super) fn add(&self, what: impl Into<String>, reason: impl Into<String>) {
        let omission = Omission {
            what: what.into(),
            reason: reason.into(),
        };
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&omission) {
            notes.push(omission);
        }
    }

    /// What was found; nothing, and a note, if it may not be seen or this cloud has no such thing.
    pub(super) fn visible<T: Default>(&self, what: &str, found: Result<T>) -> Result<T> {
        match found {
            Ok(found) => Ok(found),
            Err(error) if is_hidden(&error) => {
                self.add(what, reason(&error));
                Ok(T::default())
            }
            Err(error) => Err(error),
        }
    }

    /// In an order that does not depend on who answered first.
    pub(super) fn into_omissions(self) -> Vec<Omission> {
        let mut notes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        notes.sort_by(|a, b| (&a.what, &a.reason).cmp(&(&b.what, &b.reason)));
        notes
    }
}

fn is_hidden(error: &Error) -> bool {
    matches!(error.kind(), Kind::Denied | Kind::NotFound)
}

fn reason(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Denied => "the cloud's policy does not show it to this user: another role would",
        _ => "the cloud does not have it, or does not show it to this user",
    }
}
