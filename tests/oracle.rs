//! The oracle test: thousands of random steps on disks and a repository, compared byte for byte with plain memory.
//!
//! Disks are written and resized; backed up in full, against a base, with hints that are true and hints that lie; points are forgotten, held,
//! restored; garbage is collected while crashed writers lie about; keys change; the repository is opened anew. After every
//! step a random point is restored, and must be what the disk was.
//!
//! `RAKSHA_SEED` repeats a run, `RAKSHA_STEPS` sets its length.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use object_store::memory::InMemory;
use raksha_core::budget::Budget;
use raksha_core::cloud::{ChangeHint, DiskId};
use raksha_core::env::Env;
use raksha_core::format::Chunking;
use raksha_core::format::tree::Root;
use raksha_core::id::PointId;
use raksha_core::image::{ExportOptions, IngestOptions, Ingested, Sampling, export, ingest};
use raksha_core::repository::{
    CollectOptions, EngineOptions, Parameters, PassphraseCost, Repository, Secret, Target,
    VerifyOptions, verify_keyless,
};
use raksha_core::store::RunCounts;
use raksha_core::{Kind, PointDisk, PointSummary, RecoveryPoint};
use raksha_tests::{MemoryDisk, MemorySink, Random};

const LARGEST_DISK: u64 = 5 << 20;

/// A disk as its guest sees it, and what was written since each of its points.
struct Disk {
    bytes: Vec<u8>,
    /// The newest point and what changed since.
    base: Option<(PointId, Root)>,
    changed: Vec<Range<u64>>,
}

struct World {
    random: Random,
    target: Target,
    secret: (String, Secret),
    repository: Repository,
    disks: Vec<Disk>,
    /// What each point must give back.
    oracle: BTreeMap<PointId, (usize, Root, Arc<Vec<u8>>)>,
    lies_noticed: u32,
}

fn options() -> EngineOptions {
    let mut options = EngineOptions::default();
    options.memory = 64 << 20;
    options.passphrase_cost = PassphraseCost {
        memory_kib: 64,
        iterations: 1,
        lanes: 1,
    };
    options
}

/// Small in everything, so that segments, packs and indexes are many.
fn parameters(random: &mut Random) -> Parameters {
    let chunkings = [
        Chunking::Fixed { size: 8 << 10 },
        Chunking::FastCdc {
            min: 2 << 10,
            average: 8 << 10,
            max: 32 << 10,
        },
        Chunking::Aligned {
            min: 4 << 10,
            average: 16 << 10,
            max: 64 << 10,
        },
    ];
    Parameters {
        chunking: *random.pick(&chunkings).unwrap(),
        segment_size: 1 << 20,
        pack_size: 1 << 20,
        ..Parameters::default()
    }
}

impl World {
    async fn new(mut random: Random) -> Self {
        let target = Target::new(Arc::new(InMemory::new()));
        let secret = Secret::passphrase("0");
        let parameters = parameters(&mut random);
        println!("oracle: {:?}", parameters.chunking);
        let repository = Repository::create(target.clone(), parameters, &secret, options())
            .await
            .unwrap();
        let disks = (0..3).map(|_| Disk {
            bytes: vec![0; random.below(LARGEST_DISK) as usize],
            base: None,
            changed: Vec::new(),
        });
        let disks = disks.collect();
        Self {
            random,
            target,
            secret: ("first".into(), secret),
            repository,
            disks,
            oracle: BTreeMap::new(),
            lies_noticed: 0,
        }
    }

    /// The guest writes somewhere: noise, zeroes, something that another disk has, or text that compresses.
    fn write(&mut self) {
        let random = &mut self.random;
        let from = random.pick(&self.disks).map(|d| d.bytes.clone()).unwrap();
        let n = random.below(self.disks.len() as u64) as usize;
        let disk = &mut self.disks[n];
        if disk.bytes.is_empty() {
            return;
        }
        let size = disk.bytes.len() as u64;
        let longest = *random.pick(&[1, 512, 4096, 65536, 1 << 20]).unwrap();
        let mut start = random.below(size);
        if random.one_in(2) {
            start = start / 4096 * 4096;
        }
        let end = (start + 1 + random.below(longest)).min(size);
        let length = (end - start) as usize;
        let data = match random.below(4) {
            0 => random.bytes(length),
            1 => vec![0; length],
            2 => {
                let mut copy = from;
                copy.resize(start as usize + length, 0);
                copy[start as usize..].to_vec()
            }
            _ => vec![b'a' + random.below(26) as u8; length],
        };
        disk.bytes[start as usize..end as usize].copy_from_slice(&data);
        disk.changed.push(start..end);
    }

