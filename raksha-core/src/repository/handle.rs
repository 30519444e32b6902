//! The handle on an open repository.

use std::sync::Arc;

use serde::Serialize;

use super::collect::{CollectOptions, Collected, collect};
use super::entry::{Action, Purpose};
use super::parameters::Parameters;
use super::reader::PointReader;
use super::shared::Shared;
use super::target::Target;
use super::verify::Verified;
use super::verify_deep::{VerifyOptions, verify};
use super::writer::Writer;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RepositoryId, SessionId};
use crate::point::{ListedPoint, RecoveryPoint};
use crate::time::Timestamp;

/// An open repository. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(super) shared: Arc<Shared>,
}

/// What a repository holds, as far as the log tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Points.
    pub points: u64,
    /// The size of all their disks, holes included.
    pub logical_bytes: u64,
    /// Live packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Chunks, counted once for each pack that holds them.
    pub chunks: u64,
    /// Live index objects.
    pub indexes: u64,
    /// Their bytes.
    pub index_bytes: u64,
    /// Entries in the log.
    pub log_entries: u64,
    /// Entries that broke a rule and have no effect.
    pub void_entries: u64,
    /// Sessions that are open.
    pub open_sessions: u64,
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// What it is for.
    pub purpose: Purpose,
    /// Who it said it is.
    pub by: String,
    /// When it last appended something to the log, by its own clock.
    pub seen: Timestamp,
}

/// Something that happened to a repository, as its log tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happened {
    /// The number of the log entry.
    pub number: u64,
    /// When, by the clock of whoever did it.
    pub time: Timestamp,
    /// The session that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Who did it, where the entry says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What.
    pub action: Action,
}

impl Repository {
    pub(super) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Its id.
    pub fn id(&self) -> RepositoryId {
        self.shared.id
    }

    /// What it was made with.
    pub fn parameters(&self) -> &Parameters {
        &self.shared.parameters
    }

    /// The outside world that it was opened with.
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// The target that it lies in.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// The share of the memory that is for reading and writing disks.
    pub fn budget(&self) -> &crate::budget::Budget {
        self.shared.shares.disks()
    }

    /// All points, in the order in which they were made.
    pub async fn points(&self) -> Result<Vec<ListedPoint>> {
        let state = self.shared.refresh().await?;
        let live = state.points.iter().filter(|(_, p)| !p.forgotten);
        let listed = live.map(|(id, point)| {
            let summary = self.shared.open_summary(&point.summary)?;
            Ok(ListedPoint {
                id: *id,
                summary,
                held: point.held,
            })
        });
        let mut points: Vec<ListedPoint> = listed.collect::<Result<_>>()?;
        points.sort_by_key(|p| (p.summary.taken, p.id));
        Ok(points)
    }

