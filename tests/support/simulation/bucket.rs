//! A target in memory, shared by all processes of a simulated world, that misbehaves as [`Faults`] say.
//!
//! A request takes effect on its own, at some instant between being sent and being answered: whoever sent it may have died or given up meanwhile, and
//! it takes effect all the same, or not. Everything that happens is written into a trace.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Faults;
use super::events::Events;
use crate::Random;

/// What the target holds and how it fares.
pub(super) struct State {
    pub(super) inner: InMemory,
    pub(super) faults: Faults,
    pub(super) random: Random,
    /// Writes are refused: no room.
    pub(super) full: bool,
    /// Packs were retired or something was deleted since this was last asked.
    pub(super) lossy: bool,
    /// What must never happen to a target, and did.
    pub(super) broken: Option<String>,
    /// The first log number that is free.
    next_entry: u64,
    /// Objects that lists do not show yet, and until when.
    unlisted: BTreeMap<Path, Instant>,
    /// Deleted objects that lists still show, and until when.
    ghosts: BTreeMap<Path, (ObjectMeta, Instant)>,
    pub(super) requests: u64,
    origin: Instant,
    trace: Vec<u8>,
    /// Whether the trace is told as it grows, with what is appended to the log.
    told: bool,
}

impl State {
    /// Adds to the trace what a process did, to what, and what came of it.
    pub(super) fn note(&mut self, process: u64, did: &str, what: &str, how: &str) {
        let at = self.origin.elapsed().as_millis() as u64;
        if self.told {
            eprintln!("{at:>12} {process} {did} {what} {how}");
        }
        self.trace.extend_from_slice(&at.to_le_bytes());
        self.trace.extend_from_slice(&process.to_le_bytes());
        for text in [did, what, how] {
            self.trace.extend_from_slice(text.as_bytes());
            self.trace.push(0);
        }
    }

    /// What happened so far, in short.
    pub(super) fn trace(&self) -> blake3::Hash {
        blake3::hash(&self.trace)
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.below(1000) < per_mille
    }

    fn delay(&mut self) -> Duration {
        let slow = self.faults.slow;
        match self.chance(slow) {
            true => Duration::from_secs(60 + self.random.below(6 * 3600)),
            false => Duration::from_millis(self.random.below(30)),
        }
    }

    /// The promises that the log rests on, and that a store must keep: numbers without gaps, each written once, none deleted.
    fn watch_log(&mut self, location: &Path, written: bool) {
        let Some(number) = location.as_ref().strip_prefix("log/") else {
            return;
        };
        let number: u64 = number.parse().unwrap_or(u64::MAX);
        if !written || number != self.next_entry {
            self.broken = Some(format!(
                "{location} was overwritten, deleted, or left a gap"
            ));
        }
        self.next_entry = number.saturating_add(1);
    }
}

/// The target itself.
#[derive(Clone)]
pub(super) struct Bucket {
    state: Arc<Mutex<State>>,
    /// Requests and answers on their way.
    events: Events,
}

