use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::id::SessionId;
use crate::repository::index::IndexPack;
use crate::repository::pack::PackEntry;
use crate::repository::seeded::Seeded;
use crate::store::Role;

fn id(n: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn name(n: u64) -> PackName {
    PackName {
        session: SessionId(n % 3),
        hash: ObjectHash::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes()),
    }
}

/// A pack with chunks of these numbers.
fn pack(n: u64, chunks: &[u64]) -> (IndexPack, Vec<PackEntry>) {
    let mut offset = 8;
    let entries = chunks.iter().map(|chunk| {
        let length = 10 + u32::try_from(chunk % 90).unwrap();
        let entry = PackEntry {
            id: id(*chunk),
            offset,
            length,
        };
        offset += length;
        entry
    });
    let entries: Vec<_> = entries.collect();
    let role = [Role::Data, Role::Tree][usize::try_from(n % 2).unwrap()];
    let length = u64::from(offset) + 100;
    (
        IndexPack {
            name: name(n),
            role,
            length,
        },
        entries,
    )
}

fn index(packs: &[(IndexPack, Vec<PackEntry>)]) -> IndexObject {
    IndexObject::build(packs.iter().map(|(pack, e)| (*pack, e.as_slice()))).unwrap()
}

/// Every place of every chunk, as a plain map.
#[derive(Default)]
struct Oracle(BTreeMap<ChunkId, BTreeSet<Place>>);

impl Oracle {
    fn add(&mut self, (pack, entries): &(IndexPack, Vec<PackEntry>)) {
        for entry in entries {
            let places = self.0.entry(entry.id).or_default();
            // Of a chunk that a pack holds twice, the first is listed.
            if places.iter().all(|place| place.pack != pack.name) {
                places.insert(Place {
                    pack: pack.name,
                    offset: entry.offset,
                    length: entry.length,
                    role: pack.role,
                });
            }
        }
    }

    fn retire(&mut self, pack: &PackName) {
        for places in self.0.values_mut() {
            places.retain(|place| place.pack != *pack);
        }
    }

    fn check(&self, lookup: &Lookup, chunks: u64) {
        let ids: Vec<_> = (0..chunks).map(id).collect();
        let view = lookup.view();
        let found = view.locate_many(&ids).unwrap();
        for (id, found) in ids.iter().zip(found) {
            let expected = self.0.get(id).cloned().unwrap_or_default();
            assert_eq!(found.is_some(), !expected.is_empty());
            assert!(found.is_none_or(|found| expected.contains(&found.place)));
            let all = view.locate_all(id).unwrap();
            assert_eq!(all.len(), expected.len());
            assert!(all.iter().all(|found| expected.contains(&found.place)));
        }
        let mut walked = BTreeMap::<_, BTreeSet<_>>::new();
        view.for_each(|id, found| {
            assert!(walked.entry(id).or_default().insert(found.place));
            Ok(())
        })
        .unwrap();
        let expected = self.0.iter().filter(|(_, places)| !places.is_empty());
        assert!(walked.iter().eq(expected));
    }
}

