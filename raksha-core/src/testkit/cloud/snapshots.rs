//! The suite for snapshot providers.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::breach::{Must, Verdict, hold, same};
use super::notebook::Notebook;
use super::reader::{check_reader, read_all};
use crate::cloud::{
    Anchor, ChangeHint, Consistency, DiskId, DiskReader, HintSupport, ResourceGraph,
    SnapshotProvider, SnapshotRequest, SnapshotSet, Temporary,
};
use crate::error::Result;
use crate::testkit::Seeded;

/// A cloud with servers that the suite may write to.
#[async_trait]
pub trait SnapshotBench: Send + Sync {
    /// The implementation under test.
    fn provider(&self) -> &dyn SnapshotProvider;

    /// The servers. Each disk has at least 64 KiB and no more than what fits in memory.
    async fn graph(&self) -> Result<ResourceGraph>;

    /// Writes to a live disk as its guest would.
    async fn write(&self, disk: &DiskId, offset: u64, data: Bytes) -> Result<()>;

    /// How many temporaries there are in the cloud, by whomever.
    async fn temporaries(&self) -> Result<usize>;
}

/// Checks that the bench's provider keeps the contract of [`SnapshotProvider`]. Afterwards nothing of the suite is left but
/// what it wrote to the disks.
pub async fn check_snapshots(bench: &dyn SnapshotBench, seed: u64) -> Verdict {
    let graph = bench.graph().await.must("describing the servers")?;
    let disks: Vec<DiskId> = graph
        .disks()
        .must("listing disks")?
        .into_iter()
        .map(|d| d.0)
        .collect();
    hold(!disks.is_empty(), "the bench has disks", || {
        "none".to_owned()
    })?;
    let suite = Suite {
        bench,
        graph,
        disks,
        seed,
    };
    suite.content_is_fixed().await?;
    suite.some_disks().await?;
    suite.recorded_before_created().await?;
    suite.one_instant().await?;
    suite.hints().await
}

struct Suite<'a> {
    bench: &'a dyn SnapshotBench,
    graph: ResourceGraph,
    disks: Vec<DiskId>,
    seed: u64,
}

