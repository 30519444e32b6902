//! The fold: what a repository is, given its log. Pure: no clock, no randomness, no target.
//!
//! These are the rules that keep data safe. They are checked here, when an entry is read, and by the same code before
//! one is appended. An entry that breaks a rule is *void*: it is in the log, and nothing follows from it.
//!
//! 1. Points are committed by open sessions only, and only if the writer has checked that everything they reach is live
//!    since the last packs were retired.
//! 2. Packs are retired only by a collector that has seen every commit and every earlier retirement, and never those that an
//!    open session added. (A pin keeps a point reached after it was forgotten, until the session that pinned it ends.)
//! 3. Bytes may be deleted if the log does not know them as live and their session has ended. See [`State::deletable`].
//! 4. A session that was fenced or closed can do nothing any more.
//!
//! Why that is enough: a pack is lost only by being retired while something needs it. What is committed before the retirement, the
//! collector has seen (rule 2: `checked` is not older than the last commit); what is committed after it, its writer has checked against
//! it (rule 1: `checked` is not older than the last retirement). The log's total order leaves no third case.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{Action, Entry, LogHome, Purpose, Signed};
use super::names::{IndexName, ObjectKind, PackName, StoredName};
use super::sign::Verifier;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectHash, PointId, RepositoryId, SessionId};
use crate::store::Role;
use crate::time::Timestamp;

/// What a repository is after some number of log entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The repository.
    pub(crate) repository: RepositoryId,
    /// The hash of the parameters that it was made with.
    pub(crate) parameters: ObjectHash,
    /// The number of entries folded; the number that the next one gets.
    pub(crate) next: u64,
    /// The hash of the last entry.
    pub(crate) head: ObjectHash,
    /// Where the next entry is appended.
    #[serde(default)]
    pub(crate) log: LogHome,
    /// Sessions that are open.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// Packs that are live.
    #[serde(with = "pairs")]
    pub(crate) packs: BTreeMap<PackName, Pack>,
    /// Index objects that are live, with the packs that they describe (retired ones included).
    #[serde(with = "pairs")]
    pub(crate) indexes: BTreeMap<IndexName, Index>,
    /// Points that exist, or are forgotten but still pinned.
    #[serde(with = "pairs")]
    pub(crate) points: BTreeMap<PointId, Point>,
    /// The number of the last entry that committed a point.
    pub(crate) last_commit: u64,
    /// The number of the last entry that retired packs.
    pub(crate) last_retire: u64,
    /// The number of the last entry that retired damaged packs; 0 if there is none. Points before it may lack chunks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) last_damage: u64,
    /// Numbers of entries that broke a rule.
    pub(crate) void: Vec<u64>,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) purpose: Purpose,
    pub(crate) by: String,
    pub(crate) verifier: Verifier,
    pub(crate) pins: Vec<PointId>,
    /// When it last appended something, by its own clock. For the policy of fencing.
    pub(crate) seen: Timestamp,
}

/// A live pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pack {
    pub(crate) bytes: u64,
    pub(crate) role: Role,
}

/// A live index object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) bytes: u64,
    pub(crate) packs: Vec<PackName>,
}

/// A point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) session: SessionId,
    pub(crate) committed: Timestamp,
    pub(crate) summary: String,
    pub(crate) held: bool,
    /// Forgotten, but a session that is still open pinned it before.
    pub(crate) forgotten: bool,
}

impl State {
    /// The state after the first entry, which must create the repository.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it does not, or `verifier` (from the parameters) did not sign it.
    pub(crate) fn begin(
        first: &Signed,
        verifier: &Verifier,
        parameters: ObjectHash,
    ) -> Result<Self> {
        let entry = &first.entry;
        let Action::Created {
            repository,
            parameters: recorded,
            log,
        } = entry.action
        else {
            return Err(chain(
                0,
                "the log does not begin with the creation of a repository",
            ));
        };
        if recorded != parameters {
            return Err(other_parameters());
        }
        if !first.is_signed_by(verifier) {
            return Err(chain(0, "the signature is not the repository's"));
        }
        Ok(Self {
            repository,
            parameters,
            next: 1,
            head: first.hash,
            log,
            sessions: BTreeMap::new(),
            packs: BTreeMap::new(),
            indexes: BTreeMap::new(),
            points: BTreeMap::new(),
            last_commit: 0,
            last_retire: 0,
            last_damage: 0,
            void: Vec::new(),
        })
    }

