//! Packs: many records in one immutable object.
//!
//! ```text
//! magic (8) ‖ records, back to back ‖ directory: per record, in order: chunk id (32) ‖ length (4)
//!   ‖ footer: check (16) ‖ count (4) ‖ role (1) ‖ zero (3) ‖ magic (8)
//! ```
//! Numbers are little-endian. Where a record lies follows from the lengths before it. The check is the head of the BLAKE3 of the
//! directory and of the footer's count, role and zeroes. So an index can be made again from the tails of packs alone, and a pack can be read
//! without any index. The pack's name is the BLAKE3 of all its bytes.

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::format::Reader;
use crate::id::{ChunkId, ObjectHash};
use crate::recycle::{Buffers, Content};
use crate::store::Role;

const HEAD: &[u8; FIRST as usize] = b"RKSHPK\x00\x01";
const TAIL: &[u8; 8] = b"\x01\x00KPHSKR";
const FOOTER: usize = 32;
const CHECK: usize = 16;
const ENTRY: usize = 36;

/// Where the first record lies.
const FIRST: u32 = 8;

/// The pack size aimed for unless a repository says otherwise: 16 MiB. Large enough that requests cost little beside bytes, small
/// enough that several are under way within the memory budget, and that one of them is lost to little garbage.
pub(crate) const DEFAULT_PACK_SIZE: u64 = 16 << 20;

/// A record of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackEntry {
    /// The chunk that it holds.
    pub(crate) id: ChunkId,
    /// Where it lies, from the pack's first byte.
    pub(crate) offset: u32,
    /// Its length in bytes.
    pub(crate) length: u32,
}

/// What a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// What its chunks are for.
    pub(crate) role: Role,
    /// Its records, in the order in which they lie.
    pub(crate) entries: Vec<PackEntry>,
}

/// What the end of a pack tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// All of the directory.
    Directory(Directory),
    /// The directory is longer: this many bytes of the pack's end are needed.
    Needs(u64),
}

impl Directory {
    /// Reads the directory of a whole pack.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if this is no pack. That its records are intact is not looked at: compare [`hash`] with its name for that.
    pub(crate) fn of_pack(pack: &[u8]) -> Result<Self> {
        if !pack.starts_with(HEAD) {
            return Err(corrupt("it does not begin as a pack does"));
        }
        match Self::of_tail(pack, pack.len() as u64)? {
            Tail::Directory(directory) => Ok(directory),
            Tail::Needs(_) => Err(corrupt("its directory does not fit into it")),
        }
    }

    /// Reads the directory from the last bytes of a pack of `length` bytes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if this is not the end of a pack of that length.
    pub(crate) fn of_tail(tail: &[u8], length: u64) -> Result<Tail> {
        let Some((rest, footer)) = tail.split_last_chunk::<FOOTER>() else {
            return Err(corrupt("it is truncated"));
        };
        let mut reader = Reader::new(footer, "pack");
        let check = reader.array::<CHECK>()?;
        let count = reader.u32()?;
        let role = match reader.u8()? {
            0 => Role::Data,
            1 => Role::Tree,
            _ => return Err(corrupt("its role is unknown")),
        };
        if reader.array()? != [0; 3] || reader.array()? != *TAIL {
            return Err(corrupt("it does not end as a pack does"));
        }
        let size = u64::from(count) * ENTRY as u64;
        let whole = size + FOOTER as u64;
        if whole + u64::from(FIRST) > length {
            return Err(corrupt("its directory does not fit into it"));
        }
        let begin = usize::try_from(size)
            .ok()
            .and_then(|size| rest.len().checked_sub(size));
        let Some(directory) = begin.and_then(|at| rest.get(at..)) else {
            return Ok(Tail::Needs(whole));
        };
        if directory_check(directory, count, role) != check {
            return Err(corrupt("its directory is damaged"));
        }
        let entries = decode_entries(directory, length - whole)?;
        Ok(Tail::Directory(Self { role, entries }))
    }
}

/// The hash that names an object of these bytes.
pub(crate) fn hash(object: &[u8]) -> ObjectHash {
    ObjectHash::from_bytes(*blake3::hash(object).as_bytes())
}

