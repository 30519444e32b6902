//! Servers that break the protocol, one rule each. None may crash the client, hang it, or make it take wrong bytes for right ones.

use std::time::Duration;

use bytes::BytesMut;
use raksha_core::{Error, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::roads::nbd::client::Connection;

const DEADLINE: Duration = Duration::from_secs(2);
const SIZE: u64 = 1 << 20;

/// What a server says and hears.
struct Peer(UnixStream);

impl Peer {
    async fn say(&mut self, parts: &[&[u8]]) {
        // A client that noticed the breach has hung up.
        let _ = self.0.write_all(&parts.concat()).await;
    }

    async fn greet(&mut self) {
        self.say(&[b"NBDMAGIC", b"IHAVEOPT", &3u16.to_be_bytes()])
            .await;
        let mut flags = [0; 4];
        self.0.read_exact(&mut flags).await.unwrap();
        assert_eq!(flags, [0, 0, 0, 3]);
    }

    async fn option(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; 16];
        self.0.read_exact(&mut head).await.unwrap();
        let option = u32::from_be_bytes(head[8..12].try_into().unwrap());
        let length = u32::from_be_bytes(head[12..].try_into().unwrap());
        let mut data = vec![0; length as usize];
        self.0.read_exact(&mut data).await.unwrap();
        (option, data)
    }

    async fn answer(&mut self, option: u32, kind: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        self.say(&[
            &0x0003_e889_0455_65a9_u64.to_be_bytes(),
            &option.to_be_bytes(),
            &kind.to_be_bytes(),
            &length.to_be_bytes(),
            data,
        ])
        .await;
    }

    /// A handshake without fault: 1 MiB, metadata number 7.
    async fn let_in(&mut self) {
        self.greet().await;
        let (option, _) = self.option().await;
        self.answer(option, 1, &[]).await;
        let (option, _) = self.option().await;
        self.answer(
            option,
            4,
            &[&7u32.to_be_bytes()[..], b"base:allocation"].concat(),
        )
        .await;
        self.answer(option, 1, &[]).await;
        let (option, _) = self.option().await;
        self.answer(option, 3, &export(SIZE)).await;
        self.answer(option, 1, &[]).await;
    }

    /// The cookie of the next request.
    async fn request(&mut self) -> [u8; 8] {
        let mut head = [0; 28];
        self.0.read_exact(&mut head).await.unwrap();
        head[8..16].try_into().unwrap()
    }

    async fn chunk(&mut self, flags: u16, kind: u16, cookie: [u8; 8], data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        self.say(&[
            &0x668e_33ef_u32.to_be_bytes(),
            &flags.to_be_bytes(),
            &kind.to_be_bytes(),
            &cookie,
            &length.to_be_bytes(),
            data,
        ])
        .await;
    }
}

fn export(size: u64) -> Vec<u8> {
    [&[0, 0][..], &size.to_be_bytes(), &0x0045_u16.to_be_bytes()].concat()
}

fn data(at: u64, length: usize) -> Vec<u8> {
    [&at.to_be_bytes()[..], &vec![0x77; length]].concat()
}

fn hole(at: u64, length: u32) -> Vec<u8> {
    [&at.to_be_bytes()[..], &length.to_be_bytes()].concat()
}

fn status(context: u32, extents: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = context.to_be_bytes().to_vec();
    for (length, flags) in extents {
        bytes.extend(length.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
    }
    bytes
}

/// The error of a handshake with a server that does `misbehave`.
async fn handshake(misbehave: impl AsyncFnOnce(Peer)) -> Error {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let both =
        futures_util::future::join(Connection::open(ours, DEADLINE), misbehave(Peer(theirs)));
    both.await.0.expect_err("the handshake succeeds")
}

/// What reading 8192 bytes at 4096 gives where the server lets the client in and then does `answer`.
async fn read(answer: impl AsyncFnOnce(&mut Peer, [u8; 8])) -> Result<BytesMut, Error> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serve = async {
        let mut peer = Peer(theirs);
        peer.let_in().await;
        let cookie = peer.request().await;
        answer(&mut peer, cookie).await;
        peer
    };
    let ask = async {
        let connection = Connection::open(ours, DEADLINE).await.unwrap();
        connection.read(4096, BytesMut::zeroed(8192)).await
    };
    futures_util::future::join(ask, serve).await.0
}

async fn extents(answer: impl AsyncFnOnce(&mut Peer, [u8; 8])) -> Result<usize, Error> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serve = async {
        let mut peer = Peer(theirs);
        peer.let_in().await;
        let cookie = peer.request().await;
        answer(&mut peer, cookie).await;
        peer
    };
    let ask = async {
        let connection = Connection::open(ours, DEADLINE).await.unwrap();
        connection
            .extents(0..8192)
            .await
            .map(|extents| extents.len())
    };
    futures_util::future::join(ask, serve).await.0
}

