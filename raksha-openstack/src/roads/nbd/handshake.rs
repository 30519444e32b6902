//! The beginning of a connection: from the first byte to an export that can be read.

use raksha_core::{Error, Kind, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::{
    self, ALLOCATION, Fields, HAS_FLAGS, INFO_BLOCK_SIZE, INFO_EXPORT, OPTION_GO, OPTION_MAGIC,
    OPTION_REPLY_MAGIC, OPTION_SET_META_CONTEXT, OPTION_STRUCTURED_REPLY, READ_ONLY, REPLY_ACK,
    REPLY_ERROR, REPLY_INFO, REPLY_META_CONTEXT, SEND_FLUSH, SEND_WRITE_ZEROES, breach, broken,
};

/// The longest request that a client may send which did not ask for the server's limits.
const LARGEST_BY_DEFAULT: u32 = 32 << 20;
/// The longest answer to an option: a name of 4096 bytes and what goes with it.
const LONGEST_ANSWER: u32 = 8192;
/// How long [`ALLOCATION`] is.
const ALLOCATION_LENGTH: u32 = 15;
/// More answers to one option than this are not an answer.
const MOST_ANSWERS: usize = 32;

/// What a server says of its export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Export {
    /// In bytes.
    pub(super) size: u64,
    pub(super) read_only: bool,
    pub(super) can_flush: bool,
    pub(super) can_write_zeroes: bool,
    /// What each request's offset and length must be a multiple of.
    pub(super) smallest: u32,
    /// The longest that may be read or written at once.
    pub(super) largest: u32,
    /// The number of the metadata that tells data from holes, if the server has it.
    pub(super) allocation: Option<u32>,
}

/// Agrees with the server on structured replies and on what is known of holes, and enters its export without a name.
pub(super) async fn shake_hands(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Export> {
    if stream.read_u64().await.map_err(broken)? != wire::SERVER_MAGIC
        || stream.read_u64().await.map_err(broken)? != OPTION_MAGIC
    {
        return Err(breach("it does not greet as an NBD server does"));
    }
    let flags = stream.read_u16().await.map_err(broken)?;
    if flags & wire::FIXED_NEWSTYLE == 0 {
        return Err(breach("it does not offer the fixed newstyle handshake"));
    }
    let ours = u32::from(flags & (wire::FIXED_NEWSTYLE | wire::NO_ZEROES));
    stream.write_u32(ours).await.map_err(broken)?;

    let mut options = Options { stream };
    options.send(OPTION_STRUCTURED_REPLY, &[]).await?;
    options.acknowledged(OPTION_STRUCTURED_REPLY).await?;
    let allocation = options.allocation().await?;
    options.enter(allocation).await
}

struct Options<'a, S> {
    stream: &'a mut S,
}

/// One answer to an option.
struct Answer {
    kind: u32,
    data: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Options<'_, S> {
    async fn send(&mut self, option: u32, data: &[u8]) -> Result<()> {
        let length = u32::try_from(data.len())
            .map_err(|e| Error::new(Kind::Internal, "talk to NBD server", "long").caused_by(e))?;
        let mut bytes = Vec::with_capacity(16 + data.len());
        bytes.extend(OPTION_MAGIC.to_be_bytes());
        bytes.extend(option.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes).await.map_err(broken)
    }

    async fn answer(&mut self, option: u32) -> Result<Answer> {
        let head = wire::read_bytes(self.stream, 20, 20).await?;
        let mut head = Fields(&head);
        if head.u64()? != OPTION_REPLY_MAGIC || head.u32()? != option {
            return Err(breach("it answers an option that was not sent"));
        }
        let (kind, length) = (head.u32()?, head.u32()?);
        let data = wire::read_bytes(self.stream, length, LONGEST_ANSWER).await?;
        Ok(Answer { kind, data })
    }

    async fn acknowledged(&mut self, option: u32) -> Result<()> {
        let answer = self.answer(option).await?;
        match answer.kind {
            REPLY_ACK => Ok(()),
            _ => Err(refusal("it does not offer structured replies", &answer)),
        }
    }

    /// Asks for the metadata that tells data from holes.
    async fn allocation(&mut self) -> Result<Option<u32>> {
        let mut query = Vec::new();
        query.extend(0u32.to_be_bytes()); // the export's name is empty
        query.extend(1u32.to_be_bytes());
        query.extend(ALLOCATION_LENGTH.to_be_bytes());
        query.extend(ALLOCATION.as_bytes());
        self.send(OPTION_SET_META_CONTEXT, &query).await?;
        let mut found = None;
        for _ in 0..MOST_ANSWERS {
            let answer = self.answer(OPTION_SET_META_CONTEXT).await?;
            match answer.kind {
                REPLY_META_CONTEXT => {
                    let mut data = Fields(&answer.data);
                    let number = data.u32()?;
                    if data.0 != ALLOCATION.as_bytes() || found.is_some() {
                        return Err(breach("it names metadata that was not asked for"));
                    }
                    found = Some(number);
                }
                REPLY_ACK => return Ok(found),
                kind if kind & REPLY_ERROR != 0 => return Ok(None),
                _ => break,
            }
        }
        Err(breach("it does not come to the end of its answer"))
    }

    async fn enter(&mut self, allocation: Option<u32>) -> Result<Export> {
        // No name, and no question: a client that does not ask for limits may send requests of any alignment.
        self.send(OPTION_GO, &[0; 6]).await?;
        let mut export = None;
        let (mut smallest, mut largest) = (1, LARGEST_BY_DEFAULT);
        for _ in 0..MOST_ANSWERS {
            let answer = self.answer(OPTION_GO).await?;
            let mut data = Fields(&answer.data);
            match answer.kind {
                REPLY_INFO => match data.u16()? {
                    INFO_EXPORT => {
                        export = Some((data.u64()?, data.u16()?));
                        data.end()?;
                    }
                    INFO_BLOCK_SIZE => {
                        smallest = data.u32()?;
                        let preferred = data.u32()?;
                        largest = data.u32()?.min(LARGEST_BY_DEFAULT);
                        data.end()?;
                        let sound = smallest.is_power_of_two()
                            && smallest <= 65536
                            && preferred.is_power_of_two()
                            && preferred >= smallest
                            && largest >= smallest;
                        if !sound {
                            return Err(breach("its block sizes make no sense"));
                        }
                    }
                    _ => {}
                },
                REPLY_ACK => {
                    let (size, flags) = export
                        .ok_or_else(|| breach("it offers an export without saying its size"))?;
                    if flags & HAS_FLAGS == 0 || i64::try_from(size).is_err() {
                        return Err(breach("its export makes no sense"));
                    }
                    return Ok(Export {
                        size,
                        read_only: flags & READ_ONLY != 0,
                        can_flush: flags & SEND_FLUSH != 0,
                        can_write_zeroes: flags & SEND_WRITE_ZEROES != 0,
                        smallest,
                        largest,
                        allocation,
                    });
                }
                kind if kind & REPLY_ERROR != 0 => {
                    return Err(refusal("it does not let anybody in", &answer));
                }
                _ => break,
            }
        }
        Err(breach("it does not come to the end of its answer"))
    }
}

fn refusal(what: &str, answer: &Answer) -> Error {
    let text = String::from_utf8_lossy(&answer.data);
    let message = format!("{what}: error {:#x} {text}", answer.kind);
    Error::new(Kind::Unsupported, "talk to NBD server", message)
}
