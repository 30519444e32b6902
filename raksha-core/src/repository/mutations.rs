//! Parsers of bytes that somebody else may have written, fed with mutations of good ones: whatever comes, they say what is wrong and go on. None
//! panics, and none takes memory that the input does not justify.
//!
//! Mutations know the structure: what ends with a checksum or a signature gets a right one again, so that they reach what is behind it.
//! `RAKSHA_MUTATIONS` sets how many each parser gets.

use super::checkpoint;
use super::compress::Compression;
use super::entry::{Action, AddedPack, Entry, LogHome, Purpose};
use super::fold::State;
use super::frame::{frame, unframe};
use super::index::{IndexObject, IndexPack};
use super::keys::{MasterKey, PassphraseCost, Secret, new_slot, open_slot};
use super::lookup::Lookup;
use super::names::PackName;
use super::pack::{Directory, PackBuilder, PackEntry, Tail};
use super::parameters::{Described, FORMAT, HASH, Parameters};
use super::record::Records;
use super::seal::{Cipher, Sealing};
use super::seeded::Seeded;
use super::sign::{Signer, split_signature};
use super::verify::verify_object;
use crate::env::Env;
use crate::format::Chunking;
use crate::format::tree::{Item, Node, RootNode};
use crate::id::{ChunkId, ObjectHash, PointId, RepositoryId, SessionId};
use crate::recycle::Buffers;
use crate::store::{ChunkNamer, Role};
use crate::time::Timestamp;

fn rounds() -> u64 {
    std::env::var("RAKSHA_MUTATIONS").map_or(4000, |n| n.parse().unwrap())
}

/// Numbers at which parsers go wrong.
const NUMBERS: [u64; 9] = [
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    u64::MAX,
];

/// Changes some of the bytes.
fn mutate(random: &mut Seeded, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return random.bytes(5);
        }
        let length = bytes.len();
        let at = random.below(length as u64) as usize;
        let end = (at + 1 + random.below(40) as usize).min(length);
        let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
        match random.below(9) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = number as u8,
            3 | 4 => {
                let width = [2, 4, 8][random.below(3) as usize].min(length - at);
                bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            }
            5 => bytes.truncate(at),
            6 => drop(bytes.drain(at..end)),
            7 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(length as u64) as usize;
                bytes.splice(to..to, copy);
            }
            // In JSON: another number, however large.
            _ => match bytes[at..].iter().position(u8::is_ascii_digit) {
                Some(digit) => {
                    let text = number.to_string().into_bytes();
                    bytes.splice(at + digit..=at + digit, text);
                }
                None => bytes.extend_from_slice(&number.to_le_bytes()),
            },
        }
    }
    bytes
}

/// Feeds a parser; says how many mutations it took for good.
fn feed(name: &str, good: &[u8], mut parse: impl FnMut(&mut Seeded, &[u8]) -> bool) {
    let mut random = Seeded::quiet(name.bytes().map(u64::from).sum());
    assert!(parse(&mut random, good), "{name}: a good one is refused");
    let taken = (0..rounds()).filter(|_| {
        let bytes = mutate(&mut random, good);
        parse(&mut random, &bytes)
    });
    let taken = taken.count() as u64;
    assert!(taken < rounds(), "{name}: nothing is ever refused");
}

fn signer() -> Signer {
    Signer::from_seed(&[3; 32]).unwrap()
}

fn hash(n: u8) -> ObjectHash {
    ObjectHash::from_bytes([n; 32])
}

fn entry(number: u64, previous: ObjectHash, session: Option<u64>, action: Action) -> Entry {
    Entry {
        number,
        previous,
        time: Timestamp::from_millis(1_700_000_000_000),
        session: session.map(SessionId),
        nonce: "00ff".into(),
        action,
    }
}

