//! Hooks: what is called before the disks of a run are taken and after, so that an application can hold its writes meanwhile.
//!
//! An operator publishes hooks by their names; the owner of a job chooses from them, and can make nothing else be called. That a hook is to be called is
//! recorded before, like whatever a run makes in the cloud: however a run ends, what was called before the disks were taken is called after, at the latest
//! by [`Raksha::reap`](super::Raksha::reap).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::backup::Backup;
use super::event::Warning;
use super::raksha::Raksha;
use crate::cloud::{Consistency, ConsistencyLedger, Recorder, ResourceGraph, Temporary};
use crate::error::{Error, Kind, Result};
use crate::id::{JobId, ProjectId, RunId, ServerId};
use crate::store::{IfHookFails, JobHook};
use crate::time::Timestamp;

/// The kind under which a hook is recorded that was called before and not yet after.
pub(super) const KIND: &str = "hook";

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the first disk is taken.
    Before,
    /// When all are taken, or will not be.
    After,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HookCall {
    /// Its name.
    pub hook: String,
    /// When it is called.
    pub moment: Moment,
    /// Whose run it is.
    pub project: ProjectId,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: RunId,
    /// The servers whose disks are taken, and what their owner calls them.
    pub servers: Vec<(ServerId, String)>,
}

/// A hook that a job may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedHook {
    /// Its name.
    pub name: String,
    /// What it does, for those who choose.
    pub description: String,
    /// How long one call of it may take.
    pub within: Duration,
    /// The level at which all disks of the servers are between its calls, on the operator's word; none if that is left open.
    pub holds: Option<Consistency>,
}

/// What hooks hold while disks are taken.
#[derive(Debug)]
pub(super) struct Held {
    since: Timestamp,
    by: Vec<Holder>,
}

/// A hook that holds something.
#[derive(Debug)]
struct Holder {
    hook: String,
    /// Under which its call is recorded.
    marker: String,
    level: Consistency,
}

impl Held {
    /// The level that is held.
    pub(super) fn level(&self) -> Consistency {
        let levels = self.by.iter().map(|hook| hook.level);
        levels.max().unwrap_or_default()
    }

    /// Has the ledger say what was held until now, where it is more than what the cloud did by itself.
    pub(super) fn enter(&self, ledger: &mut ConsistencyLedger, now: Timestamp) {
        let best = self.by.iter().max_by_key(|hook| hook.level);
        let Some(best) = best.filter(|hook| hook.level > ledger.reached()) else {
            return;
        };
        for disk in &mut ledger.disks {
            disk.level = disk.level.max(best.level);
            disk.means = format!("{}; all held by the hook {}", disk.means, best.hook);
            disk.freeze = Some(now.since(self.since));
        }
        // Nothing was written between the first disk and the last.
        ledger.skew = Duration::ZERO;
    }
}

/// The hooks that an operator publishes.
#[async_trait]
pub trait Hooks: Send + Sync + fmt::Debug {
    /// All of them.
    fn published(&self) -> Vec<PublishedHook>;

    /// Calls one.
    ///
    /// # Contract
    /// Dropping the future ends the call. A call after may come more than once, from another process than the call before, and also if that one had no
    /// effect. The first call after of a hook that [holds](PublishedHook::holds) something fails if it could not hold it until then.
    async fn call(&self, call: &HookCall) -> Result<()>;
}

impl Raksha {
    /// Refuses hooks that are not published.
    pub(super) fn know_hooks(&self, action: &'static str, hooks: &[JobHook]) -> Result<()> {
        let mut names = hooks.iter().map(|hook| &hook.name);
        names.try_for_each(|name| self.published_hook(action, name).map(drop))
    }

    /// Those who can call a hook, and what they publish of it.
    fn published_hook(
        &self,
        action: &'static str,
        name: &str,
    ) -> Result<(&dyn Hooks, PublishedHook)> {
        let hooks = self.hooks.as_deref();
        let published = hooks.map_or(Vec::new(), Hooks::published);
        let found = published.iter().find(|hook| hook.name == name);
        if let (Some(hooks), Some(found)) = (hooks, found) {
            return Ok((hooks, found.clone()));
        }
        let names: Vec<&str> = published.iter().map(|hook| hook.name.as_str()).collect();
        let message = match names.is_empty() {
            true => "no hooks are published here: ask the operator, or leave it out".to_owned(),
            false => format!(
                "no hook of this name is published: choose from {}",
                names.join(", ")
            ),
        };
        Err(Error::new(Kind::NotFound, action, message).with("hook", name))
    }