    /// Folds one more entry, as it was read.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it does not continue the chain or is not signed by whom it must be: then somebody changed the log.
    /// An entry that merely breaks a rule is no error; it is void.
    pub(crate) fn fold(&mut self, signed: &Signed, repository: &Verifier) -> Result<()> {
        let entry = &signed.entry;
        if entry.number != self.next {
            return Err(chain(entry.number, "the entry is out of order"));
        }
        if entry.previous != self.head {
            return Err(chain(
                entry.number,
                "the entry does not follow the one before it: one of the two was changed",
            ));
        }
        let opens = matches!(entry.action, Action::SessionOpened { .. });
        let verifier = match entry.session {
            Some(session) if !opens => self.sessions.get(&session).map(|s| s.verifier),
            _ => Some(*repository),
        };
        // The key of a session that has ended is forgotten with it, and what it says is void in any case.
        match verifier {
            Some(verifier) if !signed.is_signed_by(&verifier) => {
                return Err(chain(entry.number, "the signature is not its writer's"));
            }
            Some(_) => self.advance(entry, signed.hash),
            None => self.advance_void(entry.number, signed.hash),
        }
        Ok(())
    }

    /// Lets the next entry, whose bytes hash to `hash`, take effect, or notes it as void.
    pub(crate) fn advance(&mut self, entry: &Entry, hash: ObjectHash) {
        if self.check(entry).is_err() {
            return self.advance_void(entry.number, hash);
        }
        self.apply(entry);
        self.next = entry.number + 1;
        self.head = hash;
    }

    fn advance_void(&mut self, number: u64, hash: ObjectHash) {
        self.void.push(number);
        self.next = number + 1;
        self.head = hash;
    }

    /// Whether `entry` keeps the rules if it comes next.
    ///
    /// # Errors
    /// [`Kind::Fenced`] if its session is not open, [`Kind::Conflict`] if others moved on so that it must be thought over, else
    /// what is wrong with it.
    pub(crate) fn check(&self, entry: &Entry) -> Result<()> {
        use Action as A;
        let session = || self.open_session(entry);
        match &entry.action {
            A::Created { .. } => Err(rule(Kind::Invalid, "a repository is created once")),
            A::SessionOpened { pins, .. } => {
                pins.iter().try_for_each(|p| self.live_point(p).map(drop))
            }
            A::SessionClosed => session().map(drop),
            A::SessionFenced { fenced, .. } => match self.sessions.contains_key(fenced) {
                true => Ok(()),
                false => {
                    Err(rule(Kind::NotFound, "the session is not open").with("session", fenced))
                }
            },
            A::PacksAdded { packs, index, .. } => {
                let (id, _) = session()?;
                let known = packs
                    .iter()
                    .any(|p| self.packs.contains_key(&PackName::new(id, p.hash)));
                if known || self.indexes.contains_key(&IndexName::new(id, *index)) {
                    return Err(rule(
                        Kind::AlreadyExists,
                        "the packs are in the log already",
                    ));
                }
                Ok(())
            }
            A::PointCommitted { point, checked, .. } => {
                session()?;
                if self.points.contains_key(point) {
                    return Err(
                        rule(Kind::AlreadyExists, "the point exists already").with("point", point)
                    );
                }
                if *checked <= self.last_retire && self.last_retire > 0 {
                    return Err(rule(
                        Kind::Conflict,
                        "packs were retired since the point was checked",
                    ));
                }
                Ok(())
            }
            A::PointsForgotten { points, .. } => {
                points.iter().try_for_each(|id| match self.live_point(id)? {
                    point if point.held => {
                        Err(rule(Kind::Denied, "the point is held: lift the hold first")
                            .with("point", id))
                    }
                    _ => Ok(()),
                })
            }
            A::HoldSet { point, .. } | A::HoldLifted { point, .. } => {
                self.live_point(point).map(drop)
            }
            A::PacksRetired { packs, checked, .. } => {
                session()?;
                let news = self.last_commit.max(self.last_retire);
                if *checked <= news && news > 0 {
                    return Err(rule(
                        Kind::Conflict,
                        "something was committed since the collector looked",
                    ));
                }
                packs.iter().try_for_each(|pack| self.retirable(pack))
            }
            A::IndexesMerged {
                replaced, index, ..
            } => {
                let (id, _) = session()?;
                let new = IndexName::new(id, *index);
                if self.indexes.contains_key(&new) && !replaced.contains(&new) {
                    return Err(rule(Kind::AlreadyExists, "the index is in the log already"));
                }
                match replaced.iter().find(|i| !self.indexes.contains_key(i)) {
                    Some(gone) => {
                        Err(rule(Kind::Conflict, "an index was replaced already")
                            .with("index", gone))
                    }
                    None => Ok(()),
                }
            }
            A::LogMoved { to, .. } if *to == self.log => {
                Err(rule(Kind::AlreadyExists, "the log lies there already"))
            }
            A::LogMoved { .. } | A::KeysChanged { .. } => Ok(()),
        }
    }

