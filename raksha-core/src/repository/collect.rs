//! Collecting: find and retire packs that no point needs, then delete what may be deleted.
//!
//! The order of things is what makes it safe, and the [fold](super::fold) enforces the part that matters: mark all that points and pins reach; copy what is
//! live out of packs that are mostly garbage; retire; and only then, judged by a log folded after listing, delete. A crash between any two
//! leaves at worst objects that the next collection deletes. Writers never wait for it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::entry::{Action, Purpose};
use super::fold::State;
use super::lookup::Marks;
use super::names::{ObjectKind, PackName, StoredName};
use super::reach;
use super::session::Session;
use super::shared::Shared;
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, PointId, SessionId};
use crate::store::Role;

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
        let mut marks = shared.lookup.marks();
        mark(shared, &state, &mut marks, &mut HashSet::new()).await?;
        let plan = Plan::make(shared, &state, &marks, options);
        done.retired_packs = plan.retire.len() as u64;
        done.retired_bytes = plan.retire.iter().filter_map(|p| state.packs.get(p)).map(|p| p.bytes).sum();
        done.rewritten_packs = plan.rewrite.len() as u64;
        done.live_bytes = state.packs.values().map(|p| p.bytes).sum::<u64>() - done.retired_bytes;
        return Ok(done);
    }
    if let Some(silence) = options.fence_after {
        done.fenced = fence(shared, silence, &options.who).await?;
    }
    let session = Session::open(Arc::clone(shared), Purpose::Collect, &[], &options.who).await?;
    let outcome = collect_in(&session, options, &mut done).await;
    let closed = session.close().await;
    outcome.and(closed)?;
    if options.delete {
        sweep(shared, &mut done).await?;
    }
    done.live_bytes = shared.log.seen().await.packs.values().map(|p| p.bytes).sum();
    Ok(done)
}

/// Fences off every session that has been silent for longer than `silence`.
async fn fence(shared: &Arc<Shared>, silence: Duration, who: &str) -> Result<Vec<SessionId>> {
    let state = shared.refresh().await?;
    let now = shared.env.now();
    let silent = state.sessions.iter().filter(|(_, s)| now.since(s.seen) > silence);
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

/// Marks, rewrites and retires within an open session.
async fn collect_in(session: &Session, options: &CollectOptions, done: &mut Collected) -> Result<()> {
    let shared = &session.shared;
    let mut marked = HashSet::new();
    let mut marks = shared.lookup.marks();
    let mut state = shared.refresh().await?;
    mark(shared, &state, &mut marks, &mut marked).await?;
    let mut plan = Plan::make(shared, &state, &marks, options);

    let copies = super::rewrite::copy_live(session, &plan.rewrite, &marks).await?;
    done.copied_bytes = copies.bytes;

    loop {
        // Whoever committed since may need what was garbage a moment ago.
        mark(shared, &state, &mut marks, &mut marked).await?;
        let needed = shared.lookup.marked_packs(&marks);
        plan.retire.retain(|pack| {
            state.packs.contains_key(pack)
                && needed.get(pack).is_none_or(|chunks| chunks.iter().all(|id| copies.holds(pack, id)))
        });
        if plan.retire.is_empty() {
            return Ok(());
        }
        let checked = state.next;
        let retire = session
            .append(|_| {
                Ok(Action::PacksRetired {
                    packs: plan.retire.clone(),
                    checked,
                })
            })
            .await;
        match retire {
            Ok((_, after)) => {
                let bytes = plan.retire.iter().filter_map(|p| state.packs.get(p)).map(|p| p.bytes);
                done.retired_bytes = bytes.sum();
                done.retired_packs = plan.retire.len() as u64;
                done.rewritten_packs = plan.retire.iter().filter(|p| plan.rewrite.contains(p)).count() as u64;
                return shared.follow(&after).await;
            }
            Err(e) if e.kind() == Kind::Conflict => state = shared.refresh().await?,
            Err(e) => return Err(e),
        }
    }
}

/// Which packs go.
struct Plan {
    retire: Vec<PackName>,
    /// Those among them that hold live chunks.
    rewrite: Vec<PackName>,
}

impl Plan {
    fn make(shared: &Shared, state: &State, marks: &Marks, options: &CollectOptions) -> Self {
        let usage = shared.lookup.usage(marks);
        let mut plan = Self {
            retire: Vec::new(),
            rewrite: Vec::new(),
        };
        for (name, pack) in &state.packs {
            if state.sessions.contains_key(&name.session) {
                continue;
            }
            let live = usage.get(name).map_or(0, |u| u.live_bytes);
            let wanted = options.rewrite_below * pack.bytes as f64;
            if live == 0 {
                plan.retire.push(*name);
            } else if (live as f64) < wanted {
                plan.retire.push(*name);
                plan.rewrite.push(*name);
            }
        }
        plan
    }
}

/// Marks what the points of `state` reach that are not in `marked` yet.
async fn mark(
    shared: &Shared,
    state: &State,
    marks: &mut Marks,
    marked: &mut HashSet<PointId>,
) -> Result<()> {
    shared.follow(state).await?;
    shared.lookup.grow(marks);
    for (id, _) in &state.points {
        if marked.contains(id) {
            continue;
        }
        let point = shared.load_point(state, id).await?;
        let roots = point.disks.iter().map(|d| d.root);
        reach::walk(&*shared.fetcher, roots, |chunk, role| {
            let Some(found) = shared.lookup.locate(chunk)? else {
                return Err(Error::new(
                    Kind::Corrupt,
                    "collect",
                    "a recovery point needs a chunk that no pack holds; nothing was collected: run verify to see what is damaged",
                )
                .with("point", id)
                .with("chunk", chunk));
            };
            Ok(!marks.mark(found.entry) && role == Role::Tree)
        })
        .await?;
        marked.insert(*id);
    }
    Ok(())
}

/// Deletes what rule 3 allows to.
pub(crate) async fn sweep(shared: &Arc<Shared>, done: &mut Collected) -> Result<()> {
    let objects = &shared.target.objects;
    let mut found: BTreeMap<(ObjectKind, StoredName), Path> = BTreeMap::new();
    for kind in ObjectKind::ALL {
        let prefix = Path::from(kind.prefix());
        let mut listed = objects.list(Some(&prefix));
        while let Some(meta) = listed.next().await {
            let location = meta.map_err(|e| Error::object("list objects", &prefix, e))?.location;
            match StoredName::parse(&location) {
                Some(name) => drop(found.insert(name, location)),
                None => done.foreign_objects.push(location.to_string()),
            }
        }
    }
    // Folded after listing: whoever stored one of these has its session in here.
    let state = shared.refresh().await?;
    let doomed = found.into_iter().filter(|((kind, name), _)| state.deletable(*kind, name));
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

/// Chunks copied out of packs that are to be retired.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) bytes: u64,
    pub(crate) chunks: HashSet<(PackName, ChunkId)>,
}

impl Copies {
    fn holds(&self, pack: &PackName, chunk: &ChunkId) -> bool {
        self.chunks.contains(&(*pack, *chunk))
    }
}
