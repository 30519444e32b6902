//! Backup jobs.

use raksha_core::cloud::{Consistency, Selection};
use raksha_core::id::JobId;
use raksha_core::objective::Objective;
use raksha_core::protect::NewJob;
use raksha_core::retention::Retention;
use raksha_core::schedule::Schedule;
use raksha_core::store::{BackupJob, BackupRun, IfNotReached, JobHook};
use raksha_core::{Error, Kind, Result};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::authority;
use crate::call::{Call, Reply, encode};
use crate::config::Config;
use crate::runs;

/// Due runs that a job shows, those that were due last.
const DUE_SHOWN: usize = 5;

#[derive(Deserialize)]
struct Body {
    backupjob: Wanted,
}

/// What somebody says of a job. What may be absent from a job is taken away by null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: Option<String>,
    servers: Option<Selection>,
    consistency: Option<Consistency>,
    if_not_reached: Option<IfNotReached>,
    #[serde(deserialize_with = "given")]
    policy: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    schedule: Option<Option<Schedule>>,
    retention: Option<Retention>,
    #[serde(deserialize_with = "given")]
    objective: Option<Option<Objective>>,
    max_parallel: Option<u32>,
    hooks: Option<Vec<JobHook>>,
}

/// Tells null from what is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl Wanted {
    /// Makes of `new` what is wanted.
    fn apply(self, mut new: NewJob, config: &Config) -> Result<NewJob> {
        let of_its_own =
            self.schedule.is_some() || self.retention.is_some() || self.objective.is_some();
        if let Some(Some(name)) = &self.policy {
            if of_its_own {
                let message = "a policy says when the job runs and what is kept: leave schedule, retention and objective out, or the policy";
                let error = Error::new(Kind::Invalid, "read job", message);
                return Err(error.with("policy", name));
            }
            let policy = config.policy(name)?.clone();
            new.schedule = Some(policy.schedule);
            new.retention = policy.retention;
            new.objective = policy.objective;
        }
        new.policy = match self.policy {
            Some(policy) => policy,
            None if of_its_own => None,
            None => new.policy,
        };
        new.name = self.name.unwrap_or(new.name);
        new.servers = self.servers.unwrap_or(new.servers);
        new.consistency = self.consistency.unwrap_or(new.consistency);
        new.if_not_reached = self.if_not_reached.unwrap_or(new.if_not_reached);
        new.hooks = self.hooks.unwrap_or(new.hooks);
        new.schedule = self.schedule.unwrap_or(new.schedule);
        new.retention = self.retention.unwrap_or(new.retention);
        new.objective = self.objective.unwrap_or(new.objective);
        new.max_parallel = self.max_parallel.unwrap_or(new.max_parallel);
        Ok(new)
    }
}

/// A job as it is shown.
fn view(job: &BackupJob) -> Result<Value> {
    let mut shown = encode(job)?;
    let servers: Vec<String> = job.servers.0.iter().map(ToString::to_string).collect();
    let words = json!({
        "servers": servers.join(", "),
        "schedule": job.schedule.as_ref().map(ToString::to_string),
        "retention": job.retention.to_string(),
        "objective": job.objective.map(|objective| objective.to_string()),
    });
    if let Value::Object(fields) = &mut shown {
        // Names that mean something to the operator only.
        fields.remove("placement");
        fields.insert("in_words".to_owned(), words);
    }
    Ok(shown)
}

/// The same with how it is protected.
async fn details(call: &Call, job: &BackupJob, newest: Option<&BackupRun>) -> Result<Value> {
    let acting = &call.app.acting;
    let tracking = acting.jobs.tracking(&job.project, job.id).await?;
    let due = acting
        .jobs
        .due_runs(&job.project, Some(job.id), DUE_SHOWN)
        .await?;
    let now = acting.jobs.now().await?;
    let next = job.schedule.as_ref().and_then(|s| s.next_due(now));
    let due = due
        .iter()
        .map(|one| json!({ "due": one.due, "ready": one.ready, "state": one.state }));
    let newest = newest.map(|run| runs::view(call, run, None)).transpose()?;
    let authority = authority::view(acting.delegations.as_ref(), job).await?;
    let mut shown = view(job)?;
    if let Value::Object(fields) = &mut shown {
        fields.insert("protection".to_owned(), encode(&tracking.protection)?);
        fields.insert("authority".to_owned(), authority);
        fields.insert("next_due".to_owned(), encode(&next)?);
        fields.insert("due".to_owned(), due.collect());
        fields.insert("newest_run".to_owned(), encode(&newest)?);
    }
    Ok(shown)
}