    /// Lets `entry` take effect. Only after [`check`](Self::check).
    fn apply(&mut self, entry: &Entry) {
        use Action as A;
        if let Some(session) = entry.session.and_then(|id| self.sessions.get_mut(&id)) {
            session.seen = session.seen.max(entry.time);
        }
        let owner = entry.session.unwrap_or(SessionId(entry.number));
        match &entry.action {
            A::Created { .. } | A::KeysChanged { .. } => {}
            A::LogMoved { to, .. } => self.log = *to,
            A::SessionOpened {
                purpose,
                by,
                verifier,
                pins,
            } => {
                let session = Session {
                    purpose: *purpose,
                    by: by.clone(),
                    verifier: *verifier,
                    pins: pins.clone(),
                    seen: entry.time,
                };
                self.sessions.insert(SessionId(entry.number), session);
            }
            A::SessionClosed => self.end_session(owner),
            A::SessionFenced { fenced, .. } => self.end_session(*fenced),
            A::PacksAdded {
                index,
                index_bytes,
                packs,
            } => {
                let names = packs.iter().map(|pack| {
                    let name = PackName::new(owner, pack.hash);
                    let live = Pack {
                        bytes: pack.bytes,
                        role: pack.role,
                    };
                    self.packs.insert(name, live);
                    name
                });
                let described = Index {
                    bytes: *index_bytes,
                    packs: names.collect(),
                };
                self.indexes
                    .insert(IndexName::new(owner, *index), described);
            }
            A::PointCommitted { point, summary, .. } => {
                let committed = Point {
                    session: owner,
                    committed: entry.time,
                    summary: summary.clone(),
                    held: false,
                    forgotten: false,
                };
                self.points.insert(*point, committed);
                self.last_commit = entry.number;
            }
            A::PointsForgotten { points, .. } => {
                for id in points {
                    if let Some(point) = self.points.get_mut(id) {
                        point.forgotten = true;
                    }
                }
                self.drop_unpinned(points);
            }
            A::HoldSet { point, .. } => self.hold(point, true),
            A::HoldLifted { point, .. } => self.hold(point, false),
            A::PacksRetired { packs, damaged, .. } => {
                if *damaged {
                    self.last_damage = entry.number;
                }
                for pack in packs {
                    self.packs.remove(pack);
                }
                let live = &self.packs;
                self.indexes
                    .retain(|_, index| index.packs.iter().any(|p| live.contains_key(p)));
                self.last_retire = entry.number;
            }
            A::IndexesMerged {
                index,
                index_bytes,
                replaced,
            } => {
                let mut packs = BTreeSet::new();
                for old in replaced {
                    packs.extend(self.indexes.remove(old).into_iter().flat_map(|i| i.packs));
                }
                packs.retain(|p| self.packs.contains_key(p));
                let merged = Index {
                    bytes: *index_bytes,
                    packs: packs.into_iter().collect(),
                };
                self.indexes.insert(IndexName::new(owner, *index), merged);
            }
        }
    }

