//! Bringing the log in a catalog and its copy in the target together: an empty catalog is filled from the copy, a copy that lost
//! entries from the catalog. Also the way of a log out of its target into a catalog.
//!
//! Everything is read and checked before anything is written: the chain of hashes, every signature, and that catalog and copy agree
//! wherever both have an entry. Each alone may have gaps, both together must not.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use object_store::ObjectStore;
use serde::Serialize;

use super::entry::{Action, Entry, LogHome};
use super::fold::State;
use super::keys::Secret;
use super::keyslots;
use super::log::{Author, Log};
use super::names::LOG;
use super::open::{described, records, signer};
use super::parameters::Described;
use super::shared::seal_text;
use super::target::Target;
use super::verify::list;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::ObjectHash;
use crate::store::{Appended, ManifestCatalog, Mirror, ObjectCatalog};

/// Entries read at a time.
const BATCH: usize = 64;

/// Entries named in an error.
const NAMED: usize = 5;

const OPERATION: &str = "rebuild catalog";

/// How to rebuild.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RebuildOptions {
    /// Whether a log that lies in the target itself is moved into the catalog. Whoever still appends in the target is stopped by the
    /// entry that says so; it must open the repository with the catalog then.
    pub move_log: bool,
    /// Who asks, for the log.
    pub who: String,
    /// The outside world.
    pub env: Env,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            move_log: false,
            who: "raksha".to_owned(),
            env: Env::system(),
        }
    }
}

/// What a rebuild found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Entries in the log.
    pub entries: u64,
    /// Those that break a rule and have no effect.
    pub void_entries: u64,
    /// Points that exist.
    pub points: u64,
    /// Entries that the catalog got from the target.
    pub into_catalog: u64,
    /// Entries that the target got from the catalog.
    pub into_target: u64,
    /// Whether the log was moved out of the target.
    pub moved: bool,
}

/// Fills `catalog` from the copy of the log in `objects`, and the copy from the catalog, whichever lacks something. Others may work on the
/// repository meanwhile, but not with another catalog.
///
/// # Errors
/// [`Kind::Conflict`] if catalog and target have different entries of one number; [`Kind::Corrupt`] if entries are in neither, or one is damaged or not signed by whom
/// it must be; [`Kind::WrongKey`]. Nothing is written then. [`Kind::Invalid`] if the log lies in the target itself and was not to be moved.
pub async fn rebuild(
    objects: Arc<dyn ObjectStore>,
    catalog: Arc<dyn ManifestCatalog>,
    secret: &Secret,
    options: &RebuildOptions,
) -> Result<Rebuilt> {
    let (described, hash) = described(&*objects).await?;
    let target = Target::new(Arc::clone(&objects));
    let master = keyslots::open(&target, secret, &described.repository, &options.env).await?;
    let signer = signer(&master, &described)?;
    let both = Both {
        described,
        hash,
        mirror: Mirror::new(Arc::clone(&objects)),
        objects,
        catalog,
    };
    let mut survey = both.survey().await?;
    let moved = survey.state.log == LogHome::Target;
    if moved {
        if !options.move_log {
            return Err(Error::new(
                Kind::Invalid,
                OPERATION,
                "the commit log of this repository lies in the target itself and needs no catalog; `--move-log` moves it there",
            ));
        }
        let id = both.described.repository;
        let records = records(&master, id, &both.described.parameters);
        let by = seal_text(&records, id, &options.who, &options.env)?;
        let log = Log::new(
            &target,
            both.described.verifier,
            options.env.clone(),
            None,
            survey.state,
        );
        let author = Author {
            session: None,
            signer: &signer,
        };
        let to = LogHome::Catalog;
        log.append(author, |_| Ok(Action::LogMoved { to, by: by.clone() }))
            .await?;
        survey = both.survey().await?;
    }
    both.fill(&survey).await?;
    let Survey { state, from, lost } = survey;
    Ok(Rebuilt {
        entries: state.next,
        void_entries: state.void.len() as u64,
        points: state.points.values().filter(|p| !p.forgotten).count() as u64,
        into_catalog: state.next - from,
        into_target: lost.len() as u64,
        moved,
    })
}

/// The log in two places.
struct Both {
    described: Described,
    hash: ObjectHash,
    objects: Arc<dyn ObjectStore>,
    mirror: Mirror,
    catalog: Arc<dyn ManifestCatalog>,
}

/// What there is, in both places together.
struct Survey {
    state: State,
    /// The catalog has the entries below this number.
    from: u64,
    /// The target lacks these, all of which the catalog has.
    lost: BTreeSet<u64>,
}

