//! A pack from its first record until it is stored.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::repository::lookup::Place;
use crate::repository::names::PackName;
use crate::repository::pack::{FinishedPack, PackBuilder, PackEntry, slice};
use crate::repository::record::Records;
use crate::repository::seal::SealWriter;
use crate::store::Role;

/// Something to store.
pub(super) struct Item {
    /// Its place in the caller's list.
    pub(super) position: usize,
    pub(super) id: ChunkId,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// A chunk's bytes.
    Chunk(Bytes),
    /// A record of the chunk, to be copied as it is.
    Record(Bytes),
}

impl Item {
    /// The most bytes that its record may take.
    pub(super) fn bound(&self, records: &Records) -> usize {
        match &self.content {
            Content::Chunk(bytes) => records.bound(bytes.len()),
            Content::Record(bytes) => bytes.len(),
        }
    }
}

/// A chunk of this session that the lookup does not know yet.
#[derive(Debug)]
pub(crate) enum Held {
    /// It is being sealed at this moment.
    Claimed,
    /// Its record is in memory.
    Record(Bytes, Role),
    /// Its record is in the target.
    At(Place),
}

/// A pack, shared by the one who fills or stores it and those who look into it meanwhile.
pub(super) struct PackCell {
    role: Role,
    state: Mutex<State>,
}

enum State {
    Open(Box<(PackBuilder, SealWriter)>),
    Finished(Bytes),
    Stored(PackName),
    /// It was to be finished and could not.
    Broken,
}

impl PackCell {
    pub(super) fn new(role: Role, builder: PackBuilder, writer: SealWriter) -> Self {
        Self {
            role,
            state: Mutex::new(State::Open(Box::new((builder, writer)))),
        }
    }

    /// Moves items from the front of the list into the pack while they have room, compressed at `level`; says where they lie.
    pub(super) fn fill(
        &self,
        items: &mut VecDeque<Item>,
        records: &Records,
        level: Option<i32>,
        check: bool,
    ) -> Result<Vec<(usize, PackEntry)>> {
        let mut placed = Vec::new();
        while let Some(item) = items.front() {
            // Locked for one record at a time, so that those who look into it do not wait for all of them.
            let mut state = self.lock();
            let State::Open(open) = &mut *state else {
                return Err(broken());
            };
            let (builder, writer) = &mut **open;
            if !builder.has_room(item.bound(records)) {
                if builder.is_empty() {
                    return Err(broken());
                }
                break;
            }
            let entry = builder.add(item.id, |out| match &item.content {
                Content::Chunk(plain) => {
                    records.write_chunk(writer, item.id, plain, level, check, out)
                }
                Content::Record(record) => {
                    out.extend_from_slice(record);
                    Ok(())
                }
            })?;
            drop(state);
            placed.push((item.position, entry));
            items.pop_front();
        }
        Ok(placed)
    }

    /// Completes the pack.
    pub(super) fn finish(&self) -> Result<FinishedPack> {
        let mut state = self.lock();
        let State::Open(open) = std::mem::replace(&mut *state, State::Broken) else {
            return Err(broken());
        };
        let pack = open.0.finish()?;
        *state = State::Finished(pack.bytes.clone());
        Ok(pack)
    }

    /// Lets go of the bytes: they are in the target.
    pub(super) fn stored(&self, name: PackName) {
        *self.lock() = State::Stored(name);
    }

    /// The record that lies there.
    pub(super) fn held(&self, offset: u32, length: u32) -> Option<Held> {
        let record = match &*self.lock() {
            State::Open(open) => open.0.record(offset, length)?,
            State::Finished(bytes) => bytes.slice_ref(slice(bytes, offset, length)?),
            State::Stored(pack) => {
                return Some(Held::At(Place {
                    pack: *pack,
                    offset,
                    length,
                    role: self.role,
                }));
            }
            State::Broken => return None,
        };
        Some(Held::Record(record, self.role))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken() -> Error {
    Error::new(
        Kind::Internal,
        "fill pack",
        "the pack is not open, or too small for a record",
    )
}
