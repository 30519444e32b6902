//! Collecting: find and retire packs that no point needs, then delete what may be deleted.
//!
//! The order of things is what makes it safe, and the [fold](super::fold) enforces the part that matters: mark all that points and pins reach; copy what is
//! live out of packs that are mostly garbage; retire; and only then, judged by a log folded after listing, delete. A crash between any two
//! leaves at worst objects that the next collection deletes. Writers never wait for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::entry::{Action, Purpose};
use super::fold::State;
use super::locate::locate_many;
use super::lookup::{Marks, PackUsage, View};
use super::merging::merge_indexes;
use super::names::{CHECKPOINTS, ObjectKind, PackName, StoredName};
use super::reach;
use super::reader::PlainSource;
use super::rewrite::copy_live;
use super::session::Session;
use super::shared::Shared;
use super::verify::list;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId, SessionId};
use crate::store::Role;

/// Checkpoints that stay: one may be damaged.
const CHECKPOINTS_KEPT: usize = 3;

/// How to collect.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CollectOptions {
    /// A pack is rewritten when less than this share of its bytes is live; 0 rewrites none.
    pub rewrite_below: f64,
    /// Sessions that have appended nothing for this long are fenced off first: they crashed, or will learn that they have to start anew.
    /// None fences nobody. This is policy and may be wrong about clocks without any harm to data.
    pub fence_after: Option<Duration>,
    /// Whether to delete; otherwise packs are retired only, for a principal that may not delete.
    pub delete: bool,
    /// Whether to change anything at all, or to only count.
    pub dry_run: bool,
    /// So many packs, at least one, are retired by one log entry: it names them all, and has to stay small.
    pub retired_at_once: usize,
    /// Who collects, for the log.
    pub who: String,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            rewrite_below: 0.5,
            fence_after: Some(Duration::from_secs(7 * 24 * 3600)),
            delete: true,
            dry_run: false,
            retired_at_once: 8192,
            who: "collector".into(),
        }
    }
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Sessions that were fenced off.
    pub fenced: Vec<SessionId>,
    /// Packs retired.
    pub retired_packs: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Packs among them whose live chunks were copied to new packs.
    pub rewritten_packs: u64,
    /// The bytes of those copies.
    pub copied_bytes: u64,
    /// Objects deleted.
    pub deleted_objects: u64,
    /// Objects under the repository's prefixes that no version of this library made; they are left alone.
    pub foreign_objects: Vec<String>,
    /// Bytes of live packs when it was done.
    pub live_bytes: u64,
}

/// Collects once.
pub(crate) async fn collect(shared: &Arc<Shared>, options: &CollectOptions) -> Result<Collected> {
    let mut done = Collected::default();
    if options.dry_run {
        let state = shared.refresh().await?;
        let marking = Marking::of(shared, &state).await?;
        let plan = Plan::make(shared, &state, &marking, options).await?;
        done.retired_packs = plan.retire.len() as u64;
        done.retired_bytes = bytes(&plan.retire, &state);
        done.rewritten_packs = plan.rewrite.len() as u64;
        done.live_bytes = state.packs.values().map(|p| p.bytes).sum::<u64>() - done.retired_bytes;
        return Ok(done);
    }
    if let Some(silence) = options.fence_after {
        done.fenced = fence(shared, silence, &options.who).await?;
    }
    let session = Session::open(Arc::clone(shared), Purpose::Collect, &[], &options.who).await?;
    let session = Arc::new(session);
    let outcome = collect_in(&session, options, &mut done).await;
    let closed = session.close().await;
    outcome.and(closed)?;
    if options.delete {
        sweep(shared, &mut done).await?;
        prune_checkpoints(shared).await?;
    }
    done.live_bytes = shared
        .log
        .seen()
        .await
        .packs
        .values()
        .map(|p| p.bytes)
        .sum();
    Ok(done)
}

