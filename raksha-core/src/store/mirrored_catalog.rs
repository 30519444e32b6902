//! The commit log in a catalog elsewhere, with a copy of every entry in the target.
//!
//! A target that cannot order writers can still hold what was ordered elsewhere: then target and key alone tell the whole
//! repository, and a lost catalog can be made again. The copy has the names and the bytes that an [`ObjectCatalog`] would use.
//!
//! An entry is appended in this order:
//!
//! 1. Entry n - 1 is in the copy. Whoever finds it missing copies it from the catalog.
//! 2. The copy has no entry n. If it has one that the catalog has not, the catalog is an older one, and nothing is appended to it.
//! 3. The catalog appends entry n: here it is decided who wins.
//! 4. Entry n is copied, and only now its writer is told.
//!
//! So the copy never lags by more than one entry, whose writer was told nothing: it died between the last two steps, or is between them now. Readers are
//! told of an entry only when it is copied, and copy it themselves if need be. So nobody ever acts on an entry that a lost catalog would take with it. What is copied
//! was decided before: whoever copies entry n, however late, writes the same bytes, and a copy that has others already is an
//! error, not overwritten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Appended, ManifestCatalog, ObjectCatalog};
use crate::error::{Error, Kind, Result};

const OPERATION: &str = "copy log into target";

/// A [`ManifestCatalog`] over another one, which copies each entry into a target before anybody is told of it.
///
/// # Errors
/// Beside those of the catalog: [`Kind::Corrupt`] if catalog and copy are not of one history, or the copy lost entries. Then nothing is
/// appended; [`rebuild`](crate::repository::rebuild) brings both together where that is possible.
#[derive(Debug, Clone)]
pub struct MirroredCatalog {
    catalog: Arc<dyn ManifestCatalog>,
    mirror: Mirror,
    /// Entries below this number are known to be in the copy.
    copied: Arc<AtomicU64>,
}

impl MirroredCatalog {
    /// Appends to `catalog` and copies into `objects`.
    pub fn new(catalog: Arc<dyn ManifestCatalog>, objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            catalog,
            mirror: Mirror::new(objects),
            copied: Arc::default(),
        }
    }

    /// Makes sure that the copy has the entries below `end`, as far as the catalog has them.
    async fn copy_to(&self, end: u64) -> Result<()> {
        let Some(last) = end.checked_sub(1) else {
            return Ok(());
        };
        if self.copied.load(Ordering::Acquire) >= end {
            return Ok(());
        }
        if !self.mirror.has(last).await? {
            let found = self.catalog.read(last, 1).await?;
            let Some(entry) = found.into_iter().next() else {
                // Somebody is about to leave a gap: that is for the catalog to refuse.
                return Ok(());
            };
            if let Some(before) = last.checked_sub(1)
                && !self.mirror.has(before).await?
            {
                return Err(Error::new(
                    Kind::Corrupt,
                    OPERATION,
                    "the copy of the log in the target lost entries, or the target is another one than the catalog's; \
                     if it is the right target, `raksha rebuild` copies them again",
                )
                .with("object", ObjectCatalog::location(before)));
            }
            self.mirror.put(last, entry).await?;
        }
        self.copied.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// The catalog ended before entry `number`: so must the copy, or be about to be seen behind the catalog.
    async fn not_behind(&self, number: u64) -> Result<()> {
        if !self.mirror.has(number).await? {
            return Ok(());
        }
        match self.catalog.read(number, 1).await?.is_empty() {
            // It was appended meanwhile.
            false => Ok(()),
            true => Err(behind(number)),
        }
    }
}

/// The copy has an entry that the catalog has not.
fn behind(number: u64) -> Error {
    Error::new(
        Kind::Corrupt,
        "read log",
        "the catalog ends before the copy of the log in the target: it was restored from an old backup, or is another one than the \
         repository's; `raksha rebuild` fills it from the target",
    )
    .with("entry", number)
}

#[async_trait]
impl ManifestCatalog for MirroredCatalog {
    async fn append(&self, number: u64, entry: Bytes) -> Result<Appended> {
        self.copy_to(number).await?;
        self.not_behind(number).await?;
        let appended = self.catalog.append(number, entry.clone()).await?;
        let decided = match appended {
            Appended::Done => entry,
            // An earlier attempt of the same writer may be the one that took it: then this is the answer that it waits for.
            Appended::Taken => {
                let found = self.catalog.read(number, 1).await?.into_iter().next();
                found.ok_or_else(|| behind(number))?
            }
        };
        self.mirror.put(number, decided).await?;
        self.copied
            .fetch_max(number.saturating_add(1), Ordering::AcqRel);
        Ok(appended)
    }

    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
        let mut entries = self.catalog.read(number, limit).await?;
        let end = number.saturating_add(entries.len() as u64);
        if entries.len() < limit {
            self.not_behind(end).await?;
        }
        if !entries.is_empty() {
            match self.copy_to(end).await {
                Ok(()) => {}
                // Whoever may only read cannot copy the last one, and need not know of it: its writer was told nothing.
                Err(error) if error.kind() == Kind::Denied => {
                    tracing::warn!(%error, number = end - 1, "passing over an entry that is not copied yet");
                    entries.pop();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

/// The copy: entries as objects, written once.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    objects: Arc<dyn ObjectStore>,
}

impl Mirror {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    async fn has(&self, number: u64) -> Result<bool> {
        let location = ObjectCatalog::location(number);
        match self.objects.head(&location).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(Error::object("read copy of log", &location, e)),
        }
    }

    /// Copies an entry. The same bytes again are fine.
    pub(crate) async fn put(&self, number: u64, entry: Bytes) -> Result<()> {
        let location = ObjectCatalog::location(number);
        let create = PutOptions::from(PutMode::Create);
        let put = self
            .objects
            .put_opts(&location, entry.clone().into(), create)
            .await;
        match put {
            Ok(_) => return Ok(()),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {}
            Err(e) => return Err(Error::object(OPERATION, &location, e)),
        }
        match self.get(number).await? {
            Some(there) if there == entry => Ok(()),
            _ => Err(Error::new(
                Kind::Corrupt,
                OPERATION,
                "the target has other bytes for this entry than the catalog: two catalogs, or two versions of one, were used for one \
                 repository; nothing is appended any more. Keep both, and rebuild an empty catalog from the target",
            )
            .with("object", location)),
        }
    }

    /// The entry, if the copy has it.
    pub(crate) async fn get(&self, number: u64) -> Result<Option<Bytes>> {
        let location = ObjectCatalog::location(number);
        let read = async { self.objects.get(&location).await?.bytes().await }.await;
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::object("read copy of log", &location, e)),
        }
    }
}

#[cfg(test)]
mod tests;