    fn resize(&mut self) {
        let n = self.random.below(self.disks.len() as u64) as usize;
        let sizes = [
            0,
            1,
            4095,
            4096,
            4097,
            1 << 20,
            (1 << 20) - 1,
            (1 << 20) + 1,
        ];
        let size = match self.random.one_in(3) {
            true => *self.random.pick(&sizes).unwrap(),
            false => self.random.below(LARGEST_DISK),
        };
        let disk = &mut self.disks[n];
        let old = disk.bytes.len() as u64;
        disk.bytes.resize(size as usize, 0);
        if size > old {
            disk.changed.push(old..size);
        }
    }

    async fn back_up(&mut self) {
        let n = self.random.below(self.disks.len() as u64) as usize;
        let content = Arc::new(self.disks[n].bytes.clone());
        let reader = MemoryDisk::new(Arc::clone(&content), self.random.one_in(2));
        let base = self.disks[n].base.filter(|_| !self.random.one_in(4));
        let hinted = base.is_some() && self.random.one_in(2);
        let mut changed = merged(&self.disks[n].changed, content.len() as u64);
        // A lie counts only if what it hides is different and is not hidden by a change of the size.
        let lie = hinted && self.random.one_in(6) && !changed.is_empty();
        if lie {
            let k = self.random.below(changed.len() as u64) as usize;
            changed.remove(k);
        }
        let pins: Vec<PointId> = base.iter().map(|(id, _)| *id).collect();
        let writer = match self.repository.write(&pins, "oracle").await {
            Ok(writer) => writer,
            Err(e) => panic!("open writer: {e}"),
        };
        let options = || IngestOptions {
            chunking: self.repository.parameters().chunking,
            segment_size: self.repository.parameters().segment_size,
            base: base.map(|(_, root)| root),
            hint: hinted.then(|| ChangeHint {
                changed: changed.clone(),
            }),
            // So many looks that a lie is noticed as good as surely; the promised rate is another test's business.
            sampling: Sampling {
                per_mille: 20,
                at_least: if lie { 8000 } else { 2 },
                ..Sampling::default()
            },
            budget: Budget::new(8 << 20),
            ..IngestOptions::default()
        };
        let Ingested {
            root,
            counts,
            hint_lied,
            ..
        } = ingest(&reader, &writer, options()).await.unwrap();
        self.lies_noticed += u32::from(hint_lied);
        if self.random.one_in(8) {
            // A crash: the session stays open, and what it stored lies about.
            return;
        }
        let point = RecoveryPoint {
            summary: PointSummary {
                name: format!("disk {n}"),
                taken: Env::system().now(),
                project: None,
                principal: None,
                job: None,
                run: None,
                servers: 0,
                counts,
            },
            graph: Default::default(),
            disks: vec![PointDisk {
                disk: DiskId::Named(format!("{n}")),
                root,
                counts: RunCounts::default(),
                anchor: None,
                hint_lies: 0,
            }],
            ledger: Default::default(),
        };
        let id = writer.commit(&point).await.unwrap();
        writer.close().await.unwrap();
        if hinted {
            self.same_as_full(&reader, root).await;
        }
        self.oracle.insert(id, (n, root, content));
        self.disks[n].base = Some((id, root));
        self.disks[n].changed.clear();
    }

    /// A full read of the same content must give the same root.
    async fn same_as_full(&self, reader: &MemoryDisk, root: Root) {
        let writer = self.repository.write(&[], "oracle").await.unwrap();
        let full = IngestOptions {
            chunking: self.repository.parameters().chunking,
            segment_size: self.repository.parameters().segment_size,
            ..IngestOptions::default()
        };
        let full = ingest(reader, &writer, full).await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(
            full.root, root,
            "an incremental backup must have the root of a full one"
        );
    }