/// A state with a bit of everything, and the entries that could come next.
fn log() -> (State, Vec<Entry>) {
    let (signer, verifier) = (signer(), signer().verifier());
    let created = Action::Created {
        repository: RepositoryId::from_bytes([1; 16]),
        parameters: hash(9),
        log: LogHome::Target,
    };
    let first = entry(0, hash(0), None, created).encode(&signer).unwrap();
    let first = Entry::decode(0, &first).unwrap();
    let mut state = State::begin(&first, &verifier, hash(9)).unwrap();
    let opened = Action::SessionOpened {
        purpose: Purpose::Write,
        by: "x".into(),
        verifier,
        pins: vec![],
    };
    let added = Action::PacksAdded {
        index: hash(4),
        index_bytes: 100,
        packs: vec![AddedPack {
            hash: hash(5),
            bytes: 1000,
            role: Role::Data,
        }],
    };
    let committed = Action::PointCommitted {
        point: PointId::from_bytes([6; 32]),
        summary: "x".into(),
        checked: 3,
    };
    let so_far = [
        (None, opened.clone()),
        (Some(1), added.clone()),
        (Some(1), committed.clone()),
    ];
    for (session, action) in so_far {
        let next = entry(state.next, state.head, session, action);
        let bytes = next.encode(&signer).unwrap();
        let signed = Entry::decode(state.next, &bytes).unwrap();
        state.fold(&signed, &verifier).unwrap();
    }
    assert!(state.void.is_empty());
    let pack = PackName::new(SessionId(1), hash(5));
    let retired = Action::PacksRetired {
        packs: vec![pack],
        checked: 4,
        damaged: true,
    };
    let merged = Action::IndexesMerged {
        index: hash(8),
        index_bytes: 9,
        replaced: vec![PackName::new(SessionId(1), hash(4))],
    };
    let forgotten = Action::PointsForgotten {
        points: vec![PointId::from_bytes([6; 32])],
        by: "x".into(),
    };
    let fenced = Action::SessionFenced {
        fenced: SessionId(1),
        by: "x".into(),
    };
    let next = [
        (None, opened),
        (Some(1), added),
        (Some(1), committed),
        (Some(1), retired),
        (Some(1), merged),
        (None, forgotten),
        (None, fenced),
        (Some(1), Action::SessionClosed),
    ];
    let next = next.map(|(session, action)| entry(state.next, state.head, session, action));
    (state, next.to_vec())
}

#[test]
fn log_entries() {
    let (state, entries) = log();
    for good in entries {
        let bytes = good.encode(&signer()).unwrap();
        let number = good.number;
        feed("entry", &bytes, |_, bytes| {
            Entry::decode(number, bytes).is_ok()
        });
        // Signed by somebody who has the key, and framed: the fold must bear it.
        let message = serde_json::to_vec(&good).unwrap();
        feed("signed entry", &message, |_, message| {
            let bytes = frame(&signer().append_signature(message.to_vec()));
            let Ok(signed) = Entry::decode(number, &bytes) else {
                return false;
            };
            let mut state = state.clone();
            let folded = state.fold(&signed, &signer().verifier());
            folded.is_ok() && state.next == number + 1
        });
    }
}

#[test]
fn checkpoints_parameters_and_key_slots() {
    let (state, _) = log();
    let verifier = signer().verifier();
    let good = checkpoint::encode(&state, &signer()).unwrap();
    feed("checkpoint", &good, |_, bytes| {
        checkpoint::decode(bytes, state.next, &verifier).is_ok()
    });
    let payload = unframe(&good, "checkpoint").unwrap();
    let (packed, _) = split_signature(payload).unwrap();
    feed("signed checkpoint", packed, |_, packed| {
        let bytes = frame(&signer().append_signature(packed.to_vec()));
        checkpoint::decode(&bytes, state.next, &verifier).is_ok()
    });
    let json = serde_json::to_vec(&state).unwrap();
    feed("state", &json, |_, json| {
        let packed = zstd::bulk::compress(json, 1).unwrap();
        let bytes = frame(&signer().append_signature(packed));
        checkpoint::decode(&bytes, state.next, &verifier).is_ok()
    });

    let described = Described {
        format: FORMAT,
        repository: RepositoryId::from_bytes([1; 16]),
        hash: HASH.into(),
        verifier,
        parameters: Parameters::default(),
    };
    let good = described.encode().unwrap();
    let json = unframe(&good, "raksha.json").unwrap();
    feed("parameters", json, |_, json| {
        Described::decode(&frame(json)).is_ok()
    });

    let env = Env::system();
    let here = RepositoryId::from_bytes([5; 16]);
    let secret = Secret::key_file(&[7; 32]);
    let master = MasterKey::random(&env).unwrap();
    let cost = PassphraseCost::default();
    let slot = new_slot(&master, &secret, &here, "main", &env, cost).unwrap();
    let json = unframe(&slot, "key slot").unwrap();
    feed("key slot", json, |_, json| {
        matches!(open_slot(&frame(json), &secret, &here, "main"), Ok(Some(_)))
    });
    let names = ["keys/x", "packs/1/x", "log/0", "raksha.json", "other"];
    feed("any object", &slot, |random, bytes| {
        let name = names[random.below(5) as usize];
        let location = object_store::path::Path::from(name);
        let known = verify_object(&location, bytes);
        known.is_ok() || bytes == slot
    });
}

