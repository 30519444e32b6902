//! Parsers of the format, fed with mutations of good objects: whatever comes, they say what is wrong and go on. None panics, and none takes memory
//! that the input does not justify.
//!
//! What ends with a checksum or a signature is also mutated within and given a right one, so that mutations reach what is behind it.
//! `RAKSHA_MUTATIONS` sets how many each parser gets.

use std::sync::Arc;

use super::checkpoint;
use super::compress::Compression;
use super::entry::{Action, AddedPack, Entry, LogHome, Purpose};
use super::fold::State;
use super::frame::{frame, unframe};
use super::index::{IndexObject, IndexPack};
use super::keys::{MasterKey, PassphraseCost, Secret, new_slot, open_slot};
use super::lookup::Lookup;
use super::names::PackName;
use super::pack::{Directory, PackBuilder, PackEntry, Tail, footer};
use super::parameters::{Described, FORMAT, HASH, Parameters};
use super::record::Records;
use super::seal::{Cipher, Sealing};
use super::seeded::Seeded;
use super::sign::{Signer, split_signature};
use super::verify::verify_object;
use crate::cloud::ConsistencyLedger;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::format::Chunking;
use crate::format::tree::{Item, Node, RootNode};
use crate::id::{ChunkId, ObjectHash, PointId, ProjectId, RepositoryId, SessionId};
use crate::point::{PointSummary, RecoveryPoint};
use crate::recycle::Buffers;
use crate::store::{ChunkNamer, Role, RunCounts};
use crate::testkit::cloud::sample_graph;
use crate::testkit::{Fuzz, SeededEntropy};
use crate::time::Timestamp;

fn fuzz(kind: &str) -> Fuzz {
    Fuzz::new(
        kind,
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus"),
    )
}

/// Good objects are the same in each run.
fn env() -> Env {
    Env::system().with_entropy(Arc::new(SeededEntropy::new(1)))
}

/// What is taken for good, of which there is no more to say.
fn good<T>(read: Result<T>) -> Result<String> {
    read.map(|_| String::new())
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
    let number = state.next;
    let encoded = entries.iter().map(|entry| entry.encode(&signer()).unwrap());
    let raw = encoded.fold(fuzz("entry"), Fuzz::good);
    raw.feed(|bytes| good(Entry::decode(number, bytes)));
    // Signed by somebody who has the key, and framed: the fold must bear it.
    let messages = entries.iter().map(|e| serde_json::to_vec(e).unwrap());
    messages
        .fold(fuzz("signed-entry"), Fuzz::good)
        .feed(|message| {
            let bytes = frame(&signer().append_signature(message.to_vec()));
            let signed = Entry::decode(number, &bytes)?;
            let mut state = state.clone();
            let voids = state.void.len();
            state.fold(&signed, &signer().verifier())?;
            assert_eq!(state.next, number + 1, "one entry, one number");
            let said = serde_json::to_value(&signed.entry.action).unwrap();
            let what = said.as_object().and_then(|o| o.keys().next()).cloned();
            Ok(format!("{what:?} {}", state.void.len() - voids))
        });
}

#[test]
fn checkpoints() {
    let (state, _) = log();
    let verifier = signer().verifier();
    let whole = checkpoint::encode(&state, &signer()).unwrap();
    let payload = unframe(&whole, "checkpoint").unwrap();
    let (packed, _) = split_signature(payload).unwrap();
    let signed = |packed: Vec<u8>| frame(&signer().append_signature(packed));
    let decode = |bytes: &[u8]| checkpoint::decode(bytes, state.next, &verifier);
    let raw = fuzz("checkpoint").good(whole.to_vec());
    raw.feed(|bytes| good(decode(bytes)));
    let packed = fuzz("signed-checkpoint").good(packed);
    packed.feed(|packed| good(decode(&signed(packed.to_vec()))));
    let json = fuzz("state").good(serde_json::to_vec(&state).unwrap());
    json.feed(|json| good(decode(&signed(zstd::bulk::compress(json, 1).unwrap()))));
}

#[test]
fn parameters_and_key_slots() {
    let described = Described {
        format: FORMAT,
        repository: RepositoryId::from_bytes([1; 16]),
        hash: HASH.into(),
        verifier: signer().verifier(),
        parameters: Parameters::default(),
    };
    let whole = described.encode().unwrap();
    let json = fuzz("parameters").good(unframe(&whole, "raksha.json").unwrap());
    json.feed(|json| good(Described::decode(&frame(json))));

    let env = env();
    let here = RepositoryId::from_bytes([5; 16]);
    let secret = Secret::key_file(&[7; 32]);
    let master = MasterKey::random(&env).unwrap();
    let cost = PassphraseCost::default();
    let slot = new_slot(&master, &secret, &here, "main", &env, cost).unwrap();
    let json = fuzz("key-slot").good(unframe(&slot, "key slot").unwrap());
    json.feed(|json| {
        let opened = open_slot(&frame(json), &secret, &here, "main")?;
        Ok(opened.is_some().to_string())
    });

    let names = ["keys/x", "packs/1/x", "log/0", "raksha.json", "other"];
    fuzz("any-object").good(slot.to_vec()).feed(|bytes| {
        for name in &names[1..] {
            let known = verify_object(&object_store::path::Path::from(*name), bytes);
            drop(known);
        }
        good(verify_object(
            &object_store::path::Path::from(names[0]),
            bytes,
        ))
    });
}

