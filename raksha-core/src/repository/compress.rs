//! Compression of single records.
//!
//! Records are compressed one by one: a chunk can be read without its neighbours, and copied to another pack as it is.
//! Where compression does not pay, bytes are stored as they are. There is no test of the data beforehand: zstd's fast levels
//! give up on random bytes at about the speed of hashing, so a guess would save little and be wrong at times.

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Kind, Result};

/// How records are compressed: a parameter of a repository. Every version reads all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard (RFC 8878), one frame a record.
    Zstd {
        /// From -7 (fastest) to 19 (smallest).
        level: i32,
    },
}

impl Compression {
    /// Whether the parameters make sense.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a level that is out of range.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::None => Ok(()),
            Self::Zstd { level } if (-7..=19).contains(&level) && level != 0 => Ok(()),
            Self::Zstd { level } => Err(Error::new(
                Kind::Invalid,
                "check compression",
                "a zstd level is from -7 to -1 or from 1 to 19",
            )
            .with("level", level)),
        }
    }
}

impl Default for Compression {
    /// Zstandard level 1: on disk images it makes 2.9 times smaller at 0.4 GB/s; level 3 gains 3 % for a third less speed.
    fn default() -> Self {
        Self::Zstd { level: 1 }
    }
}

/// What a record's payload is: the first byte of its plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// The bytes themselves.
    Stored,
    /// A zstd frame.
    Zstd,
}

impl Codec {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Zstd => 1,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self> {
        match byte {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            _ => Err(Error::new(
                Kind::Unsupported,
                "read record",
                "it is compressed in a way that this version does not know",
            )
            .with("codec", byte)),
        }
    }
}

/// The most bytes that a payload of `length` bytes takes while it is written.
pub(super) fn bound(length: usize) -> usize {
    zstd::zstd_safe::compress_bound(length)
}

/// The contexts that one thread compresses and decompresses with, made when they are needed first and for use again and again.
pub(super) struct Coder {
    level: Option<i32>,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    /// Room for the plain text of the record that is being opened.
    pub(super) scratch: Vec<u8>,
    /// Room for the bytes of a chunk that are only looked at.
    pub(super) opened: Vec<u8>,
}

impl Coder {
    fn new(compression: Compression) -> Self {
        let level = match compression {
            Compression::None => None,
            Compression::Zstd { level } => Some(level),
        };
        Self {
            level,
            compressor: None,
            decompressor: None,
            scratch: Vec::new(),
            opened: Vec::new(),
        }
    }

    fn decompressor(&mut self) -> Result<&mut Decompressor<'static>> {
        match &mut self.decompressor {
            Some(decompressor) => Ok(decompressor),
            none => Ok(none.insert(Decompressor::new().map_err(internal)?)),
        }
    }

    /// Appends `plain` to `out`, compressed if that makes it at least a thirty-second smaller, which pays for decompressing
    /// it. No copy is made if `out` has room for [`bound`] bytes more.
    pub(super) fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<Codec> {
        let start = out.len();
        if let Some(level) = self.level {
            let compressor = match &mut self.compressor {
                Some(compressor) => compressor,
                none => none.insert(Compressor::new(level).map_err(internal)?),
            };
            out.reserve(bound(plain.len()));
            let mut end = Cursor::new(&mut *out);
            end.set_position(start as u64);
            let written = compressor
                .compress_to_buffer(plain, &mut end)
                .map_err(internal)?;
            if written <= plain.len() - plain.len().div_ceil(32) {
                return Ok(Codec::Zstd);
            }
            out.truncate(start);
        }
        out.extend_from_slice(plain);
        Ok(Codec::Stored)
    }

    /// The bytes of a zstd frame, at most `limit` of them: no more than that is ever allocated, whatever the frame claims.
    pub(super) fn decompress(&mut self, frame: &[u8], limit: usize) -> Result<Vec<u8>> {
        self.decompressor()?
            .decompress(frame, limit)
            .map_err(no_frame)
    }

    /// The same into `out`, whose content is replaced.
    pub(super) fn decompress_into(
        &mut self,
        frame: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        out.reserve(limit);
        self.decompressor()?
            .decompress_to_buffer(frame, out)
            .map_err(no_frame)?;
        if out.len() > limit {
            return Err(no_frame(std::io::ErrorKind::InvalidData.into()));
        }
        Ok(())
    }
}

fn no_frame(error: std::io::Error) -> Error {
    Error::new(
        Kind::Corrupt,
        "decompress record",
        "it is no zstd frame, or a larger one than may be here",
    )
    .caused_by(error)
}

fn internal(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, "compress", "zstd refused").caused_by(error)
}

/// Coders for as many threads as ask for one at the same time.
pub(super) struct CoderPool {
    compression: Compression,
    idle: Mutex<Vec<Coder>>,
}

impl CoderPool {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            compression,
            idle: Mutex::default(),
        }
    }

    /// Does `work` with a coder.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Coder) -> Result<T>) -> Result<T> {
        let idle = self.lock().pop();
        let mut coder = idle.unwrap_or_else(|| Coder::new(self.compression));
        let done = work(&mut coder);
        self.lock().push(coder);
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Coder>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(compression: Compression) -> Coder {
        Coder::new(compression)
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        let mut coder = coder(Compression::default());
        let mut noise = vec![0; 64 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut out = b"before".to_vec();
        assert_eq!(coder.compress(&noise, &mut out).unwrap(), Codec::Stored);
        assert_eq!(out, [&b"before"[..], &noise].concat());
        assert_eq!(coder.compress(b"", &mut out).unwrap(), Codec::Stored);
    }

    #[test]
    fn compressed_bytes_are_appended_and_come_back() {
        let mut coder = coder(Compression::Zstd { level: 3 });
        let text = b"the same again, ".repeat(1000);
        let mut out = b"before".to_vec();
        assert_eq!(coder.compress(&text, &mut out).unwrap(), Codec::Zstd);
        let (before, frame) = out.split_at(6);
        assert_eq!(before, b"before");
        assert!(frame.len() < 200);
        assert_eq!(coder.decompress(frame, text.len()).unwrap(), text);
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let mut coder = coder(Compression::default());
        let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 1).unwrap();
        let error = coder.decompress(&bomb, 8 << 20).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        // A streamed frame does not say how large it is.
        let streamed = zstd::stream::encode_all(&vec![0; 16 << 20][..], 1).unwrap();
        assert!(coder.decompress(&streamed, 8 << 20).is_err());
    }

    #[test]
    fn it_is_spelt_as_the_format_says() {
        let json = serde_json::to_string(&Compression::default()).unwrap();
        assert_eq!(json, r#"{"algorithm":"zstd","level":1}"#);
        let none: Compression = serde_json::from_str(r#"{"algorithm":"none"}"#).unwrap();
        assert_eq!(none, Compression::None);
        assert!(Compression::Zstd { level: 22 }.check().is_err());
    }
}
