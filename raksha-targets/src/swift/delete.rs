//! Deleting: many at once where the installation can, and the segments of large objects with them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Error, Result};
use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde::Deserialize;

use super::client::{Request, garbled, generic, lost, object_path};
use super::store::Inner;
use super::upload::object_of_segment;
use crate::layers::Refusal;

/// Requests under way at once where each deletes one object.
const SINGLE_AT_ONCE: usize = 10;

/// Objects that one request deletes at most: Swift takes them nearly in turn, so that more would only take longer ...
const BATCH: usize = 100;

/// ... and requests for many that are under way at once.
const BATCHES_AT_ONCE: usize = 4;

impl Inner {
    /// Deletes objects, which need not be there.
    pub(super) fn delete_stream(
        self: Arc<Self>,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let batch = self.limits.deletes.unwrap_or(BATCH).min(BATCH);
        locations
            .ready_chunks(batch)
            .map(move |batch| {
                let inner = Arc::clone(&self);
                async move { stream::iter(inner.delete(batch).await) }
            })
            .buffered(BATCHES_AT_ONCE)
            .flatten()
            .boxed()
    }

    async fn delete(&self, batch: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let locations: Vec<Path> = batch
            .iter()
            .filter_map(|l| l.as_ref().ok().cloned())
            .collect();
        let mut errors = self.delete_in(&self.container, &locations).await;
        if errors.is_empty()
            && let Err(e) = self.delete_segments_of(&locations).await
        {
            // The objects are gone, their segments are not: whoever deletes them again finds those.
            errors.extend(locations.first().map(|first| (first.clone(), e)));
        }
        let outcome = |location: Result<Path>| {
            let location = location?;
            match errors.remove(&location) {
                Some(e) => Err(e),
                None => Ok(location),
            }
        };
        batch.into_iter().map(outcome).collect()
    }

    /// Deletes what belonged to large objects that are gone. Their segments lie in a container of their own, which is empty as a rule.
    async fn delete_segments_of(&self, locations: &[Path]) -> Result<()> {
        if self.limits.segments.is_none() {
            return Ok(());
        }
        let prefix = match locations {
            [one] => format!("{one}/"),
            _ => String::new(),
        };
        let names = self.names(&self.segments, &prefix).await?;
        let segments: Vec<Path> = names
            .iter()
            .filter(|name| {
                object_of_segment(name).is_some_and(|o| locations.iter().any(|l| l.as_ref() == o))
            })
            .filter_map(|name| Path::parse(name).ok())
            .collect();
        let errors = self.delete_in(&self.segments, &segments).await;
        errors.into_values().next().map_or(Ok(()), Err)
    }

    /// Deletes what is at `locations` in `container`; answers with those that could not be.
    pub(super) async fn delete_in(
        &self,
        container: &str,
        locations: &[Path],
    ) -> HashMap<Path, Error> {
        match (locations, self.limits.deletes) {
            ([], _) => HashMap::new(),
            ([_, _, ..], Some(most)) => {
                let mut errors = HashMap::new();
                for some in locations.chunks(most) {
                    errors.extend(self.delete_many(container, some).await);
                }
                errors
            }
            _ => {
                let deletes = locations.iter().cloned().map(|location| async move {
                    let done = self.delete_one(container, &location).await;
                    (location, done)
                });
                let mut deletes = stream::iter(deletes).buffer_unordered(SINGLE_AT_ONCE);
                let mut errors = HashMap::new();
                while let Some((location, done)) = deletes.next().await {
                    errors.extend(done.err().map(|e| (location, e)));
                }
                errors
            }
        }
    }

    async fn delete_one(&self, container: &str, location: &Path) -> Result<()> {
        let path = object_path(container, location.as_ref());
        let request = Request::new(Method::DELETE, path, location);
        match self.connection.send(request).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Deletes by one request. Its answer is one of success whatever happened: what counts is in its body.
    async fn delete_many(&self, container: &str, locations: &[Path]) -> HashMap<Path, Error> {
        match self.ask_to_delete(container, locations).await {
            Ok(answer) => answer.failed(container, locations),
            Err(e) => all(locations, e),
        }
    }

    async fn ask_to_delete(&self, container: &str, locations: &[Path]) -> Result<Answer> {
        let names: Vec<_> = locations
            .iter()
            .map(|location| object_path(container, location.as_ref()))
            .collect();
        let about = locations.first().cloned().unwrap_or_default();
        let request = Request::new(Method::POST, "?bulk-delete".into(), &about)
            .header("Content-Type", "text/plain")
            .header("Accept", "application/json")
            .body(names.join("\n").into());
        let body = self.connection.send(request).await?.bytes().await;
        Answer::read(&body.map_err(lost)?)
    }
}

/// The answer to a bulk delete.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(rename = "Response Body", default)]
    body: String,
    #[serde(rename = "Number Deleted")]
    deleted: Option<u64>,
    #[serde(rename = "Number Not Found")]
    absent: Option<u64>,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

impl Answer {
    fn read(body: &[u8]) -> Result<Self> {
        serde_json::from_slice(body).map_err(|e| garbled(&e.to_string()))
    }

