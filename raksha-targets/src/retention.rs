//! Write-once targets: objects that nobody can delete before their time, and how that time is kept ahead of what needs them.
//!
//! A repository shares packs among points, so a new point needs packs that are old, and whose time may be up long before its own. It is safe until the
//! earliest time of all that it needs: its *horizon*. [`keep`] moves the horizons of all points forward.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use raksha_core::id::PointId;
use raksha_core::repository::Repository;
use raksha_core::{Result, Timestamp};
use serde::Serialize;

/// Requests under way at once.
const AT_ONCE: usize = 8;

/// How an object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Until when nobody deletes or replaces what there is.
    pub until: Timestamp,
    /// Whether that binds everybody (S3's compliance mode), or all but those who have a right of their own to lift it (governance).
    pub binds_all: bool,
}

/// A target that can keep objects from being deleted until some time.
#[async_trait]
pub trait Retention: fmt::Debug + Send + Sync {
    /// How the object is kept; none if it is not.
    ///
    /// # Errors
    /// [`Kind::NotFound`](raksha_core::Kind::NotFound) if there is no such object, [`Kind::Unsupported`](raksha_core::Kind::Unsupported) if nothing can be kept
    /// here, [`Kind::Denied`](raksha_core::Kind::Denied) if this principal may not ask.
    async fn held(&self, location: &Path) -> Result<Option<Held>>;

    /// Keeps the object like this. Never to be called with less than what is.
    ///
    /// # Errors
    /// As for [`held`](Self::held).
    async fn hold(&self, location: &Path, held: Held) -> Result<()>;
}

/// What [`keep`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Objects that the points need.
    pub objects: u64,
    /// Those of which the time was moved forward.
    pub extended: u64,
    /// Until when each point is safe: the earliest time of all that it needs.
    pub horizons: BTreeMap<PointId, Timestamp>,
}

/// How far [`keep`] goes.
#[derive(Debug, Clone, Copy)]
pub struct KeepOptions {
    /// What is kept at least until then is left as it is; so that not everything is touched each time.
    pub at_least: Timestamp,
    /// What is not is kept until then.
    pub until: Timestamp,
    /// Whether what is moved forward shall bind everybody. What does so already goes on doing so.
    pub binds_all: bool,
}

/// Keeps everything that the points of a repository need, at least as `options` say, and tells the horizon of each. What comes in while it works is
/// kept the next time.
///
/// # Errors
/// The first that comes up; what was extended before it stays so.
pub async fn keep(
    repository: &Repository,
    retention: &dyn Retention,
    options: KeepOptions,
    who: &str,
) -> Result<Kept> {
    let closures = repository.closures(who).await?;
    let all: BTreeSet<&Path> = (closures.points.values().flatten())
        .chain(&closures.common)
        .collect();
    let mut kept = Kept {
        objects: all.len() as u64,
        ..Kept::default()
    };
    let held = stream::iter(all).map(async |location| {
        let (until, extended) = keep_one(retention, location, options).await?;
        Ok::<_, raksha_core::Error>((location, until, extended))
    });
    let held: Vec<_> = held.buffer_unordered(AT_ONCE).try_collect().await?;
    kept.extended = held.iter().filter(|(_, _, extended)| *extended).count() as u64;
    let until: BTreeMap<&Path, Timestamp> = held
        .into_iter()
        .map(|(location, until, _)| (location, until))
        .collect();
    let earliest = |objects: &BTreeSet<Path>| {
        let times = objects.iter().filter_map(|object| until.get(object));
        times.min().copied()
    };
    let common = earliest(&closures.common);
    for (point, objects) in &closures.points {
        let horizon = earliest(objects).into_iter().chain(common).min();
        kept.horizons
            .extend(horizon.map(|horizon| (*point, horizon)));
    }
    Ok(kept)
}

/// Until when the object is kept now, and whether that is new.
async fn keep_one(
    retention: &dyn Retention,
    location: &Path,
    options: KeepOptions,
) -> Result<(Timestamp, bool)> {
    let held = retention.held(location).await?;
    if let Some(held) = held.filter(|held| held.until >= options.at_least) {
        return Ok((held.until, false));
    }
    let more = Held {
        until: options.until.max(options.at_least),
        binds_all: options.binds_all || held.is_some_and(|held| held.binds_all),
    };
    retention.hold(location, more).await?;
    Ok((more.until, true))
}
