//! Deleting many objects, and again those where it failed.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, Result};

use super::backoff::Attempts;
use super::classify::{Verdict, classify};
use super::core::{Call, Core, Failed};
use super::metrics::Operation;

/// Objects that one attempt deletes: what one request of S3's takes at most.
const BATCH: usize = 1000;

pub(super) fn in_batches(
    core: Arc<Core>,
    objects: Arc<dyn ObjectStore>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    locations
        .ready_chunks(BATCH)
        .then(move |batch| {
            let (core, objects) = (Arc::clone(&core), Arc::clone(&objects));
            async move { stream::iter(delete(&core, &objects, batch).await) }
        })
        .flatten()
        .boxed()
}

/// The outcomes in the order of the locations; errors that no location is known for come last.
async fn delete(
    core: &Core,
    objects: &Arc<dyn ObjectStore>,
    batch: Vec<Result<Path>>,
) -> Vec<Result<Path>> {
    let mut outcomes = Vec::new();
    let mut left = Vec::new();
    for location in batch {
        match location {
            Ok(location) => left.push(location),
            Err(e) => outcomes.push(Err(e)),
        }
    }
    let mut attempts = Attempts::begin();
    while !left.is_empty() {
        let mut gone = HashSet::new();
        let call = Call::new(Operation::Delete).about(left.len());
        let request = attempt(objects, &left, &mut gone);
        let answer = core.attempt(call, &mut attempts, request).await;
        left.retain(|location| match gone.contains(location) {
            true => {
                outcomes.push(Ok(location.clone()));
                false
            }
            false => true,
        });
        match answer {
            Ok(_) => break,
            Err(Failed { error, pause }) => match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    outcomes.push(Err(error));
                    break;
                }
            },
        }
    }
    outcomes
}

/// Notes in `gone` what is deleted, or was never there. The first error that may pass decides about trying again, before
/// those that will not: what can be deleted should be.
async fn attempt(
    objects: &Arc<dyn ObjectStore>,
    locations: &[Path],
    gone: &mut HashSet<Path>,
) -> Result<()> {
    let wanted: Vec<_> = locations.iter().cloned().map(Ok).collect();
    let mut results = objects.delete_stream(stream::iter(wanted).boxed());
    let mut failed = None;
    while let Some(result) = results.next().await {
        match result {
            Ok(location) => {
                gone.insert(location);
            }
            Err(Error::NotFound { path, .. }) => {
                gone.extend(locations.iter().find(|l| l.as_ref() == path).cloned());
            }
            Err(e) => match &failed {
                Some(f) if classify(f) != Verdict::Permanent => {}
                _ => failed = Some(e),
            },
        }
    }
    failed.map_or(Ok(()), Err)
}