impl Bucket {
    pub(super) fn new(faults: Faults, random: Random) -> Self {
        let state = State {
            inner: InMemory::new(),
            faults,
            random,
            full: false,
            lossy: false,
            broken: None,
            next_entry: 0,
            unlisted: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            requests: 0,
            origin: Instant::now(),
            trace: Vec::new(),
            told: std::env::var_os("RAKSHA_TRACE").is_some(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            events: Events::start(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A line of a process to the target.
    pub(super) fn line(&self, process: u64) -> Line {
        Line {
            bucket: self.clone(),
            process,
            dead: Arc::default(),
        }
    }

    /// What it holds at this moment, as a target that behaves.
    pub(super) fn frozen(&self) -> Arc<InMemory> {
        Arc::new(self.state().inner.fork())
    }
}

/// What a process sees of the target.
#[derive(Clone)]
pub(super) struct Line {
    bucket: Bucket,
    process: u64,
    dead: Arc<AtomicBool>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.process).finish()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated target")
    }
}

fn fault(what: &'static str) -> Error {
    let kind = match what {
        "full" => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::ConnectionReset,
    };
    Error::Generic {
        store: "simulated",
        source: Box::new(io::Error::new(kind, what)),
    }
}

impl Line {
    /// The process is no more: it sends nothing and hears nothing. What it sent before may still take effect.
    pub(super) fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Sends a request; it takes effect by itself, whether or not the answer is waited for.
    async fn send<T: Send + 'static>(
        &self,
        did: &'static str,
        what: Path,
        effect: impl FnOnce(&mut State, &Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        let (there, back, refused, lost) = {
            let mut state = self.bucket.state();
            state.requests += 1;
            let (refused, lost) = (state.faults.refused, state.faults.lost);
            let (refused, lost) = (state.chance(refused), state.chance(lost));
            (state.delay(), state.delay(), refused, lost)
        };
        let (answer, answered) = oneshot::channel();
        let line = self.clone();
        let arrives = move || {
            let mut state = line.bucket.state();
            if line.is_dead() && state.random.one_in(2) {
                return;
            }
            let done = match refused {
                true => Err(fault("refused")),
                false => effect(&mut state, &what),
            };
            let how = match (&done, lost) {
                (_, true) => "lost",
                (Ok(_), _) => "done",
                (Err(_), _) => "failed",
            };
            state.note(line.process, did, what.as_ref(), how);
            line.bucket.events.after(back, move || {
                let _ = answer.send(match lost {
                    true => Err(fault("answer lost")),
                    false => done,
                });
            });
        };
        self.bucket.events.after(there, arrives);
        let got = answered.await;
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        got.unwrap_or_else(|_| Err(fault("refused")))
    }

    async fn delete(&self, location: Path) -> Result<Path> {
        self.send("delete", location, |state, location| {
            let meta = at_once(state.inner.head(location));
            let one = stream::iter([Ok(location.clone())]).boxed();
            let done = at_once(state.inner.delete_stream(one).next());
            if let Ok(meta) = meta {
                state.lossy = true;
                state.watch_log(location, false);
                let late = state.faults.listed_late;
                if state.chance(late) {
                    let until = Instant::now() + Duration::from_secs(300);
                    state.ghosts.insert(location.clone(), (meta, until));
                }
            }
            done.unwrap_or(Ok(location.clone()))
        })
        .await
    }

    async fn listed(self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let everywhere = prefix.is_none();
        self.send("list", prefix.unwrap_or_default(), move |state, prefix| {
            let within = (!everywhere).then_some(prefix);
            let mut listed: Vec<ObjectMeta> = at_once(state.inner.list(within).try_collect())?;
            let now = Instant::now();
            listed.retain(|meta| {
                let until = state.unlisted.get(&meta.location);
                until.is_none_or(|until| *until <= now)
            });
            let inside = |location: &Path| everywhere || location.prefix_matches(prefix);
            let ghosts = state.ghosts.values();
            let ghosts = ghosts.filter(|(meta, until)| *until > now && inside(&meta.location));
            listed.extend(ghosts.map(|(meta, _)| meta.clone()));
            Ok(listed)
        })
        .await
    }
}

/// What memory says, which never has to be waited for.
fn at_once<T>(said: impl Future<Output = T>) -> T {
    said.now_or_never().unwrap()
}

#[async_trait]
impl ObjectStore for Line {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.send("put", location.clone(), move |state, location| {
            if state.full {
                return Err(fault("full"));
            }
            let creates = options.mode == PutMode::Create;
            let bytes = Bytes::from(payload);
            let retires = location.as_ref().starts_with("log/")
                && bytes.windows(13).any(|w| w == b"packs_retired");
            let entry = location.as_ref().starts_with("log/").then(|| bytes.clone());
            let done = at_once(state.inner.put_opts(location, bytes.into(), options))?;
            if let Some(entry) = entry.filter(|_| state.told) {
                eprintln!("{location} {}", String::from_utf8_lossy(&entry));
            }
            state.lossy |= retires;
            state.watch_log(location, creates);
            let late = state.faults.listed_late;
            if state.chance(late) {
                let until = Instant::now() + Duration::from_secs(state.random.below(300));
                state.unlisted.insert(location.clone(), until);
            }
            Ok(done)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "put_multipart".into(),
            implementer: "simulated target".into(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.send("get", location.clone(), move |state, location| {
            let head = options.head;
            let got = at_once(state.inner.get_opts(location, options))?;
            if head {
                return Ok(got);
            }
            let GetResult {
                meta,
                range,
                attributes,
                ..
            } = &got;
            let (meta, range, attributes) = (meta.clone(), range.clone(), attributes.clone());
            let mut bytes = at_once(got.bytes())?;
            let Faults { flipped, short, .. } = state.faults;
            let length = bytes.len() as u64;
            if length > 0 && state.chance(flipped) {
                let mut changed = bytes.to_vec();
                let at = state.random.below(length) as usize;
                changed[at] ^= 1 << state.random.below(8);
                bytes = changed.into();
            } else if length > 0 && state.chance(short) {
                bytes.truncate(state.random.below(length) as usize);
            }
            Ok(GetResult {
                payload: GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed()),
                meta,
                range,
                attributes,
                extensions: object_store::Extensions::default(),
            })
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let line = self.clone();
        let one = move |location: Result<Path>| {
            let line = line.clone();
            async move { line.delete(location?).await }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.clone().listed(prefix.cloned());
        let all = async move {
            stream::iter(match listed.await {
                Ok(listed) => listed.into_iter().map(Ok).collect(),
                Err(e) => vec![Err(e)],
            })
        };
        stream::once(all).flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented {
            operation: "list_with_delimiter".into(),
            implementer: "simulated target".into(),
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented {
            operation: "copy".into(),
            implementer: "simulated target".into(),
        })
    }
}
