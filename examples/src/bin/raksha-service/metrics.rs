//! Metrics for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raksha_core::Result;
use raksha_core::objective::ObjectiveState;
use raksha_core::protect::{Event, Life, Lives, Phase};
use raksha_core::store::{DueState, RunCounts, RunOutcome, RunState};
use raksha_core::work::{Happening, WorkEvents};
use tokio::time::Instant;

use crate::acting::Acting;
use crate::call::{Call, Reply};

/// Due runs of a project that are looked at.
const DUE: usize = 10_000;

/// What was counted since the process began.
#[derive(Default)]
pub struct Metrics(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// By operation and status: how many, and their seconds.
    requests: BTreeMap<(&'static str, u16), (u64, f64)>,
    /// By what ended, and how.
    ended: BTreeMap<(&'static str, &'static str), u64>,
    /// By phase: how often, and its seconds.
    phases: BTreeMap<Phase, (u64, f64)>,
    read: RunCounts,
    written_bytes: u64,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    pub fn request(&self, operation: &'static str, status: u16, took: Duration) {
        let mut counted = self.lock();
        let (count, seconds) = counted.requests.entry((operation, status)).or_default();
        *count += 1;
        *seconds += took.as_secs_f64();
    }

    /// Counts a run or restore that ended.
    pub fn ended(&self, what: &'static str, outcome: &'static str) {
        *self.lock().ended.entry((what, outcome)).or_default() += 1;
    }

    /// Follows what lives in this process, for as long as anything can.
    pub async fn follow(&self, mut lives: Lives) {
        let mut phases: BTreeMap<String, (Phase, Instant)> = BTreeMap::new();
        while let Some((id, life)) = lives.next().await {
            let over = match &life {
                Life::Event(Event::Phase { phase }) => phases.insert(id, (*phase, Instant::now())),
                Life::Event(Event::DiskDone { counts, .. }) => {
                    let reads = phases
                        .get(&id)
                        .is_some_and(|(phase, _)| *phase == Phase::Reading);
                    match reads {
                        true => self.lock().read += *counts,
                        false => self.lock().written_bytes += counts.logical_bytes,
                    }
                    None
                }
                Life::Over => phases.remove(&id),
                _ => None,
            };
            if let Some((phase, since)) = over {
                let mut counted = self.lock();
                let (count, seconds) = counted.phases.entry(phase).or_default();
                *count += 1;
                *seconds += since.elapsed().as_secs_f64();
            }
        }
    }

    /// Follows a worker.
    pub async fn follow_worker(&self, mut events: WorkEvents) {
        while let Some(event) = events.next().await {
            match event.what {
                Happening::Ended { outcome, .. } => self.ended(
                    "run",
                    match outcome {
                        RunOutcome::Succeeded { .. } => "succeeded",
                        RunOutcome::Failed { .. } => "failed",
                        RunOutcome::Cancelled => "cancelled",
                    },
                ),
                Happening::Missed { .. } => self.ended("run", "missed"),
                Happening::Failed { .. } => self.ended("run", "not_begun"),
                _ => {}
            }
        }
    }

    /// What was counted, as text.
    fn counted(&self, text: &mut Text) {
        let counted = self.lock();
        text.family(
            "raksha_http_requests_total",
            "counter",
            "Requests, by operation and status",
        );
        for ((operation, status), (count, _)) in &counted.requests {
            let status = status.to_string();
            let labels = [("operation", *operation), ("status", status.as_str())];
            text.line("raksha_http_requests_total", &labels, *count as f64);
        }
        text.family(
            "raksha_http_request_seconds_total",
            "counter",
            "What they took",
        );
        for ((operation, status), (_, seconds)) in &counted.requests {
            let status = status.to_string();
            let labels = [("operation", *operation), ("status", status.as_str())];
            text.line("raksha_http_request_seconds_total", &labels, *seconds);
        }
        text.family(
            "raksha_ended_total",
            "counter",
            "Runs and restores of this process that ended",
        );
        for ((what, outcome), count) in &counted.ended {
            text.line(
                "raksha_ended_total",
                &[("what", what), ("outcome", outcome)],
                *count as f64,
            );
        }
        text.family(
            "raksha_phase_seconds_total",
            "counter",
            "Time spent in each phase of runs and restores",
        );
        for (phase, (_, seconds)) in &counted.phases {
            text.line(
                "raksha_phase_seconds_total",
                &[("phase", name(*phase).as_str())],
                *seconds,
            );
        }
        text.family(
            "raksha_phases_total",
            "counter",
            "How often each phase was gone through",
        );
        for (phase, (count, _)) in &counted.phases {
            text.line(
                "raksha_phases_total",
                &[("phase", name(*phase).as_str())],
                *count as f64,
            );
        }
        text.family("raksha_run_bytes_total", "counter", "Bytes of disks that were backed up: their size, what was read, what was new, and what that takes in the target");
        let RunCounts {
            logical_bytes,
            read_bytes,
            new_bytes,
            stored_bytes,
        } = counted.read;
        for (kind, bytes) in [
            ("logical", logical_bytes),
            ("read", read_bytes),
            ("new", new_bytes),
            ("stored", stored_bytes),
        ] {
            text.line("raksha_run_bytes_total", &[("kind", kind)], bytes as f64);
        }
        text.family(
            "raksha_restored_bytes_total",
            "counter",
            "Bytes of disks that were written by restores",
        );
        text.line(
            "raksha_restored_bytes_total",
            &[],
            counted.written_bytes as f64,
        );
    }
}

fn name(phase: Phase) -> String {
    phase.to_string().replace(' ', "_")
}

/// What the job store knows, for all projects.
async fn stored(acting: &Acting, text: &mut Text) -> Result<()> {
    let now = acting.jobs.now().await?;
    let (mut waiting, mut leased) = (0u64, 0u64);
    let (mut success, mut age, mut objectives) = (Vec::new(), Vec::new(), Vec::new());
    let mut states: BTreeMap<&'static str, u64> =
        BTreeMap::from([("met", 0), ("at_risk", 0), ("late", 0)]);
    for project in acting.jobs.projects().await? {
        for due in acting.jobs.due_runs(&project, None, DUE).await? {
            match due.state {
                DueState::Waiting => waiting += 1,
                DueState::Leased { .. } => leased += 1,
                DueState::Ended { .. } => {}
            }
        }
        let runs = acting.jobs.runs(&project, None).await?;
        for job in acting.jobs.jobs(&project).await? {
            let labels = [
                ("project", project.to_string()),
                ("job", job.id.to_string()),
                ("name", job.name.clone()),
            ];
            let newest = runs.iter().find_map(|run| match &run.state {
                RunState::Ended {
                    at,
                    outcome: RunOutcome::Succeeded { .. },
                } if run.job == job.id => Some(*at),
                _ => None,
            });
            if let Some(at) = newest {
                success.push((labels.clone(), at.as_millis() as f64 / 1000.0));
            }
            let protection = acting.jobs.tracking(&project, job.id).await?.protection;
            if let Some(verified) = protection.verified {
                age.push((labels.clone(), now.since(verified.taken).as_secs_f64()));
            }
            let Some(objective) = job.objective else {
                continue;
            };
            // As things stand, and not as a worker found them when it last looked.
            let newest = protection
                .verified
                .map_or(job.created, |verified| verified.taken);
            let (state, number) = match objective.state(newest, now) {
                ObjectiveState::Met => ("met", 0.0),
                ObjectiveState::AtRisk => ("at_risk", 1.0),
                ObjectiveState::Late => ("late", 2.0),
            };
            *states.entry(state).or_default() += 1;
            objectives.push((labels, number));
        }
    }
    for (family, help, values) in [
        (
            "raksha_job_last_success_timestamp_seconds",
            "When the newest run that succeeded ended",
            success,
        ),
        (
            "raksha_job_newest_verified_point_age_seconds",
            "How old the newest verified point is",
            age,
        ),
        (
            "raksha_job_objective_state",
            "How the job stands to its objective: 0 met, 1 at risk, 2 late",
            objectives,
        ),
    ] {
        text.family(family, "gauge", help);
        for (labels, value) in values {
            let labels = labels
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            text.line(family, &labels, value);
        }
    }
    text.family(
        "raksha_objectives",
        "gauge",
        "Jobs with an objective, by how they stand to it",
    );
    for (state, count) in states {
        text.line("raksha_objectives", &[("state", state)], count as f64);
    }
    text.family(
        "raksha_queue_length",
        "gauge",
        "Runs that are due: waiting for their time or a worker, and under way",
    );
    text.line(
        "raksha_queue_length",
        &[("state", "waiting")],
        waiting as f64,
    );
    text.line("raksha_queue_length", &[("state", "leased")], leased as f64);
    Ok(())
}

pub async fn show(call: Call) -> Result<Reply> {
    let mut text = Text(String::new());
    let acting = &call.app.acting;
    stored(acting, &mut text).await?;
    text.family(
        "raksha_under_way",
        "gauge",
        "Runs and restores that live in this process",
    );
    text.line("raksha_under_way", &[], acting.alive.count() as f64);
    call.app.metrics.counted(&mut text);
    Ok(Reply::text(
        "text/plain; version=0.0.4; charset=utf-8",
        text.0,
    ))
}

/// The text format.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes whatever is written to it.
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut text = Text(String::new());
        text.line("m", &[("name", "a\"} 1\nm{x=\"\\")], 0.5);
        assert_eq!(text.0, "m{name=\"a\\\"} 1\\nm{x=\\\"\\\\\"} 0.5\n");
        assert_eq!(text.0.lines().count(), 1);
    }
}