#[test]
fn packs_and_indexes() {
    let records = Records::new(
        Sealing::new(Cipher::None, zeroize::Zeroizing::new([1; 32])),
        Compression::default(),
        ChunkNamer::new([2; 32]),
    );
    let env = Env::system();
    let mut writer = records.writer(&env).unwrap();
    let mut builder = PackBuilder::new(Role::Data, 1 << 16, &Buffers::new(1 << 16));
    let mut random = Seeded::quiet(1);
    for n in 0..20 {
        let plain = match n % 2 {
            0 => vec![n as u8; 3000],
            _ => random.bytes(700),
        };
        let id = records.namer().name(&plain);
        let add = |out: &mut Vec<u8>| records.write_chunk(&mut writer, id, &plain, true, out);
        builder.add(id, add).unwrap();
    }
    let pack = builder.finish().unwrap();
    let entries = pack.directory.entries.clone();
    feed("pack", &pack.bytes, |_, bytes| {
        Directory::of_pack(bytes).is_ok()
    });
    let length = pack.bytes.len() as u64;
    feed(
        "tail of a pack",
        &pack.bytes[pack.bytes.len() - 900..],
        |_, tail| matches!(Directory::of_tail(tail, length), Ok(Tail::Directory(_))),
    );
    // Unsealed, so that compressed bytes reach the decompressor as somebody made them.
    for entry in &entries[..4] {
        let from = entry.offset as usize;
        let record = &pack.bytes[from..from + entry.length as usize];
        feed("record", record, |_, record| {
            records.open_chunk(record, entry.id, Role::Data).is_ok()
        });
    }

    let name = PackName::new(SessionId(7), pack.hash);
    let described = IndexPack {
        name,
        role: Role::Data,
        length,
    };
    let listed: &[PackEntry] = &entries;
    let index = IndexObject::build([(described, listed)]).unwrap();
    feed("index", &index.bytes, |_, bytes| {
        let lookup = Lookup::new(1 << 20, None).unwrap();
        let added = lookup.add(vec![IndexObject::new(bytes.to_vec())]);
        added.is_ok() && lookup.locate(&entries[0].id).is_ok()
    });
}

#[test]
fn nodes_of_trees() {
    let id = |n| ChunkId::from_bytes([n; 32]);
    let root = Node::Root(RootNode {
        chunking: Chunking::DISK,
        segment_size: 1 << 20,
        size: 5 << 20,
        children: vec![Some(id(1)), None, Some(id(2)), Some(id(3)), None],
    });
    let branch = Node::Branch(vec![Some(id(1)), None, Some(id(2))]);
    let segment = Node::Segment(vec![
        Item::Chunk {
            id: id(4),
            length: 4096,
        },
        Item::Hole { length: 65536 },
        Item::Chunk {
            id: id(5),
            length: 7,
        },
    ]);
    for node in [root, branch, segment] {
        feed("node", &node.encode(), |_, bytes| {
            match Node::decode(bytes) {
                // There is one encoding of a node.
                Ok(decoded) => {
                    assert_eq!(decoded.encode(), bytes);
                    true
                }
                Err(_) => false,
            }
        });
    }
}
