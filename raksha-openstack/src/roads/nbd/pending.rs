//! Requests under way: what each still waits for, and what of its answer has come.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use raksha_core::{Error, Kind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::wire::{
    self, CHUNK_DATA, CHUNK_DONE, CHUNK_ERROR, CHUNK_HOLE, CHUNK_NONE, CHUNK_STATUS, Command,
    Fields, STATE_ZERO, breach, broken, refused,
};

/// The longest chunk of metadata (qemu sends at most 128 Ki extents of 8 bytes), and the longest error.
const LONGEST_STATUS: u32 = 4 + (128 << 10) * 8;
const LONGEST_ERROR: u32 = 6 + 8 + 4096;
/// A read that comes in more pieces than this is not meant to be read.
const MOST_PIECES: usize = 4096;

/// A request of which the answer is not complete.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) offset: u64,
    pub(super) answer: Answer,
    /// The first error that the server told.
    pub(super) error: Option<Error>,
    pub(super) done: oneshot::Sender<Result<Answer>>,
    /// Held until the answer is complete, also when nobody waits for it any more.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What is there of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// To a read.
    Data {
        buffer: BytesMut,
        /// What of it has come: ascending, disjoint, not adjacent.
        came: Vec<Range<usize>>,
    },
    /// To a question for holes.
    Status {
        /// The number of the metadata asked for.
        context: u32,
        /// Lengths, and whether they read as zeroes.
        extents: Vec<(u32, bool)>,
    },
    /// To all else.
    Nothing,
}

/// All requests under way on a connection, or why there will never be any again.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    pending: HashMap<u64, Pending>,
    failed: Option<(Kind, String)>,
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request; gives the number by which the server answers it.
    pub(super) fn add(&self, pending: Pending) -> Result<u64> {
        let mut entries = self.lock();
        if let Some(failure) = &entries.failed {
            return Err(failed(failure));
        }
        let cookie = entries.next;
        entries.next += 1;
        entries.pending.insert(cookie, pending);
        Ok(cookie)
    }

    fn take(&self, cookie: u64) -> Result<Pending> {
        let taken = self.lock().pending.remove(&cookie);
        taken.ok_or_else(|| breach("it answers what was not asked"))
    }

    /// Keeps a request of which more is to come, or which fails with all others.
    fn put_back(&self, cookie: u64, pending: Pending) {
        self.lock().pending.insert(cookie, pending);
    }

    /// Ends all requests, and all that come, with `error`.
    pub(super) fn fail(&self, error: &Error) {
        let mut entries = self.lock();
        if entries.failed.is_none() {
            entries.failed = Some((error.kind(), error.to_string()));
        }
        let failure = entries.failed.clone();
        let pending = std::mem::take(&mut entries.pending);
        drop(entries);
        for (_, pending) in pending {
            if let Some(failure) = &failure {
                // Whoever asked may be gone.
                let _ = pending.done.send(Err(failed(failure)));
            }
        }
    }
}

fn failed((kind, message): &(Kind, String)) -> Error {
    Error::new(*kind, "use NBD connection", message)
}

/// Receives answers until the connection ends.
pub(super) async fn receive(mut from: impl AsyncRead + Unpin, table: &Table) -> Error {
    loop {
        if let Err(error) = receive_one(&mut from, table).await {
            return error;
        }
    }
}

async fn receive_one(from: &mut (impl AsyncRead + Unpin), table: &Table) -> Result<()> {
    match from.read_u32().await.map_err(broken)? {
        wire::SIMPLE_REPLY_MAGIC => {
            let number = from.read_u32().await.map_err(broken)?;
            let cookie = from.read_u64().await.map_err(broken)?;
            let mut pending = table.take(cookie)?;
            if !matches!(pending.answer, Answer::Nothing) {
                table.put_back(cookie, pending);
                return Err(breach("it answers without structure where it may not"));
            }
            if number != 0 {
                pending.error = Some(refused(pending.command, number, ""));
            }
            finish(pending);
            Ok(())
        }
        wire::CHUNK_MAGIC => {
            let head = wire::read_bytes(from, 16, 16).await?;
            let mut head = Fields(&head);
            let (flags, kind) = (head.u16()?, head.u16()?);
            let (cookie, length) = (head.u64()?, head.u32()?);
            // Out of the table while its bytes are on the way: the buffer needs no lock.
            let mut pending = table.take(cookie)?;
            let received = receive_chunk(from, &mut pending, kind, length).await;
            let done = flags & CHUNK_DONE != 0;
            if received.is_ok() && done {
                finish(pending);
                return Ok(());
            }
            table.put_back(cookie, pending);
            match kind {
                CHUNK_NONE if received.is_ok() => {
                    Err(breach("a chunk says nothing and does not end the answer"))
                }
                _ => received,
            }
        }
        _ => Err(breach("an answer does not begin as one")),
    }
}