    /// Which of `locations` were not deleted.
    fn failed(&self, container: &str, locations: &[Path]) -> HashMap<Path, Error> {
        let mut errors = HashMap::new();
        let mut open: Vec<Path> = locations.to_vec();
        for (name, status) in &self.errors {
            let name = percent_decode_str(name.trim_start_matches('/')).decode_utf8_lossy();
            let name = name
                .strip_prefix(container)
                .and_then(|n| n.strip_prefix('/'));
            let Some(location) = locations.iter().find(|l| Some(l.as_ref()) == name) else {
                // It cannot be told which one it was.
                return all(locations, garbled(&format!("{status} for an unknown name")));
            };
            open.retain(|l| l != location);
            if code(status) != 404 {
                errors.insert(location.clone(), refused(status, location));
            }
        }
        if !self.counts(open.len()) {
            let message = format!("{} {}", self.status, self.body);
            let refusal = Refusal::new(code(&self.status), None, &message);
            errors.extend(all(&open, generic(refusal)));
        }
        errors
    }

    /// Whether it got through so many that it does not name. A Swift that stops, after too many failures or of a fault of its own, tells so by its counts.
    fn counts(&self, unnamed: usize) -> bool {
        match (self.deleted, self.absent) {
            (Some(deleted), Some(absent)) => deleted.saturating_add(absent) >= unnamed as u64,
            _ => (200..300).contains(&code(&self.status)) || !self.errors.is_empty(),
        }
    }
}

/// The number that a status begins with.
fn code(status: &str) -> u16 {
    let number = status.split_whitespace().next();
    number.and_then(|n| n.parse().ok()).unwrap_or(500)
}

fn refused(status: &str, location: &Path) -> Error {
    let refusal = Refusal::new(code(status), None, status);
    match refusal.status {
        401 | 403 => Error::PermissionDenied {
            path: location.to_string(),
            source: refusal.into(),
        },
        409 => generic(refusal.retryable(true)),
        _ => generic(refusal),
    }
}

/// The same error for all: it is told once, and the others are open.
fn all(locations: &[Path], error: Error) -> HashMap<Path, Error> {
    let mut errors: HashMap<_, _> = locations
        .iter()
        .skip(1)
        .map(|l| {
            (
                l.clone(),
                generic("not deleted: the request for many failed"),
            )
        })
        .collect();
    errors.extend(locations.first().map(|first| (first.clone(), error)));
    errors
}

#[cfg(test)]
mod tests {
    use raksha_core::Kind;
    use raksha_core::testkit::Fuzz;

    use super::*;

    #[test]
    fn what_a_swift_that_stopped_did_not_reach_is_not_deleted() {
        let locations = ["a", "b", "c"].map(Path::from);
        let stopped = r#"{"Number Not Found": 1, "Response Status": "400 Bad Request", "Number Deleted": 0,
            "Response Body": "Max delete failures exceeded", "Errors": [["/box/b", "403 Forbidden"], ["/box/b", "403 Forbidden"]]}"#;
        let failed = Answer::read(stopped.as_bytes())
            .unwrap()
            .failed("box", &locations);
        let denied = &failed[&locations[1]];
        assert!(
            matches!(denied, Error::PermissionDenied { .. }),
            "{denied:?}"
        );
        // One of them was deleted or absent; nobody knows which.
        assert!(failed[&locations[0]].to_string().contains("Max delete"));
        assert!(failed.contains_key(&locations[2]));
    }

    #[test]
    fn answers_that_were_changed() {
        let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
        let done = r#"{"Number Not Found": 0, "Response Status": "200 OK", "Response Body": "", "Errors": [], "Number Deleted": 2}"#;
        let some = r#"{"Number Not Found": 0, "Response Status": "400 Bad Request", "Response Body": "", "Number Deleted": 1,
            "Errors": [["/box/packs/a%20b", "409 Conflict"], ["/box/log/1", "404 Not Found"]]}"#;
        let none = r#"{"Response Status": "502 Bad Gateway", "Response Body": "no"}"#;
        let locations = ["packs/a b", "log/1"].map(Path::from);
        let fuzz = Fuzz::new("swift-deletes", corpora);
        fuzz.good(done).good(some).good(none).feed(|body| {
            let refuse = |e: Error| raksha_core::Error::new(Kind::Corrupt, "delete", e.to_string());
            let answer = Answer::read(body).map_err(refuse)?;
            let failed = answer.failed("box", &locations);
            let missing = |(_, status): &&(String, String)| code(status) == 404;
            let gone = locations.len() - failed.len();
            let told = (answer.deleted.zip(answer.absent)).map(|(d, a)| d.saturating_add(a));
            let absent = answer.errors.iter().filter(missing).count() as u64;
            assert!(
                told.is_none_or(|told| gone as u64 <= told.saturating_add(absent)),
                "no more is gone than it says"
            );
            assert!(failed.keys().all(|l| locations.contains(l)));
            Ok(format!("{} {gone}", told.is_some()))
        });
    }
}