#[tokio::test]
async fn handshakes_that_are_none() {
    let error = handshake(async |mut peer| peer.say(&[b"SSH-2.0-OpenSSH_9.2p1\r\n"]).await).await;
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    let error =
        handshake(async |mut peer| peer.say(&[b"NBDMAGIC", b"IHAVEOPT", &[0, 0]]).await).await;
    assert!(error.to_string().contains("newstyle"), "{error}");
    let error = handshake(async |peer| drop(peer)).await;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    // It never says anything.
    let error = handshake(async |peer| {
        tokio::time::sleep(DEADLINE * 2).await;
        drop(peer);
    })
    .await;
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    // It refuses structured replies.
    let error = handshake(async |mut peer| {
        peer.greet().await;
        let (option, _) = peer.option().await;
        peer.answer(option, 0x8000_0001, b"no").await;
    })
    .await;
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    // It answers an option that nobody sent.
    let error = handshake(async |mut peer| {
        peer.greet().await;
        peer.option().await;
        peer.answer(99, 1, &[]).await;
    })
    .await;
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    // Its answer claims to be 4 GiB long.
    let error = handshake(async |mut peer| {
        peer.greet().await;
        peer.option().await;
        let head = 0x0003_e889_0455_65a9_u64.to_be_bytes();
        peer.say(&[&head, &8u32.to_be_bytes(), &1u32.to_be_bytes(), &[0xff; 4]])
            .await;
    })
    .await;
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[tokio::test]
async fn exports_that_make_no_sense() {
    let enter = async |infos: Vec<Vec<u8>>| {
        handshake(async move |mut peer: Peer| {
            peer.greet().await;
            for _ in 0..2 {
                let (option, _) = peer.option().await;
                peer.answer(option, 1, &[]).await;
            }
            let (option, _) = peer.option().await;
            for info in infos {
                peer.answer(option, 3, &info).await;
            }
            peer.answer(option, 1, &[]).await;
        })
        .await
    };
    let blocks = |sizes: [u32; 3]| {
        let sizes = sizes.map(u32::to_be_bytes).concat();
        vec![export(SIZE), [&[0, 3][..], &sizes].concat()]
    };
    for infos in [
        vec![],
        vec![export(u64::MAX)],
        vec![export(SIZE)[..9].to_vec()],
        vec![[export(SIZE), vec![0]].concat()],
        blocks([3, 4096, 65536]),
        blocks([1 << 17, 1 << 17, 1 << 20]),
        blocks([4096, 512, 65536]),
        blocks([4096, 4096, 512]),
        vec![export(SIZE); 40],
    ] {
        let error = enter(infos.clone()).await;
        assert_eq!(error.kind(), Kind::Corrupt, "{error} for {infos:?}");
    }
}

#[tokio::test]
async fn reads_that_keep_to_the_rules() {
    let read = read(async |peer, cookie| {
        peer.chunk(0, 2, cookie, &hole(4096 + 100, 92)).await;
        peer.chunk(0, 1, cookie, &data(4096 + 192, 8000)).await;
        peer.chunk(0, 1, cookie, &data(4096, 100)).await;
        peer.chunk(1, 0, cookie, &[]).await;
    })
    .await
    .unwrap();
    assert!(
        read[..100]
            .iter()
            .chain(&read[192..])
            .all(|byte| *byte == 0x77)
    );
    assert!(read[100..192].iter().all(|byte| *byte == 0));
}

/// Says of one answer to a read what is wrong with it.
macro_rules! wrong_reads {
    ($($name:ident: $kind:ident, |$peer:ident, $cookie:ident| $answer:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let error = read(async |$peer, $cookie| $answer).await.unwrap_err();
            assert_eq!(error.kind(), Kind::$kind, "{error}");
        }
    )*};
}