async fn receive_chunk(
    from: &mut (impl AsyncRead + Unpin),
    pending: &mut Pending,
    kind: u16,
    length: u32,
) -> Result<()> {
    match (kind, &mut pending.answer) {
        (CHUNK_NONE, _) if length == 0 => Ok(()),
        (CHUNK_DATA, Answer::Data { buffer, came }) => {
            let at = from.read_u64().await.map_err(broken)?;
            let length = length.checked_sub(8).filter(|length| *length > 0);
            let range = place(buffer.len(), pending.offset, at, length)?;
            note(came, range.clone())?;
            let into = buffer.get_mut(range).unwrap_or_default();
            from.read_exact(into).await.map_err(broken)?;
            Ok(())
        }
        (CHUNK_HOLE, Answer::Data { buffer, came }) if length == 12 => {
            let at = from.read_u64().await.map_err(broken)?;
            let length = from.read_u32().await.map_err(broken)?;
            let range = place(buffer.len(), pending.offset, at, Some(length))?;
            note(came, range.clone())?;
            buffer.get_mut(range).unwrap_or_default().fill(0);
            Ok(())
        }
        (
            CHUNK_STATUS,
            Answer::Status {
                context, extents, ..
            },
        ) if extents.is_empty() => {
            let data = wire::read_bytes(from, length, LONGEST_STATUS).await?;
            let mut data = Fields(&data);
            if data.u32()? != *context {
                return Err(breach("it tells of metadata that was not asked for"));
            }
            while !data.0.is_empty() {
                let (length, flags) = (data.u32()?, data.u32()?);
                if length == 0 {
                    return Err(breach("it tells of an extent of no length"));
                }
                extents.push((length, flags & STATE_ZERO != 0));
            }
            Ok(())
        }
        (kind, _) if kind & CHUNK_ERROR != 0 => {
            let data = wire::read_bytes(from, length, LONGEST_ERROR).await?;
            let mut data = Fields(&data);
            let (number, text) = (data.u32()?, data.u16()?);
            let text = String::from_utf8_lossy(data.bytes(usize::from(text))?);
            if number == 0 {
                return Err(breach("it tells of an error that is none"));
            }
            let error = refused(pending.command, number, &text);
            pending.error.get_or_insert(error);
            Ok(())
        }
        _ => Err(breach(format!(
            "a chunk of type {kind} and {length} bytes answers a request that it does not fit"
        ))),
    }
}

/// Where in the buffer for a read at `offset` the `length` bytes at `at` belong.
fn place(buffer: usize, offset: u64, at: u64, length: Option<u32>) -> Result<Range<usize>> {
    let begin = at
        .checked_sub(offset)
        .and_then(|begin| usize::try_from(begin).ok());
    let length = length.and_then(|length| usize::try_from(length).ok());
    let range = begin
        .zip(length)
        .and_then(|(begin, length)| Some(begin..begin.checked_add(length)?))
        .filter(|range| range.end <= buffer && !range.is_empty());
    range.ok_or_else(|| breach("it sends bytes that were not asked for"))
}

/// Adds `new` to what came, which it must not overlap.
fn note(came: &mut Vec<Range<usize>>, new: Range<usize>) -> Result<()> {
    let at = came.partition_point(|range| range.end < new.start);
    let Some(next) = came.get_mut(at).filter(|range| range.start <= new.end) else {
        if came.len() >= MOST_PIECES {
            return Err(breach("it sends a disk in crumbs"));
        }
        came.insert(at, new);
        return Ok(());
    };
    if next.end == new.start {
        next.end = new.end;
    } else if next.start == new.end {
        next.start = new.start;
        return Ok(());
    } else {
        return Err(breach("it sends the same bytes twice"));
    }
    // What was joined may now touch what follows it.
    let end = next.end;
    if let Some(after) = came.get(at + 1).cloned() {
        if after.start < end {
            return Err(breach("it sends the same bytes twice"));
        }
        if after.start == end {
            came.remove(at + 1);
            if let Some(joined) = came.get_mut(at) {
                joined.end = after.end;
            }
        }
    }
    Ok(())
}

/// Gives whoever asked the answer, if it is complete.
fn finish(pending: Pending) {
    let Pending {
        command: _,
        offset: _,
        answer,
        error,
        done,
        _permit,
    } = pending;
    let complete = match &answer {
        Answer::Data { buffer, came } => match came.as_slice() {
            [] => buffer.is_empty(),
            [all] => *all == (0..buffer.len()),
            _ => false,
        },
        Answer::Status { extents, .. } => !extents.is_empty(),
        Answer::Nothing => true,
    };
    let result = match error {
        Some(error) => Err(error),
        None if complete => Ok(answer),
        None => Err(breach("an answer ends before it is complete")),
    };
    // Whoever asked may be gone.
    let _ = done.send(result);
}