fn read_point(json: &[u8]) -> Result<RecoveryPoint> {
    let read = serde_json::from_slice(json);
    read.map_err(|e| Error::new(Kind::Unsupported, "read recovery point", e.to_string()))
}

#[test]
fn points() {
    let summary = PointSummary {
        name: "nightly".into(),
        taken: Timestamp::from_millis(1_700_000_000_000),
        project: Some(ProjectId::new("demo")),
        principal: Some("alice".into()),
        job: None,
        run: None,
        servers: 1,
        counts: RunCounts::default(),
    };
    let point = RecoveryPoint {
        summary,
        graph: sample_graph().unwrap(),
        disks: vec![],
        ledger: ConsistencyLedger::default(),
    };
    let json = serde_json::to_vec(&point).unwrap();
    fuzz("point").good(json).feed(|json| {
        let read = read_point(json)?;
        // What was read can be written, and says the same.
        let again = serde_json::to_vec(&read).unwrap();
        assert_eq!(read_point(&again).unwrap(), read);
        Ok(format!("{} disks", read.disks.len().min(2)))
    });
}

#[test]
fn packs_and_indexes() {
    let records = Records::new(
        Sealing::new(Cipher::None, zeroize::Zeroizing::new([1; 32])),
        Compression::default(),
        ChunkNamer::new([2; 32]),
    );
    let env = env();
    let mut writer = records.writer(&env).unwrap();
    let mut builder = PackBuilder::new(Role::Data, 1 << 16, &Buffers::new(1 << 16));
    let mut random = Seeded::quiet(1);
    for n in 0u8..20 {
        let plain = match n % 2 {
            0 => vec![n; 3000],
            _ => random.bytes(100),
        };
        let id = records.namer().name(&plain);
        let add =
            |out: &mut Vec<u8>| records.write_chunk(&mut writer, id, &plain, Some(1), true, out);
        builder.add(id, add).unwrap();
    }
    let pack = builder.finish().unwrap();
    let entries = pack.directory.entries.clone();
    let number = |directory: Directory| format!("{} records", directory.entries.len().min(3));
    let whole = fuzz("pack").good(pack.bytes.to_vec());
    whole.feed(|bytes| Directory::of_pack(bytes).map(number));
    let length = pack.bytes.len() as u64;
    let tail = fuzz("pack-tail").good(&pack.bytes[pack.bytes.len() - 900..]);
    tail.feed(|tail| match Directory::of_tail(tail, length)? {
        Tail::Directory(directory) => Ok(number(directory)),
        Tail::Needs(_) => Ok("needs more".into()),
    });
    // A directory with a right checksum, of records that take as much as they say: 36 bytes each, of which the last four are the length.
    let end = pack.bytes.len() - 32;
    let directory = &pack.bytes[end - 36 * entries.len()..end];
    let directory = fuzz("directory").good(directory);
    directory.feed(|directory| {
        let count = u32::try_from(directory.len() / 36).unwrap();
        let tail = [directory, &footer(directory, count, Role::Tree)].concat();
        let told = (directory.chunks(36)).filter_map(|entry| entry.get(32..36));
        let told = told.map(|length| u64::from(u32::from_le_bytes(length.try_into().unwrap())));
        let length = told.sum::<u64>() + 8 + tail.len() as u64;
        match Directory::of_tail(&tail, length)? {
            Tail::Directory(directory) => Ok(number(directory)),
            Tail::Needs(_) => Ok("needs more".into()),
        }
    });
    // Unsealed, so that compressed bytes reach the decompressor as somebody made them.
    for entry in &entries[..2] {
        let from = entry.offset as usize;
        let record = &pack.bytes[from..from + entry.length as usize];
        let record = fuzz("record").good(record);
        record.feed(|record| good(records.open_chunk(record, entry.id, Role::Data)));
    }

    let name = PackName::new(SessionId(7), pack.hash);
    let described = IndexPack {
        name,
        role: Role::Data,
        length,
    };
    let listed: &[PackEntry] = &entries;
    let index = IndexObject::build([(described, listed)]).unwrap();
    fuzz("index").good(index.bytes.to_vec()).feed(|bytes| {
        let lookup = Lookup::new(1 << 20, None).unwrap();
        lookup.add(vec![IndexObject::new(bytes.to_vec())])?;
        let mut found = 0;
        for entry in &entries {
            found += u64::from(lookup.locate(&entry.id)?.is_some());
        }
        Ok(format!("{} found", found.min(2)))
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
    let nodes = [root, branch, segment].map(|node| node.encode());
    nodes
        .into_iter()
        .fold(fuzz("node"), Fuzz::good)
        .feed(|bytes| {
            let decoded = Node::decode(bytes)?;
            assert_eq!(decoded.encode(), bytes, "there is one encoding of a node");
            Ok(match decoded {
                Node::Root(root) => format!("root {}", root.children.len().min(2)),
                Node::Branch(children) => format!("branch {}", children.len().min(2)),
                Node::Segment(items) => format!("segment {}", items.len().min(2)),
            })
        });
}
