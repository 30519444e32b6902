//! The argument why nothing gets lost, explored exhaustively.
//!
//! A few actors (writers, a collector, a reader, somebody who forgets points, somebody who fences off sessions) run small programs, one step at a time, in every
//! order that there is. The log's rules are the product's own: the actors append to a [`State`] by the code that folds the real log.
//! After every step, every point that exists or is pinned must be whole: each of its chunks in a live pack whose bytes are there.
//!
//! An actor that is never scheduled again has crashed; one that goes on after it was fenced off is a zombie. Each [`Fault`] takes one
//! precaution away, of the kind whose absence cost other repositories data, and the exploration must then find a loss.

mod actors;
mod appending;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use actors::{Actor, collector, writer};

use super::entry::{Action, AddedPack, Entry, LogHome, Purpose};
use super::fold::{Session, State};
use super::names::{PackName, StoredName};
use super::sign::{Signer, Verifier};
use crate::error::Kind;
use crate::id::{ObjectHash, PointId, RepositoryId, SessionId};
use crate::store::Role;
use crate::time::Timestamp;

/// Chunks are the bits of a byte.
type Chunks = u8;

const A: Chunks = 1;
const B: Chunks = 2;

/// A precaution that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Writers commit what they found in the repository once, without looking whether it was retired since.
    CommitUnchecked,
    /// The collector retires what it found unneeded, without looking whether something was committed since.
    RetireUnchecked,
    /// The collector folds the log before it lists what is there.
    FoldBeforeListing,
    /// The collector takes packs of open sessions for garbage.
    RetireOpenSessions,
    /// Forgetting a point drops it although a reader has pinned it.
    IgnorePins,
    /// What a session says still counts after it was fenced off.
    HearZombies,
    /// The collector deletes what lies under an open session, since by its clock nothing was heard of that session for long.
    TrustClocks,
}

#[derive(Clone)]
struct World {
    fault: Fault,
    state: Rc<State>,
    /// What lies in the target.
    bytes: BTreeMap<PackName, Chunks>,
    /// What points consist of.
    contents: BTreeMap<PointId, Chunks>,
    actors: Vec<Actor>,
}

/// The point that exists in the beginning, and consists of chunk A.
fn first_point() -> PointId {
    PointId::from_bytes([9; 32])
}

/// A session that is not open any more, and pins nothing.
fn session_of_nobody() -> Session {
    Session {
        purpose: Purpose::Write,
        by: String::new(),
        verifier: verifier(),
        pins: Vec::new(),
        seen: Timestamp::from_millis(0),
    }
}

fn verifier() -> Verifier {
    Signer::from_seed(&[1; 32]).unwrap().verifier()
}

impl World {
    fn new(fault: Fault, actors: Vec<Actor>) -> Self {
        let state = State {
            repository: RepositoryId::from_bytes([0; 16]),
            parameters: ObjectHash::from_bytes([0; 32]),
            next: 1,
            head: ObjectHash::from_bytes([0; 32]),
            log: LogHome::default(),
            sessions: BTreeMap::new(),
            packs: BTreeMap::new(),
            indexes: BTreeMap::new(),
            points: BTreeMap::new(),
            last_commit: 0,
            last_retire: 0,
            last_damage: 0,
            void: Vec::new(),
        };
        let mut world = Self {
            fault,
            state: Rc::new(state),
            bytes: BTreeMap::new(),
            contents: BTreeMap::new(),
            actors,
        };
        let session = world.open(vec![]).unwrap();
        let pack = world.upload(session, A);
        world.publish(session, pack).unwrap();
        world.contents.insert(first_point(), A);
        let checked = world.state.next;
        world.commit(session, first_point(), checked).unwrap();
        world.append(Some(session), Action::SessionClosed).unwrap();
        world
    }

