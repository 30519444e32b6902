//! Key slots: `keys/<slot>`, each the master key wrapped by one secret.
//!
//! A slot is framed JSON. From its secret a wrapping key is made: with Argon2id (RFC 9106) from a passphrase, or with BLAKE3's key
//! derivation from a key file, which needs no slowing down. The wrapping key seals the master key with AES-256-GCM under a random nonce,
//! with the repository's id and the slot's name as associated data, so that a slot opens only where it belongs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MasterKey;
use super::secret::{Kept, Secret};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::RepositoryId;
use crate::repository::frame::{frame, unframe};

const KEY_FILE_CONTEXT: &str = "raksha 2026 key file wrapping v1";
const SHORTEST_KEY_FILE: usize = 32;

/// What a guess at a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes that could be computed at the same time.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// The second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes. It is above all of OWASP's.
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            iterations: 3,
            lanes: 4,
        }
    }
}

impl PassphraseCost {
    /// A slot is read before anything is known to be genuine: a forged one must not exhaust memory or time.
    fn check(&self) -> Result<()> {
        let sane = (1..=16).contains(&self.lanes)
            && (1..=16).contains(&self.iterations)
            && (8 * self.lanes..=1 << 20).contains(&self.memory_kib);
        if sane {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            "check key slot",
            "a passphrase may cost at most 1 GiB, 16 passes and 16 lanes, and at least 8 KiB a lane",
        )
        .with("cost", format!("{self:?}")))
    }
}

/// The JSON of a slot.
#[derive(Serialize, Deserialize)]
struct Slot {
    #[serde(flatten)]
    wrapping: Wrapping,
    /// The nonce, 12 bytes in base64.
    nonce: String,
    /// The sealed master key, 48 bytes in base64.
    wrapped: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Wrapping {
    Passphrase {
        #[serde(flatten)]
        cost: PassphraseCost,
        /// 16 bytes in base64.
        salt: String,
    },
    KeyFile,
    #[serde(other)]
    Unknown,
}

/// The bytes of a slot of this name that opens with `secret`. Takes as long as the passphrase's cost says: not for threads that drive
/// input and output.
///
/// # Errors
/// [`Kind::Invalid`] for an empty passphrase or a key file of fewer than 32 bytes.
pub(crate) fn new_slot(
    master: &MasterKey,
    secret: &Secret,
    repository: &RepositoryId,
    name: &str,
    env: &Env,
    cost: PassphraseCost,
) -> Result<Vec<u8>> {
    cost.check()?;
    check(secret)?;
    let (wrapping, key) = match &secret.0 {
        Kept::Passphrase(text) => {
            let salt: [u8; 16] = env.random()?;
            let wrapping = Wrapping::Passphrase {
                cost,
                salt: BASE64_STANDARD.encode(salt),
            };
            (wrapping, stretch(text, &salt, &cost)?)
        }
        Kept::KeyFile(bytes) => (Wrapping::KeyFile, from_key_file(bytes)?),
    };
    let nonce: [u8; 12] = env.random()?;
    let mut wrapped = master.0.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        place(repository, name),
        &mut wrapped,
    )
    .map_err(|_| internal("the cipher refused"))?;
    let slot = Slot {
        wrapping,
        nonce: BASE64_STANDARD.encode(nonce),
        wrapped: BASE64_STANDARD.encode(wrapped),
    };
    let json = serde_json::to_vec_pretty(&slot)
        .map_err(|e| internal("it cannot be written").caused_by(e))?;
    Ok(frame(&json))
}

/// The master key, or none if `secret` does not open this slot. Takes its time as [`new_slot`] does.
///
/// # Errors
/// [`Kind::Corrupt`] for a damaged slot, [`Kind::Unsupported`] for one of a kind that this version does not know (other slots may open),
/// [`Kind::Invalid`] for an impossible secret.
pub(crate) fn open_slot(
    bytes: &[u8],
    secret: &Secret,
    repository: &RepositoryId,
    name: &str,
) -> Result<Option<MasterKey>> {
    check(secret)?;
    let corrupt =
        |reason: &str| Error::new(Kind::Corrupt, "read key slot", reason).with("slot", name);
    let json = unframe(bytes, "key slot").map_err(|e| e.with("slot", name))?;
    let slot: Slot =
        serde_json::from_slice(json).map_err(|e| corrupt("it is no key slot").caused_by(e))?;
    let key = match (&slot.wrapping, &secret.0) {
        (Wrapping::Passphrase { cost, salt }, Kept::Passphrase(text)) => {
            let salt = decode::<16>(salt).ok_or_else(|| corrupt("its salt is malformed"))?;
            cost.check()
                .map_err(|e| corrupt("it asks for too much").caused_by(e))?;
            stretch(text, &salt, cost)?
        }
        (Wrapping::KeyFile, Kept::KeyFile(bytes)) => from_key_file(bytes)?,
        (Wrapping::Unknown, _) => {
            return Err(Error::new(
                Kind::Unsupported,
                "read key slot",
                "this version does not know its kind: use another slot's secret, or a newer version",
            )
            .with("slot", name));
        }
        (Wrapping::Passphrase { .. } | Wrapping::KeyFile, _) => return Ok(None),
    };
    let nonce = decode::<12>(&slot.nonce).ok_or_else(|| corrupt("its nonce is malformed"))?;
    let mut wrapped = decode::<48>(&slot.wrapped)
        .map(Zeroizing::new)
        .ok_or_else(|| corrupt("its wrapped key is malformed"))?;
    let opened = key.open_in_place(
        Nonce::assume_unique_for_key(nonce),
        place(repository, name),
        wrapped.as_mut_slice(),
    );
    let Ok(opened) = opened else {
        return Ok(None);
    };
    let master = <[u8; 32]>::try_from(&*opened).map_err(|_| corrupt("its key is malformed"))?;
    Ok(Some(MasterKey(Zeroizing::new(master))))
}

