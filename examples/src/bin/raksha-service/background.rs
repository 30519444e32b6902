//! What goes on after its request was answered.

use std::future::Future;
use std::pin::Pin;

use raksha_core::protect::{Raksha, RestoreHandle, RunHandle};
use raksha_core::store::BackupJob;
use raksha_core::{Kind, Result};

use crate::app::App;

/// Boxed, since the compiler does not see through so many layers that it can be sent to another thread.
fn sent<T>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<T>> + Send>> {
    Box::pin(work)
}

/// How something ended, for the metrics.
fn outcome<T>(ended: &Result<T>) -> &'static str {
    match ended {
        Ok(_) => "succeeded",
        Err(error) if error.kind() == Kind::Cancelled => "cancelled",
        Err(_) => "failed",
    }
}

/// Brings a run to its end, and does what follows on it.
pub fn run(app: &App, raksha: Raksha, job: BackupJob, run: RunHandle) {
    let (app, id) = (app.clone(), run.id());
    tokio::spawn(async move {
        let ended = sent(run.finish()).await;
        app.metrics.ended("run", outcome(&ended));
        match ended {
            Ok(report) => {
                tracing::info!(run = %id, point = %report.point, "run succeeded");
                app.worker.follow_up(&raksha, &job, report.point).await;
            }
            Err(error) => tracing::warn!(run = %id, %error, "run ended without a point"),
        }
    });
}

/// Brings a restore to its end.
pub fn restore(app: &App, restore: RestoreHandle) {
    let (app, id) = (app.clone(), restore.id());
    tokio::spawn(async move {
        let ended = sent(restore.finish()).await;
        app.metrics.ended("restore", outcome(&ended));
        match ended {
            Ok(report) => {
                tracing::info!(restore = %id, created = report.created.len(), "restore succeeded")
            }
            Err(error) => tracing::warn!(restore = %id, %error, "restore did not succeed"),
        }
    });
}
