//! Committing and closing, so that their outcome is known.

use crate::error::{Error, Kind, Result};
use crate::id::PointId;
use crate::point::RecoveryPoint;
use crate::repository::{Repository, Writer};

/// How often a run reads its disks and commits before it gives up on a repository that changes underneath.
pub(super) const TRIES: u32 = 4;

/// Commits `point`. If the answer is lost, looks whether it happened.
pub(super) async fn commit(
    repository: &Repository,
    writer: &Writer,
    point: &RecoveryPoint,
) -> Result<PointId> {
    let error = match writer.commit(point).await {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if !matches!(error.kind(), Kind::Unavailable | Kind::Timeout) {
        return Err(error);
    }
    match repository.points().await {
        // The instant, the name and the run together are nobody else's.
        Ok(points) => match points.into_iter().find(|p| p.summary == point.summary) {
            Some(found) => Ok(found.id),
            None => Err(error),
        },
        Err(_) => Err(error),
    }
}

/// Whether the disks should be read again after `error`: what a session relied on is gone, or the session itself.
pub(super) fn read_again(error: &Error) -> bool {
    matches!(error.kind(), Kind::Conflict | Kind::Fenced)
}

/// Ends a session. Unless somebody asked to stop, what was stored is published first, so that the next run finds it.
pub(super) async fn end_session(session: Option<&Writer>, error: Option<&Error>) -> Result<()> {
    let Some(writer) = session else {
        return Ok(());
    };
    let in_haste = error.is_some_and(|e| matches!(e.kind(), Kind::Cancelled | Kind::Fenced));
    if !in_haste && writer.close().await.is_ok() {
        return Ok(());
    }
    writer.abandon().await
}