#[test]
fn it_answers_as_a_plain_map_does_however_it_is_merged_and_stored() {
    for seed in 0..6 {
        let mut random = Seeded::new(seed);
        let folder =
            std::env::temp_dir().join(format!("raksha-lookup-{}-{seed}", std::process::id()));
        // All in memory, all in files, or some of each; with a cache and without one.
        let memory = [u64::MAX / 2, 0, 20_000][usize::try_from(seed % 3).unwrap()];
        let cache = (seed % 2 == 0).then(|| folder.clone());
        let lookup = Lookup::new(memory, cache.clone()).unwrap();
        let mut oracle = Oracle::default();
        let (mut packs, mut objects) = (Vec::new(), Vec::new());
        let mut retired = Vec::new();
        for _ in 0..20 {
            let mut listed = Vec::new();
            for _ in 0..1 + random.below(4) {
                let n = packs.len() as u64;
                let chunks: Vec<_> = (0..random.below(120)).map(|_| random.below(1500)).collect();
                packs.push(pack(n, &chunks));
                listed.push(packs.last().unwrap().clone());
            }
            if random.below(4) == 0 {
                // A pack that is known already is listed again.
                listed.push(
                    packs[usize::try_from(random.below(packs.len() as u64)).unwrap()].clone(),
                );
            }
            for pack in listed
                .iter()
                .filter(|(pack, _)| !retired.contains(&pack.name))
            {
                oracle.add(pack);
            }
            objects.push(index(&listed));
            lookup.add(vec![objects.last().unwrap().clone()]).unwrap();
            if random.below(3) == 0 {
                let dead = name(random.below(packs.len() as u64 + 1));
                lookup.retire(&[dead]);
                oracle.retire(&dead);
                retired.push(dead);
            }
        }
        oracle.check(&lookup, 1600);
        assert!(lookup.view().runs.len() < 8);
        if memory == 0 {
            assert!(lookup.view().runs.iter().all(|run| run.resident() == 0));
        }

        // The same again, all at once, from the cache if there is one.
        let again = Lookup::new(memory, cache.clone()).unwrap();
        again.retire(&retired);
        let hashes: Vec<_> = objects.iter().map(|object| object.hash).collect();
        let missing = again.add_cached(&hashes).unwrap();
        assert_eq!(
            missing.len(),
            if cache.is_some() { 0 } else { hashes.len() }
        );
        again.add(objects.clone()).unwrap();
        oracle.check(&again, 1600);

        // Indexes merged for the repository say the same.
        let merged = merge_indexes(objects, &|pack| !retired.contains(pack)).unwrap();
        let third = Lookup::new(memory, None).unwrap();
        third.add(vec![merged]).unwrap();
        oracle.check(&third, 1600);
        if cache.is_some() {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

#[test]
fn many_chunks_take_few_bits_of_memory_and_few_runs() {
    let lookup = Lookup::new(0, None).unwrap();
    let per_pack = 500;
    let packs = (0..120u64).map(|n| {
        let chunks: Vec<_> = (n * per_pack..(n + 1) * per_pack).collect();
        pack(n, &chunks)
    });
    for packs in packs.collect::<Vec<_>>().chunks(4) {
        lookup.add(vec![index(packs)]).unwrap();
    }
    let chunks = 120 * per_pack;
    assert_eq!(lookup.view().len(), chunks);
    let footprint = lookup.footprint();
    let bits = (footprint.entries + footprint.beside - 120 * 64) * 8;
    assert!(bits < chunks * 11 + 2000, "{}", bits / chunks);
    assert!(lookup.view().runs.len() <= 6);
    assert!(lookup.locate(&id(chunks)).unwrap().is_none());
    assert!(lookup.locate(&id(chunks - 1)).unwrap().is_some());
}

#[test]
fn an_index_with_any_flipped_bit_is_another_or_none() {
    let object = index(&[pack(0, &[1, 2, 3]), pack(1, &[2, 4])]);
    for at in 0..object.bytes.len() {
        let mut flipped = object.bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        let flipped = IndexObject::new(flipped);
        assert_ne!(flipped.hash, object.hash);
        // Either it is refused, or it is searched without a panic.
        let lookup = Lookup::new(u64::MAX / 2, None).unwrap();
        if lookup.add(vec![flipped]).is_ok() {
            lookup.locate_many(&[id(1), id(2)]).unwrap();
        }
        let truncated = IndexObject::new(object.bytes.slice(..at));
        let added = lookup.add(vec![truncated]);
        if let Err(e) = added {
            assert_eq!(e.kind(), Kind::Corrupt);
        }
    }
    for place in [0, 9, 15] {
        let mut bytes = object.bytes.to_vec();
        bytes[place] ^= 0x80;
        let lookup = Lookup::new(0, None).unwrap();
        assert!(lookup.add(vec![IndexObject::new(bytes)]).is_err());
        assert!(!lookup.has(&object.hash));
    }
}

#[test]
fn a_damaged_cache_file_is_fetched_again() {
    let folder = std::env::temp_dir().join(format!("raksha-cache-{}", std::process::id()));
    let object = index(&[pack(0, &[1, 2, 3])]);
    let open = || Lookup::new(u64::MAX / 2, Some(folder.clone())).unwrap();
    open().add(vec![object.clone()]).unwrap();
    let file = folder.join(format!("index-{}", object.hash));
    let mut bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes, object.bytes);
    // A chunk that lies elsewhere: well-formed, and wrong.
    *bytes.last_mut().unwrap() = 0;
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(open().add_cached(&[object.hash]).unwrap(), [object.hash]);
    assert!(!file.exists());
    let lookup = open();
    lookup.add(vec![object.clone()]).unwrap();
    assert!(open().add_cached(&[object.hash]).unwrap().is_empty());
    lookup.tidy_cache(&HashSet::new()).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn marks_add_up_by_pack() {
    let lookup = Lookup::new(u64::MAX / 2, None).unwrap();
    let packs = [pack(0, &[1, 2, 3]), pack(1, &[3, 4]), pack(2, &[5])];
    lookup.add(vec![index(&packs[..1])]).unwrap();
    lookup.add(vec![index(&packs[1..])]).unwrap();
    lookup.retire(&[name(2)]);
    let view = lookup.view();
    let marks = view.marks();
    for chunk in [1, 3] {
        let found = view.locate(&id(chunk)).unwrap().unwrap();
        assert!(!marks.mark(found.entry));
        assert!(marks.mark(found.entry));
    }
    let usage = view.usage(&marks).unwrap();
    let total = |f: fn(&PackUsage) -> u64| usage.iter().map(f).sum::<u64>();
    assert_eq!(usage.len(), 2);
    assert_eq!(view.packs().count(), 2);
    // Of chunk 3, one of two records is marked: that which is found.
    assert_eq!((total(|u| u.live_records), total(|u| u.records)), (2, 5));
    assert_eq!(total(|u| u.live_bytes), 11 + 13);
    assert_eq!(total(|u| u.bytes), 11 + 12 + 13 + 13 + 14);
}

#[test]
fn lookups_go_on_while_runs_are_added() {
    let lookup = Lookup::new(4096, None).unwrap();
    lookup.add(vec![index(&[pack(0, &[0, 1, 2])])]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let found = lookup.locate_many(&[id(0), id(1), id(2)]).unwrap();
                    assert!(found.iter().all(Option::is_some));
                }
            });
        }
        for n in 1..60 {
            let chunks: Vec<_> = (n * 50..(n + 1) * 50).collect();
            lookup.add(vec![index(&[pack(n, &chunks)])]).unwrap();
        }
    });
    let all: Vec<_> = (50..3000).map(id).collect();
    assert!(
        lookup
            .locate_many(&all)
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
}