impl Both {
    /// Reads and checks the log, entry by entry from whichever place has it.
    async fn survey(&self) -> Result<Survey> {
        let listed = &self.listed().await?;
        let mut state: Option<State> = None;
        let mut from = 0;
        let mut lost = BTreeSet::new();
        loop {
            let next = state.as_ref().map_or(0, |s| s.next);
            let ordered = self.catalog.read(next, BATCH).await?;
            from += ordered.len() as u64;
            let copies = (next..).take(BATCH).map(|number| async move {
                match listed.contains(&number) {
                    true => self.mirror.get(number).await,
                    false => Ok(None),
                }
            });
            let copies = try_join_all(copies).await?;
            let mut ordered = ordered.into_iter();
            let before = next;
            for (number, copy) in (next..).zip(copies) {
                let entry = match (ordered.next(), copy) {
                    (Some(entry), Some(copy)) if entry != copy => return Err(differ(number)),
                    (Some(entry), Some(_)) => entry,
                    (Some(entry), None) => {
                        lost.insert(number);
                        entry
                    }
                    (None, Some(copy)) => copy,
                    (None, None) => break,
                };
                self.fold(&mut state, number, &entry)?;
            }
            if state.as_ref().map_or(0, |s| s.next) < before + BATCH as u64 {
                break;
            }
        }
        let next = state.as_ref().map_or(0, |s| s.next);
        let behind: Vec<&u64> = listed.range(next..).collect();
        match (state, behind.as_slice()) {
            (Some(state), []) => Ok(Survey { state, from, lost }),
            (None, []) => Err(Error::new(
                Kind::Corrupt,
                OPERATION,
                "there is raksha.json, and neither the target nor the catalog has any log: the repository was never finished, or both were lost",
            )),
            (_, [first, ..]) => Err(missing(listed, next, **first)),
        }
    }

    fn fold(&self, state: &mut Option<State>, number: u64, entry: &Bytes) -> Result<()> {
        let signed = Entry::decode(number, entry)?;
        let verifier = &self.described.verifier;
        match state {
            Some(state) => state.fold(&signed, verifier),
            None => {
                *state = Some(State::begin(&signed, verifier, self.hash)?);
                Ok(())
            }
        }
    }

    /// Numbers of the entries that the target has.
    async fn listed(&self) -> Result<BTreeSet<u64>> {
        let listed = list(&*self.objects, LOG).await?;
        let numbers = listed.iter().filter_map(|location| {
            let number: u64 = location.filename()?.parse().ok()?;
            (*location == ObjectCatalog::location(number)).then_some(number)
        });
        Ok(numbers.collect())
    }

    /// Copies what was found, both ways.
    async fn fill(&self, survey: &Survey) -> Result<()> {
        for number in &survey.lost {
            let found = self.catalog.read(*number, 1).await?;
            let entry = found.into_iter().next().ok_or_else(|| vanished(*number))?;
            self.mirror.put(*number, entry).await?;
        }
        for number in survey.from..survey.state.next {
            let copy = self.mirror.get(number).await?;
            let copy = copy.ok_or_else(|| vanished(number))?;
            match self.catalog.append(number, copy.clone()).await? {
                Appended::Done => {}
                // Another rebuild, perhaps: then it is the same.
                Appended::Taken => {
                    if self.catalog.read(number, 1).await?.first() != Some(&copy) {
                        return Err(differ(number));
                    }
                }
            }
        }
        Ok(())
    }
}

fn differ(number: u64) -> Error {
    Error::new(
        Kind::Conflict,
        OPERATION,
        "the catalog has another entry of this number than the target: it is the log of something else, or both went on without each other; \
         rebuild into an empty catalog if the target is right",
    )
    .with("entry", number)
    .retryable(false)
}

fn vanished(number: u64) -> Error {
    Error::new(
        Kind::NotFound,
        OPERATION,
        "an entry that was there is gone: somebody deletes in target or catalog",
    )
    .with("entry", number)
}

/// Entries from `next` on are in neither place, although the target has later ones.
fn missing(listed: &BTreeSet<u64>, next: u64, later: u64) -> Error {
    let last = listed.last().copied().unwrap_or(later);
    let gaps = (next..last).filter(|number| !listed.contains(number));
    let named: Vec<String> = gaps.take(NAMED).map(|number| number.to_string()).collect();
    Error::new(
        Kind::Corrupt,
        OPERATION,
        "entries are missing in the target, and later ones are there: copy them back from a replica of the target, under the same names",
    )
    .with("missing", named.join(", "))
    .with("last entry", last)
}