/// Fences off every session that has been silent for longer than `silence`.
async fn fence(shared: &Arc<Shared>, silence: Duration, who: &str) -> Result<Vec<SessionId>> {
    let state = shared.refresh().await?;
    let now = shared.env.now();
    let silent = state
        .sessions
        .iter()
        .filter(|(_, s)| now.since(s.seen) > silence);
    let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
    let mut fenced = Vec::new();
    for id in silent {
        match shared.fence(id, who).await {
            Ok(()) => fenced.push(id),
            Err(e) if e.kind() == Kind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(fenced)
}

/// Marks, rewrites, retires and tidies up within an open session.
async fn collect_in(
    session: &Arc<Session>,
    options: &CollectOptions,
    done: &mut Collected,
) -> Result<()> {
    let shared = &session.shared;
    let mut state = shared.refresh().await?;
    let mut marking = Marking::of(shared, &state).await?;
    let mut plan = Plan::make(shared, &state, &marking, options).await?;
    let copies = copy_live(session, &plan.rewrite, &marking).await?;
    done.copied_bytes = copies.bytes;
    loop {
        plan.retire = copies
            .still_garbage(shared, &state, &marking, plan.retire)
            .await?;
        if plan.retire.is_empty() {
            break;
        }
        match retire(session, options, &plan, &state, done).await {
            Ok(()) => {
                shared.refresh().await?;
                break;
            }
            // Whoever committed since may need what was garbage a moment ago; whoever retired since may have retired the other copy
            // of what was garbage here.
            Err(e) if e.kind() == Kind::Conflict => {
                let before = state.last_retire;
                state = shared.refresh().await?;
                if state.last_retire == before {
                    marking.extend(shared, &state).await?;
                } else {
                    marking = Marking::of(shared, &state).await?;
                }
            }
            Err(e) => return Err(e),
        }
    }
    merge_indexes(session).await
}

/// Retires what the plan says, which was made of `state`: as many packs with one log entry as it may name.
async fn retire(
    session: &Session,
    options: &CollectOptions,
    plan: &Plan,
    state: &State,
    done: &mut Collected,
) -> Result<()> {
    let rewritten: HashSet<&PackName> = plan.rewrite.iter().collect();
    // As far as the log was folded when the marks were made.
    let mut checked = state.next;
    for packs in plan.retire.chunks(options.retired_at_once.max(1)) {
        let append = session.append(|_| {
            Ok(Action::PacksRetired {
                packs: packs.to_vec(),
                checked,
                damaged: false,
            })
        });
        let (number, _) = append.await?;
        // Had anything been committed or retired since, this entry would have been refused. So all that is new up to here is itself.
        checked = number + 1;
        done.retired_bytes += bytes(packs, state);
        done.retired_packs += packs.len() as u64;
        done.rewritten_packs += packs.iter().filter(|p| rewritten.contains(p)).count() as u64;
    }
    Ok(())
}

/// The bytes of these packs.
fn bytes(packs: &[PackName], state: &State) -> u64 {
    let live = packs.iter().filter_map(|p| state.packs.get(p));
    live.map(|p| p.bytes).sum()
}

/// What points reach, marked in one view of the lookup.
pub(super) struct Marking {
    pub(super) view: Arc<View>,
    pub(super) marks: Arc<Marks>,
    points: HashSet<PointId>,
    /// Tree nodes that are newer than the view: not to be visited twice either.
    newer: HashSet<ChunkId>,
}

impl Marking {
    /// Marks what all points of `state` reach.
    async fn of(shared: &Shared, state: &State) -> Result<Self> {
        let view = shared.lookup.view();
        let mut marking = Self {
            marks: Arc::new(view.marks()),
            view,
            points: HashSet::new(),
            newer: HashSet::new(),
        };
        marking.extend(shared, state).await?;
        Ok(marking)
    }

    /// Marks what points reach that were committed since. Chunks that are newer than the view lie in packs that are newer too: those are not collected this time.
    async fn extend(&mut self, shared: &Shared, state: &State) -> Result<()> {
        for id in state.points.keys() {
            if !self.points.insert(*id) {
                continue;
            }
            if let Err(error) = self.mark(shared, state, id).await {
                // Forgotten and collected by others since: then it needs nothing any more.
                let gone = matches!(error.kind(), Kind::NotFound | Kind::Corrupt)
                    && !shared.refresh().await?.points.contains_key(id);
                if !gone {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn mark(&mut self, shared: &Shared, state: &State, id: &PointId) -> Result<()> {
        let point = shared.load_point(state, id).await?;
        let roots = point.disks.iter().map(|d| d.root);
        let mut marker = Marker {
            marking: self,
            shared,
            state,
            point: id,
        };
        reach::walk(&PlainSource(shared), roots, &mut marker).await
    }

    /// How much of each pack of the view is marked.
    pub(super) async fn usage(&self, shared: &Shared) -> Result<HashMap<PackName, PackUsage>> {
        let (view, marks) = (Arc::clone(&self.view), Arc::clone(&self.marks));
        let usage = shared.env.compute(move || view.usage(&marks)).await??;
        Ok(usage.into_iter().map(|u| (u.pack.name, u)).collect())
    }
}

/// Marks what one point reaches.
struct Marker<'a> {
    marking: &'a mut Marking,
    shared: &'a Shared,
    state: &'a State,
    point: &'a PointId,
}

#[async_trait]
impl reach::Visit for Marker<'_> {
    async fn visit(&mut self, ids: Vec<ChunkId>, role: Role) -> Result<Vec<ChunkId>> {
        let (mut new, mut unknown) = (Vec::new(), Vec::new());
        for (id, found) in locate_many(&self.shared.env, &self.marking.view, ids).await? {
            match found {
                Some(found) => {
                    if !self.marking.marks.mark(found.entry) && role == Role::Tree {
                        new.push(id);
                    }
                }
                None => unknown.push(id),
            }
        }
        let current = self.shared.lookup.view();
        for (id, found) in locate_many(&self.shared.env, &current, unknown).await? {
            if found.is_some() {
                if role == Role::Tree && self.marking.newer.insert(id) {
                    new.push(id);
                }
            // Lost with a damaged pack: there is nothing of it to keep. (Of a lost node nobody knows what it reaches.)
            } else if role == Role::Tree || self.state.last_damage == 0 {
                return Err(Error::new(
                    Kind::Corrupt,
                    "collect",
                    "a recovery point needs a chunk that no pack holds; nothing was collected: run verify to see what is damaged",
                )
                .with("point", self.point)
                .with("chunk", id));
            }
        }
        Ok(new)
    }
}

/// Which packs go.
struct Plan {
    retire: Vec<PackName>,
    /// Those among them that hold live chunks.
    rewrite: Vec<PackName>,
}

impl Plan {
    async fn make(
        shared: &Shared,
        state: &State,
        marking: &Marking,
        options: &CollectOptions,
    ) -> Result<Self> {
        let usage = marking.usage(shared).await?;
        let mut plan = Self {
            retire: Vec::new(),
            rewrite: Vec::new(),
        };
        for name in state.packs.keys() {
            // A pack that is newer than the view is none of this collection's business, nor is one of an open session.
            let Some(used) = usage
                .get(name)
                .filter(|_| !state.sessions.contains_key(&name.session))
            else {
                continue;
            };
            if used.live_records == 0 {
                plan.retire.push(*name);
            } else if (used.live_bytes as f64) < options.rewrite_below * used.bytes as f64 {
                plan.retire.push(*name);
                plan.rewrite.push(*name);
            }
        }
        Ok(plan)
    }
}

/// Deletes what rule 3 allows to.
pub(crate) async fn sweep(shared: &Arc<Shared>, done: &mut Collected) -> Result<()> {
    let objects = &shared.target.objects;
    let mut found: BTreeMap<(ObjectKind, StoredName), Path> = BTreeMap::new();
    for kind in ObjectKind::ALL {
        let prefix = Path::from(kind.prefix());
        let mut listed = objects.list(Some(&prefix));
        while let Some(meta) = listed.next().await {
            let location = meta
                .map_err(|e| Error::object("list objects", &prefix, e))?
                .location;
            match StoredName::parse(&location) {
                Some(name) => drop(found.insert(name, location)),
                None => done.foreign_objects.push(location.to_string()),
            }
        }
    }
    // Folded after listing: whoever stored one of these has its session in here.
    let state = shared.refresh().await?;
    let doomed = found
        .into_iter()
        .filter(|((kind, name), _)| state.deletable(*kind, name));
    let doomed: Vec<_> = doomed.map(|(_, location)| Ok(location)).collect();
    let mut deletions = objects.delete_stream(stream::iter(doomed).boxed());
    loop {
        match deletions.try_next().await {
            Ok(Some(_)) => done.deleted_objects += 1,
            Ok(None) => return Ok(()),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => {
                return Err(Error::object("delete", &Path::from("packs"), e)
                    .with("deleted before", done.deleted_objects));
            }
        }
    }
}

/// Deletes all checkpoints but the newest few. They are an optimisation: whoever is just reading one goes on with the log.
async fn prune_checkpoints(shared: &Shared) -> Result<()> {
    let objects = &shared.target.objects;
    let mut checkpoints = list(&**objects, CHECKPOINTS).await?;
    checkpoints.truncate(checkpoints.len().saturating_sub(CHECKPOINTS_KEPT));
    for location in checkpoints {
        match objects.delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(Error::object("delete checkpoint", &location, e)),
        }
    }
    Ok(())
}