pub async fn answer(call: &Call, status: u16, id: JobId) -> Result<Reply> {
    let acting = &call.app.acting;
    let job = acting.jobs.job(call.project()?, id).await?;
    let runs = acting.jobs.runs(&job.project, Some(id)).await?;
    let shown = details(call, &job, runs.first()).await?;
    Reply::one(status, "backupjob", &shown)
}

fn id_of(job: &Value) -> String {
    job.get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub async fn list(call: Call) -> Result<Reply> {
    let jobs = call.app.acting.jobs.jobs(call.project()?).await?;
    let jobs = jobs.iter().map(view).collect::<Result<Vec<_>>>()?;
    call.page("backupjobs", jobs, id_of)
}

pub async fn detail(call: Call) -> Result<Reply> {
    let acting = &call.app.acting;
    let jobs = acting.jobs.jobs(call.project()?).await?;
    let runs = acting.jobs.runs(call.project()?, None).await?;
    let mut shown = Vec::new();
    for job in &jobs {
        let newest = runs.iter().find(|run| run.job == job.id);
        shown.push(details(&call, job, newest).await?);
    }
    call.page("backupjobs", shown, id_of)
}

pub async fn show(call: Call) -> Result<Reply> {
    answer(&call, 200, call.id("job_id")?).await
}

pub async fn create(call: Call) -> Result<Reply> {
    let wanted = call.json::<Body>()?.backupjob;
    let empty = NewJob::new("", Selection(Vec::new()));
    let mut new = wanted.apply(empty, &call.app.config)?;
    // What cannot be meant is found out before the cloud is asked.
    new.check()?;
    let raksha = call.app.acting.as_caller(call.caller()?).await?;
    let granted = authority::provide(&call, &mut new).await?;
    match raksha.create_job(new).await {
        Ok(id) => answer(&call, 201, id).await,
        Err(error) => {
            authority::take_back(&call, granted).await?;
            Err(error)
        }
    }
}

pub async fn replace(call: Call) -> Result<Reply> {
    let id = call.id("job_id")?;
    let job = call.app.acting.jobs.job(call.project()?, id).await?;
    let mut new = NewJob::new("", Selection(Vec::new()));
    new.delegation = job.delegation;
    update(call, id, new).await
}

pub async fn change(call: Call) -> Result<Reply> {
    let id = call.id("job_id")?;
    let job = call.app.acting.jobs.job(call.project()?, id).await?;
    update(call, id, NewJob::of(&job)).await
}

async fn update(call: Call, id: JobId, base: NewJob) -> Result<Reply> {
    let wanted = call.json::<Body>()?.backupjob;
    let mut new = wanted.apply(base, &call.app.config)?;
    new.check()?;
    let raksha = call.app.acting.as_caller(call.caller()?).await?;
    let granted = authority::provide(&call, &mut new).await?;
    match raksha.update_job(id, new).await {
        Ok(_) => answer(&call, 200, id).await,
        Err(error) => {
            authority::take_back(&call, granted).await?;
            Err(error)
        }
    }
}

pub async fn delete(call: Call) -> Result<Reply> {
    let id = call.id("job_id")?;
    let job = call.app.acting.jobs.job(call.project()?, id).await?;
    let raksha = call.app.acting.as_caller(call.caller()?).await?;
    for left in raksha.delete_job(id).await? {
        tracing::warn!(owner = left.owner, what = left.what, error = %left.error, "left in the cloud until it is cleaned up");
    }
    authority::take_back(&call, job.delegation).await?;
    Ok(Reply::nothing())
}
