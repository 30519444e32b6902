//! When jobs run: schedules in time zones, backup windows, and what becomes of runs that were missed.
//!
//! Everything here is a pure function of a schedule and of times that the caller gives. Nothing waits and nothing looks at a clock; who does,
//! is in [`work`](crate::work).
//!
//! A *due time* is an instant at which a [`Schedule`] says that a run is due. It may *begin* a little later, by the job's
//! [jitter](Schedule::jitter), or when the [backup window](Window) opens.
//!
//! # Clocks that are put forward and back
//!
//! A cron expression speaks of clocks on the wall. When they are put forward, some times of day do not come: what would be due then is due once, at
//! the instant at which the clocks are put forward. When they are put back, some times come twice: what is due then is due once, the first
//! time. So a job that is due at 02:30 each night runs exactly once each night. The price is that an expression such as `*/15 * * * *` pauses
//! for the hour that comes again; an [interval](Trigger::Interval) knows nothing of clocks on the wall.

mod cron;
mod rule;
#[cfg(test)]
mod tests;
mod window;
mod zone;

pub use cron::Cron;
pub use rule::{Admission, MissReason, MissedRuns, Schedule, Trigger};
pub use window::{Outside, TimeOfDay, Window};
pub use zone::Zone;
