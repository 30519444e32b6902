//! One connection to an NBD server, with many requests under way at once.
//!
//! Two tasks own the two directions of the stream. Whoever asks hands a request to the sending task and waits for the receiving task to
//! find its answer, so that a future can be dropped anywhere without a request or an answer being cut in two. The permit that bounds
//! how many requests are under way is held until the answer has come, and so is the buffer: memory stays bounded
//! whoever is dropped.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use raksha_core::cloud::{Extent, ExtentKind};
use raksha_core::{Error, Kind, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::handshake::{Export, shake_hands};
use super::pending::{Answer, Pending, Table, receive};
use super::wire::{Command, breach, broken};

/// How many requests are under way at once, and how long each is: more of either brought nothing where it was measured
/// (1 GiB of an RBD snapshot through qemu-nbd).
const AT_ONCE: usize = 16;
const PIECE: u32 = 4 << 20;
/// Zeroes are written in pieces of this length, a multiple of every block size.
const ZEROES: u64 = 1 << 30;

/// A connection. When it is dropped, the server is told nothing and finds out.
#[derive(Debug)]
pub(super) struct Connection {
    export: Export,
    outgoing: mpsc::Sender<Outgoing>,
    table: Arc<Table>,
    room: Arc<Semaphore>,
    /// For how long a request may go unanswered.
    deadline: Duration,
    sending: JoinHandle<()>,
    receiving: JoinHandle<()>,
}

/// A request as it goes out: header and, for a write, what is written.
#[derive(Debug)]
struct Outgoing {
    header: [u8; 28],
    data: Bytes,
}

impl Connection {
    /// Enters the server's export.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the server does not keep to the protocol, [`Kind::Timeout`] if it does not greet within `deadline`,
    /// which afterwards holds for each request.
    pub(super) async fn open(mut stream: UnixStream, deadline: Duration) -> Result<Self> {
        let export = tokio::time::timeout(deadline, shake_hands(&mut stream)).await;
        let export = export.map_err(|_| late("talk to NBD server", deadline))??;
        let (from, to) = stream.into_split();
        let table = Arc::new(Table::default());
        let (outgoing, requests) = mpsc::channel(AT_ONCE);
        let sending = tokio::spawn(send(to, requests, Arc::clone(&table)));
        let receiving = tokio::spawn({
            let table = Arc::clone(&table);
            async move {
                let from = tokio::io::BufReader::new(from);
                let error = receive(from, &table).await;
                table.fail(&error);
            }
        });
        Ok(Self {
            export,
            outgoing,
            table,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            deadline,
            sending,
            receiving,
        })
    }

    pub(super) fn export(&self) -> &Export {
        &self.export
    }

    /// Fills `buffer` with what lies at `offset`.
    pub(super) async fn read(&self, offset: u64, mut buffer: BytesMut) -> Result<BytesMut> {
        let piece = usize::try_from(PIECE.min(self.export.largest)).unwrap_or(1 << 16);
        let mut pieces = Vec::new();
        let mut at = offset;
        while !buffer.is_empty() {
            let part = buffer.split_to(piece.min(buffer.len()));
            let begin = at;
            at = at.saturating_add(part.len() as u64);
            pieces.push(async move {
                let length = part.len();
                let answer = Answer::Data {
                    buffer: part,
                    came: Vec::new(),
                };
                match self
                    .ask(Command::Read, begin, length as u64, answer, Bytes::new())
                    .await?
                {
                    Answer::Data { buffer, .. } => Ok(buffer),
                    _ => Err(unfitting()),
                }
            });
        }
        let mut whole = BytesMut::new();
        // The parts lie one after the other in the buffer that they were split from, so this copies nothing.
        for part in futures_util::future::try_join_all(pieces).await? {
            whole.unsplit(part);
        }
        Ok(whole)
    }

    /// Divides `range` into data and holes.
    pub(super) async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let Some(context) = self.export.allocation else {
            if !range.is_empty() {
                let kind = ExtentKind::Data;
                extents.push(Extent { range, kind });
            }
            return Ok(extents);
        };
        let mut at = range.start;
        while at < range.end {
            let most = u64::from(u32::MAX - (self.export.smallest - 1));
            let length = (range.end - at).min(most & !u64::from(self.export.smallest - 1));
            let answer = Answer::Status {
                context,
                extents: Vec::new(),
            };
            let answer = self
                .ask(Command::BlockStatus, at, length, answer, Bytes::new())
                .await?;
            let Answer::Status { extents: told, .. } = answer else {
                return Err(unfitting());
            };
            let asked_to = at + length;
            for (length, zero) in told {
                if at >= asked_to {
                    return Err(breach("it tells of more extents than were asked for"));
                }
                // The last one may reach beyond what was asked for.
                let end = at.saturating_add(u64::from(length)).min(asked_to);
                let kind = match zero {
                    true => ExtentKind::Hole,
                    false => ExtentKind::Data,
                };
                match extents.last_mut() {
                    Some(last) if last.kind == kind => last.range.end = end,
                    _ => extents.push(Extent {
                        range: at..end,
                        kind,
                    }),
                }
                at = end;
            }
        }
        Ok(extents)
    }

    /// Writes `data` at `offset`.
    pub(super) async fn write(&self, offset: u64, mut data: Bytes) -> Result<()> {
        let piece = usize::try_from(PIECE.min(self.export.largest)).unwrap_or(1 << 16);
        let mut pieces = Vec::new();
        let mut at = offset;
        while !data.is_empty() {
            let part = data.split_to(piece.min(data.len()));
            let length = part.len() as u64;
            pieces.push(self.ask(Command::Write, at, length, Answer::Nothing, part));
            at = at.saturating_add(length);
        }
        futures_util::future::try_join_all(pieces).await.map(drop)
    }

    /// Makes `range` read as zeroes, by whatever the server finds cheapest.
    pub(super) async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(ZEROES);
            if self.export.can_write_zeroes {
                let nothing = (Answer::Nothing, Bytes::new());
                self.ask(Command::WriteZeroes, at, length, nothing.0, nothing.1)
                    .await?;
                at += length;
            } else {
                const BLANK: &[u8] = &[0; 1 << 16];
                let length = length.min(BLANK.len() as u64);
                let blank = BLANK.get(..usize::try_from(length).unwrap_or(0));
                let data = Bytes::from_static(blank.unwrap_or_default());
                self.write(at, data).await?;
                at += length;
            }
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) async fn flush(&self) -> Result<()> {
        if !self.export.can_flush {
            let message = "the server cannot make durable what it wrote: use qemu-nbd";
            return Err(Error::new(
                Kind::Unsupported,
                Command::Flush.name(),
                message,
            ));
        }
        self.ask(Command::Flush, 0, 0, Answer::Nothing, Bytes::new())
            .await
            .map(drop)
    }

    /// Tells the server that nothing more comes. To this there is no answer.
    pub(super) async fn disconnect(&self) -> Result<()> {
        let header = Command::Disconnect.request(u64::MAX, 0, 0);
        self.hand_over(header, Bytes::new()).await
    }

    async fn ask(
        &self,
        command: Command,
        offset: u64,
        length: u64,
        answer: Answer,
        data: Bytes,
    ) -> Result<Answer> {
        let mask = u64::from(self.export.smallest) - 1;
        if (offset | length) & mask != 0 {
            let message = format!(
                "the server only takes requests in multiples of {} bytes",
                self.export.smallest
            );
            let error = Error::new(Kind::Unsupported, command.name(), message);
            return Err(error.with("offset", offset).with("length", length));
        }
        let asking = async {
            let permit = Arc::clone(&self.room).acquire_owned().await;
            let permit = permit.map_err(|e| {
                Error::new(Kind::Internal, command.name(), "no permits").caused_by(e)
            })?;
            let (done, answered) = oneshot::channel();
            let cookie = self.table.add(Pending {
                command,
                offset,
                answer,
                error: None,
                done,
                _permit: permit,
            })?;
            let length = u32::try_from(length).map_err(|_| unfitting())?;
            self.hand_over(command.request(cookie, offset, length), data)
                .await?;
            answered.await.map_err(|_| gone())?
        };
        let done = tokio::time::timeout(self.deadline, asking).await;
        let done = done.map_err(|_| late(command.name(), self.deadline))?;
        done.map_err(|error| error.with("offset", offset).with("length", length))
    }

    async fn hand_over(&self, header: [u8; 28], data: Bytes) -> Result<()> {
        let sent = self.outgoing.send(Outgoing { header, data }).await;
        sent.map_err(|_| gone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.sending.abort();
        self.receiving.abort();
    }
}

async fn send(mut to: OwnedWriteHalf, mut requests: mpsc::Receiver<Outgoing>, table: Arc<Table>) {
    while let Some(Outgoing { header, data }) = requests.recv().await {
        let sent = async {
            to.write_all(&header).await?;
            to.write_all(&data).await
        };
        if let Err(error) = sent.await {
            table.fail(&broken(error));
            return;
        }
    }
}

fn late(operation: &'static str, deadline: Duration) -> Error {
    let message = format!(
        "no answer within {} s: look whether the storage behind it answers",
        deadline.as_secs()
    );
    Error::new(Kind::Timeout, operation, message)
}

fn gone() -> Error {
    Error::new(
        Kind::Unavailable,
        "talk to NBD server",
        "the connection is gone",
    )
}

fn unfitting() -> Error {
    Error::new(
        Kind::Internal,
        "talk to NBD server",
        "an answer or a length does not fit its request",
    )
}
