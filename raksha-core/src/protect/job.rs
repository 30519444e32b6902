//! Backup jobs: what to protect.

use super::raksha::Raksha;
use super::temporaries::{Left, Record};
use crate::cloud::{Consistency, Selection};
use crate::error::{Error, Kind, Result};
use crate::id::{DelegationId, JobId, RunId};
use crate::objective::Objective;
use crate::retention::Retention;
use crate::schedule::{Schedule, Trigger};
use crate::store::{BackupJob, BackupRun, IfNotReached, JobHook};

/// The longest name of a job, in bytes.
const LONGEST_NAME: usize = 255;

/// The most runs of one job at once.
const MOST_PARALLEL: u32 = 64;

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
    /// When it runs by itself; none if only when somebody asks for it.
    pub schedule: Option<Schedule>,
    /// The operator's policy that schedule, retention and objective are taken from, by its name: a note, which changes nothing.
    pub policy: Option<String>,
    /// Which of its points are kept.
    pub retention: Retention,
    /// How old its newest verified point may become.
    pub objective: Option<Objective>,
    /// How many of its due runs may be under way at once; 1 unless said otherwise.
    pub max_parallel: u32,
    /// By whose right its runs act; none for that of the worker itself.
    pub delegation: Option<DelegationId>,
    /// What is called before its disks are taken, in this order, and after, in the other.
    pub hooks: Vec<JobHook>,
}

impl NewJob {
    /// A job that takes what consistency it gets, runs when somebody asks for it, and whose points are all kept.
    pub fn new(name: impl Into<String>, servers: Selection) -> Self {
        Self {
            name: name.into(),
            servers,
            consistency: Consistency::default(),
            if_not_reached: IfNotReached::default(),
            schedule: None,
            policy: None,
            retention: Retention::everything(),
            objective: None,
            max_parallel: 1,
            delegation: None,
            hooks: Vec::new(),
        }
    }

    /// Runs by itself.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Keeps not all of its points.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Watches how old its newest verified point becomes.
    #[must_use]
    pub fn with_objective(mut self, objective: Objective) -> Self {
        self.objective = Some(objective);
        self
    }

    /// Lets so many of its due runs be under way at once.
    #[must_use]
    pub fn with_max_parallel(mut self, runs: u32) -> Self {
        self.max_parallel = runs;
        self
    }

    /// What a job says already, to be changed.
    pub fn of(job: &BackupJob) -> Self {
        Self {
            name: job.name.clone(),
            servers: job.servers.clone(),
            consistency: job.consistency,
            if_not_reached: job.if_not_reached,
            schedule: job.schedule.clone(),
            policy: job.policy.clone(),
            retention: job.retention.clone(),
            objective: job.objective,
            max_parallel: job.max_parallel,
            delegation: job.delegation,
            hooks: job.hooks.clone(),
        }
    }

    /// Has its runs act by this delegation of the project.
    #[must_use]
    pub fn with_delegation(mut self, delegation: DelegationId) -> Self {
        self.delegation = Some(delegation);
        self
    }

