//! A log, those who append to it, and what is on its way between them.

use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use tokio::sync::oneshot;

use crate::env::{Clock, Env};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, RepositoryId, SessionId};
use crate::repository::entry::{Action, Entry, LogHome, Purpose};
use crate::repository::fold::State;
use crate::repository::known::KnownEntries;
use crate::repository::log::{Author, Log};
use crate::repository::sign::Signer;
use crate::repository::target::Target;
use crate::store::{Appended, ManifestCatalog};
use crate::testkit::SeededEntropy;
use crate::time::Timestamp;

/// The session that there is in the beginning.
const FIRST: SessionId = SessionId(1);

/// What somebody wants to append, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// What the rules allow to all.
    Open,
    /// What they allow to one: to fence off the session that there is.
    Fence,
}

/// How the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Catalog {
    /// By its contract.
    Sound,
    /// Who comes second is told that it was done, too.
    TellsTwo,
    /// Who comes second replaces what is there.
    Overwrites,
    /// Whoever reads misses the newest entry.
    ReadsLate,
}

/// Time stands still: what is appended does not depend on when.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// What becomes of somebody's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// It is done, and the answer lost.
    Lost,
    /// Its sender gives up; it arrives later, or never.
    OnItsWay,
    /// It is not done, for a reason that stays.
    Refused,
    /// The answer comes with a wrong byte.
    Damaged,
}

/// How a world can go on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// The request of an appender is served.
    Serve(usize, Fate),
    /// One of those on their way arrives.
    Arrives(usize),
}

enum Request {
    Append(u64, Bytes, oneshot::Sender<Result<Appended>>),
    Read(u64, usize, oneshot::Sender<Result<Vec<Bytes>>>),
}

/// Where one appender's request waits.
#[derive(Default)]
struct Line(Mutex<Option<Request>>);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    fn ask(&self, request: Request) {
        let before = self.0.lock().unwrap().replace(request);
        assert!(before.is_none(), "an appender asks for one thing at a time");
    }

    fn take(&self) -> Option<Request> {
        self.0.lock().unwrap().take()
    }
}

#[async_trait]
impl ManifestCatalog for Line {
    async fn append(&self, number: u64, entry: Bytes) -> Result<Appended> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Append(number, entry, answer));
        answered.await.unwrap()
    }

    async fn read(&self, number: u64, limit: usize) -> Result<Vec<Bytes>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Read(number, limit, answer));
        answered.await.unwrap()
    }
}

struct Appender {
    line: Arc<Line>,
    log: Arc<Log>,
    work: Pin<Box<dyn Future<Output = Result<u64>>>>,
    told: Option<Result<u64>>,
    /// What it knows: all answers that it had.
    knows: DefaultHasher,
}

/// What somebody sent that has not arrived yet.
#[derive(Hash)]
struct Sent {
    from: usize,
    number: u64,
    entry: Bytes,
}

pub(super) struct World {
    catalog: Catalog,
    entries: Vec<Bytes>,
    /// The log as it is, folded.
    order: State,
    /// Whose each entry is: the first two are nobody's.
    owners: Vec<Option<usize>>,
    /// The hash that the log has behind each entry.
    heads: Vec<ObjectHash>,
    on_the_way: Vec<Sent>,
    appenders: Vec<Appender>,
    cast: Vec<Intent>,
    /// How many troubles may be made, and were.
    troubles: u32,
    made: u32,
    /// Something that must never happen to the log itself.
    broken: Option<String>,
    signer: Arc<Signer>,
    known: KnownEntries,
}

fn trouble(kind: Kind) -> Error {
    Error::new(kind, "serve request", "trouble was made")
}

impl World {
    pub(super) async fn new(cast: &[Intent], catalog: Catalog, troubles: u32) -> Self {
        let signer = Arc::new(Signer::from_seed(&[1; 32]).unwrap());
        let known = KnownEntries::up_to(1000);
        let parameters = ObjectHash::from_bytes([0; 32]);
        let created = Entry {
            number: 0,
            previous: ObjectHash::from_bytes([0; 32]),
            time: Timestamp::from_millis(0),
            session: None,
            nonce: String::new(),
            action: Action::Created {
                repository: RepositoryId::from_bytes([0; 16]),
                parameters,
                log: LogHome::Target,
            },
        };
        let created = created.encode(&signer).unwrap();
        let first = known.decode(0, &created).unwrap();
        let order = State::begin(&first, &signer.verifier(), parameters).unwrap();
        let mut world = Self {
            catalog,
            entries: vec![created],
            heads: vec![order.head],
            order,
            owners: vec![None],
            on_the_way: Vec::new(),
            appenders: Vec::new(),
            cast: cast.to_vec(),
            troubles,
            made: 0,
            broken: None,
            signer,
            known,
        };
        let opened = Entry {
            number: 1,
            previous: world.order.head,
            time: Timestamp::from_millis(0),
            session: None,
            nonce: String::new(),
            action: open(&world.signer),
        };
        let opened = opened.encode(&world.signer).unwrap();
        let _ = world.append(None, 1, opened);
        for (n, intent) in cast.iter().enumerate() {
            let appender = world.appender(n, *intent);
            world.appenders.push(appender);
        }
        world
    }