    /// Calls a hook, within its time. Gives what it holds.
    async fn call_hook(&self, call: &HookCall) -> Result<Option<Consistency>> {
        let (hooks, PublishedHook { within, holds, .. }) =
            self.published_hook("call hook", &call.hook)?;
        let ended = match tokio::time::timeout(within, hooks.call(call)).await {
            Ok(ended) => ended,
            Err(_) => {
                let message = format!("it took longer than {within:?}, and was stopped");
                Err(Error::new(Kind::Timeout, "call hook", message))
            }
        };
        let ended = ended.map_err(|error| {
            error
                .with("hook", &call.hook)
                .with("moment", call.moment)
                .with("run", call.run)
        });
        ended.map(|()| holds)
    }

    /// Calls what is recorded after, and so releases it.
    pub(super) async fn release_hook(&self, temporary: &Temporary) -> Result<()> {
        let call = HookCall::deserialize(&temporary.detail).map_err(|source| {
            Error::new(Kind::Corrupt, "call hook", "its record cannot be read")
                .with("marker", &temporary.marker)
                .caused_by(source)
        })?;
        self.call_hook(&call).await.map(drop)
    }
}

impl Backup<'_> {
    /// The level that the job's hooks promise to hold.
    pub(super) fn promised(&self) -> Consistency {
        let hooks = self.job.hooks.iter();
        let published =
            hooks.filter_map(|hook| self.raksha.published_hook("run job", &hook.name).ok());
        let levels = published.filter_map(|(_, hook)| hook.holds);
        levels.max().unwrap_or_default()
    }

    /// Calls the hooks of the job, in order, before the disks are taken. Gives what they hold from now on.
    pub(super) async fn call_before(&self, graph: &ResourceGraph) -> Result<Held> {
        let mut held = Held {
            since: self.raksha.env().now(),
            by: Vec::new(),
        };
        for (n, hook) in self.job.hooks.iter().enumerate() {
            let servers = graph.servers.iter();
            let mut call = HookCall {
                hook: hook.name.clone(),
                moment: Moment::After,
                project: self.job.project.clone(),
                job: self.job.id,
                run: self.run,
                servers: servers.map(|s| (s.id.clone(), s.name.clone())).collect(),
            };
            let detail = serde_json::to_value(&call).map_err(|source| {
                Error::new(Kind::Internal, "call hook", "it cannot be recorded").caused_by(source)
            })?;
            let temporary = Temporary {
                marker: format!("raksha-{}-hook-{n}", self.run),
                kind: KIND.to_owned(),
                id: None,
                detail,
            };
            self.record.record(&temporary).await?;
            call.moment = Moment::Before;
            let called = self.raksha.call_hook(&call).await;
            match (called, hook.if_fails) {
                (Ok(None), _) => {}
                (Ok(Some(level)), _) => held.by.push(Holder {
                    hook: call.hook,
                    marker: temporary.marker,
                    level,
                }),
                (Err(error), IfHookFails::Refuse) => return Err(error),
                (Err(error), IfHookFails::Warn) => self.feed.warn(Warning::Hook {
                    reason: error.to_string(),
                }),
            }
        }
        Ok(held)
    }

    /// Calls those that were called before, the last first. One that fails stays recorded, and is called again when the run cleans up. It is told now, since
    /// that may be long after; and whatever it held counts for nothing.
    pub(super) async fn call_after(&self, held: Option<&mut Held>) {
        if self.job.hooks.is_empty() {
            return;
        }
        let released = (self.record)
            .release(self.raksha, |temporary| temporary.kind != KIND)
            .await;
        if let Some(held) = held {
            let gone = |marker: &str| released.gone.iter().any(|t| t.marker == marker);
            held.by.retain(|hook| gone(&hook.marker));
        }
        for left in released.left {
            self.feed.warn(Warning::Hook {
                reason: left.error.to_string(),
            });
        }
    }
}