fn check(secret: &Secret) -> Result<()> {
    let reason = match &secret.0 {
        Kept::Passphrase(text) if text.is_empty() => "an empty passphrase protects nothing",
        Kept::KeyFile(bytes) if bytes.len() < SHORTEST_KEY_FILE => {
            "a key file needs at least 32 bytes that are hard to guess"
        }
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Invalid, "use secret", reason))
}

/// The wrapping key of a passphrase.
fn stretch(text: &str, salt: &[u8], cost: &PassphraseCost) -> Result<LessSafeKey> {
    let config = argon2::Config {
        mem_cost: cost.memory_kib,
        time_cost: cost.iterations,
        lanes: cost.lanes,
        hash_length: 32,
        variant: argon2::Variant::Argon2id,
        version: argon2::Version::Version13,
        thread_mode: argon2::ThreadMode::Sequential,
        ad: &[],
        secret: &[],
    };
    let key = argon2::hash_raw(text.as_bytes(), salt, &config)
        .map(Zeroizing::new)
        .map_err(|e| internal("Argon2id refused").caused_by(e))?;
    cipher(&key)
}

/// The wrapping key of a key file.
fn from_key_file(bytes: &[u8]) -> Result<LessSafeKey> {
    cipher(Zeroizing::new(blake3::derive_key(KEY_FILE_CONTEXT, bytes)).as_slice())
}

fn cipher(key: &[u8]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| internal("the cipher refused the key"))
}

/// Where a slot belongs, as associated data.
fn place(repository: &RepositoryId, name: &str) -> Aad<Vec<u8>> {
    let mut place = repository.as_bytes().to_vec();
    place.extend_from_slice(name.as_bytes());
    Aad::from(place)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

fn internal(message: &str) -> Error {
    Error::new(Kind::Internal, "wrap repository key", message)
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    const CHEAP: PassphraseCost = PassphraseCost {
        memory_kib: 32,
        iterations: 1,
        lanes: 1,
    };
    const HERE: RepositoryId = RepositoryId::from_bytes([5; 16]);

    fn slot(secret: &Secret) -> (MasterKey, Vec<u8>) {
        let env = Env::system();
        let master = MasterKey::random(&env).unwrap();
        let slot = new_slot(&master, secret, &HERE, "main", &env, CHEAP).unwrap();
        (master, slot)
    }

    #[test]
    fn a_slot_opens_with_its_secret_in_its_place_and_with_nothing_else() {
        let file: Vec<u8> = (0..40).collect();
        let secrets = [
            Secret::passphrase("correct horse"),
            Secret::passphrase("Correct horse"),
            Secret::key_file(&file),
            Secret::key_file(&file[1..]),
        ];
        for (i, secret) in secrets.iter().enumerate() {
            let (master, slot) = slot(secret);
            for (j, other) in secrets.iter().enumerate() {
                let opened = open_slot(&slot, other, &HERE, "main").unwrap();
                let same = opened.map(|m| m.derive(Purpose::Chunks, &HERE));
                assert_eq!(
                    same,
                    (i == j).then(|| master.derive(Purpose::Chunks, &HERE))
                );
            }
            let there = RepositoryId::from_bytes([6; 16]);
            assert!(open_slot(&slot, secret, &there, "main").unwrap().is_none());
            assert!(open_slot(&slot, secret, &HERE, "spare").unwrap().is_none());
        }
    }

    #[test]
    fn damage_is_not_taken_for_a_wrong_secret() {
        let secret = Secret::passphrase("words");
        let (_, slot) = slot(&secret);
        for at in 0..slot.len() {
            let mut flipped = slot.clone();
            flipped[at] ^= 4;
            let error = open_slot(&flipped, &secret, &HERE, "main").err().unwrap();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(open_slot(&slot[..at], &secret, &HERE, "main").is_err());
        }
    }

    #[test]
    fn a_forged_slot_cannot_exhaust_memory_or_time() {
        let secret = Secret::passphrase("words");
        let (_, slot) = slot(&secret);
        let json = String::from_utf8(unframe(&slot, "slot").unwrap().to_vec()).unwrap();
        for (field, forged) in [
            ("\"memory_kib\": 32", "\"memory_kib\": 4294967295"),
            ("\"iterations\": 1", "\"iterations\": 1000000"),
            ("\"lanes\": 1", "\"lanes\": 0"),
        ] {
            assert!(json.contains(field), "{json}");
            let forged = frame(json.replace(field, forged).as_bytes());
            let error = open_slot(&forged, &secret, &HERE, "main").err().unwrap();
            assert_eq!(error.kind(), Kind::Corrupt);
        }
        let unknown = frame(json.replace("passphrase", "barbican").as_bytes());
        let error = open_slot(&unknown, &secret, &HERE, "main").err().unwrap();
        assert_eq!(error.kind(), Kind::Unsupported);
    }

    #[test]
    fn secrets_that_protect_nothing_are_refused_and_none_is_shown() {
        let env = Env::system();
        let master = MasterKey::random(&env).unwrap();
        for secret in [Secret::passphrase(""), Secret::key_file(&[7; 31])] {
            let refused = new_slot(&master, &secret, &HERE, "main", &env, CHEAP).unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid);
        }
        assert!(!format!("{:?}", Secret::passphrase("words")).contains("words"));
    }
}
