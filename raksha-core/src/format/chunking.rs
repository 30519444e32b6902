//! How a disk is cut into chunks: a choice that is recorded with every disk tree, since the same content cut otherwise has
//! another root.

use serde::{Deserialize, Serialize};

use super::Reader;
use crate::error::{Error, Kind, Result};

/// Zeroes are recognised, and aligned cuts are made, in blocks of this many bytes, counted from the start of the segment.
pub const BLOCK: u32 = 4096;

/// The largest chunk that any algorithm may make.
const LARGEST_CHUNK: u32 = 8 << 20;

/// An algorithm that cuts a segment into chunks, with its parameters in bytes.
///
/// Every algorithm reads a segment from left to right and decides at each boundary, from the bytes that follow alone, how long the
/// next item is (so that after a change, cutting falls back into step):
/// a run of zero blocks that is at least [`hole`](Chunking::hole) bytes long (or reaches the segment's end) is one hole, up to
/// the next block that is not all zero; anything else is a chunk, which ends where the algorithm cuts, where such a
/// run of zero blocks begins, or with the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "algorithm", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Chunking {
    /// Every chunk has the same size and lies on a multiple of it. A chunk that is all zero is a hole.
    Fixed {
        /// The size: a power of two, a multiple of [`BLOCK`].
        size: u32,
    },
    /// Cut points by content, at any byte: FastCDC, version 2020, as in the crate `fastcdc` (`v2020`, normalisation level 1).
    FastCdc {
        /// No cut before this many bytes.
        min: u32,
        /// The size aimed for.
        average: u32,
        /// A cut after this many bytes at the latest.
        max: u32,
    },
    /// Cut points by content, only between blocks of [`BLOCK`] bytes, for file systems, which move data by whole blocks.
    Aligned {
        /// No cut before this many bytes: a multiple of [`BLOCK`].
        min: u32,
        /// The size aimed for: a power of two.
        average: u32,
        /// A cut after this many bytes at the latest: a multiple of [`BLOCK`].
        max: u32,
    },
}

impl Chunking {
    /// For disks. Chunks come out some 40 KiB long on average, since cuts fall between blocks.
    pub const DISK: Self = Self::Aligned {
        min: 16 << 10,
        average: 32 << 10,
        max: 128 << 10,
    };

    /// For streams in which data shifts, such as image files and archives.
    pub const STREAM: Self = Self::FastCdc {
        min: 16 << 10,
        average: 64 << 10,
        max: 256 << 10,
    };

    /// The largest chunk that this makes.
    pub fn max(&self) -> u32 {
        match *self {
            Self::Fixed { size } => size,
            Self::FastCdc { max, .. } | Self::Aligned { max, .. } => max,
        }
    }

    /// The granularity at which zeroes are looked for.
    pub fn block(&self) -> u32 {
        match *self {
            Self::Fixed { size } => size,
            Self::FastCdc { .. } | Self::Aligned { .. } => BLOCK,
        }
    }

    /// The shortest run of zeroes that is a hole, unless it reaches the segment's end.
    pub fn hole(&self) -> u32 {
        match *self {
            Self::Fixed { size } => size,
            Self::FastCdc { average, .. } | Self::Aligned { average, .. } => average,
        }
    }

    /// Whether the parameters make sense.
    ///
    /// # Errors
    /// [`Kind::Invalid`] naming what does not.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: &str| {
            Err(Error::new(Kind::Invalid, "check chunking", why)
                .with("chunking", format!("{self:?}")))
        };
        if self.max() > LARGEST_CHUNK {
            return wrong("a chunk may have 8 MiB at most");
        }
        match *self {
            Self::Fixed { size } if !size.is_power_of_two() || size < BLOCK => {
                wrong("the size must be a power of two and at least 4096")
            }
            Self::FastCdc { min, average, max } | Self::Aligned { min, average, max }
                if !average.is_power_of_two()
                    || average < BLOCK
                    || min > average
                    || average > max =>
            {
                wrong(
                    "min <= average <= max is needed, and an average that is a power of two and at least 4096",
                )
            }
            // The algorithm steps through two bytes at a time.
            Self::FastCdc { min, max, .. } if min < 64 || min % 2 != 0 || max % 2 != 0 => {
                wrong("min must be at least 64, and min and max must be even")
            }
            Self::Aligned { min, max, .. } if min % BLOCK != 0 || max % BLOCK != 0 || min == 0 => {
                wrong("min and max must be multiples of 4096")
            }
            _ => Ok(()),
        }
    }

    /// Appends the 13 bytes that stand for this in a root: algorithm, then min, average and max as u32.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (algorithm, min, average, max) = match *self {
            Self::Fixed { size } => (1u8, size, size, size),
            Self::FastCdc { min, average, max } => (2, min, average, max),
            Self::Aligned { min, average, max } => (3, min, average, max),
        };
        out.push(algorithm);
        for n in [min, average, max] {
            out.extend_from_slice(&n.to_le_bytes());
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let algorithm = reader.u8()?;
        let (min, average, max) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let chunking = match algorithm {
            1 if min == average && average == max => Self::Fixed { size: min },
            2 => Self::FastCdc { min, average, max },
            3 => Self::Aligned { min, average, max },
            _ => {
                return Err(Error::new(
                    Kind::Unsupported,
                    "decode",
                    "the disk was cut by an algorithm that this version does not know; use a newer one",
                )
                .with("algorithm", algorithm));
            }
        };
        match chunking.check() {
            Ok(()) => Ok(chunking),
            Err(e) => Err(reader.corrupt("its chunking is impossible").caused_by(e)),
        }
    }
}