    /// Appends an entry if the rules allow it (with the fault's exception), as the log does: atomically, on the newest state.
    fn append(&mut self, session: Option<u64>, action: Action) -> Result<u64, Kind> {
        let number = self.state.next;
        let entry = Entry {
            number,
            previous: self.state.head,
            time: Timestamp::from_millis(0),
            session: session.map(SessionId),
            nonce: String::new(),
            action,
        };
        let state = Rc::make_mut(&mut self.state);
        let fenced = session
            .map(SessionId)
            .filter(|id| self.fault == Fault::HearZombies && !state.sessions.contains_key(id));
        if let Some(id) = fenced {
            state.sessions.insert(id, session_of_nobody());
        }
        let allowed = state.check(&entry).map_err(|e| e.kind());
        if allowed.is_ok() {
            state.advance(&entry, ObjectHash::from_bytes([0; 32]));
        }
        if let Some(id) = fenced {
            state.sessions.remove(&id);
        }
        allowed?;
        if self.fault == Fault::IgnorePins {
            Rc::make_mut(&mut self.state)
                .points
                .retain(|_, p| !p.forgotten);
        }
        Ok(number)
    }

    fn open(&mut self, pins: Vec<PointId>) -> Result<u64, Kind> {
        let opened = Action::SessionOpened {
            purpose: Purpose::Write,
            by: String::new(),
            verifier: verifier(),
            pins,
        };
        self.append(None, opened)
    }

    fn upload(&mut self, session: u64, chunks: Chunks) -> PackName {
        let name = StoredName::new(SessionId(session), ObjectHash::from_bytes([chunks; 32]));
        self.bytes.insert(name, chunks);
        name
    }

    fn publish(&mut self, session: u64, pack: PackName) -> Result<u64, Kind> {
        let added = Action::PacksAdded {
            index: pack.hash,
            index_bytes: 1,
            packs: vec![AddedPack {
                hash: pack.hash,
                bytes: 1,
                role: Role::Data,
            }],
        };
        self.append(Some(session), added)
    }

    fn commit(&mut self, session: u64, point: PointId, checked: u64) -> Result<u64, Kind> {
        let committed = Action::PointCommitted {
            point,
            summary: String::new(),
            checked,
        };
        self.append(Some(session), committed)
    }

    /// The chunks that live packs hold, by the log.
    fn live(&self) -> Chunks {
        self.state
            .packs
            .keys()
            .map(chunks_of)
            .fold(0, |all, chunks| all | chunks)
    }

    /// Packs that nothing reaches, by the log as it is now: each chunk needs one pack.
    fn garbage(&self) -> Vec<PackName> {
        let reached = self
            .state
            .points
            .keys()
            .map(|p| self.contents[p])
            .fold(0, |all, c| all | c);
        let mut covered = 0;
        let mut garbage = Vec::new();
        for pack in self.state.packs.keys() {
            let open = self.state.sessions.contains_key(&pack.session);
            let needed = chunks_of(pack) & reached & !covered;
            covered |= needed;
            if needed == 0 && (!open || self.fault == Fault::RetireOpenSessions) {
                garbage.push(*pack);
            }
        }
        garbage
    }

    /// What is lost: a point that exists (or is pinned) and a chunk of it that nothing live holds.
    fn loss(&self) -> Option<(PointId, Chunks)> {
        let there = |pack: &&PackName| self.bytes.contains_key(*pack);
        let held = self
            .state
            .packs
            .keys()
            .filter(there)
            .map(chunks_of)
            .fold(0, |all, c| all | c);
        let pinned = self.state.sessions.values().flat_map(|s| &s.pins);
        let points: BTreeSet<&PointId> = self.state.points.keys().chain(pinned).collect();
        points.into_iter().find_map(|point| {
            let lost = self.contents[point] & !held;
            (lost != 0).then_some((*point, lost))
        })
    }

