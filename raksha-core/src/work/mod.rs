//! Workers: stateless processes that run what is due.
//!
//! Any number of [`Worker`]s share one [`JobStore`](crate::store::JobStore). Each looks which runs are due and queues them, takes some, brings them to their ends, verifies the
//! points that they made, forgets the points that expire, and tells when a recovery point objective is met, at risk or late. None of them
//! is special, and none knows of the others.
//!
//! # Exactly once
//!
//! A due time of a job is queued once, whoever finds it and how often, since job and due time are its name. Who takes it gets a
//! [`Lease`](crate::store::Lease) with a fencing token; who takes it over when the lease's time is up gets a higher one. From then on:
//!
//! 1. The old worker can begin no run: that needs the lease, and is one step with looking at it.
//! 2. The run that it has begun can open no session in the repository and go on: it looks at its lease after it opened one.
//! 3. The sessions that it had opened before are fenced off by the new worker, so that it can commit nothing.
//! 4. Then the new worker looks whether there is a point of that run. If so, the run has happened; if not, it never will, and is begun anew. What it had stored
//!    is found again.
//!
//! So it does not matter whether the old worker is dead or only slow, nor what its clock shows.

mod authority;
mod carry_out;
mod delegated;
mod event;
mod plan;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;

use async_trait::async_trait;

pub use authority::AuthorityOptions;
pub use delegated::DelegatedProjects;
pub use event::{Happening, WorkEvent, WorkEvents};
pub use plan::{Plan, plan};
pub use worker::{Worker, WorkerOptions};

use crate::authority::Standing;
use crate::error::{Error, Kind, Result};
use crate::protect::Raksha;
use crate::store::BackupJob;

/// Gives workers what they need to work on behalf of a project.
#[async_trait]
pub trait Projects: Send + Sync + fmt::Debug {
    /// The verbs on behalf of a job's project, with the job's cloud and target.
    ///
    /// # Errors
    /// Whatever stands in the way. What is [retryable](Error::is_retryable) is tried again later, anything else ends the due run.
    async fn open(&self, job: &BackupJob) -> Result<Raksha>;

    /// How the authority of a job stands that has a delegation; none if this cannot be asked here. [`Delegations::probe_job`](crate::authority::Delegations::probe_job) does it.
    ///
    /// # Errors
    /// What says nothing about the authority: it is asked again later.
    async fn probe(&self, job: &BackupJob) -> Result<Option<Standing>> {
        let _ = job;
        Ok(None)
    }
}

/// Its own project's jobs, and no others.
#[async_trait]
impl Projects for Raksha {
    async fn open(&self, job: &BackupJob) -> Result<Raksha> {
        if job.delegation.is_some() {
            let message = "the job runs by a delegation, and this worker knows only its own authority: start one that has the service key";
            return Err(Error::new(Kind::Denied, "open project", message).with("job", &job.name));
        }
        if job.project == *self.project() {
            return Ok(self.clone());
        }
        let message = "this worker works for another project only: start one that has the authority of this project";
        Err(Error::new(Kind::Denied, "open project", message).with("project", &job.project))
    }
}
