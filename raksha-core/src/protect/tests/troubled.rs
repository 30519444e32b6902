//! A cloud that gets into trouble at a call of one's choice.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::cloud::*;
use crate::error::{Error, Kind, Result};
use crate::local::LocalCloud;
use crate::protect::Cancel;

/// What happens at the chosen call.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// It fails and does nothing.
    Fail,
    /// It does what it should, and its answer is lost.
    LoseAnswer,
    /// Somebody asks to stop; the call itself goes well.
    Cancel(Cancel),
    /// Nothing goes on from here; whoever waits for this is told.
    Hang(Arc<Notify>),
}

/// Reads beyond this many since trouble was set are not counted: they are all alike.
const READS: usize = 12;

/// Counts calls, and knows at which one there will be trouble.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<&'static str>,
    trouble: Option<(usize, Trouble)>,
    /// Hints say that nothing has changed.
    lying: bool,
    /// What the last snapshot was to reach.
    demanded: Consistency,
}

impl Fate {
    /// Counts from zero again, with trouble at call `n`.
    pub(super) fn set(&self, n: usize, trouble: Trouble) {
        *self.0.lock().unwrap() = Inner {
            calls: Vec::new(),
            trouble: Some((n, trouble)),
            ..Inner::default()
        };
    }

    /// From now on hints say that nothing has changed, or the truth again.
    pub(super) fn lie(&self, lying: bool) {
        self.0.lock().unwrap().lying = lying;
    }

    /// No trouble from now on. The calls since trouble was set.
    pub(super) fn clear(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap()).calls
    }

    /// The calls since trouble was set or cleared.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().calls.clone()
    }

    /// What the last snapshot was to reach, since trouble was set or cleared.
    pub(super) fn demanded(&self) -> Consistency {
        self.0.lock().unwrap().demanded
    }

    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let trouble = {
            let mut inner = self.0.lock().unwrap();
            let n = inner.calls.len();
            let alike = inner.calls.iter().filter(|call| **call == "read");
            if name == "read" && alike.count() >= READS {
                None
            } else {
                inner.calls.push(name);
                inner.trouble.clone().filter(|(at, _)| *at == n)
            }
        };
        let failed = || Error::new(Kind::Unavailable, name, "trouble");
        match trouble.map(|(_, trouble)| trouble) {
            None => work.await,
            Some(Trouble::Fail) => Err(failed()),
            Some(Trouble::LoseAnswer) => {
                work.await?;
                Err(failed())
            }
            Some(Trouble::Cancel(cancel)) => {
                cancel.cancel();
                work.await
            }
            Some(Trouble::Hang(told)) => {
                told.notify_one();
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Troubled {
    pub(super) cloud: LocalCloud,
    pub(super) fate: Fate,
}

#[async_trait]
impl ResourceDiscovery for Troubled {
    async fn discover(&self, selection: &Selection) -> Result<ResourceGraph> {
        self.fate
            .call("discover", self.cloud.discover(selection))
            .await
    }

    fn place(&self) -> String {
        self.cloud.place()
    }
}

#[async_trait]
impl SnapshotProvider for Troubled {
    async fn capabilities(&self, graph: &ResourceGraph) -> Result<SnapshotCapabilities> {
        self.fate
            .call("capabilities", self.cloud.capabilities(graph))
            .await
    }

    async fn snapshot(
        &self,
        request: SnapshotRequest<'_>,
        recorder: &dyn Recorder,
    ) -> Result<SnapshotSet> {
        self.fate.0.lock().unwrap().demanded = request.consistency;
        self.fate
            .call("snapshot", self.cloud.snapshot(request, recorder))
            .await
    }

    async fn open(
        &self,
        set: &SnapshotSet,
        disk: &DiskId,
        since: Option<&Anchor>,
        recorder: &dyn Recorder,
    ) -> Result<OpenedDisk> {
        let open = self.cloud.open(set, disk, since, recorder);
        let mut opened = self.fate.call("open", open).await?;
        if let Some(hint) = opened
            .hint
            .as_mut()
            .filter(|_| self.fate.0.lock().unwrap().lying)
        {
            hint.changed.clear();
        }
        Ok(OpenedDisk {
            reader: Box::new(TroubledReader {
                reader: opened.reader,
                fate: self.fate.clone(),
            }),
            hint: opened.hint,
        })
    }

    async fn release(&self, temporary: &Temporary) -> Result<()> {
        self.fate
            .call("release", self.cloud.release(temporary))
            .await
    }
}

#[async_trait]
impl ResourceRestorer for Troubled {
    async fn survey(&self, request: &RestoreRequest) -> Result<Survey> {
        self.fate.call("survey", self.cloud.survey(request)).await
    }

    async fn create(
        &self,
        resource: ResourceRef<'_>,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Created> {
        let create = self.cloud.create(resource, request, ids, recorder);
        self.fate.call("create", create).await
    }

    async fn open_disk(
        &self,
        disk: &DiskId,
        size: u64,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Box<dyn DiskWriter>> {
        let open = self.cloud.open_disk(disk, size, request, ids, recorder);
        let writer = self.fate.call("open_disk", open).await?;
        Ok(Box::new(TroubledWriter {
            writer,
            fate: self.fate.clone(),
        }))
    }

    async fn settle_disk(
        &self,
        disk: &DiskId,
        request: &RestoreRequest,
        ids: &IdMap,
        recorder: &dyn Recorder,
    ) -> Result<Option<Created>> {
        let settle = self.cloud.settle_disk(disk, request, ids, recorder);
        self.fate.call("settle_disk", settle).await
    }

    async fn start(&self, server: &Server, ids: &IdMap) -> Result<()> {
        self.fate.call("start", self.cloud.start(server, ids)).await
    }

    async fn remove(&self, created: &Created) -> Result<()> {
        self.fate.call("remove", self.cloud.remove(created)).await
    }
}

#[derive(Debug)]
struct TroubledReader {
    reader: Box<dyn DiskReader>,
    fate: Fate,
}

#[async_trait]
impl DiskReader for TroubledReader {
    fn size(&self) -> u64 {
        self.reader.size()
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        self.fate.call("extents", self.reader.extents(range)).await
    }

    async fn read_at(&self, offset: u64, buffer: BytesMut) -> Result<BytesMut> {
        self.fate
            .call("read", self.reader.read_at(offset, buffer))
            .await
    }
}

#[derive(Debug)]
struct TroubledWriter {
    writer: Box<dyn DiskWriter>,
    fate: Fate,
}

#[async_trait]
impl DiskWriter for TroubledWriter {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        self.fate
            .call("write", self.writer.write_at(offset, data))
            .await
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        self.fate
            .call("zeroes", self.writer.write_zeroes(range))
            .await
    }

    async fn finish(&self) -> Result<()> {
        self.fate.call("finish", self.writer.finish()).await
    }
}
