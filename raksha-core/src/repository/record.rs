//! Records: what becomes of a chunk, or of any blob, on its way into an object.
//!
//! A record's plain text is one byte that says how the rest is compressed, and the rest; then it is sealed.

use bytes::Bytes;

use super::compress::{Codec, Coder, CoderPool, Compression, bound};
use super::seal::{Belongs, SealWriter, Sealing};
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::store::{ChunkNamer, Role};

/// The largest chunk of a role. A record that claims to hold more is not believed.
pub(crate) fn largest(role: Role) -> usize {
    match role {
        Role::Data => 8 << 20,
        Role::Tree => 64 << 20,
    }
}

/// Writes and opens the records of a repository. To be shared by all threads.
pub(crate) struct Records {
    sealing: Sealing,
    compression: Compression,
    coders: CoderPool,
    namer: ChunkNamer,
}

impl Records {
    /// Records compressed and sealed like this, of chunks that are named by `namer`.
    pub(crate) fn new(sealing: Sealing, compression: Compression, namer: ChunkNamer) -> Self {
        Self {
            sealing,
            compression,
            coders: CoderPool::default(),
            namer,
        }
    }

    /// How chunks are to be compressed.
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Names chunks.
    pub(crate) fn namer(&self) -> &ChunkNamer {
        &self.namer
    }

    /// The most bytes that the record of `length` bytes takes while it is written.
    pub(crate) fn bound(&self, length: usize) -> usize {
        self.sealing.overhead() + 1 + bound(length)
    }

    /// Starts a series of records that share a salt.
    pub(crate) fn writer(&self, env: &Env) -> Result<SealWriter> {
        self.sealing.writer(env)
    }

    /// Appends the record of a chunk to `out`, compressed at `level` if there is one. With `check`, the record is then opened as a reader would open it, and must give
    /// bytes of the right name: this finds what memory, processor, compressor or cipher did wrong, and a wrong name, while
    /// the source is still there.
    pub(crate) fn write_chunk(
        &self,
        writer: &mut SealWriter,
        id: ChunkId,
        plain: &[u8],
        level: Option<i32>,
        check: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = out.len();
        let belongs = Belongs::Chunk(id);
        self.coders
            .with(|coder| {
                write(coder, writer, belongs, plain, level, out)?;
                if check {
                    let record = out.get(start..).unwrap_or_default();
                    self.check(coder, record, id, plain.len())?;
                }
                Ok(())
            })
            .map_err(|e| e.with("chunk", id))
    }

    /// Whether a new record opens to `length` bytes of the right name. Allocates nothing: the bytes are looked at and forgotten.
    fn check(&self, coder: &mut Coder, record: &[u8], id: ChunkId, length: usize) -> Result<()> {
        let mut scratch = std::mem::take(&mut coder.scratch);
        let mut opened = std::mem::take(&mut coder.opened);
        self.sealing
            .open(record, Belongs::Chunk(id), &mut scratch)?;
        let named = match split(&scratch)? {
            (Codec::Stored, payload) => self.namer.name(payload),
            (Codec::Zstd, payload) => {
                coder.decompress_into(payload, length, &mut opened)?;
                self.namer.name(&opened)
            }
        };
        (coder.scratch, coder.opened) = (scratch, opened);
        if named == id {
            return Ok(());
        }
        Err(Error::new(
            Kind::Internal,
            "check new record",
            "it does not open to a chunk of its name: the chunk was misnamed, or this machine's memory or processor fails",
        ))
    }

    /// The chunk that a record holds, checked against its name.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] naming the chunk, if the record is not an intact one of this chunk.
    pub(crate) fn open_chunk(&self, record: &[u8], id: ChunkId, role: Role) -> Result<Bytes> {
        let opened = self.coders.with(|coder| {
            let plain = self.open_with(coder, record, Belongs::Chunk(id), largest(role))?;
            if self.namer.name(&plain) == id {
                Ok(plain)
            } else {
                Err(Error::new(
                    Kind::Corrupt,
                    "open record",
                    "its content does not hash to its name",
                ))
            }
        });
        opened.map_err(|e| e.with("chunk", id))
    }

    /// A record of its own, of something that is no chunk.
    pub(crate) fn seal_blob(&self, belongs: Belongs, plain: &[u8], env: &Env) -> Result<Vec<u8>> {
        let mut writer = self.writer(env)?;
        let mut out = Vec::with_capacity(self.bound(plain.len()));
        let level = self.compression.usual_level();
        self.coders
            .with(|coder| write(coder, &mut writer, belongs, plain, level, &mut out))?;
        Ok(out)
    }