/// Decodes a directory whose records must end at `end`.
fn decode_entries(directory: &[u8], end: u64) -> Result<Vec<PackEntry>> {
    let mut entries = Vec::with_capacity(directory.len() / ENTRY);
    let mut reader = Reader::new(directory, "pack");
    let mut offset = FIRST;
    while reader.remaining() > 0 {
        let id = ChunkId::from_bytes(reader.array()?);
        let length = reader.u32()?;
        entries.push(PackEntry { id, offset, length });
        offset = match offset.checked_add(length) {
            Some(next) if length > 0 => next,
            _ => return Err(corrupt("the length of a record is impossible")),
        };
    }
    if u64::from(offset) != end {
        return Err(corrupt("its records do not fill it"));
    }
    Ok(entries)
}

fn role_byte(role: Role) -> u8 {
    match role {
        Role::Data => 0,
        Role::Tree => 1,
    }
}

fn directory_check(directory: &[u8], count: u32, role: Role) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(directory);
    hasher.update(&count.to_le_bytes());
    hasher.update(&[role_byte(role), 0, 0, 0]);
    let mut check = [0; CHECK];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// What ends a pack, behind its directory of `count` records.
pub(super) fn footer(directory: &[u8], count: u32, role: Role) -> Vec<u8> {
    let check = directory_check(directory, count, role);
    let mut footer = Vec::with_capacity(FOOTER);
    footer.extend_from_slice(&check);
    footer.extend_from_slice(&count.to_le_bytes());
    footer.extend_from_slice(&[role_byte(role), 0, 0, 0]);
    footer.extend_from_slice(TAIL);
    footer
}

fn corrupt(reason: &str) -> Error {
    Error::new(Kind::Corrupt, "read pack", reason)
}

/// A pack that is being written, in memory.
pub(crate) struct PackBuilder {
    role: Role,
    capacity: usize,
    buffer: Content,
    buffers: Buffers,
    entries: Vec<PackEntry>,
}

/// A pack that is complete, in memory.
#[derive(Debug, Clone)]
pub(crate) struct FinishedPack {
    /// The BLAKE3 of its bytes.
    pub(crate) hash: ObjectHash,
    /// All of it.
    pub(crate) bytes: Bytes,
    /// What it holds.
    pub(crate) directory: Directory,
}

impl PackBuilder {
    /// An empty pack of at most `capacity` bytes, which are reserved at once in one of `buffers`.
    pub(crate) fn new(role: Role, capacity: usize, buffers: &Buffers) -> Self {
        let mut buffer = buffers.take(capacity);
        buffer.end().extend_from_slice(HEAD);
        Self {
            role,
            capacity,
            buffer,
            buffers: buffers.clone(),
            entries: Vec::new(),
        }
    }

    /// The capacity that a pack needs for a single record of at most `bound` bytes.
    pub(crate) fn capacity_for(bound: usize) -> usize {
        HEAD.len() + bound + ENTRY + FOOTER
    }