    /// The point whose id begins with `prefix`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if there are several.
    pub async fn find_point(&self, prefix: &str) -> Result<PointId> {
        let state = self.shared.refresh().await?;
        let none = || {
            Error::new(
                Kind::NotFound,
                "find recovery point",
                "no point has an id that begins so",
            )
            .with("id", prefix)
        };
        if prefix.is_empty() {
            return Err(none());
        }
        // Ids are ordered as their digits are.
        let lowest = format!("{prefix:0<64}").parse::<PointId>();
        let from = lowest.map_err(|_| none())?;
        let begins_so = |id: &PointId| id.to_string().starts_with(prefix);
        let mut found = state
            .points
            .range(from..)
            .take_while(|(id, _)| begins_so(id))
            .filter(|(_, point)| !point.forgotten)
            .map(|(id, _)| *id);
        let first = found.next().ok_or_else(none)?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(Error::new(
                Kind::Invalid,
                "find recovery point",
                "several points have an id that begins so: give more digits",
            )
            .with("id", prefix)),
        }
    }

    /// The point with this id.
    pub async fn point(&self, id: PointId) -> Result<RecoveryPoint> {
        let state = self.shared.refresh().await?;
        state.live_point(&id)?;
        self.shared.load_point(&state, &id).await
    }

    /// Begins to write, as `who`. The points `pins` stay whole until the writer is closed: so their disks can serve as a base.
    pub async fn write(&self, pins: &[PointId], who: &str) -> Result<Writer> {
        Writer::open(Arc::clone(&self.shared), pins, who).await
    }

    /// Begins to read `points`, as `who`. They stay whole until the reader is closed, unless the target takes no pins: see [`PointReader`].
    pub async fn read(&self, points: &[PointId], who: &str) -> Result<PointReader> {
        PointReader::open(Arc::clone(&self.shared), points, who).await
    }

    /// Gives up points: all of them, or none if one does not exist or is held. Their bytes are freed by [`collect`](Self::collect).
    pub async fn forget(&self, points: &[PointId], who: &str) -> Result<()> {
        let by = self.shared.seal_text(who)?;
        self.append(|| Action::PointsForgotten {
            points: points.to_vec(),
            by: by.clone(),
        })
        .await
    }

    /// Forbids or allows again to forget a point.
    pub async fn hold(&self, point: PointId, held: bool, who: &str) -> Result<()> {
        let by = self.shared.seal_text(who)?;
        self.append(|| match held {
            true => Action::HoldSet {
                point,
                by: by.clone(),
            },
            false => Action::HoldLifted {
                point,
                by: by.clone(),
            },
        })
        .await
    }

    /// Fences off a session that is taken for dead: nothing that it does has an effect any more.
    pub async fn fence(&self, session: SessionId, who: &str) -> Result<()> {
        self.shared.fence(session, who).await
    }

    /// Finds and retires packs that no point needs, and deletes what may be deleted. Writers and readers go on meanwhile.
    pub async fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        collect(&self.shared, options).await
    }

    /// Verifies with the key: everything that [`verify_keyless`](super::verify_keyless) does, and every chunk, point and disk tree; or single points.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if a point that is asked for does not exist. Damage is no error: it is what is found.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Verified> {
        verify(&self.shared, options).await
    }

    /// What the repository holds.
    pub async fn stats(&self) -> Result<Stats> {
        let state = self.shared.refresh().await?;
        let points = self.points().await?;
        Ok(Stats {
            points: points.len() as u64,
            logical_bytes: points.iter().map(|p| p.summary.counts.logical_bytes).sum(),
            packs: state.packs.len() as u64,
            pack_bytes: state.packs.values().map(|p| p.bytes).sum(),
            chunks: self.shared.lookup.view().len(),
            indexes: state.indexes.len() as u64,
            index_bytes: state.indexes.values().map(|i| i.bytes).sum(),
            log_entries: state.next,
            void_entries: state.void.len() as u64,
            open_sessions: state.sessions.len() as u64,
        })
    }

    /// Sessions that are open: under way, or crashed.
    pub async fn sessions(&self) -> Result<Vec<OpenSession>> {
        let state = self.shared.refresh().await?;
        let open = state.sessions.iter().map(|(id, session)| {
            Ok(OpenSession {
                id: *id,
                purpose: session.purpose,
                by: self.shared.open_text(&session.by)?,
                seen: session.seen,
            })
        });
        open.collect()
    }

    /// What happened to the repository from log entry `number` on, at most `limit` entries.
    pub async fn history(&self, number: u64, limit: usize) -> Result<Vec<Happened>> {
        let entries = self.shared.target.catalog.read(number, limit).await?;
        let happened = (number..).zip(entries).map(|(number, bytes)| {
            let entry = super::entry::Entry::decode(number, &bytes)?.entry;
            let by = match &entry.action {
                Action::SessionOpened { by, .. }
                | Action::SessionFenced { by, .. }
                | Action::PointsForgotten { by, .. }
                | Action::HoldSet { by, .. }
                | Action::HoldLifted { by, .. }
                | Action::LogMoved { by, .. }
                | Action::KeysChanged { by, .. } => Some(self.shared.open_text(by)?),
                _ => None,
            };
            Ok(Happened {
                number,
                time: entry.time,
                session: entry.session,
                by,
                action: entry.action,
            })
        });
        happened.collect()
    }

    pub(super) async fn append(&self, action: impl Fn() -> Action + Send + Sync) -> Result<()> {
        let author = self.shared.author();
        self.shared.append(author, |_| Ok(action())).await.map(drop)
    }
}
