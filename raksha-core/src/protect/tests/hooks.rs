//! Hooks are called round the moment at which disks are taken, and after however a run ends.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use super::bench::Bench;
use super::troubled::Fate;
use crate::cloud::{Consistency, Selection, ServerSelector, SnapshotProvider};
use crate::error::{Error, Kind, Result};
use crate::id::JobId;
use crate::protect::{Dead, HookCall, Hooks, NewJob, PublishedHook, Raksha, Warning};
use crate::store::{IfHookFails, IfNotReached, JobHook};

/// Notes what it is called for, and how far the run is.
#[derive(Debug)]
struct Told {
    fate: Fate,
    calls: Mutex<Vec<String>>,
    /// The call that fails, and the one that never ends.
    troubles: Mutex<[Option<String>; 2]>,
    holds: Option<Consistency>,
}

impl Told {
    fn troubles(&self) -> MutexGuard<'_, [Option<String>; 2]> {
        self.troubles.lock().unwrap()
    }

    /// The calls since this was asked.
    fn calls(&self) -> Vec<String> {
        self.fate.clear();
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[async_trait]
impl Hooks for Told {
    fn published(&self) -> Vec<PublishedHook> {
        let hook = |name: &str| PublishedHook {
            name: name.to_owned(),
            description: String::new(),
            within: Duration::from_millis(300),
            holds: self.holds,
        };
        vec![hook("database"), hook("mail")]
    }

    async fn call(&self, call: &HookCall) -> Result<()> {
        // So that it would not be the first if they were called at once.
        if call.hook == "mail" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let cloud = self.fate.calls();
        let with = match (cloud.contains(&"snapshot"), cloud.contains(&"open")) {
            (false, _) => "",
            (true, false) => ", disks taken",
            (true, true) => ", disks read",
        };
        assert!(!call.servers.is_empty());
        let what = format!("{} {}", call.moment, call.hook);
        self.calls.lock().unwrap().push(format!("{what}{with}"));
        let [fails, hangs] = self.troubles().clone();
        if hangs.as_ref() == Some(&what) {
            std::future::pending::<()>().await;
        }
        match fails.as_ref() == Some(&what) {
            true => Err(Error::new(Kind::Unavailable, "test", "as planned")),
            false => Ok(()),
        }
    }
}

async fn site(if_fails: IfHookFails) -> (Bench, Raksha, Arc<Told>, JobId) {
    holding(if_fails, None).await
}

/// The same, with hooks that hold this level.
async fn holding(
    if_fails: IfHookFails,
    holds: Option<Consistency>,
) -> (Bench, Raksha, Arc<Told>, JobId) {
    let bench = Bench::new(5).await;
    let told = Arc::new(Told {
        fate: bench.fate.clone(),
        calls: Mutex::default(),
        troubles: Mutex::default(),
        holds,
    });
    let raksha = bench.raksha.clone().with_hooks(told.clone());
    let mut new = NewJob::new("hooked", Selection(vec![ServerSelector::All]));
    for name in ["database", "mail"] {
        let name = name.to_owned();
        new = new.with_hook(JobHook { name, if_fails });
    }
    let job = raksha.create_job(new).await.unwrap();
    (bench, raksha, told, job)
}

#[tokio::test]
async fn they_are_called_round_the_moment_at_which_the_disks_are_taken() {
    let (bench, raksha, told, job) = site(IfHookFails::Refuse).await;
    raksha.run(job).await.unwrap().finish().await.unwrap();
    let expected = [
        "before database",
        "before mail",
        "after mail, disks taken",
        "after database, disks taken",
    ];
    assert_eq!(told.calls(), expected);
    bench
        .assert_clean(bench.disks().await.len(), "hooks were called")
        .await;
}

#[tokio::test]
async fn one_that_fails_or_hangs_before_fails_the_run_and_is_called_after() {
    let (bench, raksha, told, job) = site(IfHookFails::Refuse).await;
    for (n, kind) in [Kind::Unavailable, Kind::Timeout].into_iter().enumerate() {
        told.troubles()[n] = Some("before mail".to_owned());
        let error = raksha.run(job).await.unwrap().finish().await.unwrap_err();
        told.troubles()[n] = None;
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(text.contains("hook mail, moment before"), "{text}");
        let expected = [
            "before database",
            "before mail",
            "after mail",
            "after database",
        ];
        assert_eq!(told.calls(), expected);
        bench.assert_clean(0, "a hook failed").await;
    }
}

#[tokio::test]
async fn a_job_can_go_on_without_them() {
    let (bench, raksha, told, job) = site(IfHookFails::Warn).await;
    told.troubles()[0] = Some("before mail".to_owned());
    let report = raksha.run(job).await.unwrap().finish().await.unwrap();
    let [Warning::Hook { reason }] = report.warnings.as_slice() else {
        panic!("{:?}", report.warnings);
    };
    assert!(reason.contains("mail"), "{reason}");
    assert_eq!(told.calls().len(), 4);
    bench
        .assert_clean(bench.disks().await.len(), "a hook failed")
        .await;
}

#[tokio::test]
async fn what_was_not_called_after_is_called_by_the_reaper() {
    let (bench, raksha, told, job) = site(IfHookFails::Refuse).await;
    // It fails after, which is told, and is called again.
    told.troubles()[0] = Some("after mail".to_owned());
    let report = raksha.run(job).await.unwrap().finish().await.unwrap();
    assert!(matches!(report.warnings[..], [Warning::Hook { .. }, ..]));
    let tried = told.calls();
    let expected = [
        "after mail, disks taken",
        "after database, disks taken",
        "after mail, disks read",
    ];
    assert_eq!(tried[2..], expected);
    told.troubles()[0] = None;
    let reaped = raksha.reap(Dead::Ended).await.unwrap();
    assert_eq!((reaped.released, reaped.left.len()), (1, 0));
    assert_eq!(told.calls(), ["after mail"]);

    // Its process dies while one is called before.
    told.troubles()[1] = Some("before mail".to_owned());
    let handle = raksha.run(job).await.unwrap();
    let died = tokio::time::timeout(Duration::from_millis(100), handle.finish()).await;
    assert!(died.is_err());
    told.troubles()[1] = None;
    assert_eq!(told.calls().len(), 2);
    // Who does not know the hooks leaves them recorded.
    let left = bench.raksha.reap(Dead::All).await.unwrap().left;
    assert!(left[0].error.to_string().contains("no hooks are published"));
    assert_eq!(raksha.reap(Dead::All).await.unwrap().released, 2);
    assert_eq!(told.calls(), ["after mail", "after database"]);
    bench
        .assert_clean(bench.disks().await.len(), "hooks were reaped")
        .await;
}

#[tokio::test]
async fn what_they_hold_is_claimed_if_they_held_it_to_the_end() {
    let level = Consistency::FileSystem;
    let (bench, raksha, told, _) = holding(IfHookFails::Warn, Some(level)).await;
    let graph = bench.cloud.graph().await.unwrap();
    let can = bench.cloud.capabilities(&graph).await.unwrap();
    assert!(can.best < level, "the cloud reaches it by itself");
    let new = NewJob::new("held", Selection(vec![ServerSelector::All]))
        .with_consistency(level, IfNotReached::Refuse);
    let refused = raksha.create_job(new.clone()).await.unwrap();
    let error = raksha.run(refused).await.unwrap().finish().await;
    assert_eq!(error.unwrap_err().kind(), Kind::Unsupported);
    let mut held = new.clone().with_hook(JobHook {
        name: "mail".to_owned(),
        if_fails: IfHookFails::Warn,
    });
    held.name = "held by mail".to_owned();
    let job = raksha.create_job(held).await.unwrap();

    let report = raksha.run(job).await.unwrap().finish().await.unwrap();
    assert_eq!(
        bench.fate.demanded(),
        Consistency::Crash,
        "it is held already"
    );
    let ledger = report.ledger;
    assert_eq!((ledger.reached(), ledger.skew), (level, Duration::ZERO));
    let disk = &ledger.disks[0];
    assert!(
        disk.means.ends_with("all held by the hook mail"),
        "{disk:?}"
    );
    assert!(
        disk.freeze.unwrap() >= Duration::from_millis(40),
        "{disk:?}"
    );

    // It held nothing, or not to the end.
    for moment in ["before mail", "after mail"] {
        told.troubles()[0] = Some(moment.to_owned());
        let error = raksha.run(job).await.unwrap().finish().await.unwrap_err();
        told.troubles()[0] = None;
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains("it reached"), "{error}");
        let nothing_held = moment == "before mail";
        assert_eq!(bench.fate.demanded() == level, nothing_held);
    }
    raksha.reap(Dead::Ended).await.unwrap();
}

#[tokio::test]
async fn what_is_not_published_is_refused() {
    let (bench, raksha, _, _) = site(IfHookFails::Refuse).await;
    let new = NewJob::new("other", Selection(vec![ServerSelector::All])).with_hook(JobHook {
        name: "rm".to_owned(),
        if_fails: IfHookFails::Warn,
    });
    let error = raksha.create_job(new.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(
        error.to_string().contains("choose from database, mail"),
        "{error}"
    );
    // Who does not know a job's hooks may change what else it says.
    let job = bench.raksha.find_job("hooked").await.unwrap();
    let mut same = NewJob::of(&job);
    same.max_parallel = 2;
    bench.raksha.update_job(job.id, same).await.unwrap();
    let error = bench.raksha.update_job(job.id, new.clone()).await;
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
    let error = bench.raksha.create_job(new).await.unwrap_err();
    assert!(
        error.to_string().contains("no hooks are published"),
        "{error}"
    );
}
