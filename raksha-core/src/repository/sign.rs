//! Signatures on log entries and checkpoints.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::id::ObjectHash;

const LINE: &[u8] = b"\ned25519 ";
const SIGNATURE: usize = 64;

/// The secret half of an Ed25519 key. Has no Debug.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    /// The key that follows from a seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| Error::new(Kind::Internal, "make signing key", "the seed was refused"))
    }

    /// The public half.
    pub(crate) fn verifier(&self) -> Verifier {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        Verifier(ObjectHash::from_bytes(key))
    }

    /// `message` with a line that holds its signature.
    pub(crate) fn append_signature(&self, mut message: Vec<u8>) -> Vec<u8> {
        let signature = self.0.sign(&message);
        message.extend_from_slice(LINE);
        for byte in signature.as_ref() {
            message.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        message
    }
}

/// The public half of an Ed25519 key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(ObjectHash);

impl Verifier {
    /// Whether `signature` is this key's signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.as_bytes())
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({self})")
    }
}

/// Divides bytes into the message and its signature.
pub(crate) fn split_signature(bytes: &[u8]) -> Option<(&[u8], [u8; SIGNATURE])> {
    let at = bytes.len().checked_sub(LINE.len() + 2 * SIGNATURE)?;
    let (message, tail) = bytes.split_at_checked(at)?;
    let digits = std::str::from_utf8(tail.strip_prefix(LINE)?).ok()?;
    let half =
        |range: std::ops::Range<usize>| -> Option<ObjectHash> { digits.get(range)?.parse().ok() };
    let (r, s) = (half(0..64)?, half(64..128)?);
    let mut signature = [0; SIGNATURE];
    for (to, from) in signature
        .iter_mut()
        .zip(r.as_bytes().iter().chain(s.as_bytes()))
    {
        *to = *from;
    }
    Some((message, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let signer = Signer::from_seed(&[7; 32]).unwrap();
        let other = Signer::from_seed(&[8; 32]).unwrap();
        let signed = signer.append_signature(b"message".to_vec());
        let (message, signature) = split_signature(&signed).unwrap();
        assert_eq!(message, b"message");
        assert!(signer.verifier().verify(message, &signature));
        assert!(!other.verifier().verify(message, &signature));
        assert!(!signer.verifier().verify(b"massage", &signature));
        assert!(
            split_signature(&signed[1..]).is_some_and(|(m, s)| !signer.verifier().verify(m, &s))
        );
        assert!(split_signature(&signed[..signed.len() - 1]).is_none());
    }
}
