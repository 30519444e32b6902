//! The commit log as objects, for targets that create an object atomically.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Appended, ManifestCatalog};
use crate::error::{Error, Kind, Result};

/// Entries asked for at once when the end of the log may be near: mostly it is, and each request for one that is not there costs as much as another. One that was lost
/// is noticed if one of the next three is there.
const NEAR_THE_END: u64 = 4;

/// Entries asked for at once when there are many.
const FAR_FROM_IT: u64 = 64;

/// A [`ManifestCatalog`] over any object store whose [`PutMode::Create`] lets exactly one creator of a name win.
///
/// Not every store that accepts `PutMode::Create` keeps that promise: probe it with racing writers before you rely on it.
#[derive(Debug, Clone)]
pub struct ObjectCatalog {
    objects: Arc<dyn ObjectStore>,
}

impl ObjectCatalog {
    /// Keeps entries as `log/<number>` in `objects`.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    /// The name of entry `number`: 20 digits, so that names sort as numbers do.
    pub fn location(number: u64) -> Path {
        Path::from(format!("log/{number:020}"))
    }

    async fn entry(&self, number: u64) -> Result<Option<Bytes>> {
        let location = Self::location(number);
        let got = match self.objects.get(&location).await {
            Ok(got) => got.bytes().await,
            Err(e) => Err(e),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::object("read log", &location, e)),
        }
    }
}

impl ObjectCatalog {
    /// Entry `number` was not there, and one behind it was: it may have been appended in this moment. Otherwise it is lost, and must not be
    /// taken for the end of the log: another entry would be appended in its place.
    async fn not_lost(&self, number: u64) -> Result<()> {
        match self.entry(number).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                Kind::Corrupt,
                "read log",
                "an entry is missing, and later ones are there: restore it from elsewhere",
            )
            .with("object", Self::location(number))),
        }
    }
}

#[async_trait]
impl ManifestCatalog for ObjectCatalog {
    async fn append(&self, number: u64, entry: Bytes) -> Result<Appended> {
        let location = Self::location(number);
        let create = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&location, entry.into(), create).await {
            Ok(_) => Ok(Appended::Done),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(Appended::Taken),
            Err(e) => Err(Error::object("append to log", &location, e)),
        }
    }

    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
        let last = number.saturating_add(limit as u64);
        let mut entries = Vec::new();
        let mut from = number;
        let mut at_once = NEAR_THE_END;
        while from < last {
            let to = last.min(from.saturating_add(at_once));
            let some = try_join_all((from..to).map(|n| self.entry(n))).await?;
            let there = some.iter().take_while(|entry| entry.is_some()).count();
            if some.iter().skip(there).any(Option::is_some) {
                self.not_lost(from.saturating_add(there as u64)).await?;
            }
            entries.extend(some.into_iter().take(there).flatten());
            from = from.saturating_add(there as u64);
            at_once = match from == to {
                true => FAR_FROM_IT.min(at_once * 4),
                // The end, if enough was looked at behind it.
                false if to - from >= NEAR_THE_END.min(last - from) => break,
                false => NEAR_THE_END,
            };
        }
        Ok(entries)
    }
}
