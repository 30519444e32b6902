//! Sealing: nobody without the key reads a record, and nobody alters one unnoticed.
//!
//! A sealed record is `salt (16) ‖ counter (8, little-endian) ‖ cipher text ‖ tag (16)`. The salt is drawn once per
//! [`SealWriter`], that is once per pack; the counter counts its records. The record's key is the keyed BLAKE3 of the salt, the
//! cipher AES-256-GCM (NIST SP 800-38D) with the counter as nonce. So a nonce cannot come twice under a key unless two salts of
//! 128 random bits agree, which leaves far more room than GCM's own 96-bit random nonces, and a record needs nothing but itself
//! and the repository's key to be opened: it can be copied from pack to pack as it is.
//!
//! The cipher is ring's, which was the fastest of those measured (7 GB/s a core). Deriving a record's key costs well under a microsecond,
//! little beside the record itself, so keys are not cached.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, RepositoryId};

/// How records are sealed: a parameter of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-256 in Galois/counter mode.
    #[default]
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// Not at all: whoever reads the target reads the data. Damage is noticed all the same, intent is not.
    #[serde(rename = "none")]
    None,
}

const SALT: usize = 16;
const COUNTER: usize = 8;
const TAG: usize = 16;

/// The longest associated data: a context of at most 48 bytes and a repository id.
const LONGEST_CONTEXT: usize = 48;

/// What a record belongs to. It opens only as that: a record in another's place does not open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Belongs {
    /// The chunk of this name.
    Chunk(ChunkId),
    /// The repository, in the role that the text names.
    Repository(&'static str, RepositoryId),
}

impl Belongs {
    fn with_bytes<T>(&self, use_bytes: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Chunk(id) => use_bytes(id.as_bytes()),
            Self::Repository(context, repository) => {
                debug_assert!(context.len() <= LONGEST_CONTEXT);
                let mut bytes = Vec::with_capacity(LONGEST_CONTEXT + 16);
                bytes.extend_from_slice(context.as_bytes());
                bytes.extend_from_slice(repository.as_bytes());
                use_bytes(&bytes)
            }
        }
    }
}

/// The key that the keys of records are derived from, or none where the repository does not seal.
pub(crate) struct Sealing(Option<Zeroizing<[u8; 32]>>);

impl Sealing {
    /// Seals with `cipher` and a key.
    pub(crate) fn new(cipher: Cipher, key: Zeroizing<[u8; 32]>) -> Self {
        match cipher {
            Cipher::Aes256Gcm => Self(Some(key)),
            Cipher::None => Self(None),
        }
    }

    /// How many bytes longer than its plain text a record is.
    pub(super) fn overhead(&self) -> usize {
        match self.0 {
            Some(_) => SALT + COUNTER + TAG,
            None => 0,
        }
    }

    /// Starts a series of records.
    pub(crate) fn writer(&self, env: &Env) -> Result<SealWriter> {
        let Some(key) = &self.0 else {
            return Ok(SealWriter(None));
        };
        let salt = env.random()?;
        Ok(SealWriter(Some(Series {
            key: record_key(key, &salt)?,
            salt,
            next: 0,
        })))
    }

    /// Opens a record into `plain`, whose content is replaced.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the record was altered, belongs to something else, or was sealed with another key.
    pub(super) fn open(&self, record: &[u8], belongs: Belongs, plain: &mut Vec<u8>) -> Result<()> {
        plain.clear();
        let Some(key) = &self.0 else {
            plain.extend_from_slice(record);
            return Ok(());
        };
        let refused = || {
            Error::new(
                Kind::Corrupt,
                "open record",
                "it was altered, or sealed as something else or with another key",
            )
        };
        let (salt, rest) = record.split_first_chunk::<SALT>().ok_or_else(refused)?;
        let (counter, sealed) = rest.split_first_chunk::<COUNTER>().ok_or_else(refused)?;
        plain.extend_from_slice(sealed);
        let key = record_key(key, salt)?;
        let opened = belongs.with_bytes(|aad| {
            key.open_in_place(nonce(*counter), Aad::from(aad), plain)
                .map(|plain| plain.len())
        });
        match opened {
            Ok(length) => {
                plain.truncate(length);
                Ok(())
            }
            Err(_) => {
                plain.clear();
                Err(refused())
            }
        }
    }
}

