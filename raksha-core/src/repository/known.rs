//! Log entries that were read before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Signed};
use super::sign::Verifier;
use crate::error::Result;
use crate::id::ObjectHash;

/// Log entries that this process has read, for whoever opens a repository again and again: the same bytes need not be taken apart, nor the same signature of
/// them be checked, a second time. An entry is known by the hash of all its bytes, signature included. Where it stands in the log, what came before it, and whose
/// signature it must carry, is checked whenever it is read.
///
/// The default remembers nothing. Clones share what they remember: see [`Target::remembering`](super::Target::remembering).
#[derive(Debug, Clone, Default)]
pub struct KnownEntries(Option<Arc<Known>>);

#[derive(Debug)]
struct Known {
    most: usize,
    entries: Mutex<HashMap<ObjectHash, Arc<Signed>>>,
}

impl KnownEntries {
    /// Remembers up to so many entries; when there are more, it begins anew.
    pub fn up_to(most: usize) -> Self {
        Self(Some(Arc::new(Known {
            most,
            entries: Mutex::default(),
        })))
    }

    /// As [`Entry::decode`].
    pub(crate) fn decode(&self, number: u64, bytes: &[u8]) -> Result<Arc<Signed>> {
        let Some(known) = &self.0 else {
            return Entry::decode(number, bytes).map(Arc::new);
        };
        let hash = ObjectHash::from_bytes(*blake3::hash(bytes).as_bytes());
        let same = known.entries().get(&hash).map(Arc::clone);
        match same {
            Some(signed) if signed.entry.number == number => Ok(signed),
            _ => {
                let signed = Arc::new(Entry::decode(number, bytes)?);
                known.keep(&signed);
                Ok(signed)
            }
        }
    }

    /// The same, of an entry that this process has just signed with the key that `verifier` belongs to. If it is remembered, it is so as one whose signature holds.
    pub(crate) fn decode_own(
        &self,
        number: u64,
        bytes: &[u8],
        verifier: &Verifier,
    ) -> Result<Arc<Signed>> {
        let signed = self.decode(number, bytes)?;
        if self.0.is_some() {
            signed.vouch(verifier);
        }
        Ok(signed)
    }
}

impl Known {
    fn keep(&self, signed: &Arc<Signed>) {
        let mut entries = self.entries();
        if entries.len() >= self.most {
            entries.clear();
        }
        entries.insert(signed.hash, Arc::clone(signed));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ObjectHash, Arc<Signed>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Action, LogHome};
    use super::super::fold::State;
    use super::super::sign::Signer;
    use super::*;
    use crate::id::RepositoryId;
    use crate::time::Timestamp;

    fn hash(byte: u8) -> ObjectHash {
        ObjectHash::from_bytes([byte; 32])
    }

    fn first(signer: &Signer) -> bytes::Bytes {
        let entry = Entry {
            number: 0,
            previous: hash(0),
            time: Timestamp::from_millis(0),
            session: None,
            nonce: "00".into(),
            action: Action::Created {
                repository: RepositoryId::from_bytes([1; 16]),
                parameters: hash(9),
                log: LogHome::Target,
            },
        };
        entry.encode(signer).unwrap()
    }

    /// Who knows an entry takes no other bytes for it, in no other place, and no other key's signature.
    #[test]
    fn what_is_known_is_known_in_its_place_and_of_its_key_only() {
        let (mine, others) = (
            Signer::from_seed(&[7; 32]).unwrap(),
            Signer::from_seed(&[8; 32]).unwrap(),
        );
        let begins = |known: &KnownEntries, bytes: &[u8], verifier: &Verifier| {
            let signed = known.decode(0, bytes)?;
            State::begin(&signed, verifier, hash(9))
        };
        for known in [KnownEntries::default(), KnownEntries::up_to(8)] {
            let bytes = first(&mine);
            known.decode_own(0, &bytes, &mine.verifier()).unwrap();
            for _ in 0..2 {
                begins(&known, &bytes, &mine.verifier()).unwrap();
                begins(&known, &bytes, &others.verifier()).unwrap_err();
                begins(&known, &first(&others), &mine.verifier()).unwrap_err();
            }
            known.decode(1, &bytes).unwrap_err();
            for at in 0..bytes.len() {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1;
                known.decode(0, &changed).unwrap_err();
            }
            // A right checksum does not help where the signature is none.
            let mut forged = super::super::frame::unframe(&bytes, "entry")
                .unwrap()
                .to_vec();
            let last = forged.len() - 1;
            forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
            let forged = super::super::frame::frame(&forged);
            for _ in 0..2 {
                begins(&known, &forged, &mine.verifier()).unwrap_err();
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let known = KnownEntries::up_to(2);
        for seed in 0..10 {
            let signer = Signer::from_seed(&[seed; 32]).unwrap();
            known.decode(0, &first(&signer)).unwrap();
            assert!(known.0.as_ref().unwrap().entries().len() <= 2);
        }
    }
}
