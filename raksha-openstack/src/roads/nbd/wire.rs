//! The numbers of the NBD protocol and how they lie on the wire: all big-endian. The protocol's document (`doc/proto.md` of the
//! NetworkBlockDevice project) is where names and values come from.

use std::io;

use raksha_core::{Error, Kind};
use tokio::io::{AsyncRead, AsyncReadExt};

/// "NBDMAGIC", the first thing that a server says.
pub(super) const SERVER_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// "IHAVEOPT", which begins the server's second word and each option that a client sends.
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Begins each answer to an option.
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Begins each request.
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Begins an answer without structure.
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Begins each chunk of a structured answer.
pub(super) const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags, which server and client have in common.
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 1 << 1;

pub(super) const OPTION_GO: u32 = 7;
pub(super) const OPTION_STRUCTURED_REPLY: u32 = 8;
pub(super) const OPTION_SET_META_CONTEXT: u32 = 10;

pub(super) const REPLY_ACK: u32 = 1;
pub(super) const REPLY_INFO: u32 = 3;
pub(super) const REPLY_META_CONTEXT: u32 = 4;
/// Set in the type of each answer to an option that is an error.
pub(super) const REPLY_ERROR: u32 = 1 << 31;

pub(super) const INFO_EXPORT: u16 = 0;
pub(super) const INFO_BLOCK_SIZE: u16 = 3;

/// What an export allows.
pub(super) const HAS_FLAGS: u16 = 1;
pub(super) const READ_ONLY: u16 = 1 << 1;
pub(super) const SEND_FLUSH: u16 = 1 << 2;
pub(super) const SEND_WRITE_ZEROES: u16 = 1 << 6;

/// The metadata that tells data from holes, and the flag in it that says: reads as zeroes.
pub(super) const ALLOCATION: &str = "base:allocation";
pub(super) const STATE_ZERO: u32 = 1 << 1;

pub(super) const CHUNK_DONE: u16 = 1;
pub(super) const CHUNK_NONE: u16 = 0;
pub(super) const CHUNK_DATA: u16 = 1;
pub(super) const CHUNK_HOLE: u16 = 2;
pub(super) const CHUNK_STATUS: u16 = 5;
/// Set in the type of each chunk that is an error.
pub(super) const CHUNK_ERROR: u16 = 1 << 15;

/// What can be asked of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    WriteZeroes = 6,
    BlockStatus = 7,
}

impl Command {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read disk over NBD",
            Self::Write => "write disk over NBD",
            Self::Disconnect => "disconnect from NBD server",
            Self::Flush => "flush disk over NBD",
            Self::WriteZeroes => "write zeroes over NBD",
            Self::BlockStatus => "find holes over NBD",
        }
    }

    /// The header of a request.
    pub(super) fn request(self, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
        let mut header = [0; 28];
        let fields = (REQUEST_MAGIC.to_be_bytes().into_iter())
            .chain([0, 0])
            .chain((self as u16).to_be_bytes())
            .chain(cookie.to_be_bytes())
            .chain(offset.to_be_bytes())
            .chain(length.to_be_bytes());
        for (byte, value) in header.iter_mut().zip(fields) {
            *byte = value;
        }
        header
    }
}

/// A server that does not keep to the protocol: nothing that it says can be believed any more.
pub(super) fn breach(what: impl Into<String>) -> Error {
    Error::new(
        Kind::Corrupt,
        "talk to NBD server",
        format!(
            "the server does not keep to the protocol: {}; is it qemu-nbd?",
            what.into()
        ),
    )
}

/// A connection that broke.
pub(super) fn broken(source: io::Error) -> Error {
    let message = match source.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection",
        _ => "the connection broke",
    };
    Error::new(Kind::Unavailable, "talk to NBD server", message).caused_by(source)
}

/// What the server says of a request that it could not carry out. Its numbers are those of Linux.
pub(super) fn refused(command: Command, number: u32, text: &str) -> Error {
    let (kind, meaning) = match number {
        1 => (Kind::Denied, "not permitted"),
        5 => (Kind::Unavailable, "input or output error of the storage"),
        12 => (Kind::Unavailable, "the server is out of memory"),
        22 => (Kind::Internal, "the server finds the request invalid"),
        28 => (Kind::Full, "no space is left"),
        75 => (Kind::Internal, "the server finds the request too long"),
        95 => (Kind::Unsupported, "the server cannot do this"),
        108 => (Kind::Unavailable, "the server is shutting down"),
        _ => (Kind::Unavailable, "the server failed"),
    };
    let message = match text {
        "" => format!("{meaning} (error {number})"),
        text => format!("{meaning} (error {number}: {text})"),
    };
    Error::new(kind, command.name(), message)
}

/// Reads and drops `length` bytes, of which there are at most `most`; gives the bytes.
pub(super) async fn read_bytes(
    from: &mut (impl AsyncRead + Unpin),
    length: u32,
    most: u32,
) -> Result<Vec<u8>, Error> {
    if length > most {
        return Err(breach(format!(
            "{length} bytes where at most {most} can be"
        )));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    from.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}

/// Takes fields off the front of a stretch of bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let short = || breach("an answer is shorter than it must be");
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// What is left must be nothing.
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.0 {
            [] => Ok(()),
            _ => Err(breach("an answer is longer than it must be")),
        }
    }
}
