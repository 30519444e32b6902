//! A job store in a real database, for a runtime whose clock is only simulated.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use raksha_core::Result;
use raksha_core::Timestamp;
use raksha_core::authority::Delegation;
use raksha_core::cloud::Temporary;
use raksha_core::env::{Clock, Env};
use raksha_core::id::{DelegationId, JobId, ProjectId, RestoreId, RunId};
use raksha_core::store::{
    BackupJob, BackupRun, DelegationStore, DueEnd, DueRun, JobStore, Lease, Limits, RestoreRun,
    RunQueue, Tracking,
};
use raksha_targets::SqlJobs;
use raksha_targets::testkit::PostgresSchema;
use tokio::runtime::Runtime;

/// A job store in a schema of its own in the lab's PostgreSQL. The connections live in a runtime apart, and whoever asks waits with its whole thread: a simulated
/// clock stands still until the database has answered.
pub struct Apart {
    runtime: Option<Runtime>,
    jobs: SqlJobs,
    env: Env,
    shown: Arc<Shown>,
    schema: Option<PostgresSchema>,
}

impl Apart {
    /// Makes one that goes by the clock of `env`.
    pub fn postgres(env: Env) -> Self {
        let runtime = Runtime::new().unwrap();
        let shown = Arc::new(Shown(AtomicU64::new(env.now().as_millis())));
        let clock = env.clone().with_clock(shown.clone());
        let (schema, jobs) = wait(&runtime, async {
            let schema = PostgresSchema::new().await;
            let jobs = SqlJobs::open(schema.address()).await.unwrap();
            (schema, jobs.with_env(clock))
        });
        Self {
            runtime: Some(runtime),
            jobs,
            env,
            shown,
            schema: Some(schema),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let (Some(runtime), Some(schema)) = (self.runtime.take(), self.schema.take()) else {
            return;
        };
        let jobs = &self.jobs;
        wait(&runtime, async move {
            jobs.close().await;
            schema.remove().await;
        });
        // One that is waited for may not end inside another.
        runtime.shutdown_background();
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs.fmt(f)
    }
}

/// What the simulated clock shows while the database works: in the other runtime it would be another one's time.
#[derive(Debug)]
struct Shown(AtomicU64);

impl Clock for Shown {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Runtimes do not nest, threads do.
fn wait<T: Send>(runtime: &Runtime, work: impl Future<Output = T> + Send) -> T {
    let waiting = thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
    waiting.unwrap()
}

macro_rules! asked_apart {
    ($contract:ident { $($name:ident($($given:ident: $type:ty),*) -> $result:ty;)* }) => {
        #[async_trait]
        impl $contract for Apart {
            $(
                async fn $name(&self, $($given: $type),*) -> Result<$result> {
                    self.shown.0.store(self.env.now().as_millis(), Ordering::Relaxed);
                    wait(self.runtime.as_ref().unwrap(), self.jobs.$name($($given),*))
                }
            )*
        }
    };
}

asked_apart! {
    JobStore {
        create_job(job: &BackupJob) -> ();
        job(project: &ProjectId, id: JobId) -> BackupJob;
        projects() -> Vec<ProjectId>;
        jobs(project: &ProjectId) -> Vec<BackupJob>;
        update_job(job: &BackupJob) -> ();
        delete_job(project: &ProjectId, id: JobId) -> ();
        create_run(run: &BackupRun) -> ();
        update_run(run: &BackupRun) -> ();
        run(project: &ProjectId, id: RunId) -> BackupRun;
        runs(project: &ProjectId, job: Option<JobId>) -> Vec<BackupRun>;
        create_restore(restore: &RestoreRun) -> ();
        update_restore(restore: &RestoreRun) -> ();
        restore(project: &ProjectId, id: RestoreId) -> RestoreRun;
        restores(project: &ProjectId) -> Vec<RestoreRun>;
        record_temporary(owner: &str, temporary: &Temporary) -> ();
        forget_temporary(owner: &str, marker: &str) -> ();
        temporaries(owner: Option<&str>) -> Vec<(String, Temporary)>;
    }
}

asked_apart! {
    RunQueue {
        now() -> Timestamp;
        overdue(limit: usize) -> Vec<Tracking>;
        tracking(project: &ProjectId, job: JobId) -> Tracking;
        update_tracking(tracking: &Tracking) -> bool;
        queue(due: &[DueRun]) -> ();
        take(worker: &str, lease: Duration, limits: &Limits) -> Option<Lease>;
        renew(lease: &Lease, duration: Duration) -> Lease;
        start_run(lease: &Lease, run: &BackupRun) -> ();
        postpone(lease: &Lease, ready: Timestamp) -> ();
        settle(lease: &Lease, end: &DueEnd) -> ();
        due_runs(project: &ProjectId, job: Option<JobId>, limit: usize) -> Vec<DueRun>;
    }
}

asked_apart! {
    DelegationStore {
        create_delegation(delegation: &Delegation) -> ();
        update_delegation(delegation: &Delegation) -> ();
        delegation(project: &ProjectId, id: DelegationId) -> Delegation;
        delegations(project: &ProjectId) -> Vec<Delegation>;
        delete_delegation(project: &ProjectId, id: DelegationId) -> ();
    }
}
