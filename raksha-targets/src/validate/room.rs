//! A prefix of its own in a target, and the tools that checks work with.

use std::fmt::Display;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use raksha_core::env::Env;
use raksha_core::{Error, Result};
use tokio::time::Instant;

use super::prefix;
use super::report::{Check, Outcome};
use crate::open::{OpenedTarget, TargetCapabilities};

/// What a check found: that all is well, or what is not.
pub(super) type Found = std::result::Result<(), String>;

pub(super) struct Room {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) capabilities: TargetCapabilities,
    prefix: Path,
    seed: u64,
}

impl Room {
    pub(super) fn new(target: &OpenedTarget, env: &Env) -> Result<Self> {
        let seed = u64::from_be_bytes(env.random()?);
        Ok(Self {
            objects: Arc::clone(&target.objects),
            capabilities: target.capabilities.clone(),
            prefix: prefix(seed),
            seed,
        })
    }

    /// An object's name in this room.
    pub(super) fn at(&self, name: &str) -> Path {
        let parts = self.prefix.parts().chain(name.split('/').map(Into::into));
        Path::from_iter(parts)
    }

    /// Bytes that do not compress and differ from those of any other `which`, in this and every other room.
    pub(super) fn bytes(&self, which: u64, length: usize) -> Vec<u8> {
        // splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
        let mut state = self.seed ^ which.wrapping_mul(0xA24B_AED4_963E_E407);
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Found {
        let put = self.objects.put(&self.at(name), bytes.into()).await;
        put.map(drop).map_err(said("put"))
    }

    pub(super) async fn get(&self, name: &str) -> std::result::Result<Vec<u8>, String> {
        let got = self.objects.get(&self.at(name)).await;
        let bytes = got.map_err(said("get"))?.bytes().await;
        bytes.map(|b| b.to_vec()).map_err(said("get"))
    }

    pub(super) async fn holds(&self, name: &str, expected: &[u8]) -> Found {
        let got = self.get(name).await?;
        ensure(got == expected, || {
            let (got, expected) = (got.len(), expected.len());
            format!("{name}: other bytes came back than were stored ({got} for {expected})")
        })
    }

    pub(super) async fn is_gone(&self, name: &str) -> Found {
        let location = self.at(name);
        for (what, result) in [
            ("get", self.objects.get(&location).await.map(drop)),
            ("head", self.objects.head(&location).await.map(drop)),
        ] {
            match result {
                Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(format!("{what} of an absent object: {e}")),
                Ok(()) => return Err(format!("{what} of an absent object succeeds")),
            }
        }
        Ok(())
    }

    /// The names under a prefix of this room, sorted and without the room's own.
    pub(super) async fn names(&self, prefix: &str) -> std::result::Result<Vec<String>, String> {
        let prefix = match prefix {
            "" => self.prefix.clone(),
            prefix => self.at(prefix),
        };
        let listed = self.objects.list(Some(&prefix));
        let mut names: Vec<_> = listed
            .map_ok(|meta| self.name(&meta.location))
            .try_collect()
            .await
            .map_err(said("list"))?;
        names.sort();
        Ok(names)
    }

    /// A location's name without the room's own.
    pub(super) fn name(&self, location: &Path) -> String {
        let own = format!("{}/", self.prefix);
        let location = location.to_string();
        match location.strip_prefix(&own) {
            Some(name) => name.to_owned(),
            None => location,
        }
    }

    /// Removes all that is in the room.
    ///
    /// # Errors
    /// That something could not be listed or deleted. Where listings lag, what they do not show yet is tried again for a while.
    pub(super) async fn clean(&self) -> Result<Check> {
        let begun = Instant::now();
        let failed = |e| {
            Error::object("clean up after a validation", &self.prefix, e)
                .with("remedy", "delete what lies under this prefix yourself")
        };
        let mut deleted = 0;
        let mut quiet = 0;
        while quiet < 2 {
            let listed = self.objects.list(Some(&self.prefix)).map_ok(|m| m.location);
            let gone = self.objects.delete_stream(listed.boxed());
            let gone: Vec<_> = gone.try_collect().await.map_err(failed)?;
            deleted += gone.len();
            quiet = if gone.is_empty() { quiet + 1 } else { 0 };
        }
        Ok(Check {
            name: "nothing is left behind".into(),
            outcome: Outcome::Passed,
            took: begun.elapsed(),
            note: format!("{deleted} objects removed in the end"),
        })
    }
}

pub(super) fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Found {
    match holds {
        true => Ok(()),
        false => Err(complaint()),
    }
}

pub(super) fn said<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |e| format!("{what}: {e}")
}
