//! What the operator publishes, and what a policy would keep.

use std::time::Duration;

use raksha_core::protect::Hooks;
use raksha_core::retention::{Retention, Simulation};
use raksha_core::schedule::Schedule;
use raksha_core::{Error, Kind, Result, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Call, Reply, encode};
use crate::config::Policy;

/// The longest that is simulated, in days.
const LONGEST: u32 = 3660;

fn view(policy: &Policy) -> Result<Value> {
    let mut shown = encode(policy)?;
    shown["in_words"] = json!({
        "schedule": policy.schedule.to_string(),
        "retention": policy.retention.to_string(),
        "objective": policy.objective.map(|objective| objective.to_string()),
    });
    Ok(shown)
}

pub async fn list(call: Call) -> Result<Reply> {
    let shown = call.app.config.policies.iter().map(view);
    Reply::one(200, "policies", &shown.collect::<Result<Vec<_>>>()?)
}

/// The hooks that jobs may choose.
pub async fn hooks(call: Call) -> Result<Reply> {
    let published = call.app.acting.hooks.published();
    let shown = published.iter().map(|hook| {
        let within = hook.within.as_secs();
        json!({ "name": hook.name, "description": hook.description, "within": within, "holds": hook.holds })
    });
    Reply::one(200, "hooks", &shown.collect::<Vec<_>>())
}

#[derive(Deserialize)]
#[serde(default)]
struct Wanted {
    policy: Option<String>,
    schedule: Option<Schedule>,
    retention: Option<Retention>,
    days: u32,
    from: Option<Timestamp>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            policy: None,
            schedule: None,
            retention: None,
            days: 365,
            from: None,
        }
    }
}

pub async fn simulate(call: Call) -> Result<Reply> {
    let wanted = call.json::<Wanted>()?;
    let policy = match &wanted.policy {
        Some(name) => Some(call.app.config.policy(name)?.clone()),
        None => None,
    };
    let (schedule, retention) = match policy {
        Some(policy) => (Some(policy.schedule), policy.retention),
        None => (None, Retention::everything()),
    };
    let invalid = |why: &str| Error::new(Kind::Invalid, "simulate", why);
    let schedule = wanted.schedule.or(schedule);
    let schedule = schedule.ok_or_else(|| invalid("give a schedule, or a policy that has one"))?;
    let retention = wanted.retention.unwrap_or(retention);
    if !(1..=LONGEST).contains(&wanted.days) {
        return Err(invalid("give from 1 to 3660 days").with("days", wanted.days));
    }
    let from = wanted.from.unwrap_or_else(|| call.app.acting.env.now());
    let length = Duration::from_secs(24 * 3600) * wanted.days;
    let words = (schedule.to_string(), retention.to_string());
    // It may take a second of a processor.
    let env = call.app.acting.env.clone();
    let done = env.compute(move || Simulation::run(&retention, &schedule, from, length));
    let simulation = done.await??;
    let mut shown = encode(&simulation)?;
    shown["in_words"] = json!({ "schedule": words.0, "retention": words.1 });
    Reply::one(200, "simulation", &shown)
}
