//! Compression of single records.
//!
//! Records are compressed one by one: a chunk can be read without its neighbours, and copied to another pack as it is.
//! Where compression does not pay, bytes are stored as they are. There is no test of the data beforehand: zstd's fast levels
//! give up on random bytes at about the speed of hashing, so a guess would save little and be wrong at times.

use std::io::Cursor;
use std::ops::RangeInclusive;
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
    /// The same, at a level that each session chooses by itself, pack by pack: a lower one while the target waits for the compressor, a
    /// higher one while the compressor waits for the target.
    ZstdAdaptive {
        /// The lowest level it goes to: as in [`Zstd`](Self::Zstd).
        fastest: i32,
        /// The highest: no lower than `fastest`.
        smallest: i32,
    },
}

/// The level that adapting begins at, and that of small objects. On disk images it makes 2.9 times smaller at 0.4 GB/s; level 3 gains 3 % for a
/// third less speed.
const USUAL: i32 = 1;

impl Compression {
    /// Whether the parameters make sense.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a level that is out of range, and for a range that ends before it begins.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: &str| Error::new(Kind::Invalid, "check compression", why);
        let Some(levels) = self.levels() else {
            return Ok(());
        };
        for level in [*levels.start(), *levels.end()] {
            if !(-7..=19).contains(&level) || level == 0 {
                let why = "a zstd level is from -7 to -1 or from 1 to 19";
                return Err(wrong(why).with("level", level));
            }
        }
        if levels.is_empty() {
            let why = "the fastest level must be no higher than the smallest";
            return Err(wrong(why)
                .with("fastest", levels.start())
                .with("smallest", levels.end()));
        }
        Ok(())
    }

    /// The levels that a session may use; none if nothing is compressed.
    pub(super) fn levels(&self) -> Option<RangeInclusive<i32>> {
        match *self {
            Self::None => None,
            Self::Zstd { level } => Some(level..=level),
            Self::ZstdAdaptive { fastest, smallest } => Some(fastest..=smallest),
        }
    }

    /// The level to begin with, and that of what is too small to learn from; none if nothing is compressed.
    pub(super) fn usual_level(&self) -> Option<i32> {
        // No `clamp`: it panics at an empty range, and one could be read.
        let levels = self.levels()?;
        Some(USUAL.min(*levels.end()).max(*levels.start()))
    }
}