    async fn restore(&mut self) {
        let points: Vec<PointId> = self.oracle.keys().copied().collect();
        let Some(id) = self.random.pick(&points).copied() else {
            return;
        };
        let (_, root, content) = &self.oracle[&id];
        let point = self.repository.point(id).await.unwrap();
        assert_eq!(point.disks[0].root, *root);
        let reader = self.repository.read(&[id], "oracle").await.unwrap();
        let sink = MemorySink::new(root.size);
        export(root, &reader, &sink, ExportOptions::default())
            .await
            .unwrap();
        reader.close().await.unwrap();
        assert!(
            sink.content().as_ref() == Some(&**content),
            "point {id} came back different"
        );
    }

    async fn forget(&mut self) {
        let points: Vec<PointId> = self.oracle.keys().copied().collect();
        let Some(id) = self.random.pick(&points).copied() else {
            return;
        };
        if self.random.one_in(5) {
            self.repository.hold(id, true, "oracle").await.unwrap();
            let refused = self.repository.forget(&[id], "oracle").await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Denied);
            self.repository.hold(id, false, "oracle").await.unwrap();
        }
        self.repository.forget(&[id], "oracle").await.unwrap();
        self.oracle.remove(&id);
        for disk in &mut self.disks {
            disk.base = disk.base.filter(|(base, _)| *base != id);
        }
    }

    async fn collect(&mut self) {
        let mut options = CollectOptions::default();
        options.rewrite_below = *self.random.pick(&[0.0, 0.5, 0.9]).unwrap();
        if self.random.one_in(3) {
            // Crashed writers are taken for dead at once.
            for session in self.repository.sessions().await.unwrap() {
                self.repository.fence(session.id, "oracle").await.unwrap();
            }
        }
        let done = self.repository.collect(&options).await.unwrap();
        assert!(done.foreign_objects.is_empty());
        if self.oracle.is_empty() && self.repository.sessions().await.unwrap().is_empty() {
            assert_eq!(
                self.repository.stats().await.unwrap().packs,
                0,
                "nothing is needed, and something stays"
            );
        }
    }

    async fn change_key(&mut self) {
        let (old, current) = self.secret.clone();
        let name = format!("slot-{}", self.random.number());
        let secret = match self.random.one_in(2) {
            true => Secret::passphrase(name.clone()),
            false => Secret::key_file(&self.random.bytes(32)),
        };
        self.repository
            .add_key(&name, &secret, &current, "oracle")
            .await
            .unwrap();
        self.repository
            .remove_key(&old, &secret, "oracle")
            .await
            .unwrap();
        let refused = Repository::open(self.target.clone(), &current, options())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::WrongKey);
        self.secret = (name, secret);
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        self.repository = Repository::open(self.target.clone(), &self.secret.1, options())
            .await
            .unwrap();
        let listed = self.repository.points().await.unwrap();
        let listed: Vec<PointId> = listed.into_iter().map(|p| p.id).collect();
        assert_eq!(listed.len(), self.oracle.len());
        assert!(listed.iter().all(|id| self.oracle.contains_key(id)));
    }

    async fn verify(&self) {
        let keyless = verify_keyless(&self.target).await.unwrap();
        assert!(keyless.is_whole(), "{:?}", keyless.damage);
        let deep = self
            .repository
            .verify(&VerifyOptions::default())
            .await
            .unwrap();
        assert!(deep.is_whole(), "{:?}", deep.damage);
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..45 => self.write(),
            45..50 => self.resize(),
            50..75 => self.back_up().await,
            75..83 => self.forget().await,
            83..90 => self.collect().await,
            90..93 => self.reopen().await,
            93..94 => self.change_key().await,
            94..95 => self.verify().await,
            _ => self.restore().await,
        }
    }
}

/// The ranges in order, joined where they touch, and cut to the disk.
fn merged(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_by_key(|r| r.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        let range = range.start.min(size)..range.end.min(size);
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => merged.push(range),
        }
    }
    merged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_every_point_comes_back() {
    let steps = std::env::var("RAKSHA_STEPS")
        .map_or(2000, |n| n.parse().expect("RAKSHA_STEPS must be a number"));
    let mut world = World::new(Random::announced("oracle")).await;
    for step in 0..steps {
        world.step().await;
        if step % 10 == 0 {
            world.restore().await;
        }
    }
    world.verify().await;
    while !world.oracle.is_empty() {
        world.restore().await;
        world.forget().await;
    }
    println!("oracle: {} lying hints noticed", world.lies_noticed);
}
