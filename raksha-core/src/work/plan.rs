//! What is to be queued for a job, and how it stands to its objective: a pure function of what is known and of the time.

use crate::objective::Transition;
use crate::schedule::Admission;
use crate::store::{DueEnd, DueRun, DueState, Tracking};
use crate::time::Timestamp;

/// Due times that are dealt with at once; what remains is dealt with right after.
const BATCH: usize = 256;

/// What is to be done about a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be queued: waiting, or ended if they were missed. In the order in which they are due.
    pub due: Vec<DueRun>,
    /// What happened to the objective since somebody looked.
    pub transitions: Vec<Transition>,
    /// What is known of the job afterwards.
    pub tracking: Tracking,
}

/// Plans a job at the time `now` of the store's clock. Whoever plans it with the same knowledge queues the same due times, and due times that are
/// queued already stay as they are: so the runs come first, then the knowledge that they are queued.
pub fn plan(tracking: &Tracking, now: Timestamp) -> Plan {
    let mut next = tracking.clone();
    let job = &tracking.job;
    let mut due = Vec::new();
    let mut next_due = None;
    if let Some(schedule) = &job.schedule {
        for at in schedule.due_between(tracking.planned, now).take(BATCH) {
            let (ready, state) = match schedule.admit(job.id, at, now) {
                Admission::Start => (schedule.begins(job.id, at).unwrap_or(at), DueState::Waiting),
                Admission::Wait(ready) => (ready, DueState::Waiting),
                Admission::Miss(reason) => {
                    let end = DueEnd::Missed { reason };
                    (at, DueState::Ended { at: now, end })
                }
            };
            due.push(DueRun {
                job: job.id,
                project: job.project.clone(),
                due: at,
                ready,
                placement: job.placement.clone(),
                max_parallel: job.max_parallel,
                token: 0,
                state,
            });
        }
        let last = due.last().map_or(tracking.planned, |last| last.due);
        let whole = due.len() < BATCH;
        next.planned = if whole {
            tracking.planned.max(now)
        } else {
            last
        };
        next_due = schedule.next_due(next.planned);
    } else {
        next.planned = tracking.planned.max(now);
    }
    let (transitions, change) = assess(&mut next, now);
    next.look_at = [next_due, change].into_iter().flatten().min();
    Plan {
        due,
        transitions,
        tracking: next,
    }
}

/// Brings the state of the objective up to date. Gives what happened, and when it will change by itself.
pub(super) fn assess(
    tracking: &mut Tracking,
    now: Timestamp,
) -> (Vec<Transition>, Option<Timestamp>) {
    let Some(objective) = tracking.job.objective else {
        return (Vec::new(), None);
    };
    let protection = &mut tracking.protection;
    let newest = protection
        .verified
        .map_or(tracking.job.created, |verified| verified.taken);
    let transitions = objective.transitions(protection.objective, newest, now);
    protection.objective = objective.state(newest, now);
    (transitions, objective.next_change(newest, now))
}
