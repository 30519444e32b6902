//! What a server says, changed at random: the client takes it for what it was asked, or for a breach.

use std::sync::Arc;

use bytes::BytesMut;
use raksha_core::Kind;
use raksha_core::testkit::Fuzz;
use tokio::sync::{Semaphore, oneshot};

use crate::roads::nbd::handshake::shake_hands;
use crate::roads::nbd::pending::{Answer, Pending, Table, receive};
use crate::roads::nbd::wire::Command;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// An answer to an option.
fn option(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let head = [option, kind, length].map(u32::to_be_bytes).concat();
    [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &head, data].concat()
}

#[test]
fn handshakes_that_were_changed() {
    let export = [&[0, 0][..], &(1u64 << 20).to_be_bytes(), &[0, 0x45]].concat();
    let blocks = [
        &[0, 3][..],
        &[1u32, 4096, 1 << 20].map(u32::to_be_bytes).concat(),
    ]
    .concat();
    let good = [
        b"NBDMAGICIHAVEOPT\0\x03".to_vec(),
        option(8, 1, &[]),
        option(10, 4, b"\0\0\0\x07base:allocation"),
        option(10, 1, &[]),
        option(7, 3, &export),
        option(7, 3, &blocks),
        option(7, 1, &[]),
    ];
    let fuzz = Fuzz::new("nbd-handshake", crate::CORPORA).good(good.concat());
    fuzz.feed(|said| {
        let mut stream = tokio::io::join(said, tokio::io::sink());
        let export = block_on(shake_hands(&mut stream))?;
        assert!(export.smallest.is_power_of_two() && export.smallest <= export.largest);
        Ok(format!(
            "{} {}",
            export.read_only,
            export.allocation.is_some()
        ))
    });
}

/// A chunk of an answer.
fn chunk(flags: u16, kind: u16, cookie: u64, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [
        &0x668e_33ef_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &cookie.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

#[test]
fn answers_that_were_changed() {
    const OFFSET: u64 = 4096;
    const LENGTH: usize = 256;
    let at = |at: u64, data: &[u8]| [&at.to_be_bytes()[..], data].concat();
    let good = [
        chunk(0, 1, 0, &at(OFFSET, &[0x77; 100])),
        chunk(0, 2, 0, &at(OFFSET + 100, &100u32.to_be_bytes())),
        chunk(1, 1, 0, &at(OFFSET + 200, &[0x77; 56])),
        chunk(
            1,
            5,
            1,
            &[7u32, 4096, 3, 4096, 0].map(u32::to_be_bytes).concat(),
        ),
        [
            &0x6744_6698_u32.to_be_bytes()[..],
            &[0; 4],
            &2u64.to_be_bytes(),
        ]
        .concat(),
        chunk(1, 0x8001, 3, &[0, 0, 0, 5, 0, 2, b'n', b'o']),
    ];
    let fuzz = Fuzz::new("nbd-answers", crate::CORPORA).good(good.concat());
    fuzz.feed(|said| {
        let table = Table::default();
        let room = Arc::new(Semaphore::new(4));
        let mut waiting = Vec::new();
        let asked = [
            (
                Command::Read,
                Answer::Data {
                    buffer: BytesMut::zeroed(LENGTH),
                    came: Vec::new(),
                },
            ),
            (
                Command::BlockStatus,
                Answer::Status {
                    context: 7,
                    extents: Vec::new(),
                },
            ),
            (Command::Write, Answer::Nothing),
            (Command::Flush, Answer::Nothing),
        ];
        for (command, answer) in asked {
            let (done, answered) = oneshot::channel();
            let permit = Arc::clone(&room).try_acquire_owned().unwrap();
            let pending = Pending {
                command,
                offset: OFFSET,
                answer,
                error: None,
                done,
                _permit: permit,
            };
            table.add(pending).unwrap();
            waiting.push(answered);
        }
        // It ends with the connection, or with a breach.
        let end = block_on(receive(said, &table));
        table.fail(&end);
        let mut told = Vec::new();
        for mut answered in waiting {
            let answer = answered
                .try_recv()
                .expect("everybody who asked is answered");
            if let Ok(Answer::Status { extents, .. }) = &answer {
                assert!(extents.iter().all(|(length, _)| *length > 0));
            }
            told.push(answer.is_ok());
        }
        match end.kind() {
            Kind::Unavailable => Ok(format!("{told:?}")),
            _ => Err(end),
        }
    });
}