    /// Whether a record of at most `bound` bytes has room.
    pub(crate) fn has_room(&self, bound: usize) -> bool {
        let end = self.buffer.len() + bound + ENTRY * (self.entries.len() + 1) + FOOTER;
        end <= self.capacity && u32::try_from(end).is_ok()
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the record of chunk `id`, which `write` appends to the buffer it is given. The pack
    /// [has room](Self::has_room) for it. If writing fails, the pack is as it was.
    pub(crate) fn add(
        &mut self,
        id: ChunkId,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<PackEntry> {
        let start = self.buffer.len();
        let written = write(self.buffer.end()).and_then(|()| {
            let place = u32::try_from(start).ok();
            let length = u32::try_from(self.buffer.len() - start).ok();
            place.zip(length.filter(|l| *l > 0)).ok_or_else(|| {
                Error::new(Kind::Internal, "write pack", "a record has no place in it")
            })
        });
        match written {
            Ok((offset, length)) => {
                let entry = PackEntry { id, offset, length };
                self.entries.push(entry);
                Ok(entry)
            }
            Err(e) => {
                self.buffer.truncate(start);
                Err(e)
            }
        }
    }

    /// A copy of the record that lies at `entry`.
    pub(crate) fn record(&self, offset: u32, length: u32) -> Option<Bytes> {
        slice(self.buffer.bytes(), offset, length).map(Bytes::copy_from_slice)
    }

    /// Appends the directory and hashes the whole.
    pub(crate) fn finish(self) -> Result<FinishedPack> {
        let Self {
            role,
            capacity: _,
            mut buffer,
            buffers,
            entries,
        } = self;
        let count = u32::try_from(entries.len())
            .map_err(|_| Error::new(Kind::Internal, "write pack", "it holds too many records"))?;
        let begin = buffer.len();
        for entry in &entries {
            buffer.end().extend_from_slice(entry.id.as_bytes());
            buffer.end().extend_from_slice(&entry.length.to_le_bytes());
        }
        let directory = buffer.bytes().get(begin..).unwrap_or_default();
        let footer = footer(directory, count, role);
        buffer.end().extend_from_slice(&footer);
        Ok(FinishedPack {
            hash: hash(buffer.bytes()),
            bytes: buffers.freeze(buffer),
            directory: Directory { role, entries },
        })
    }
}

/// The bytes at a place of an object, if it has them.
pub(crate) fn slice(object: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    object.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(records: &[&[u8]]) -> FinishedPack {
        let mut builder = PackBuilder::new(Role::Tree, 4096, &Buffers::new(4096));
        for (n, record) in (0u8..).zip(records) {
            let id = ChunkId::from_bytes([n; 32]);
            assert!(builder.has_room(record.len()));
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(record);
                Ok(())
            };
            builder.add(id, write).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn the_directory_says_where_each_record_lies() {
        let records = [&b"one"[..], b"two two", b"3"];
        let pack = pack(&records);
        let read = Directory::of_pack(&pack.bytes).unwrap();
        assert_eq!(read, pack.directory);
        assert_eq!(read.role, Role::Tree);
        for (entry, record) in read.entries.iter().zip(records) {
            let found = slice(&pack.bytes, entry.offset, entry.length);
            assert_eq!(found, Some(record));
        }
        assert!(
            Directory::of_pack(&self::pack(&[]).bytes)
                .unwrap()
                .entries
                .is_empty()
        );
    }

    #[test]
    fn the_end_of_a_pack_is_enough_or_says_how_much_is() {
        let pack = pack(&[b"one", b"two"]);
        let length = pack.bytes.len() as u64;
        let tail = |n: usize| &pack.bytes[pack.bytes.len() - n..];
        let whole = FOOTER + 2 * ENTRY;
        for n in FOOTER..whole {
            let needs = Tail::Needs(whole as u64);
            assert_eq!(Directory::of_tail(tail(n), length).unwrap(), needs);
        }
        let directory = Tail::Directory(pack.directory.clone());
        assert_eq!(Directory::of_tail(tail(whole), length).unwrap(), directory);
        assert!(Directory::of_tail(tail(whole), length + 1).is_err());
    }

    #[test]
    fn every_flipped_bit_changes_the_name_and_in_the_directory_is_noticed() {
        let pack = pack(&[b"one", b"two"]);
        let directory = pack.bytes.len() - FOOTER - 2 * ENTRY;
        for at in 0..pack.bytes.len() {
            for bit in 0..8 {
                let mut flipped = pack.bytes.to_vec();
                flipped[at] ^= 1 << bit;
                assert_ne!(hash(&flipped), pack.hash);
                let read = Directory::of_pack(&flipped);
                assert_eq!(read.is_err(), !(8..directory).contains(&at), "{at}");
            }
            assert!(Directory::of_pack(&pack.bytes[..at]).is_err());
        }
    }

    #[test]
    fn a_record_that_could_not_be_written_leaves_no_trace() {
        let mut builder = PackBuilder::new(
            Role::Data,
            PackBuilder::capacity_for(10),
            &Buffers::new(4096),
        );
        assert!(builder.has_room(10) && !builder.has_room(11));
        let id = ChunkId::from_bytes([1; 32]);
        let fails = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"half");
            Err(Error::new(Kind::Internal, "test", "fails"))
        };
        assert!(builder.add(id, fails).is_err());
        assert!(builder.is_empty() && builder.has_room(10));
    }
}