impl Default for Compression {
    /// Zstandard at levels from -1 to 6, by the target's speed. At level -1, full backups of disks take a tenth less processor time than at level 1
    /// for a ninth more bytes; further down, more and more bytes, which stay, are given for seconds, which pass. Level 6 is the last one that gains
    /// anything: it makes 5 % smaller than level 1 at a quarter of its speed; level 7 makes 0.2 % smaller than that for a sixth less speed.
    fn default() -> Self {
        Self::ZstdAdaptive {
            fastest: -1,
            smallest: 6,
        }
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
#[derive(Default)]
pub(super) struct Coder {
    /// With the level that it is set to.
    compressor: Option<(i32, Compressor<'static>)>,
    decompressor: Option<Decompressor<'static>>,
    /// Room for the plain text of the record that is being opened.
    pub(super) scratch: Vec<u8>,
    /// Room for the bytes of a chunk that are only looked at.
    pub(super) opened: Vec<u8>,
}

impl Coder {
    fn decompressor(&mut self) -> Result<&mut Decompressor<'static>> {
        match &mut self.decompressor {
            Some(decompressor) => Ok(decompressor),
            none => Ok(none.insert(Decompressor::new().map_err(internal)?)),
        }
    }

    /// Appends `plain` to `out`, compressed at `level` if that makes it at least a thirty-second smaller, which pays for decompressing
    /// it. No copy is made if `out` has room for [`bound`] bytes more.
    pub(super) fn compress(
        &mut self,
        plain: &[u8],
        level: Option<i32>,
        out: &mut Vec<u8>,
    ) -> Result<Codec> {
        let start = out.len();
        if let Some(level) = level {
            let compressor = self.compressor(level)?;
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

    /// The compressor at this level. The context stays: only its tables are laid out anew when the next frame begins.
    fn compressor(&mut self, level: i32) -> Result<&mut Compressor<'static>> {
        let (set, compressor) = match &mut self.compressor {
            Some(there) => there,
            none => none.insert((level, Compressor::new(level).map_err(internal)?)),
        };
        if *set != level {
            compressor.set_compression_level(level).map_err(internal)?;
            *set = level;
        }
        Ok(compressor)
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
#[derive(Default)]
pub(super) struct CoderPool {
    idle: Mutex<Vec<Coder>>,
}

impl CoderPool {
    /// Does `work` with a coder.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Coder) -> Result<T>) -> Result<T> {
        let idle = self.lock().pop();
        let mut coder = idle.unwrap_or_default();
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

    fn coder() -> Coder {
        Coder::default()
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        let mut coder = coder();
        let mut noise = vec![0; 64 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for level in [-1, 1, 6] {
            let mut out = b"before".to_vec();
            let mut compress = |plain: &[u8]| coder.compress(plain, Some(level), &mut out).unwrap();
            assert_eq!(compress(&noise), Codec::Stored);
            assert_eq!(compress(b""), Codec::Stored);
            assert_eq!(out, [&b"before"[..], &noise].concat());
        }
    }

    #[test]
    fn compressed_bytes_are_appended_and_come_back() {
        let mut coder = coder();
        let text = b"the same again, ".repeat(1000);
        let mut out = b"before".to_vec();
        let codec = coder.compress(&text, Some(3), &mut out).unwrap();
        assert_eq!(codec, Codec::Zstd);
        let (before, frame) = out.split_at(6);
        assert_eq!(before, b"before");
        assert!(frame.len() < 200);
        assert_eq!(coder.decompress(frame, text.len()).unwrap(), text);
        let mut plain = Vec::new();
        let codec = coder.compress(&text, None, &mut plain).unwrap();
        assert_eq!((codec, plain), (Codec::Stored, text));
    }

    #[test]
    fn each_call_has_its_own_level() {
        let mut coder = coder();
        let words = (0..4000u32).map(|n| format!("{} ", n.wrapping_mul(2_654_435_761) >> 18));
        let text: String = words.collect();
        let sizes = [6, -1, 1, 6, 6, -1, 19].map(|level| {
            let mut out = Vec::new();
            coder
                .compress(text.as_bytes(), Some(level), &mut out)
                .unwrap();
            let alone = zstd::bulk::compress(text.as_bytes(), level).unwrap();
            assert!(out == alone, "level {level} is not what it is by itself");
            let opened = coder.decompress(&out, text.len()).unwrap();
            assert!(opened == text.as_bytes());
            out.len()
        });
        assert!(sizes[0] < sizes[2] && sizes[2] < sizes[1], "{sizes:?}");
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let mut coder = coder();
        let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 1).unwrap();
        let error = coder.decompress(&bomb, 8 << 20).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        // A streamed frame does not say how large it is.
        let streamed = zstd::stream::encode_all(&vec![0; 16 << 20][..], 1).unwrap();
        assert!(coder.decompress(&streamed, 8 << 20).is_err());
    }

    #[test]
    fn it_is_spelt_as_the_format_says() {
        for (how, text) in [
            (Compression::None, r#"{"algorithm":"none"}"#),
            (
                Compression::Zstd { level: 1 },
                r#"{"algorithm":"zstd","level":1}"#,
            ),
            (
                Compression::default(),
                r#"{"algorithm":"zstd_adaptive","fastest":-1,"smallest":6}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&how).unwrap(), text);
            assert_eq!(serde_json::from_str::<Compression>(text).unwrap(), how);
            how.check().unwrap();
        }
    }

    #[test]
    fn levels_that_there_are_not_are_refused() {
        for level in [-8, 0, 20] {
            assert!(Compression::Zstd { level }.check().is_err(), "{level}");
        }
        for (fastest, smallest) in [(-8, 6), (0, 6), (-1, 0), (-1, 20), (3, 1)] {
            let how = Compression::ZstdAdaptive { fastest, smallest };
            assert_eq!(how.check().unwrap_err().kind(), Kind::Invalid, "{how:?}");
        }
        for (fastest, smallest, usual) in [(1, 1, 1), (-7, -2, -2), (3, 19, 3), (-7, 19, 1)] {
            let how = Compression::ZstdAdaptive { fastest, smallest };
            how.check().unwrap();
            assert_eq!(how.usual_level(), Some(usual), "{how:?}");
        }
    }
}