    /// Has `hook` called before its disks are taken, after those that it has already, and again after.
    #[must_use]
    pub fn with_hook(mut self, hook: JobHook) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Refuses what cannot be meant, without asking the cloud.
    ///
    /// # Errors
    /// [`Kind::Invalid`], naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |field: &'static str, message: &str| {
            let error = Error::new(Kind::Invalid, "create job", message);
            Err(error.with("job", &self.name).with("field", field))
        };
        let named = !self.name.trim().is_empty() && self.name.len() <= LONGEST_NAME;
        if !named || self.name.chars().any(char::is_control) {
            return refuse(
                "name",
                "give it a name of 1 to 255 bytes without control characters",
            );
        }
        if self.servers.0.is_empty() {
            return refuse("servers", "it protects nothing: name at least one server");
        }
        if !(1..=MOST_PARALLEL).contains(&self.max_parallel) {
            return refuse("max_parallel", "give from 1 to 64 runs at once");
        }
        if let Some(schedule) = &self.schedule {
            schedule.check()?;
        }
        self.retention.check()?;
        if let Some(objective) = &self.objective {
            objective.check()?;
            self.check_reachable(objective)?;
        }
        Ok(())
    }

    /// Refuses an objective that the schedule cannot reach even if every run succeeds at once.
    fn check_reachable(&self, objective: &Objective) -> Result<()> {
        let Some(Trigger::Interval { every, .. }) = self.schedule.as_ref().map(|s| &s.trigger)
        else {
            return Ok(());
        };
        if *every <= objective.rpo {
            return Ok(());
        }
        let message = "its runs are further apart than the objective allows: choose a shorter interval, or a longer objective";
        let error = Error::new(Kind::Invalid, "create job", message);
        Err(error.with("job", &self.name).with("field", "objective"))
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
    /// [`Kind::Invalid`] if [something cannot be meant](NewJob::check), the job selects no server or a name selects several;
    /// [`Kind::NotFound`] if a server, a hook or the delegation does not exist; [`Kind::AlreadyExists`] if the project has a job of that name.
    pub async fn create_job(&self, new: NewJob) -> Result<JobId> {
        new.check()?;
        self.know_hooks("create job", &new.hooks)?;
        let known = self.jobs.jobs(&self.project).await?;
        if known.iter().any(|job| job.name == new.name) {
            return Err(Error::new(
                Kind::AlreadyExists,
                "create job",
                "the project has a job of that name: choose another or delete that one",
            )
            .with("job", &new.name));
        }
        self.find_servers(&new).await?;
        let job = BackupJob {
            id: JobId::random(self.env())?,
            project: self.project.clone(),
            name: new.name,
            servers: new.servers,
            consistency: new.consistency,
            if_not_reached: new.if_not_reached,
            // By the clock that due times are counted by.
            created: self.jobs.now().await?,
            schedule: new.schedule,
            policy: new.policy,
            retention: new.retention,
            objective: new.objective,
            max_parallel: new.max_parallel,
            placement: self.placement.clone(),
            delegation: new.delegation,
            hooks: new.hooks,
        };
        self.jobs.create_job(&job).await?;
        Ok(job.id)
    }

    /// Makes `new` of a job, once the cloud has confirmed that its servers exist. Its id stays, as do its runs and points, and what is queued of it; see
    /// [`JobStore::update_job`](crate::store::JobStore::update_job).
    ///
    /// # Errors
    /// As [`create_job`](Self::create_job); [`Kind::NotFound`] also if the project has no such job.
    pub async fn update_job(&self, id: JobId, new: NewJob) -> Result<BackupJob> {
        new.check()?;
        let mut job = self.job(id).await?;
        if job.hooks != new.hooks {
            self.know_hooks("update job", &new.hooks)?;
        }
        if job.servers != new.servers {
            self.find_servers(&new).await?;
        }
        let NewJob {
            name,
            servers,
            consistency,
            if_not_reached,
            schedule,
            policy,
            retention,
            objective,
            max_parallel,
            delegation,
            hooks,
        } = new;
        (job.name, job.servers) = (name, servers);
        (job.consistency, job.if_not_reached) = (consistency, if_not_reached);
        (job.schedule, job.retention) = (schedule, retention);
        (job.objective, job.max_parallel) = (objective, max_parallel);
        (job.policy, job.delegation) = (policy, delegation);
        job.hooks = hooks;
        self.jobs.update_job(&job).await?;
        Ok(job)
    }

    /// Refuses a job that selects no server.
    async fn find_servers(&self, new: &NewJob) -> Result<()> {
        let found = self.cloud.discovery.discover(&new.servers).await?;
        if found.servers.is_empty() {
            let message = "it protects nothing: no server is selected at present";
            return Err(Error::new(Kind::Invalid, "create job", message)
                .with("job", &new.name)
                .with("field", "servers"));
        }
        Ok(())
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
            let record = self.record_of(run.id, run.place.as_deref());
            let released = record.release(self, |_| false).await;
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

    /// Where temporaries of a run or restore are recorded, which made them at `place`.
    pub(super) fn record_of(&self, owner: impl ToString, place: Option<&str>) -> Record {
        Record {
            jobs: self.jobs.clone(),
            owner: owner.to_string(),
            place: place.map(str::to_owned),
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
