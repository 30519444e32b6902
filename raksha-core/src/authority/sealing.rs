//! The secret part of a delegation, sealed by a key of the service.
//!
//! Sealed is `version (1) ‖ nonce (12) ‖ cipher text ‖ tag (16)`: AES-256-GCM under a random nonce, with the project and the delegation's id as associated data. The
//! nonces are few (one for each delegation that is granted), so that random ones of 96 bits do.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, ProjectId};

/// The context string of BLAKE3's key derivation.
const CONTEXT: &str = "raksha 2026 delegation sealing v1";

/// The first byte of what is sealed.
const VERSION: u8 = 1;

/// A shorter key can be guessed.
const SHORTEST: usize = 32;

/// Bytes that only the right [`SealingKey`] opens, for the project and delegation that they were sealed for.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it was stored.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// In base64.
impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A service's key for the secret parts of delegations. Wiped when dropped, and never shown.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// From the bytes of a key file, whatever they are: at least 32, and hard to guess, such as `head -c 32 /dev/urandom` gives.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if there are fewer.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < SHORTEST {
            let message =
                "the service key is shorter than 32 bytes: make one with `head -c 32 /dev/urandom`";
            return Err(Error::new(Kind::Invalid, "read service key", message));
        }
        Ok(Self(Zeroizing::new(blake3::derive_key(CONTEXT, bytes))))
    }

    /// Seals `secret` for one delegation of one project.
    ///
    /// # Errors
    /// Those of the source of randomness.
    pub fn seal(
        &self,
        project: &ProjectId,
        delegation: DelegationId,
        secret: &[u8],
        env: &Env,
    ) -> Result<Sealed> {
        let refused = || Error::new(Kind::Internal, "seal delegation", "the cipher refused");
        let nonce: [u8; NONCE_LEN] = env.random()?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let start = sealed.len();
        sealed.extend_from_slice(secret);
        let plain = sealed.get_mut(start..).unwrap_or_default();
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(belongs(project, delegation)),
                plain,
            )
            .map_err(|_| refused())?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for this delegation of this project.
    ///
    /// # Errors
    /// [`Kind::WrongKey`] if it was sealed with another key, for something else, or altered: which of these cannot be told.
    pub fn open(
        &self,
        project: &ProjectId,
        delegation: DelegationId,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let refused = || {
            let message = "its secret part does not open: it was sealed with another service key or for another project, or altered; start with the key that sealed \
                           it, or have somebody of the project renew it";
            Error::new(Kind::WrongKey, "open delegation", message)
                .with("delegation", delegation)
                .with("project", project)
        };
        let Some((&VERSION, rest)) = sealed.0.split_first() else {
            return Err(refused());
        };
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut plain = Zeroizing::new(rest.to_vec());
        let length = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(belongs(project, delegation)),
                &mut plain,
            )
            .map_err(|_| refused())?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| Error::new(Kind::Internal, "derive key", "the cipher refused the key"))
    }
}

/// The associated data: the id has a fixed length, so that no two pairs have the same bytes.
fn belongs(project: &ProjectId, delegation: DelegationId) -> Vec<u8> {
    [
        delegation.as_bytes().as_slice(),
        project.as_str().as_bytes(),
    ]
    .concat()
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"the secret of a credential";

    fn key(n: u8) -> SealingKey {
        SealingKey::new(&[n; 32]).unwrap()
    }

    #[test]
    fn it_opens_only_with_its_key_for_its_project_and_delegation_and_unaltered() {
        let (project, id) = (ProjectId::new("a"), DelegationId::from_bytes([7; 16]));
        let sealed = key(1).seal(&project, id, SECRET, &Env::system()).unwrap();
        assert_eq!(
            key(1).open(&project, id, &sealed).unwrap().as_slice(),
            SECRET
        );

        let refused = |key: SealingKey, project: &str, id: u8, sealed: &Sealed| {
            let id = DelegationId::from_bytes([id; 16]);
            let error = key.open(&ProjectId::new(project), id, sealed).unwrap_err();
            assert_eq!(error.kind(), Kind::WrongKey, "{error}");
        };
        refused(key(2), "a", 7, &sealed);
        refused(key(1), "b", 7, &sealed);
        refused(key(1), "a", 8, &sealed);
        for at in 0..sealed.0.len() {
            let mut flipped = sealed.clone();
            flipped.0[at] ^= 0x20;
            refused(key(1), "a", 7, &flipped);
            refused(key(1), "a", 7, &Sealed(sealed.0[..at].to_vec()));
        }
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time_and_not_shown() {
        let (project, id) = (ProjectId::new("a"), DelegationId::from_bytes([7; 16]));
        let seal = || key(1).seal(&project, id, SECRET, &Env::system()).unwrap();
        let sealed = seal();
        assert_ne!(sealed, seal());
        let shown = format!(
            "{sealed:?} {:?} {}",
            key(1),
            serde_json::to_string(&sealed).unwrap()
        );
        assert!(!shown.contains("secret"), "{shown}");
        let json = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(SealingKey::new(&[1; 31]).unwrap_err().kind(), Kind::Invalid);
    }
}
