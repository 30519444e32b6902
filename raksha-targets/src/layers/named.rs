//! Errors that say which target they come from.

use std::error::Error as StdError;
use std::sync::Arc;

use object_store::Error;

/// An error of a target, with the target's name. What caused it is still found in its chain.
#[derive(Debug, thiserror::Error)]
#[error("{target}: {source}")]
struct Of {
    target: Arc<str>,
    source: Box<dyn StdError + Send + Sync>,
}

/// The same error, which says that it comes from `target`.
pub(super) fn of(target: &Arc<str>, error: Error) -> Error {
    let of = |source| -> Box<dyn StdError + Send + Sync> {
        let target = Arc::clone(target);
        Box::new(Of { target, source })
    };
    match error {
        Error::Generic { store, source } => Error::Generic {
            store,
            source: of(source),
        },
        Error::NotFound { path, source } => Error::NotFound {
            path,
            source: of(source),
        },
        Error::AlreadyExists { path, source } => Error::AlreadyExists {
            path,
            source: of(source),
        },
        Error::Precondition { path, source } => Error::Precondition {
            path,
            source: of(source),
        },
        Error::PermissionDenied { path, source } => Error::PermissionDenied {
            path,
            source: of(source),
        },
        Error::Unauthenticated { path, source } => Error::Unauthenticated {
            path,
            source: of(source),
        },
        Error::NotSupported { source } => Error::NotSupported { source: of(source) },
        other => other,
    }
}