/// Seals records, one after the other, each with a nonce of its own. Not to be cloned, for that reason.
pub(crate) struct SealWriter(Option<Series>);

struct Series {
    key: LessSafeKey,
    salt: [u8; SALT],
    next: u64,
}

impl SealWriter {
    /// Appends a record to `out`, the plain text of which `write` appends. It is sealed in place.
    pub(super) fn seal<T>(
        &mut self,
        belongs: Belongs,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let Some(series) = &mut self.0 else {
            return write(out);
        };
        let counter = series.next.to_le_bytes();
        series.next += 1;
        out.extend_from_slice(&series.salt);
        out.extend_from_slice(&counter);
        let start = out.len();
        let written = write(out)?;
        let plain = out.get_mut(start..).unwrap_or_default();
        let tag = belongs
            .with_bytes(|aad| {
                series
                    .key
                    .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), plain)
            })
            .map_err(|_| Error::new(Kind::Internal, "seal record", "the cipher refused"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(written)
    }
}

/// The key of all records with this salt.
fn record_key(key: &[u8; 32], salt: &[u8; SALT]) -> Result<LessSafeKey> {
    let key = Zeroizing::new(*blake3::keyed_hash(key, salt).as_bytes());
    UnboundKey::new(&AES_256_GCM, key.as_slice())
        .map(LessSafeKey::new)
        .map_err(|_| Error::new(Kind::Internal, "derive key", "the cipher refused the key"))
}

/// Four zero bytes and the counter.
fn nonce(counter: [u8; COUNTER]) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter;
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sealing(key: u8) -> Sealing {
        Sealing::new(Cipher::Aes256Gcm, Zeroizing::new([key; 32]))
    }

    fn chunk(n: u8) -> Belongs {
        Belongs::Chunk(ChunkId::from_bytes([n; 32]))
    }

    fn seal(writer: &mut SealWriter, belongs: Belongs, plain: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(plain);
            Ok(())
        };
        writer.seal(belongs, &mut record, write).unwrap();
        record
    }

    #[test]
    fn a_record_opens_only_unaltered_in_its_place_and_with_its_key() {
        let sealing_here = sealing(1);
        let mut writer = sealing_here.writer(&Env::system()).unwrap();
        let record = seal(&mut writer, chunk(7), b"plain");
        assert_eq!(record.len(), 5 + sealing_here.overhead());
        let mut plain = b"left over".to_vec();
        sealing_here.open(&record, chunk(7), &mut plain).unwrap();
        assert_eq!(plain, b"plain");

        let mut refused = |sealing: &Sealing, record: &[u8], belongs| {
            let error = sealing.open(record, belongs, &mut plain).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(plain.is_empty());
        };
        refused(&sealing(2), &record, chunk(7));
        refused(&sealing_here, &record, chunk(8));
        let elsewhere = Belongs::Repository("point", RepositoryId::from_bytes([7; 16]));
        refused(&sealing_here, &record, elsewhere);
        for at in 0..record.len() {
            let mut flipped = record.clone();
            flipped[at] ^= 0x10;
            refused(&sealing_here, &flipped, chunk(7));
            refused(&sealing_here, &record[..at], chunk(7));
        }
    }

    #[test]
    fn no_nonce_comes_twice_under_a_key() {
        let sealing = sealing(3);
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let mut writer = sealing.writer(&Env::system()).unwrap();
            for _ in 0..50 {
                let record = seal(&mut writer, chunk(1), b"the same each time");
                assert!(seen.insert(record[..SALT + COUNTER].to_vec()));
            }
        }
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn without_a_cipher_a_record_is_its_plain_text() {
        let sealing = Sealing::new(Cipher::None, Zeroizing::new([0; 32]));
        let mut writer = sealing.writer(&Env::system()).unwrap();
        assert_eq!(seal(&mut writer, chunk(1), b"plain"), b"plain");
        let json = serde_json::to_string(&[Cipher::Aes256Gcm, Cipher::None]).unwrap();
        assert_eq!(json, r#"["aes-256-gcm","none"]"#);
    }
}