wrong_reads! {
    bytes_before_the_range: Corrupt, |peer, cookie| peer.chunk(1, 1, cookie, &data(0, 8192)).await;
    bytes_after_the_range: Corrupt, |peer, cookie| peer.chunk(1, 1, cookie, &data(4096, 8193)).await;
    bytes_at_the_end_of_all_numbers: Corrupt, |peer, cookie| peer.chunk(1, 1, cookie, &data(u64::MAX, 1)).await;
    a_chunk_without_bytes: Corrupt, |peer, cookie| peer.chunk(1, 1, cookie, &data(4096, 0)).await;
    a_hole_beyond_the_range: Corrupt, |peer, cookie| peer.chunk(1, 2, cookie, &hole(4096, 8193)).await;
    too_few_bytes: Corrupt, |peer, cookie| peer.chunk(1, 1, cookie, &data(4096, 8191)).await;
    nothing_at_all: Corrupt, |peer, cookie| peer.chunk(1, 0, cookie, &[]).await;
    the_same_bytes_twice: Corrupt, |peer, cookie| {
        peer.chunk(0, 1, cookie, &data(4096, 8192)).await;
        peer.chunk(1, 1, cookie, &data(5000, 1)).await
    };
    bytes_that_overlap_what_follows: Corrupt, |peer, cookie| {
        peer.chunk(0, 1, cookie, &data(4096, 100)).await;
        peer.chunk(0, 1, cookie, &data(4296, 7992)).await;
        peer.chunk(1, 1, cookie, &data(4196, 101)).await
    };
    an_answer_to_nobody: Corrupt, |peer, _cookie| peer.chunk(1, 1, [9; 8], &data(4096, 8192)).await;
    a_simple_answer_to_a_read: Corrupt, |peer, cookie| peer.say(&[&0x6744_6698_u32.to_be_bytes(), &[0; 4], &cookie, &[0; 8192]]).await;
    metadata_instead_of_bytes: Corrupt, |peer, cookie| peer.chunk(1, 5, cookie, &status(7, &[(8192, 0)])).await;
    an_unknown_chunk: Corrupt, |peer, cookie| peer.chunk(1, 77, cookie, &[0; 16]).await;
    a_chunk_that_says_nothing_and_goes_on: Corrupt, |peer, cookie| peer.chunk(0, 0, cookie, &[]).await;
    a_wrong_beginning: Corrupt, |peer, _cookie| peer.say(&[&[0xab; 64]]).await;
    an_error_that_is_none: Corrupt, |peer, cookie| peer.chunk(1, 0x8001, cookie, &[0; 6]).await;
    an_error_with_a_text_beyond_its_end: Corrupt, |peer, cookie| peer.chunk(1, 0x8001, cookie, &[0, 0, 0, 5, 0xff, 0xff]).await;
    an_error_of_the_storage: Unavailable, |peer, cookie| peer.chunk(1, 0x8001, cookie, &[0, 0, 0, 5, 0, 2, b'n', b'o']).await;
    an_error_after_bytes: Unavailable, |peer, cookie| {
        peer.chunk(0, 1, cookie, &data(4096, 8192)).await;
        peer.chunk(1, 0x8002, cookie, &[&[0, 0, 0, 5, 0, 0][..], &[0; 8]].concat()).await
    };
    a_hang_up_within_a_chunk: Unavailable, |peer, cookie| {
        peer.say(&[&0x668e_33ef_u32.to_be_bytes(), &[0, 1, 0, 1], &cookie, &8200u32.to_be_bytes(), &data(4096, 100)]).await;
        peer.0.shutdown().await.unwrap()
    };
    silence: Timeout, |_peer, _cookie| {};
}

#[tokio::test]
async fn holes_that_keep_to_the_rules() {
    // The last extent may reach beyond the range; what is missing is asked for again.
    let found = extents(async |peer, cookie| {
        peer.chunk(1, 5, cookie, &status(7, &[(4096, 3)])).await;
        let cookie = peer.request().await;
        peer.chunk(1, 5, cookie, &status(7, &[(1 << 19, 0)])).await;
    })
    .await;
    assert_eq!(found.unwrap(), 2);
}

#[tokio::test]
async fn holes_that_are_lies() {
    for wrong in [
        status(8, &[(8192, 0)]),
        status(7, &[(0, 0), (8192, 0)]),
        status(7, &[(8192, 0), (4096, 2)]),
        status(7, &[]),
        status(7, &[(8192, 0)])[..11].to_vec(),
    ] {
        let told = wrong.clone();
        let found = extents(async move |peer, cookie| peer.chunk(1, 5, cookie, &told).await).await;
        let error = found.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error} for {wrong:?}");
    }
}

#[tokio::test]
async fn after_a_breach_nothing_is_believed() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serve = async {
        let mut peer = Peer(theirs);
        peer.let_in().await;
        peer.request().await;
        peer.chunk(1, 1, [9; 8], &data(4096, 8192)).await;
        peer
    };
    let ask = async {
        let connection = Connection::open(ours, DEADLINE).await.unwrap();
        for _ in 0..2 {
            let read = connection.read(4096, BytesMut::zeroed(8192)).await;
            assert_eq!(read.unwrap_err().kind(), Kind::Corrupt);
        }
    };
    futures_util::future::join(ask, serve).await;
}
