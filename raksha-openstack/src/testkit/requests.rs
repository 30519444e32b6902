//! What was asked of the cloud, for tests to look at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many requests are remembered.
const REMEMBERED: usize = 100_000;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// For example `POST`.
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The only key of the body, if it has one: for actions, their name.
    pub action: Option<String>,
    /// The id of the user that asked, empty for nobody.
    pub user: String,
    /// The id of the project that the token is for, empty for none.
    pub project: String,
    /// The answer's status; 0 if the connection was reset instead.
    pub status: u16,
    /// The id that the answer carried.
    pub request_id: String,
}

/// The requests of a cloud, the latest last.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<VecDeque<RequestRecord>>>);

impl Requests {
    pub(super) fn add(&self, record: RequestRecord) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(record);
    }

    pub(super) fn all(&self) -> Vec<RequestRecord> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
