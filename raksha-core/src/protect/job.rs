//! Backup jobs: what to protect.

use super::raksha::Raksha;
use super::temporaries::{Left, Record};
use crate::cloud::{Consistency, Selection};
use crate::error::{Error, Kind, Result};
use crate::id::{JobId, RunId};
use crate::store::{BackupJob, BackupRun, IfNotReached};

/// The longest name of a job, in bytes.
const LONGEST_NAME: usize = 255;

/// A job to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What its owner calls it; unique within the project.
    pub name: String,
    /// The servers.
    pub servers: Selection,
    /// The consistency demanded.
    pub consistency: Consistency,
    /// What to do with a run that reached less.
    pub if_not_reached: IfNotReached,
}

impl NewJob {
    /// A job that takes what consistency it gets.
    pub fn new(name: impl Into<String>, servers: Selection) -> Self {
        Self {
            name: name.into(),
            servers,
            consistency: Consistency::default(),
            if_not_reached: IfNotReached::default(),
        }
    }

    /// Demands `consistency` and says what to do with a run that reached less.
    #[must_use]
    pub fn with_consistency(mut self, consistency: Consistency, or: IfNotReached) -> Self {
        self.consistency = consistency;
        self.if_not_reached = or;
        self
    }
}

impl Raksha {
    /// Makes a job, once the cloud has confirmed that its servers exist.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the name is impossible, the job selects no server or a name selects several;
    /// [`Kind::NotFound`] if a server does not exist; [`Kind::AlreadyExists`] if the project has a job of that name.
    pub async fn create_job(&self, new: NewJob) -> Result<JobId> {
        let refuse = |message: &str| {
            Err(Error::new(Kind::Invalid, "create job", message).with("job", &new.name))
        };
        let named = !new.name.trim().is_empty() && new.name.len() <= LONGEST_NAME;
        if !named || new.name.chars().any(char::is_control) {
            return refuse("give it a name of 1 to 255 bytes without control characters");
        }
        if new.servers.0.is_empty() {
            return refuse("it protects nothing: name at least one server");
        }
        let known = self.jobs.jobs(&self.project).await?;
        if known.iter().any(|job| job.name == new.name) {
            return Err(Error::new(
                Kind::AlreadyExists,
                "create job",
                "the project has a job of that name: choose another or delete that one",
            )
            .with("job", &new.name));
        }
        let found = self.cloud.discovery.discover(&new.servers).await?;
        if found.servers.is_empty() {
            return refuse("it protects nothing: no server is selected at present");
        }
        let job = BackupJob {
            id: JobId::random(self.env())?,
            project: self.project.clone(),
            name: new.name,
            servers: new.servers,
            consistency: new.consistency,
            if_not_reached: new.if_not_reached,
            created: self.env().now(),
        };
        self.jobs.create_job(&job).await?;
        Ok(job.id)
    }

    /// The project's jobs, in the order of their names.
    pub async fn jobs(&self) -> Result<Vec<BackupJob>> {
        self.jobs.jobs(&self.project).await
    }

    /// A job by its id.
    pub async fn job(&self, id: JobId) -> Result<BackupJob> {
        self.jobs.job(&self.project, id).await
    }

    /// A job by its name, its id, or the beginning of its id if no other has the same.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if there are several.
    pub async fn find_job(&self, text: &str) -> Result<BackupJob> {
        let jobs = self.jobs().await?;
        if let Some(job) = jobs.iter().find(|job| job.name == text) {
            return Ok(job.clone());
        }
        the_only("job", text, jobs, |job| job.id.to_string())
    }

    /// Removes a job. Its runs stay listed and its recovery points stay whole; what its last run kept in the cloud for the
    /// next one is released. Gives back what could not be; [`reap`](Self::reap) tries again.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Conflict`] while one of its runs is under way.
    pub async fn delete_job(&self, id: JobId) -> Result<Vec<Left>> {
        self.jobs.delete_job(&self.project, id).await?;
        let mut left = Vec::new();
        for run in self.runs(Some(id)).await? {
            let record = self.record_of(run.id);
            let released = record.release(&*self.cloud.snapshots, |_| false).await;
            left.extend(released.left);
        }
        Ok(left)
    }

    /// All runs of the project or of one job, the newest first.
    pub async fn runs(&self, job: Option<JobId>) -> Result<Vec<BackupRun>> {
        self.jobs.runs(&self.project, job).await
    }

    /// A run by its id.
    pub async fn run_record(&self, id: RunId) -> Result<BackupRun> {
        self.jobs.run(&self.project, id).await
    }

    /// A run by its id, or the beginning of its id if no other has the same.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if there are several.
    pub async fn find_run(&self, text: &str) -> Result<BackupRun> {
        the_only("run", text, self.runs(None).await?, |run| {
            run.id.to_string()
        })
    }

    /// Where temporaries of a run or restore are recorded.
    pub(super) fn record_of(&self, owner: impl ToString) -> Record {
        Record {
            jobs: self.jobs.clone(),
            owner: owner.to_string(),
        }
    }
}

/// The only one whose id begins with `text`.
fn the_only<T>(
    what: &'static str,
    text: &str,
    all: Vec<T>,
    id: impl Fn(&T) -> String,
) -> Result<T> {
    let error = |kind, message| Err(Error::new(kind, "look up", message).with(what, text));
    let mut found = (all.into_iter()).filter(|one| !text.is_empty() && id(one).starts_with(text));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => error(
            Kind::Invalid,
            "several ids begin like this: write more of it",
        ),
        (None, _) => error(Kind::NotFound, "the project has none of this name or id"),
    }
}
