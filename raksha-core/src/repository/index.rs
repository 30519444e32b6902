//! Index objects: which chunks lie in which packs.
//!
//! ```text
//! magic (8) ‖ number of packs (4) ‖ zero (4)
//!   ‖ packs, sorted by session and hash: session (8) ‖ hash (32) ‖ length (8) ‖ role (1) ‖ zero (7)
//!   ‖ entries, sorted by chunk id and pack: chunk id (32) ‖ number of the pack (4) ‖ offset (4) ‖ length (4)
//! ```
//! Numbers are little-endian. Everything has a fixed width and the entries go to the end, so an index is searched where it lies, in memory
//! or in a file, and is written in one pass whatever its size. A pack that an index lists is listed with all its chunks. The index's name
//! is the BLAKE3 of all its bytes.

use bytes::Bytes;

use super::names::PackName;
use super::pack::{PackEntry, hash};
use crate::error::{Error, Kind, Result};
use crate::format::Reader;
use crate::id::{ChunkId, ObjectHash, SessionId};
use crate::store::Role;

const MAGIC: &[u8; 8] = b"RKSHIX\x00\x01";
/// The bytes before the packs.
pub(super) const HEADER: usize = 16;
/// The bytes of a pack.
pub(super) const PACK: usize = 56;
/// The bytes of an entry.
pub(super) const ENTRY: usize = 44;

/// A pack, as an index lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexPack {
    /// Its name.
    pub(crate) name: PackName,
    /// What its chunks are for.
    pub(crate) role: Role,
    /// The length of the whole pack in bytes.
    pub(crate) length: u64,
}

/// A chunk, as an index lists it. The order is that of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexEntry {
    /// The chunk.
    pub(crate) id: ChunkId,
    /// The place of its pack in the index's list.
    pub(crate) pack: u32,
    /// Where its record lies in the pack.
    pub(crate) offset: u32,
    /// The record's length in bytes.
    pub(crate) length: u32,
}

impl IndexEntry {
    /// Its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        for n in [self.pack, self.offset, self.length] {
            out.extend_from_slice(&n.to_le_bytes());
        }
    }

    /// From its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "index");
        Ok(Self {
            id: ChunkId::from_bytes(reader.array()?),
            pack: reader.u32()?,
            offset: reader.u32()?,
            length: reader.u32()?,
        })
    }
}

/// The head and the list of packs of an index that is about to be written. `packs` are sorted by name.
pub(super) fn encode_head(packs: &[IndexPack]) -> Result<Vec<u8>> {
    let count = u32::try_from(packs.len())
        .map_err(|_| Error::new(Kind::Internal, "write index", "it lists too many packs"))?;
    let mut out = Vec::with_capacity(HEADER + packs.len() * PACK);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for pack in packs {
        out.extend_from_slice(&pack.name.session.0.to_le_bytes());
        out.extend_from_slice(pack.name.hash.as_bytes());
        out.extend_from_slice(&pack.length.to_le_bytes());
        let role = match pack.role {
            Role::Data => 0,
            Role::Tree => 1,
        };
        out.extend_from_slice(&[role, 0, 0, 0, 0, 0, 0, 0]);
    }
    Ok(out)
}

/// How many packs an index lists, from its first [`HEADER`] bytes.
pub(super) fn decode_header(header: &[u8]) -> Result<usize> {
    let mut reader = Reader::new(header, "index");
    if reader.array()? != *MAGIC {
        return Err(reader.corrupt("it does not begin as an index does"));
    }
    let packs = reader.u32()?;
    if reader.u32()? != 0 {
        return Err(reader.corrupt("its header is malformed"));
    }
    usize::try_from(packs).map_err(|_| reader.corrupt("it lists too many packs"))
}

/// The packs of an index.
pub(super) fn decode_packs(bytes: &[u8]) -> Result<Vec<IndexPack>> {
    let mut packs: Vec<IndexPack> = Vec::with_capacity(bytes.len() / PACK);
    let mut reader = Reader::new(bytes, "index");
    while reader.remaining() > 0 {
        let session = SessionId(reader.u64()?);
        let hash = ObjectHash::from_bytes(reader.array()?);
        let length = reader.u64()?;
        let role = match reader.array::<8>()? {
            [0, 0, 0, 0, 0, 0, 0, 0] => Role::Data,
            [1, 0, 0, 0, 0, 0, 0, 0] => Role::Tree,
            _ => return Err(reader.corrupt("the role of a pack is unknown")),
        };
        let name = PackName { session, hash };
        if packs.last().is_some_and(|last| last.name >= name) {
            return Err(reader.corrupt("its packs are out of order"));
        }
        packs.push(IndexPack { name, role, length });
    }
    Ok(packs)
}

/// Checks entries, in the order in which they lie, as they are read for the first time.
pub(super) struct EntryCheck {
    last: Option<(ChunkId, u32)>,
}

impl EntryCheck {
    pub(super) fn new() -> Self {
        Self { last: None }
    }

    /// Whether `entry` may follow those seen so far, in an index of these packs.
    pub(super) fn check(&mut self, entry: &IndexEntry, packs: &[IndexPack]) -> Result<()> {
        let corrupt = |why| Err(Error::new(Kind::Corrupt, "decode", why).with("object", "index"));
        let pack = usize::try_from(entry.pack).ok().and_then(|n| packs.get(n));
        let Some(pack) = pack else {
            return corrupt("an entry names a pack that is not listed");
        };
        let end = u64::from(entry.offset) + u64::from(entry.length);
        if entry.length == 0 || end > pack.length {
            return corrupt("an entry lies outside of its pack");
        }
        let key = (entry.id, entry.pack);
        if self.last.is_some_and(|last| last >= key) {
            return corrupt("its entries are out of order");
        }
        self.last = Some(key);
        Ok(())
    }
}

/// An index object in memory, with its name.
#[derive(Debug, Clone)]
pub(crate) struct IndexObject {
    /// The BLAKE3 of its bytes.
    pub(crate) hash: ObjectHash,
    /// All of it.
    pub(crate) bytes: Bytes,
}

impl IndexObject {
    /// Names these bytes.
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            hash: hash(&bytes),
            bytes,
        }
    }

    /// The index of these packs with all their chunks. A pack that is given twice is listed once; of a chunk that a pack
    /// holds twice, the first is listed.
    pub(crate) fn build<'a>(
        packs: impl IntoIterator<Item = (IndexPack, &'a [PackEntry])>,
    ) -> Result<Self> {
        let mut given: Vec<_> = packs.into_iter().collect();
        given.sort_unstable_by_key(|(pack, _)| pack.name);
        given.dedup_by_key(|(pack, _)| pack.name);
        let mut entries = Vec::with_capacity(given.iter().map(|(_, e)| e.len()).sum());
        for (n, (_, chunks)) in (0u32..).zip(&given) {
            entries.extend(chunks.iter().map(|chunk| IndexEntry {
                id: chunk.id,
                pack: n,
                offset: chunk.offset,
                length: chunk.length,
            }));
        }
        entries.sort_unstable();
        entries.dedup_by_key(|entry| (entry.id, entry.pack));
        let packs: Vec<_> = given.into_iter().map(|(pack, _)| pack).collect();
        let mut bytes = encode_head(&packs)?;
        bytes.reserve_exact(entries.len() * ENTRY);
        for entry in &entries {
            entry.encode(&mut bytes);
        }
        Ok(Self::new(bytes))
    }
}
