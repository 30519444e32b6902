//! Names of things: every id is a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// Defines an id of `$n` bytes that is written in lower-case hexadecimal.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $n:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $n]);

        impl $name {
            /// From its bytes.
            pub const fn from_bytes(bytes: [u8; $n]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                read_hex(text).map(Self).ok_or_else(|| {
                    Error::new(
                        Kind::Invalid,
                        concat!("parse ", $what),
                        concat!("expected ", $n, " bytes in lower-case hexadecimal"),
                    )
                    .with($what, text)
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Names a chunk by its content: BLAKE3 of its bytes, keyed with a key of the repository.
    ChunkId, 32, "chunk id"
);
hex_id!(
    /// The BLAKE3 of an object's bytes, which is the last part of its name.
    ObjectHash, 32, "object hash"
);
hex_id!(
    /// Names a recovery point: the hash of the object that holds it.
    PointId, 32, "point id"
);
hex_id!(
    /// Names a repository; drawn at random when it is created.
    RepositoryId, 16, "repository id"
);
hex_id!(
    /// Names a backup job.
    JobId, 16, "job id"
);
hex_id!(
    /// Names one execution of a backup job.
    RunId, 16, "run id"
);
hex_id!(
    /// Names one execution of a restore.
    RestoreId, 16, "restore id"
);
hex_id!(
    /// Names a delegation.
    DelegationId, 16, "delegation id"
);

impl JobId {
    /// A new one.
    pub fn random(env: &Env) -> Result<Self> {
        env.random().map(Self)
    }
}

impl RunId {
    /// A new one.
    pub fn random(env: &Env) -> Result<Self> {
        env.random().map(Self)
    }

    /// The one of the run that is begun when the due run of `job` at `due` was taken for the `token`th time.
    pub fn of_due(job: JobId, due: Timestamp, token: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("Raksha: the id of a run that was due");
        hasher.update(job.as_bytes());
        hasher.update(&due.as_millis().to_le_bytes());
        hasher.update(&token.to_le_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl RestoreId {
    /// A new one.
    pub fn random(env: &Env) -> Result<Self> {
        env.random().map(Self)
    }
}

impl DelegationId {
    /// A new one.
    pub fn random(env: &Env) -> Result<Self> {
        env.random().map(Self)
    }
}

/// Names a session by the number of the log entry that opened it: unique, ordered, never drawn twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Defines an id that some other system chose: any text.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// From the text that the other system uses.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The text that the other system uses.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }
    };
}

text_id!(
    /// A project (tenant) of a cloud: owns jobs, runs and points.
    ProjectId
);
text_id!(
    /// A server.
    ServerId
);
text_id!(
    /// A volume.
    VolumeId
);
text_id!(
    /// An image.
    ImageId
);
text_id!(
    /// A port: a server's place on a network.
    PortId
);
text_id!(
    /// A network.
    NetworkId
);
text_id!(
    /// A subnet.
    SubnetId
);
text_id!(
    /// A router.
    RouterId
);
text_id!(
    /// A security group.
    SecurityGroupId
);
text_id!(
    /// A floating IP.
    FloatingIpId
);
text_id!(
    /// A key pair; clouds name them instead of numbering them.
    KeyPairId
);
text_id!(
    /// A server group.
    ServerGroupId
);

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        if let [high, low] = pair {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways_and_has_one_spelling() {
        let id = RunId::from_bytes([0xa5; 16]);
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<RunId>().is_err());
        assert!("a5".parse::<RunId>().is_err());
    }
}
