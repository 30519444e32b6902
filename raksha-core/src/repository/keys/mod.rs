//! The keys of a repository.
//!
//! A repository has one random [`MasterKey`]. Every key that works is derived from it, for one purpose and one repository.
//! The master key itself is stored only wrapped, once per [key slot](slot), by something that a person or a service keeps: a
//! [`Secret`]. Adding, removing and re-wrapping slots touches no data.

mod secret;
mod slot;

use zeroize::Zeroizing;

pub use secret::Secret;
pub use slot::PassphraseCost;
pub(crate) use slot::{new_slot, open_slot};

use crate::env::Env;
use crate::error::Result;
use crate::id::RepositoryId;
use crate::store::ChunkNamer;

/// What a derived key is for. Keys of different purposes tell nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Naming chunks.
    ChunkNames,
    /// Sealing chunks and everything else that is sealed.
    Chunks,
    /// Authenticating log entries.
    Log,
}

impl Purpose {
    /// The context string of BLAKE3's key derivation: part of the format.
    fn context(self) -> &'static str {
        match self {
            Self::ChunkNames => "raksha 2026 chunk names v1",
            Self::Chunks => "raksha 2026 chunk sealing v1",
            Self::Log => "raksha 2026 log signing v1",
        }
    }
}

/// The key from which all others are derived. Wipes itself; is never shown.
#[derive(Clone)]
pub(crate) struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// A new one.
    pub(crate) fn random(env: &Env) -> Result<Self> {
        env.random().map(|key| Self(Zeroizing::new(key)))
    }

    /// The key for `purpose` in `repository`.
    pub(crate) fn derive(
        &self,
        purpose: Purpose,
        repository: &RepositoryId,
    ) -> Zeroizing<[u8; 32]> {
        let mut material = Zeroizing::new([0; 48]);
        let (key, id) = material.split_at_mut(32);
        key.copy_from_slice(self.0.as_slice());
        id.copy_from_slice(repository.as_bytes());
        Zeroizing::new(blake3::derive_key(purpose.context(), material.as_slice()))
    }

    /// What names the chunks of `repository`.
    pub(crate) fn namer(&self, repository: &RepositoryId) -> ChunkNamer {
        ChunkNamer::new(*self.derive(Purpose::ChunkNames, repository))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_purpose_and_repository_has_a_key_of_its_own() {
        let (one, two) = (
            MasterKey(Zeroizing::new([1; 32])),
            MasterKey(Zeroizing::new([2; 32])),
        );
        let mut seen = HashSet::new();
        for master in [&one, &two] {
            for repository in [3, 4].map(|n| RepositoryId::from_bytes([n; 16])) {
                for purpose in [Purpose::ChunkNames, Purpose::Chunks, Purpose::Log] {
                    assert!(seen.insert(*master.derive(purpose, &repository)));
                }
            }
        }
    }

    #[test]
    fn derived_keys_never_change_between_versions() {
        let master = MasterKey(Zeroizing::new([1; 32]));
        let name = master
            .namer(&RepositoryId::from_bytes([2; 16]))
            .name(b"chunk");
        let material = [[1; 32].as_slice(), &[2; 16]].concat();
        let key = blake3::derive_key("raksha 2026 chunk names v1", &material);
        assert_eq!(
            name.as_bytes(),
            blake3::keyed_hash(&key, b"chunk").as_bytes()
        );
    }
}