    fn appender(&self, n: usize, intent: Intent) -> Appender {
        let line = Arc::new(Line::default());
        let target = Target::with_catalog(Arc::new(InMemory::new()), line.clone());
        let env = Env::system()
            .with_clock(Arc::new(Still))
            .with_entropy(Arc::new(SeededEntropy::new(n as u64)));
        let log = Arc::new(Log::new(
            &target.remembering(&self.known),
            self.signer.verifier(),
            env,
            Some(LogHome::Target),
            self.order.clone(),
        ));
        let (signer, of_its_own) = (Arc::clone(&self.signer), Arc::clone(&log));
        let work = async move {
            let author = Author {
                session: None,
                signer: &signer,
            };
            let decide = |_: &State| match intent {
                Intent::Open => Ok(open(&signer)),
                Intent::Fence => Ok(Action::SessionFenced {
                    fenced: FIRST,
                    by: String::new(),
                }),
            };
            let (number, _) = of_its_own.append(author, decide).await?;
            Ok(number)
        };
        Appender {
            line,
            log,
            work: Box::pin(work),
            told: None,
            knows: DefaultHasher::new(),
        }
    }

    /// Lets everybody go on until it waits for an answer, or has done what it wanted.
    pub(super) async fn settle(&mut self) {
        for appender in &mut self.appenders {
            while appender.told.is_none() && appender.line.0.lock().unwrap().is_none() {
                let work = &mut appender.work;
                match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
                    Poll::Ready(told) => appender.told = Some(told),
                    // Those who wait before they try again: what matters is when their requests arrive.
                    Poll::Pending => tokio::time::advance(Duration::from_millis(50)).await,
                }
            }
        }
    }

    pub(super) fn ways(&self) -> Vec<Way> {
        let mut ways = Vec::new();
        for (n, appender) in self.appenders.iter().enumerate() {
            let troubles: &[Fate] = match &*appender.line.0.lock().unwrap() {
                None => continue,
                Some(_) if self.made == self.troubles => &[],
                Some(Request::Append(..)) => &[Fate::Lost, Fate::OnItsWay, Fate::Refused],
                Some(Request::Read(..)) => &[Fate::Lost, Fate::Damaged],
            };
            let fates = [Fate::Answered].into_iter().chain(troubles.iter().copied());
            ways.extend(fates.map(|fate| Way::Serve(n, fate)));
        }
        ways.extend((0..self.on_the_way.len()).map(Way::Arrives));
        ways
    }

    pub(super) fn go(&mut self, way: Way) {
        match way {
            Way::Serve(n, fate) => self.serve(n, fate),
            Way::Arrives(which) => {
                let Sent {
                    from,
                    number,
                    entry,
                } = self.on_the_way.remove(which);
                let _ = self.append(Some(from), number, entry);
            }
        }
    }

    fn serve(&mut self, n: usize, fate: Fate) {
        let request = self.appenders[n].line.take().unwrap();
        self.made += u32::from(fate != Fate::Answered);
        match request {
            Request::Append(number, entry, answer) => {
                let answered = match fate {
                    Fate::Answered => Ok(self.append(Some(n), number, entry)),
                    Fate::Lost => {
                        let _ = self.append(Some(n), number, entry);
                        Err(trouble(Kind::Unavailable))
                    }
                    Fate::OnItsWay => {
                        self.on_the_way.push(Sent {
                            from: n,
                            number,
                            entry,
                        });
                        Err(trouble(Kind::Unavailable))
                    }
                    _ => Err(trouble(Kind::Denied)),
                };
                self.appenders[n].learns(&answered.as_ref().map(|done| *done == Appended::Done));
                answer.send(answered).unwrap();
            }
            Request::Read(number, limit, answer) => {
                let read = self.read(number, limit);
                let answered = match fate {
                    Fate::Lost => Err(trouble(Kind::Unavailable)),
                    Fate::Damaged => Ok(damaged(read)),
                    _ => Ok(read),
                };
                self.appenders[n].learns(&answered.as_ref());
                answer.send(answered).unwrap();
            }
        }
    }

    fn read(&self, number: u64, limit: usize) -> Vec<Bytes> {
        let end = match self.catalog {
            Catalog::ReadsLate => self.entries.len() - 1,
            _ => self.entries.len(),
        };
        let from = usize::try_from(number).unwrap().min(end);
        self.entries[from..end]
            .iter()
            .take(limit)
            .cloned()
            .collect()
    }

    /// What the catalog does of a request that arrives.
    fn append(&mut self, from: Option<usize>, number: u64, entry: Bytes) -> Appended {
        let at = usize::try_from(number).unwrap();
        if at > self.entries.len() {
            self.broken = Some(format!("entry {number} was appended beyond the end"));
        }
        if at < self.entries.len() {
            return match self.catalog {
                Catalog::Sound | Catalog::ReadsLate => Appended::Taken,
                Catalog::TellsTwo => Appended::Done,
                Catalog::Overwrites => {
                    (self.entries[at], self.owners[at]) = (entry, from);
                    Appended::Done
                }
            };
        }
        let folded = (self.known.decode(number, &entry))
            .and_then(|signed| self.order.fold(&signed, &self.signer.verifier()));
        if folded.is_err() || !self.order.void.is_empty() {
            self.broken = Some(format!("entry {number} does not follow: {folded:?}"));
        }
        self.entries.push(entry);
        self.owners.push(from);
        self.heads.push(self.order.head);
        Appended::Done
    }

    /// What decides how this can go on.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.entries, &self.on_the_way, self.made).hash(&mut hasher);
        for appender in &self.appenders {
            appender.knows.finish().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What must hold after every step.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        for (n, appender) in self.appenders.iter().enumerate() {
            let has: Vec<usize> = (0..self.owners.len())
                .filter(|at| self.owners[*at] == Some(n))
                .collect();
            if has.len() > 1 {
                return Err(format!("{n} has the numbers {has:?}"));
            }
            match &appender.told {
                None => continue,
                Some(Ok(number)) if has == [usize::try_from(*number).unwrap()] => {}
                Some(Ok(number)) => {
                    return Err(format!("{n} believes in {number}, it has {has:?}"));
                }
                // It says itself that it does not know.
                Some(Err(error)) if error.kind() == Kind::Unavailable => {}
                Some(Err(error)) => {
                    let may_come = |sent: &Sent| sent.from == n && sent.number >= self.order.next;
                    if !has.is_empty() || self.on_the_way.iter().any(may_come) {
                        return Err(format!(
                            "{n} was told that nothing was done, it has {has:?}: {error}"
                        ));
                    }
                    if self.made == 0 && !self.is_refused(n) {
                        return Err(format!("{n} failed for nothing: {error}"));
                    }
                }
            }
            let seen = futures_util::FutureExt::now_or_never(appender.log.seen());
            let seen = seen.ok_or("an appender that is done holds its log")?;
            let head = self.heads.get(usize::try_from(seen.next).unwrap() - 1);
            if head != Some(&seen.head) {
                return Err(format!("{n} knows another log up to {}", seen.next));
            }
        }
        Ok(())
    }

    /// Whether the rules refuse what `n` wants, after what others did.
    fn is_refused(&self, n: usize) -> bool {
        self.cast[n] == Intent::Fence && !self.order.sessions.contains_key(&FIRST)
    }
}

impl Appender {
    fn learns<T: Hash>(&mut self, answer: &std::result::Result<T, &Error>) {
        let answer = answer
            .as_ref()
            .map_err(|error| format!("{:?}", error.kind()));
        answer.hash(&mut self.knows);
    }
}

fn damaged(mut read: Vec<Bytes>) -> Vec<Bytes> {
    if let Some(last) = read.last_mut() {
        let mut bytes = last.to_vec();
        bytes[3] ^= 1;
        *last = bytes.into();
    }
    read
}

fn open(signer: &Signer) -> Action {
    Action::SessionOpened {
        purpose: Purpose::Write,
        by: String::new(),
        verifier: signer.verifier(),
        pins: Vec::new(),
    }
}
