//! Names of objects in the target.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, PointId, SessionId};

/// The object that makes a target a repository.
pub(crate) const PARAMETERS: &str = "raksha.json";
/// The prefix of key slots.
pub(crate) const KEYS: &str = "keys";
/// The prefix of log entries, where the target holds the log.
pub(crate) const LOG: &str = "log";
/// The prefix of checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoint";

/// The kinds of objects that sessions store, each under a prefix of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectKind {
    Pack,
    Index,
    Point,
}

impl ObjectKind {
    pub(crate) const ALL: [Self; 3] = [Self::Pack, Self::Index, Self::Point];

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Pack => "packs",
            Self::Index => "index",
            Self::Point => "points",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pack => "pack",
            Self::Index => "index",
            Self::Point => "point",
        })
    }
}

/// Names an object that a session stored: the session, and the BLAKE3 of the object's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredName {
    /// The session.
    pub session: SessionId,
    /// The BLAKE3 of the bytes.
    pub hash: ObjectHash,
}

/// Names a pack.
pub(crate) type PackName = StoredName;
/// Names an index object.
pub(crate) type IndexName = StoredName;

impl StoredName {
    /// The object of `session` whose bytes have this hash.
    pub fn new(session: SessionId, hash: ObjectHash) -> Self {
        Self { session, hash }
    }

    /// The object of `session` that holds these bytes.
    pub(crate) fn of(session: SessionId, bytes: &[u8]) -> Self {
        Self::new(
            session,
            ObjectHash::from_bytes(*blake3::hash(bytes).as_bytes()),
        )
    }

    /// Where the object is, if it is of this kind.
    pub(crate) fn location(&self, kind: ObjectKind) -> Path {
        Path::from(format!(
            "{}/{:020}/{}",
            kind.prefix(),
            self.session.0,
            self.hash
        ))
    }

    /// The name of the object at `location`, if it is one that a session stored.
    pub(crate) fn parse(location: &Path) -> Option<(ObjectKind, Self)> {
        let mut parts = location.as_ref().split('/');
        let (prefix, session, hash) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || session.len() != 20 {
            return None;
        }
        let kind = ObjectKind::ALL.into_iter().find(|k| k.prefix() == prefix)?;
        if !session.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let name = Self::new(SessionId(session.parse().ok()?), hash.parse().ok()?);
        Some((kind, name))
    }
}

/// The location of a point's object.
pub(crate) fn point_location(session: SessionId, point: &PointId) -> Path {
    StoredName::new(session, ObjectHash::from_bytes(*point.as_bytes())).location(ObjectKind::Point)
}

impl fmt::Display for StoredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.hash)
    }
}

impl FromStr for StoredName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(session, hash)| {
            Some(Self::new(
                SessionId(session.parse().ok()?),
                hash.parse().ok()?,
            ))
        });
        parsed.ok_or_else(|| {
            Error::new(Kind::Invalid, "parse object name", "expected session/hash")
                .with("name", text)
        })
    }
}

impl Serialize for StoredName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoredName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_back_and_foreign_ones_are_not() {
        let name = StoredName::of(SessionId(42), b"bytes");
        for kind in ObjectKind::ALL {
            let location = name.location(kind);
            assert_eq!(StoredName::parse(&location), Some((kind, name)));
        }
        for foreign in ["packs/42/x", "other/00000000000000000042/aa", "packs"] {
            assert_eq!(StoredName::parse(&Path::from(foreign)), None);
        }
    }
}