    /// What [`seal_blob`](Self::seal_blob) sealed, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is not an intact record of what it should belong to.
    pub(crate) fn open_blob(&self, record: &[u8], belongs: Belongs, limit: usize) -> Result<Bytes> {
        self.coders
            .with(|coder| self.open_with(coder, record, belongs, limit))
    }

    fn open_with(
        &self,
        coder: &mut Coder,
        record: &[u8],
        belongs: Belongs,
        limit: usize,
    ) -> Result<Bytes> {
        let mut plain = std::mem::take(&mut coder.scratch);
        self.sealing.open(record, belongs, &mut plain)?;
        let (codec, payload) = split(&plain)?;
        match codec {
            Codec::Stored if payload.len() > limit => Err(Error::new(
                Kind::Corrupt,
                "open record",
                "it is larger than may be here",
            )),
            // The plain text itself is handed out, without its first byte.
            Codec::Stored => Ok(Bytes::from(plain).slice(1..)),
            Codec::Zstd => {
                let opened = coder.decompress(payload, limit)?;
                coder.scratch = plain;
                Ok(Bytes::from(opened))
            }
        }
    }
}

/// What a record's plain text says.
fn split(plain: &[u8]) -> Result<(Codec, &[u8])> {
    let Some((codec, payload)) = plain.split_first() else {
        return Err(Error::new(Kind::Corrupt, "open record", "it is empty"));
    };
    Ok((Codec::from_byte(*codec)?, payload))
}

fn write(
    coder: &mut Coder,
    writer: &mut SealWriter,
    belongs: Belongs,
    plain: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<()> {
    writer.seal(belongs, out, |out| {
        let at = out.len();
        out.push(Codec::Stored.byte());
        let codec = coder.compress(plain, level, out)?;
        if let Some(byte) = out.get_mut(at) {
            *byte = codec.byte();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::seal::Cipher;
    use super::*;
    use crate::id::RepositoryId;

    fn records(cipher: Cipher, compression: Compression) -> Records {
        let sealing = Sealing::new(cipher, Zeroizing::new([1; 32]));
        Records::new(sealing, compression, ChunkNamer::new([2; 32]))
    }

    #[test]
    fn chunks_come_back_under_every_cipher_and_compression() {
        for cipher in [Cipher::Aes256Gcm, Cipher::None] {
            for level in [None, Some(-1), Some(6)] {
                let records = records(cipher, Compression::default());
                let mut writer = records.writer(&Env::system()).unwrap();
                for plain in [&b""[..], b"short", &b"long ".repeat(10_000)] {
                    let id = records.namer().name(plain);
                    let mut record = Vec::new();
                    records
                        .write_chunk(&mut writer, id, plain, level, true, &mut record)
                        .unwrap();
                    assert!(record.len() <= records.bound(plain.len()));
                    assert_eq!(records.open_chunk(&record, id, Role::Data).unwrap(), plain);
                    for at in (0..record.len()).step_by(1 + record.len() / 300) {
                        let mut flipped = record.clone();
                        flipped[at] ^= 1;
                        let opened = records.open_chunk(&flipped, id, Role::Data);
                        // Unsealed, a flipped bit may be one that zstd does not use; what comes back is right or refused.
                        let harmless =
                            cipher == Cipher::None && opened.as_deref().is_ok_and(|b| b == plain);
                        assert!(opened.is_err() || harmless);
                    }
                }
            }
        }
    }

    #[test]
    fn a_misnamed_chunk_is_not_stored() {
        let records = records(Cipher::Aes256Gcm, Compression::default());
        let mut writer = records.writer(&Env::system()).unwrap();
        let wrong = ChunkId::from_bytes([9; 32]);
        let error = records
            .write_chunk(&mut writer, wrong, b"bytes", Some(1), true, &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
    }

    #[test]
    fn a_blob_opens_only_as_what_it_was_sealed_as() {
        let records = records(Cipher::Aes256Gcm, Compression::default());
        let here = Belongs::Repository("raksha point v1", RepositoryId::from_bytes([1; 16]));
        let other = Belongs::Repository("raksha point v1", RepositoryId::from_bytes([2; 16]));
        let sealed = records.seal_blob(here, b"a point", &Env::system()).unwrap();
        assert_eq!(
            records.open_blob(&sealed, here, 7).unwrap(),
            &b"a point"[..]
        );
        assert!(records.open_blob(&sealed, here, 6).is_err());
        assert!(records.open_blob(&sealed, other, 7).is_err());
    }
}