    /// The session of `entry`, which must be open.
    fn open_session(&self, entry: &Entry) -> Result<(SessionId, &Session)> {
        let id = entry
            .session
            .ok_or_else(|| rule(Kind::Invalid, "only a session can do this"))?;
        let session = self.sessions.get(&id).ok_or_else(|| {
            rule(
                Kind::Fenced,
                "the session is not open any more: it was closed or fenced off; start anew, what was stored is found again",
            )
            .with("session", id)
        })?;
        Ok((id, session))
    }

    /// The point, which must exist and not be forgotten.
    pub(crate) fn live_point(&self, id: &PointId) -> Result<&Point> {
        let point = self.points.get(id).filter(|p| !p.forgotten);
        point.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "look up recovery point",
                "there is none of this id, or it was forgotten",
            )
            .with("point", id)
        })
    }

    fn retirable(&self, pack: &PackName) -> Result<()> {
        if !self.packs.contains_key(pack) {
            return Err(rule(Kind::Conflict, "the pack is retired already").with("pack", pack));
        }
        if self.sessions.contains_key(&pack.session) {
            return Err(
                rule(Kind::Conflict, "the pack belongs to an open session").with("pack", pack)
            );
        }
        Ok(())
    }

    fn hold(&mut self, id: &PointId, held: bool) {
        if let Some(point) = self.points.get_mut(id) {
            point.held = held;
        }
    }

    fn end_session(&mut self, id: SessionId) {
        if let Some(ended) = self.sessions.remove(&id) {
            self.drop_unpinned(&ended.pins);
        }
    }

    /// Drops those of `points` that are forgotten and that no open session has pinned. Only these are looked at: there may be a million others.
    fn drop_unpinned(&mut self, points: &[PointId]) {
        let forgotten = |id: &&PointId| self.points.get(id).is_some_and(|p| p.forgotten);
        let mut gone: BTreeSet<PointId> = points.iter().filter(forgotten).copied().collect();
        if gone.is_empty() {
            return;
        }
        for pin in self.sessions.values().flat_map(|s| &s.pins) {
            gone.remove(pin);
        }
        for id in gone {
            self.points.remove(&id);
        }
    }

    /// Rule 3: whether the object's bytes may be deleted.
    ///
    /// # Contract
    /// The caller saw the object *before* it folded the log to here. (Otherwise a session opened since could have stored it.)
    pub(crate) fn deletable(&self, kind: ObjectKind, name: &StoredName) -> bool {
        let live = match kind {
            ObjectKind::Pack => self.packs.contains_key(name),
            ObjectKind::Index => self.indexes.contains_key(name),
            ObjectKind::Point => {
                let id = PointId::from_bytes(*name.hash.as_bytes());
                self.points
                    .get(&id)
                    .is_some_and(|p| p.session == name.session)
            }
        };
        !live && name.session.0 < self.next && !self.sessions.contains_key(&name.session)
    }
}

/// What raksha.json says is not what the repository was made with. Believing it could store data unsealed.
pub(crate) fn other_parameters() -> Error {
    chain(
        0,
        "the log belongs to other parameters than those in raksha.json: one of them was changed; restore the right one from elsewhere",
    )
}

/// The log was changed by somebody.
fn chain(number: u64, why: &str) -> Error {
    Error::new(Kind::Corrupt, "read log", why).with("entry", number)
}

fn rule(kind: Kind, why: &str) -> Error {
    Error::new(kind, "append to log", why)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Maps are stored as lists of pairs, since their keys are not all text.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}
