//! Who acts, and how: each actor's program, one step at a time.

use std::rc::Rc;

use super::{Chunks, Fault, World, first_point};
use crate::error::Kind;
use crate::id::{ObjectHash, PointId, SessionId};
use crate::repository::entry::Action;
use crate::repository::names::{ObjectKind, PackName, StoredName};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Actor {
    Writer {
        content: Chunks,
        at: Writer,
        session: u64,
        checked: u64,
        /// Chunks uploaded in this session's pack, if any.
        uploaded: Chunks,
    },
    Collector {
        at: Collector,
        session: u64,
        listed: Vec<PackName>,
        doomed: Vec<PackName>,
        checked: u64,
        garbage: Vec<PackName>,
    },
    Reader {
        session: u64,
        at: u8,
    },
    Forgetter {
        done: bool,
    },
    /// Fences off the session with this number, if it is open.
    Fencer {
        victim: u64,
        done: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Writer {
    Open,
    Find,
    Upload(Chunks),
    Publish,
    Check,
    Commit,
    Close,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Collector {
    Open,
    Mark,
    Retire,
    Close,
    List,
    Fold,
    Delete,
    Done,
}

impl World {
    /// Lets actor `n` do its next step; none if it has none.
    pub(super) fn step(&self, n: usize) -> Option<World> {
        let mut world = self.clone();
        let mut actor = world.actors[n].clone();
        match &mut actor {
            Actor::Writer { .. } => world.step_writer(n, &mut actor)?,
            Actor::Collector { .. } => world.step_collector(&mut actor)?,
            Actor::Reader { session, at } => match at {
                0 => match world.open(vec![first_point()]) {
                    Ok(id) => (*session, *at) = (id, 1),
                    Err(_) => *at = 2,
                },
                1 => {
                    let _ = world.append(Some(*session), Action::SessionClosed);
                    *at = 2;
                }
                _ => return None,
            },
            Actor::Forgetter { done } => {
                if std::mem::replace(done, true) {
                    return None;
                }
                let forgotten = Action::PointsForgotten {
                    points: vec![first_point()],
                    by: String::new(),
                };
                world.append(None, forgotten).ok()?;
            }
            Actor::Fencer { victim, done } => {
                if std::mem::replace(done, true) {
                    return None;
                }
                let fenced = Action::SessionFenced {
                    fenced: SessionId(*victim),
                    by: String::new(),
                };
                world.append(None, fenced).ok()?;
            }
        }
        world.actors[n] = actor;
        Some(world)
    }

    fn step_writer(&mut self, n: usize, actor: &mut Actor) -> Option<()> {
        let Actor::Writer {
            content,
            at,
            session,
            checked,
            uploaded,
        } = actor
        else {
            return None;
        };
        *at = match *at {
            Writer::Open => {
                *session = self.open(vec![]).ok()?;
                *checked = self.state.next;
                Writer::Find
            }
            // What is found now may be retired by the time of the commit.
            Writer::Find => match *content & !self.live() {
                0 => Writer::Check,
                new => Writer::Upload(new),
            },
            Writer::Upload(new) => {
                *uploaded = new;
                self.upload(*session, new);
                Writer::Publish
            }
            Writer::Publish => {
                let pack =
                    StoredName::new(SessionId(*session), ObjectHash::from_bytes([*uploaded; 32]));
                match self.publish(*session, pack) {
                    Ok(_) => Writer::Check,
                    Err(_) => Writer::Done,
                }
            }
            Writer::Check => {
                let stale =
                    self.state.last_retire >= *checked && self.fault != Fault::CommitUnchecked;
                if stale && *content & !self.live() != 0 {
                    Writer::Find
                } else {
                    *checked = self.state.next;
                    Writer::Commit
                }
            }
            Writer::Commit => {
                let point = PointId::from_bytes([u8::try_from(n).unwrap(); 32]);
                self.contents.insert(point, *content);
                let checked = match self.fault {
                    Fault::CommitUnchecked => u64::MAX,
                    _ => *checked,
                };
                match self.commit(*session, point, checked) {
                    Ok(_) => Writer::Close,
                    Err(Kind::Conflict) => Writer::Check,
                    Err(_) => Writer::Done,
                }
            }
            Writer::Close => {
                let _ = self.append(Some(*session), Action::SessionClosed);
                Writer::Done
            }
            Writer::Done => return None,
        };
        Some(())
    }

    fn step_collector(&mut self, actor: &mut Actor) -> Option<()> {
        let Actor::Collector {
            at,
            session,
            listed,
            doomed,
            checked,
            garbage,
        } = actor
        else {
            return None;
        };
        *at = match *at {
            Collector::Open => {
                *session = self.open(vec![]).ok()?;
                Collector::Mark
            }
            Collector::Mark => {
                *garbage = self.garbage();
                *checked = match self.fault {
                    Fault::RetireUnchecked => u64::MAX,
                    _ => self.state.next,
                };
                match garbage.is_empty() {
                    true => Collector::Close,
                    false => Collector::Retire,
                }
            }
            Collector::Retire => {
                let packs = garbage.clone();
                let retired = Action::PacksRetired {
                    packs: packs.clone(),
                    checked: *checked,
                    damaged: false,
                };
                if self.fault == Fault::RetireOpenSessions {
                    let state = Rc::make_mut(&mut self.state);
                    state.packs.retain(|p, _| !packs.contains(p));
                    Collector::Close
                } else {
                    match self.append(Some(*session), retired) {
                        Ok(_) => Collector::Close,
                        Err(Kind::Conflict) => Collector::Mark,
                        Err(_) => Collector::Done,
                    }
                }
            }
            Collector::Close => {
                let _ = self.append(Some(*session), Action::SessionClosed);
                match self.fault {
                    Fault::FoldBeforeListing => Collector::Fold,
                    _ => Collector::List,
                }
            }
            Collector::List => {
                *listed = self.bytes.keys().copied().collect();
                match self.fault {
                    Fault::FoldBeforeListing => {
                        // What the log did not know when it was folded.
                        listed.retain(|pack| !doomed.contains(pack));
                        *doomed = std::mem::take(listed);
                        Collector::Delete
                    }
                    _ => Collector::Fold,
                }
            }
            Collector::Fold => match self.fault {
                Fault::FoldBeforeListing => {
                    *doomed = self.state.packs.keys().copied().collect();
                    Collector::List
                }
                _ => {
                    let state = &self.state;
                    listed.retain(|pack| {
                        let silent = self.fault == Fault::TrustClocks
                            && state.sessions.contains_key(&pack.session)
                            && !state.packs.contains_key(pack);
                        silent || state.deletable(ObjectKind::Pack, pack)
                    });
                    *doomed = std::mem::take(listed);
                    Collector::Delete
                }
            },
            Collector::Delete => match doomed.pop() {
                Some(pack) => {
                    self.bytes.remove(&pack);
                    Collector::Delete
                }
                None => Collector::Done,
            },
            Collector::Done => return None,
        };
        Some(())
    }
}

impl Actor {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Writer { .. } => "writer",
            Self::Collector { .. } => "collector",
            Self::Reader { .. } => "reader",
            Self::Forgetter { .. } => "forgetter",
            Self::Fencer { .. } => "fencer",
        }
    }

    /// Shows every log number that the actor remembers.
    pub(super) fn numbers(&mut self, mut see: impl FnMut(&mut u64)) {
        match self {
            Self::Writer {
                session, checked, ..
            } => [session, checked].into_iter().for_each(see),
            Self::Collector {
                session,
                checked,
                listed,
                doomed,
                garbage,
                ..
            } => {
                [session, checked].into_iter().for_each(&mut see);
                let packs = listed.iter_mut().chain(doomed).chain(garbage);
                packs.for_each(|p| see(&mut p.session.0));
            }
            Self::Reader { session, .. }
            | Self::Fencer {
                victim: session, ..
            } => see(session),
            Self::Forgetter { .. } => {}
        }
    }
}

pub(super) fn writer(content: Chunks) -> Actor {
    Actor::Writer {
        content,
        at: Writer::Open,
        session: 0,
        checked: 0,
        uploaded: 0,
    }
}

pub(super) fn collector() -> Actor {
    Actor::Collector {
        at: Collector::Open,
        session: 0,
        listed: vec![],
        doomed: vec![],
        checked: 0,
        garbage: vec![],
    }
}