impl Suite<'_> {
    fn provider(&self) -> &dyn SnapshotProvider {
        self.bench.provider()
    }

    async fn take(
        &self,
        disks: &[DiskId],
        marker: &str,
        keep_anchor: bool,
        notebook: &Notebook,
    ) -> Result<SnapshotSet> {
        let request = SnapshotRequest {
            graph: &self.graph,
            disks,
            consistency: Consistency::CrashAcrossDisks,
            marker,
            keep_anchor,
        };
        self.provider().snapshot(request, notebook).await
    }

    async fn read(&self, set: &SnapshotSet, disk: &DiskId, notebook: &Notebook) -> Result<Vec<u8>> {
        let opened = self.provider().open(set, disk, None, notebook).await?;
        read_all(opened.reader.as_ref()).await
    }

    /// Releases everything in the notebook, twice.
    async fn release(&self, notebook: &Notebook) -> Verdict {
        for temporary in notebook.open().iter().rev() {
            for _ in 0..2 {
                let done = self.provider().release(temporary).await;
                done.must("releasing a temporary, and releasing it again")?;
            }
        }
        Ok(())
    }

    async fn content_is_fixed(&self) -> Verdict {
        let mut random = Seeded::new(self.seed);
        let before = self
            .bench
            .temporaries()
            .await
            .must("counting temporaries")?;
        let notebook = Notebook::new();
        for disk in &self.disks {
            let data = Bytes::from(random.bytes(20_000));
            self.bench
                .write(disk, 1234, data)
                .await
                .must("writing to a live disk")?;
        }
        let marker = format!("suite-{}-fixed", self.seed);
        let set = self
            .take(&self.disks, &marker, false, &notebook)
            .await
            .must("taking snapshots")?;
        self.check_set(&set, &self.disks).await?;
        for temporary in notebook.open() {
            let rule = "markers of temporaries begin with the run's";
            hold(temporary.marker.starts_with(&marker), rule, || {
                temporary.marker.clone()
            })?;
        }
        let mut contents = Vec::new();
        for disk in &self.disks {
            contents.push(
                self.read(&set, disk, &notebook)
                    .await
                    .must("reading a snapshot")?,
            );
        }
        for disk in &self.disks {
            let data = Bytes::from(random.bytes(50_000));
            self.bench
                .write(disk, 100, data)
                .await
                .must("writing to a live disk")?;
        }
        for (disk, content) in self.disks.iter().zip(&contents) {
            let opened = self.provider().open(&set, disk, None, &notebook).await;
            let opened = opened.must("opening a snapshot after its disk was written")?;
            check_reader(opened.reader.as_ref(), content, self.seed).await?;
        }
        self.release(&notebook).await?;
        let after = self
            .bench
            .temporaries()
            .await
            .must("counting temporaries")?;
        same(
            &after,
            &before,
            "what was recorded and released is gone, and nothing else",
        )?;
        let unknown = Temporary {
            marker: format!("{marker}-never-made"),
            id: None,
            ..notebook
                .open()
                .first()
                .cloned()
                .must("a recorded temporary")?
        };
        self.provider()
            .release(&unknown)
            .await
            .must("releasing what was never made")
    }

    async fn check_set(&self, set: &SnapshotSet, disks: &[DiskId]) -> Verdict {
        let capabilities = self.provider().capabilities(&self.graph).await;
        let capabilities = capabilities.must("asking for capabilities")?;
        let taken: Vec<&DiskId> = set.disks.iter().map(|d| &d.disk).collect();
        let wanted: Vec<&DiskId> = disks.iter().collect();
        hold(
            taken.len() == wanted.len() && wanted.iter().all(|d| taken.contains(d)),
            "the set holds each disk that was asked for, once",
            || format!("{taken:?} instead of {wanted:?}"),
        )?;
        let sizes = self.graph.disks().must("listing disks")?;
        for disk in &set.disks {
            let wanted = sizes.iter().find(|(known, _)| *known == disk.disk);
            same(
                &Some(disk.size),
                &wanted.map(|(_, size)| *size),
                "sizes are the described ones",
            )?;
            let told = set.ledger.disks.iter().filter(|d| d.disk == disk.disk);
            same(&told.count(), &1, "the ledger tells of each disk once")?;
        }
        let reached = set.ledger.disks.iter().map(|d| d.level).max();
        hold(
            reached <= Some(capabilities.best),
            "no level is reached that is beyond the best declared",
            || format!("{reached:?}"),
        )
    }

    async fn some_disks(&self) -> Verdict {
        let notebook = Notebook::new();
        let marker = format!("suite-{}-some", self.seed);
        let some = self.disks.get(..1).unwrap_or_default();
        let set = self
            .take(some, &marker, false, &notebook)
            .await
            .must("taking one disk")?;
        self.check_set(&set, some).await?;
        if let Some(other) = self.disks.get(1) {
            let opened = self.provider().open(&set, other, None, &notebook).await;
            hold(
                opened.is_err(),
                "a disk that is not in the set cannot be opened",
                || "it can".to_owned(),
            )?;
        }
        self.release(&notebook).await
    }

    async fn recorded_before_created(&self) -> Verdict {
        let before = self
            .bench
            .temporaries()
            .await
            .must("counting temporaries")?;
        for room in 0.. {
            let notebook = Notebook::with_room(room);
            let marker = format!("suite-{}-room-{room}", self.seed);
            let outcome = self.take(&self.disks, &marker, false, &notebook).await;
            let there = self
                .bench
                .temporaries()
                .await
                .must("counting temporaries")?;
            let recorded = notebook.open().len();
            hold(
                there <= before + recorded,
                "nothing is created before it is recorded",
                || {
                    format!(
                        "{} created, {recorded} recorded",
                        there.saturating_sub(before)
                    )
                },
            )?;
            self.release(&notebook).await?;
            let after = self
                .bench
                .temporaries()
                .await
                .must("counting temporaries")?;
            same(
                &after,
                &before,
                "what a failed run left can be released by what it recorded",
            )?;
            if outcome.is_ok() {
                return hold(room > 0, "snapshots are recorded", || "none was".to_owned());
            }
        }
        Ok(())
    }

    /// A guest that numbers its writes, first to one disk and then to the other, is never seen with a later number on the
    /// other, nor with more than one write between them.
    async fn one_instant(&self) -> Verdict {
        let pair = self.graph.servers.iter().find_map(|server| {
            let mut of_server = self.graph.clone();
            of_server.servers.retain(|s| s.id == server.id);
            let disks: Vec<DiskId> = of_server.disks().ok()?.into_iter().map(|d| d.0).collect();
            <[DiskId; 2]>::try_from(disks.get(..2)?.to_vec()).ok()
        });
        let Some([first, second]) = pair else {
            return Ok(());
        };
        for disk in [&first, &second] {
            let zero = Bytes::from_static(&[0; 8]);
            self.bench
                .write(disk, 4096, zero)
                .await
                .must("writing to a live disk")?;
        }
        let done = AtomicBool::new(false);
        let guest = async {
            let mut number: u64 = 0;
            while !done.load(Ordering::Acquire) {
                number += 1;
                for disk in [&first, &second] {
                    let data = Bytes::copy_from_slice(&number.to_le_bytes());
                    self.bench
                        .write(disk, 4096, data)
                        .await
                        .must("writing to a live disk")?;
                }
            }
            Ok(())
        };
        let watch = async {
            let mut verdict = Ok(());
            for round in 0..5 {
                verdict = self.seen_in_order(&first, &second, round).await;
                if verdict.is_err() {
                    break;
                }
            }
            done.store(true, Ordering::Release);
            verdict
        };
        let (guest, watch) = futures_util::join!(guest, watch);
        guest.and(watch)
    }

    async fn seen_in_order(&self, first: &DiskId, second: &DiskId, round: u32) -> Verdict {
        let notebook = Notebook::new();
        let marker = format!("suite-{}-instant-{round}", self.seed);
        let both = [first.clone(), second.clone()];
        let set = self
            .take(&both, &marker, false, &notebook)
            .await
            .must("taking a busy server")?;
        let mut numbers = Vec::new();
        for disk in &both {
            let opened = self
                .provider()
                .open(&set, disk, None, &notebook)
                .await
                .must("opening a snapshot")?;
            let bytes = opened
                .reader
                .read_at(4096, BytesMut::zeroed(8))
                .await
                .must("reading a snapshot")?;
            let bytes = <[u8; 8]>::try_from(bytes.as_ref())
                .ok()
                .must("all eight bytes")?;
            numbers.push(u64::from_le_bytes(bytes));
        }
        self.release(&notebook).await?;
        let (Some(a), Some(b)) = (numbers.first(), numbers.get(1)) else {
            return Ok(());
        };
        let claimed = set.ledger.reached() >= Consistency::CrashAcrossDisks;
        hold(
            !claimed || a == b || *a == b + 1,
            "disks of one instant show writes in the order in which they were made",
            || {
                format!(
                    "write {a} on the first, {b} on the second (seed {})",
                    self.seed
                )
            },
        )
    }

    async fn hints(&self) -> Verdict {
        let capabilities = self.provider().capabilities(&self.graph).await;
        let support = capabilities.must("asking for capabilities")?.hints;
        let before = self
            .bench
            .temporaries()
            .await
            .must("counting temporaries")?;
        let mut random = Seeded::new(self.seed ^ 1);
        let old_notes = Notebook::new();
        let marker = format!("suite-{}-old", self.seed);
        let old = self
            .take(&self.disks, &marker, true, &old_notes)
            .await
            .must("taking anchors")?;
        for disk in &old.disks {
            for _ in 0..random.below(4) {
                let offset = random.below(disk.size - 64);
                let data = Bytes::from(random.bytes(64));
                self.bench
                    .write(&disk.disk, offset, data)
                    .await
                    .must("writing to a live disk")?;
            }
        }
        let new_notes = Notebook::new();
        let marker = format!("suite-{}-new", self.seed);
        let new = self
            .take(&self.disks, &marker, true, &new_notes)
            .await
            .must("taking snapshots")?;
        for disk in &old.disks {
            let Some(anchor) = &disk.anchor else {
                let rule = "a provider with hints for every disk keeps an anchor for every disk";
                hold(support != HintSupport::AllDisks, rule, || {
                    format!("none for {}", disk.disk)
                })?;
                continue;
            };
            let rule = "a provider without hints keeps no anchors";
            hold(support != HintSupport::None, rule, || {
                format!("one for {}", disk.disk)
            })?;
            self.hint_is_true((&old, &old_notes), (&new, &new_notes), &disk.disk, anchor)
                .await?;
        }
        self.release(&old_notes).await?;
        for disk in &old.disks {
            if let Some(anchor) = &disk.anchor {
                let opened = self
                    .provider()
                    .open(&new, &disk.disk, Some(anchor), &new_notes)
                    .await;
                let hint = opened.must("opening with an anchor that is gone")?.hint;
                hold(
                    hint.is_none(),
                    "an anchor that is gone gives no hint",
                    || format!("{hint:?}"),
                )?;
            }
        }
        self.release(&new_notes).await?;
        let after = self
            .bench
            .temporaries()
            .await
            .must("counting temporaries")?;
        same(
            &after,
            &before,
            "anchors can be released by what was recorded",
        )
    }

    async fn hint_is_true(
        &self,
        (old, old_notes): (&SnapshotSet, &Notebook),
        (new, new_notes): (&SnapshotSet, &Notebook),
        disk: &DiskId,
        anchor: &Anchor,
    ) -> Verdict {
        let opened = self
            .provider()
            .open(new, disk, Some(anchor), new_notes)
            .await;
        let opened = opened.must("opening with an anchor")?;
        let hint = opened.hint.must("a hint for a disk that has an anchor")?;
        let was = self
            .read(old, disk, old_notes)
            .await
            .must("reading the anchor")?;
        let is = read_all(opened.reader.as_ref())
            .await
            .must("reading the snapshot")?;
        check_hint(&hint, opened.reader.as_ref())?;
        for (at, (was, is)) in (0u64..)
            .step_by(512)
            .zip(was.chunks(512).zip(is.chunks(512)))
        {
            let first = was.iter().zip(is).position(|(was, is)| was != is);
            let at = at + first.unwrap_or(0) as u64;
            let told = || hint.changed.iter().any(|r| r.contains(&at));
            let rule = "what a hint claims to be unchanged is unchanged";
            hold(was == is || told(), rule, || {
                format!("byte {at} of {disk} (seed {})", self.seed)
            })?;
        }
        let forged = Anchor {
            identity: format!("{}-forged", anchor.identity),
            ..anchor.clone()
        };
        let opened = self
            .provider()
            .open(new, disk, Some(&forged), new_notes)
            .await;
        let hint = opened
            .must("opening with an anchor of another identity")?
            .hint;
        hold(
            hint.is_none(),
            "an anchor of another identity gives no hint",
            || format!("{hint:?}"),
        )
    }
}

fn check_hint(hint: &ChangeHint, reader: &dyn DiskReader) -> Verdict {
    let mut end = 0;
    for range in &hint.changed {
        let rule = "a hint is ascending, disjoint and within the disk";
        let kept = range.start >= end && range.end > range.start && range.end <= reader.size();
        hold(kept, rule, || format!("{:?}", hint.changed))?;
        end = range.end;
    }
    Ok(())
}