#[test]
fn nothing_is_found_in_a_pack_that_was_retired_before_it_was_known() {
    let lookup = Lookup::new(u64::MAX / 2, None).unwrap();
    lookup.retire(&[name(0)]);
    lookup
        .add(vec![index(&[pack(0, &[1, 2]), pack(1, &[2, 3])])])
        .unwrap();
    assert!(lookup.locate(&id(1)).unwrap().is_none());
    let found = lookup.locate(&id(2)).unwrap().unwrap();
    assert_eq!(found.place.pack, name(1));
    let gone = index(&[pack(0, &[1, 2])]);
    lookup.add(vec![gone.clone()]).unwrap();
    assert!(lookup.has(&gone.hash));
    assert_eq!(lookup.view().len(), 2);
}

#[test]
fn large_runs_are_left_as_they_are_unless_there_are_many() {
    let entries = LARGE / 44 + 1;
    let folder = std::env::temp_dir().join(format!("raksha-large-{}", std::process::id()));
    let lookup = Lookup::new(0, Some(folder.clone())).unwrap();
    let large = |n: u64| {
        let chunks: Vec<u64> = (n * entries..(n + 1) * entries).collect();
        index(&[pack(n, &chunks)])
    };
    lookup
        .add(vec![large(0), large(1), index(&[pack(2, &[5])])])
        .unwrap();
    lookup.add(vec![index(&[pack(3, &[6])])]).unwrap();
    let sizes: Vec<u64> = lookup.view().runs.iter().map(|run| run.len()).collect();
    assert_eq!(sizes, [entries, entries, 2]);
    assert_eq!(lookup.footprint().entries, 0, "there is no room in memory");
    let asked = [id(0), id(entries), id(2 * entries - 1), id(2 * entries)];
    let found = lookup.locate_many(&asked).unwrap();
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, true, true, false]);
    std::fs::remove_dir_all(folder).unwrap();

    let of = |sizes: &[u64]| to_merge(sizes.iter().map(|bytes| (bytes / 44, *bytes)));
    assert_eq!(of(&[44, 440, 4400]), 0);
    assert_eq!(of(&[440, 440, 4400, LARGE, LARGE]), 2);
    assert_eq!(of(&[LARGE / 2, LARGE / 2, LARGE, LARGE]), 2);
    assert_eq!(of(&vec![LARGE; MANY]), 0);
    assert_eq!(of(&vec![LARGE; MANY + 1]), MANY / 2);
}
