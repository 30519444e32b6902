//! Entries of the commit log: what they say and how they are written.
//!
//! An entry is one line of JSON, a line with an Ed25519 signature over the bytes before it, and the line of the [frame](super::frame) with a
//! BLAKE3 over everything before it. Each names its own number and the hash of the entry before it, so that none can be
//! removed, changed or moved without being noticed by whoever reads them in order, with no key at hand.

use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{frame, unframe};
use super::names::{IndexName, PackName};
use super::sign::{Signer, Verifier, split_signature};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, PointId, RepositoryId, SessionId};
use crate::store::Role;
use crate::time::Timestamp;

/// One entry of the commit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; the first has 0.
    pub number: u64,
    /// The BLAKE3 of the bytes of the entry before it; zeroes in the first.
    pub previous: ObjectHash,
    /// When its writer thought it was. For people and for policy; safety never rests on it.
    pub time: Timestamp,
    /// The session that it belongs to, whose key signs it. An entry without session, and one that opens a session, is signed with the
    /// repository's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Drawn at random, so that no two attempts ever have the same bytes: a writer that lost an answer recognises its own entry.
    pub nonce: String,
    /// What happened.
    pub action: Action,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// The repository begins. The first entry, and only the first.
    Created {
        /// Its id.
        repository: RepositoryId,
        /// The BLAKE3 of `raksha.json`, which so becomes part of the chain.
        parameters: ObjectHash,
        /// Where the log lies.
        #[serde(default, skip_serializing_if = "LogHome::is_target")]
        log: LogHome,
    },
    /// A writer, reader or collector announces itself. The entry's number becomes the session's id.
    SessionOpened {
        /// What for.
        purpose: Purpose,
        /// Who it is: sealed, for those with the key.
        by: String,
        /// The public half of the key that signs the session's further entries.
        verifier: Verifier,
        /// Points that must stay whole for as long as the session is open.
        #[serde(default)]
        pins: Vec<PointId>,
    },
    /// The session has ended by itself.
    SessionClosed,
    /// A session was ended by somebody else: from here on nothing that it does counts.
    SessionFenced {
        /// The session that was fenced off.
        fenced: SessionId,
        /// By whom: sealed.
        by: String,
    },
    /// Packs were uploaded, and are described by an index object. From here on everybody may rely on them.
    PacksAdded {
        /// The index object, under the session's prefix.
        index: ObjectHash,
        /// Its length in bytes.
        index_bytes: u64,
        /// The packs, under the session's prefix.
        packs: Vec<AddedPack>,
    },
    /// A recovery point exists.
    PointCommitted {
        /// The point: the hash of the object under the session's prefix.
        point: PointId,
        /// What a list shows of it: sealed.
        summary: String,
        /// The log up to which (exclusive) the writer knows that everything the point reaches is live.
        checked: u64,
    },
    /// Points are given up.
    PointsForgotten {
        /// Which.
        points: Vec<PointId>,
        /// By whom: sealed.
        by: String,
    },
    /// A point may not be forgotten until the hold is lifted.
    HoldSet {
        /// The point.
        point: PointId,
        /// By whom and why: sealed.
        by: String,
    },
    /// The hold on a point is lifted.
    HoldLifted {
        /// The point.
        point: PointId,
        /// By whom: sealed.
        by: String,
    },
    /// Packs that nothing needs any more. Nobody may rely on them from here on, and their bytes may be deleted.
    PacksRetired {
        /// Which.
        packs: Vec<PackName>,
        /// The log up to which (exclusive) the collector knows all that is reached.
        checked: u64,
        /// Whether they are damaged, and points may need what they lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        damaged: bool,
    },
    /// Index objects were replaced by one that describes the same live packs.
    IndexesMerged {
        /// The new one, under the session's prefix.
        index: ObjectHash,
        /// Its length in bytes.
        index_bytes: u64,
        /// The ones it replaces.
        replaced: Vec<IndexName>,
    },
    /// From the next entry on, the log is appended to elsewhere. Whoever still appends at the old place meets this entry first, and stops.
    LogMoved {
        /// Where.
        to: LogHome,
        /// By whom: sealed.
        by: String,
    },
    /// A key slot was added or removed.
    KeysChanged {
        /// The slot's name.
        slot: String,
        /// Whether it was added; else it was removed.
        added: bool,
        /// By whom: sealed.
        by: String,
    },
}

/// Where the log is appended to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogHome {
    /// In the target, which creates objects atomically.
    #[default]
    Target,
    /// In a catalog elsewhere; the target has a copy.
    Catalog,
}

impl LogHome {
    fn is_target(&self) -> bool {
        *self == Self::Target
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It stores points.
    Write,
    /// It restores points.
    Read,
    /// It collects garbage.
    Collect,
}

/// A pack as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedPack {
    /// The BLAKE3 of its bytes.
    pub hash: ObjectHash,
    /// Its length in bytes.
    pub bytes: u64,
    /// What its chunks are for.
    pub role: Role,
}

impl Entry {
    /// The entry's bytes, signed.
    pub(crate) fn encode(&self, signer: &Signer) -> Result<Bytes> {
        let json = serde_json::to_vec(self).map_err(|e| {
            Error::new(Kind::Internal, "encode log entry", "it cannot be written").caused_by(e)
        })?;
        Ok(Bytes::from(frame(&signer.append_signature(json))))
    }

    /// Reads an entry and checks all that can be checked without knowing what came before: its frame and its number.
    /// The signature is checked by the [fold](super::fold), which knows whose it must be.
    pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<Signed> {
        let damaged =
            |why: &'static str| Error::new(Kind::Corrupt, "read log", why).with("entry", number);
        let payload = unframe(bytes, "log entry")
            .map_err(|e| damaged("the entry is damaged").caused_by(e))?;
        let (signed, signature) =
            split_signature(payload).ok_or_else(|| damaged("the entry has no signature"))?;
        let entry: Entry = serde_json::from_slice(signed).map_err(|e| {
            Error::new(
                Kind::Unsupported,
                "read log",
                "the entry says something that this version does not know; use a newer one",
            )
            .with("entry", number)
            .caused_by(e)
        })?;
        if entry.number != number {
            return Err(damaged(
                "the entry has another number than its place in the log",
            ));
        }
        Ok(Signed {
            entry,
            message: signed.to_vec(),
            signature,
            holds_for: OnceLock::new(),
            hash: ObjectHash::from_bytes(*blake3::hash(bytes).as_bytes()),
        })
    }
}

/// An entry as it was read, with what is needed to check its signature.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) entry: Entry,
    message: Vec<u8>,
    signature: [u8; 64],
    /// The key whose signature it was found to be.
    holds_for: OnceLock<Verifier>,
    pub(crate) hash: ObjectHash,
}

impl Signed {
    /// Whether it carries the signature of this key. What was found to hold is not checked again.
    pub(crate) fn is_signed_by(&self, verifier: &Verifier) -> bool {
        let holds = self.holds_for.get() == Some(verifier)
            || verifier.verify(&self.message, &self.signature);
        if holds {
            self.vouch(verifier);
        }
        holds
    }

    /// It carries the signature of this key: the caller knows.
    pub(super) fn vouch(&self, verifier: &Verifier) {
        self.holds_for.get_or_init(|| *verifier);
    }
}