    /// Identifies the world up to the absolute numbers of log entries: only their order matters to the rules.
    fn fingerprint(&self) -> u64 {
        let State {
            next,
            sessions,
            packs,
            points,
            last_commit,
            last_retire,
            ..
        } = &*self.state;
        let mut actors = self.actors.clone();
        let mut numbers = BTreeSet::from([*next, *last_commit, *last_retire]);
        numbers.extend(
            sessions
                .keys()
                .chain(packs.keys().map(|p| &p.session))
                .map(|s| s.0),
        );
        numbers.extend(self.bytes.keys().map(|p| p.session.0));
        actors.iter_mut().for_each(|a| {
            a.numbers(|n| {
                numbers.insert(*n);
            });
        });
        let rank = |n: u64| numbers.range(..n).count();
        let rank_pack = |pack: &PackName| (rank(pack.session.0), chunks_of(pack));

        let mut hasher = DefaultHasher::new();
        [*next, *last_commit, *last_retire]
            .map(rank)
            .hash(&mut hasher);
        for (id, session) in sessions {
            (rank(id.0), &session.pins).hash(&mut hasher);
        }
        for pack in packs.keys() {
            (1, rank_pack(pack)).hash(&mut hasher);
        }
        for (id, point) in points {
            (id, point.forgotten, self.contents[id]).hash(&mut hasher);
        }
        for pack in self.bytes.keys() {
            (2, rank_pack(pack)).hash(&mut hasher);
        }
        for actor in &mut actors {
            actor.numbers(|n| *n = rank(*n) as u64);
            actor.hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn chunks_of(pack: &PackName) -> Chunks {
    pack.hash.as_bytes()[0]
}

/// Explores every order of steps. Gives the number of states seen, or the steps (as actors' numbers) that lead to a loss.
fn explore(world: World) -> Result<usize, Vec<usize>> {
    let mut seen = HashSet::from([world.fingerprint()]);
    let mut stack = vec![(world, Vec::new())];
    while let Some((world, path)) = stack.pop() {
        for n in 0..world.actors.len() {
            let Some(next) = world.step(n) else { continue };
            let mut path = path.clone();
            path.push(n);
            if next.loss().is_some() {
                return Err(path);
            }
            if seen.insert(next.fingerprint()) {
                stack.push((next, path));
            }
        }
    }
    Ok(seen.len())
}

/// The casts that are explored: small enough to see every order of steps, large enough for every pair of rules to meet.
fn casts() -> Vec<Vec<Actor>> {
    let forgetter = || Actor::Forgetter { done: false };
    let fencer = |victim| Actor::Fencer {
        victim,
        done: false,
    };
    let reader = || Actor::Reader { session: 0, at: 0 };
    // Sessions get the numbers of the entries that open them: the first that is opened here has 5, later ones 6, 7 ...
    vec![
        vec![writer(A), collector(), forgetter()],
        vec![writer(A | B), collector(), forgetter(), fencer(5)],
        vec![writer(A), writer(A | B), collector()],
        vec![writer(B), collector(), fencer(6)],
        vec![reader(), collector(), forgetter(), writer(A)],
        vec![writer(A), collector(), collector(), forgetter()],
    ]
}

/// For `--nocapture`.
#[allow(clippy::print_stdout)]
fn tell(line: &str) {
    println!("{line}");
}

#[test]
fn no_order_of_steps_loses_anything() {
    for cast in casts() {
        let shown = format!("{cast:?}");
        match explore(World::new(Fault::None, cast)) {
            Ok(states) => tell(&format!("{states} states: {shown}")),
            Err(path) => panic!("a loss after the steps {path:?} of {shown}"),
        }
    }
}

#[test]
fn every_precaution_is_needed() {
    for fault in [
        Fault::CommitUnchecked,
        Fault::RetireUnchecked,
        Fault::FoldBeforeListing,
        Fault::RetireOpenSessions,
        Fault::IgnorePins,
        Fault::HearZombies,
        Fault::TrustClocks,
    ] {
        let found = casts().into_iter().find_map(|cast| {
            let names: Vec<&str> = cast.iter().map(Actor::name).collect();
            let path = explore(World::new(fault, cast)).err()?;
            let path: Vec<&str> = path.into_iter().map(|n| names[n]).collect();
            Some(path.join(", "))
        });
        match found {
            Some(path) => tell(&format!("{fault:?}: lost after steps of {path}")),
            None => panic!("{fault:?} was not noticed: the model is too weak"),
        }
    }
}
