//! By what right runs act that are due while nobody of the project is there: granted with the token of whoever makes the job, and granted anew by whoever asks.

use raksha_core::authority::{Delegation, Delegations};
use raksha_core::cloud::SecretText;
use raksha_core::id::{DelegationId, JobId};
use raksha_core::protect::NewJob;
use raksha_core::store::BackupJob;
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::jobs;
use crate::tokens::Caller;

fn credential(caller: &Caller) -> SecretText {
    SecretText::new(caller.token.expose())
}

/// Gives a job that runs by itself a delegation, if it has none yet and the service grants any. Gives the one that was made, to be [taken back](take_back) if
/// there will be no such job.
pub async fn provide(call: &Call, new: &mut NewJob) -> Result<Option<DelegationId>> {
    let (Some(delegations), Some(config)) =
        (&call.app.acting.delegations, &call.app.config.authority)
    else {
        return Ok(None);
    };
    if new.schedule.is_none() || new.delegation.is_some() {
        return Ok(None);
    }
    let caller = call.caller()?;
    let credential = credential(caller);
    let granted = delegations.grant(&caller.project, config.kind, Some(&credential), None);
    let granted = granted.await?;
    new.delegation = Some(granted.id);
    Ok(Some(granted.id))
}

/// Ends a delegation that no job has. What cannot be ended is told in the log, and stays listed.
pub async fn take_back(call: &Call, id: Option<DelegationId>) -> Result<()> {
    let (Some(delegations), Some(id)) = (&call.app.acting.delegations, id) else {
        return Ok(());
    };
    let caller = call.caller()?;
    let jobs = call.app.acting.jobs.jobs(&caller.project).await?;
    if jobs.iter().any(|job| job.delegation == Some(id)) {
        return Ok(());
    }
    let credential = credential(caller);
    if let Err(error) = delegations
        .revoke(&caller.project, id, Some(&credential))
        .await
    {
        tracing::warn!(delegation = %id, %error, "a delegation that no job has could not be revoked");
    }
    Ok(())
}

/// The delegation of a job as it is shown: nothing of what is secret about it.
pub async fn view(delegations: Option<&Delegations>, job: &BackupJob) -> Result<Value> {
    let (Some(delegations), Some(id)) = (delegations, job.delegation) else {
        return Ok(Value::Null);
    };
    let Delegation {
        kind,
        principal,
        created,
        expires,
        sealed,
        ..
    } = delegations.find(&job.project, id).await?;
    Ok(
        json!({ "kind": kind, "principal": principal, "created": created, "expires": expires, "granted": sealed.is_some() }),
    )
}

/// Grants the authority of a job anew, by whoever asks: the remedy for one that ended or was lost.
pub async fn renew(call: Call) -> Result<Reply> {
    let id: JobId = call.id("job_id")?;
    let acting = &call.app.acting;
    let job = acting.jobs.job(call.project()?, id).await?;
    let refuse = |why: &str| {
        let error = Error::new(Kind::Conflict, "renew authority", why);
        Err(error.with("job", id).retryable(false))
    };
    let Some(delegations) = &acting.delegations else {
        return refuse("the service is not set up to act by itself: ask its operator");
    };
    let credential = credential(call.caller()?);
    match job.delegation {
        Some(delegation) => {
            let renewed = delegations.renew(&job.project, delegation, Some(&credential), None);
            renewed.await?;
        }
        None => {
            let mut new = NewJob::of(&job);
            let granted = provide(&call, &mut new).await?;
            if granted.is_none() {
                return refuse(
                    "the job runs only when somebody asks for it, and then by their right",
                );
            }
            let updated = BackupJob {
                delegation: granted,
                ..job
            };
            acting.jobs.update_job(&updated).await?;
        }
    }
    jobs::answer(&call, 200, id).await
}
