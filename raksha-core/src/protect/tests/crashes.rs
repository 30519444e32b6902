//! Runs and restores that fail, are cancelled or die, at every single call that they make to the cloud.

use std::sync::Arc;

use tokio::sync::Notify;

use super::bench::Bench;
use super::troubled::Trouble;
use crate::cloud::ResourceDiscovery;
use crate::error::Kind;
use crate::protect::{Dead, RestoreOptions};
use crate::store::{RestoreOutcome, RestoreState, RunOutcome, RunState};

fn outcome(state: &RunState) -> Option<&RunOutcome> {
    match state {
        RunState::Running => None,
        RunState::Ended { outcome, .. } => Some(outcome),
    }
}

/// Trouble at call 0, 1, 2 ... of a run until one makes no such call any more. What fails says which.
async fn at_every_call(seed: u64, trouble: Trouble) {
    let bench = Bench::new(seed).await;
    let job = bench.job().await;
    // The runs in trouble have a base, and anchors of it to release.
    bench.run(job).await.unwrap();
    let mut points = 1;
    let anchors = bench.disks().await.len();
    for n in 0.. {
        bench.fate.set(n, trouble.clone());
        let handle = bench.raksha.run(job).await.unwrap();
        let id = handle.id();
        let result = handle.finish().await;
        let calls = bench.fate.clear();
        let Some(call) = calls.get(n) else {
            result.unwrap();
            break;
        };
        let when = format!("seed {seed}, trouble {trouble:?} at call {n}, {call}");
        let run = bench.raksha.run_record(id).await.unwrap();
        match &result {
            Ok(report) => {
                assert_eq!(
                    *call, "release",
                    "only cleaning up can fail unnoticed, {when}"
                );
                points += 1;
                let succeeded = RunOutcome::Succeeded {
                    point: report.point,
                };
                assert_eq!(outcome(&run.state), Some(&succeeded), "{when}");
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unavailable, "{when}: {error}");
                let failed = RunOutcome::Failed {
                    error: error.to_string(),
                };
                assert_eq!(outcome(&run.state), Some(&failed), "{when}");
            }
        }
        assert_eq!(bench.raksha.points().await.unwrap().len(), points, "{when}");
        if bench.recorded().await != anchors {
            assert_eq!(
                *call, "release",
                "what is left is recorded only if releasing failed, {when}"
            );
            bench.raksha.reap(Dead::Ended).await.unwrap();
        }
        bench.assert_clean(anchors, &when).await;
    }
    let verified = bench.repository.verify(&Default::default()).await.unwrap();
    assert!(verified.is_whole(), "{verified:?}");
}

#[tokio::test]
async fn a_run_that_fails_anywhere_leaves_nothing_behind() {
    at_every_call(30, Trouble::Fail).await;
}

#[tokio::test]
async fn a_run_that_loses_an_answer_anywhere_leaves_nothing_behind() {
    at_every_call(31, Trouble::LoseAnswer).await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_anywhere_leaves_nothing_behind() {
    let bench = Bench::new(32).await;
    let job = bench.job().await;
    for n in 0.. {
        let handle = bench.raksha.run(job).await.unwrap();
        bench.fate.set(n, Trouble::Cancel(handle.cancel()));
        let id = handle.id();
        let result = handle.finish().await;
        let calls = bench.fate.clear();
        let when = format!("cancelled at call {n}, {:?}", calls.get(n));
        let run = bench.raksha.run_record(id).await.unwrap();
        if result.is_ok() {
            // Once the point is committed it is too late to stop.
            assert!(calls.get(n).is_none_or(|call| *call == "release"), "{when}");
            break;
        }
        assert_eq!(result.unwrap_err().kind(), Kind::Cancelled, "{when}");
        assert_eq!(outcome(&run.state), Some(&RunOutcome::Cancelled), "{when}");
        assert!(bench.raksha.points().await.unwrap().is_empty(), "{when}");
        bench.assert_clean(0, &when).await;
    }
}

#[tokio::test]
async fn what_a_run_leaves_that_dies_anywhere_is_reaped() {
    let bench = Bench::new(33).await;
    let job = bench.job().await;
    bench.run(job).await.unwrap();
    let anchors = bench.disks().await.len();
    let mut outcomes = [0, 0];
    for n in 0.. {
        let told = Arc::new(Notify::new());
        bench.fate.set(n, Trouble::Hang(Arc::clone(&told)));
        let handle = bench.raksha.run(job).await.unwrap();
        let id = handle.id();
        let died = tokio::select! {
            done = handle.finish() => { done.unwrap(); false }
            () = told.notified() => true,
        };
        let calls = bench.fate.clear();
        if !died {
            break;
        }
        let when = format!("died at call {n}, {}", calls[n]);
        assert_eq!(
            bench.raksha.run_record(id).await.unwrap().state,
            RunState::Running,
            "{when}"
        );
        let nothing = bench.raksha.reap(Dead::Ended).await.unwrap();
        assert!(nothing.runs.is_empty(), "it might live, {when}");

        let reaped = bench.raksha.reap(Dead::All).await.unwrap();
        assert!(reaped.left.is_empty(), "{when}: {reaped:?}");
        let run = bench.raksha.run_record(id).await.unwrap();
        let points = bench.raksha.points().await.unwrap();
        let committed = points.iter().find(|p| p.summary.run == Some(id));
        match (outcome(&run.state), committed) {
            (Some(RunOutcome::Succeeded { point }), Some(listed)) => {
                assert_eq!(*point, listed.id);
                outcomes[0] += 1;
            }
            (Some(RunOutcome::Failed { error }), None) => {
                assert_eq!(error, "interrupted");
                outcomes[1] += 1;
            }
            other => panic!("{when}: {other:?}"),
        }
        // The repository's own sessions are for its collector to fence.
        for session in bench.repository.sessions().await.unwrap() {
            bench.repository.fence(session.id, "test").await.unwrap();
        }
        bench.assert_clean(anchors, &when).await;
    }
    let died_before_and_after_the_commit = outcomes.iter().all(|n| *n > 0);
    assert!(died_before_and_after_the_commit, "{outcomes:?}");
}

#[tokio::test]
async fn a_run_that_is_declared_dead_stops_and_leaves_nothing() {
    let bench = Bench::new(34).await;
    let job = bench.job().await;
    // As another process sees it: the run does not live there.
    let mut elsewhere = bench.raksha.clone();
    elsewhere.alive = Default::default();
    let told = Arc::new(Notify::new());
    bench.fate.set(8, Trouble::Hang(Arc::clone(&told)));
    let handle = bench.raksha.run(job).await.unwrap();
    let id = handle.id();
    assert!(
        bench.raksha.reap(Dead::All).await.unwrap().runs.is_empty(),
        "it lives here"
    );
    tokio::time::pause();
    let reap = async {
        told.notified().await;
        elsewhere.reap(Dead::All).await.unwrap()
    };
    let (result, reaped) = tokio::join!(handle.finish(), reap);
    assert_eq!(reaped.runs.len(), 1);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    let run = bench.raksha.run_record(id).await.unwrap();
    assert!(matches!(
        outcome(&run.state),
        Some(RunOutcome::Failed { .. })
    ));
    bench.fate.clear();
    bench.assert_clean(0, "after being declared dead").await;
}

#[tokio::test]
async fn an_interrupted_run_run_again_stores_nothing_twice() {
    // One disk after the other, so that the calls of one run are as many as those of another.
    let one_by_one = async || {
        let mut bench = Bench::new(35).await;
        bench.raksha = bench.raksha.with_disks_at_once(1);
        let job = bench.job().await;
        (bench, job)
    };
    let (probe, job) = one_by_one().await;
    probe.fate.set(usize::MAX, Trouble::Fail);
    let whole = probe.run(job).await.unwrap();
    let calls = probe.fate.clear();
    let last_open = calls.iter().rposition(|call| *call == "open").unwrap();

    let (bench, job) = one_by_one().await;
    bench.fate.set(last_open, Trouble::Fail);
    bench.run(job).await.unwrap_err();
    bench.fate.clear();
    let second = bench.run(job).await.unwrap();
    let of_last = whole.disks[whole.disks.len() - 1].counts.new_bytes;
    assert_eq!(
        second.counts.new_bytes, of_last,
        "only the disk that was not read"
    );
}

/// Trouble at call 0, 1, 2 ... of a restore into an empty cloud until one makes no such call any more.
async fn restore_at_every_call(seed: u64, make: impl Fn(usize) -> Option<Trouble>) {
    let source = Bench::new(seed).await;
    let job = source.job().await;
    let point = source.run(job).await.unwrap().point;
    let bench = Bench::empty(seed, source.repository.clone()).await;
    let nothing = bench.cloud.graph().await.unwrap();
    // The server with fewer resources, since every step is tried.
    let options = RestoreOptions {
        servers: vec!["db".to_owned()],
        ..RestoreOptions::default()
    };
    for n in 0.. {
        let plan = bench
            .raksha
            .plan_restore(point, options.clone())
            .await
            .unwrap();
        let handle = bench.raksha.restore(plan).await.unwrap();
        let id = handle.id();
        let told = Arc::new(Notify::new());
        let (trouble, kind) = match make(n) {
            Some(trouble) => (trouble, Some(Kind::Unavailable)),
            None => (Trouble::Cancel(handle.cancel()), Some(Kind::Cancelled)),
        };
        let dies = matches!(trouble, Trouble::Hang(_));
        let trouble = if dies {
            Trouble::Hang(Arc::clone(&told))
        } else {
            trouble
        };
        bench.fate.set(n, trouble);
        let result = tokio::select! {
            done = handle.finish() => Some(done),
            () = told.notified() => None,
        };
        let calls = bench.fate.clear();
        let when = format!("seed {seed}, trouble at call {n}, {:?}", calls.get(n));
        match result {
            Some(Ok(_)) => {
                // Cancelling in the very last call comes too late.
                assert!(n + 1 >= calls.len(), "{when}");
                break;
            }
            Some(Err(error)) => assert_eq!(Some(error.kind()), kind, "{when}: {error}"),
            None => {
                assert!(
                    bench
                        .raksha
                        .reap(Dead::Ended)
                        .await
                        .unwrap()
                        .restores
                        .is_empty()
                );
                let reaped = bench.raksha.reap(Dead::All).await.unwrap();
                assert_eq!(reaped.restores.len(), 1, "{when}");
                assert!(reaped.left.is_empty(), "{when}: {reaped:?}");
                for session in bench.repository.sessions().await.unwrap() {
                    bench.repository.fence(session.id, "test").await.unwrap();
                }
            }
        }
        let restore = bench.raksha.restore_record(id).await.unwrap();
        assert!(restore.created.is_empty(), "{when}: {restore:?}");
        let RestoreState::Ended { outcome, .. } = restore.state else {
            panic!("{when}: still running");
        };
        assert_ne!(outcome, RestoreOutcome::Succeeded, "{when}");
        assert_eq!(bench.cloud.graph().await.unwrap(), nothing, "{when}");
        let files = std::fs::read_dir(bench.cloud.path().join("disks"));
        assert_eq!(
            files.map_or(0, Iterator::count),
            0,
            "disks in the cloud, {when}"
        );
        bench.assert_clean(0, &when).await;
    }
}

#[tokio::test]
async fn a_restore_that_fails_anywhere_is_undone() {
    restore_at_every_call(40, |_| Some(Trouble::Fail)).await;
}

#[tokio::test]
async fn a_restore_that_loses_an_answer_anywhere_is_undone() {
    restore_at_every_call(41, |_| Some(Trouble::LoseAnswer)).await;
}

#[tokio::test]
async fn a_restore_that_is_cancelled_anywhere_is_undone() {
    restore_at_every_call(42, |_| None).await;
}

#[tokio::test]
async fn what_a_restore_leaves_that_dies_anywhere_is_reaped() {
    restore_at_every_call(43, |_| Some(Trouble::Hang(Arc::new(Notify::new())))).await;
}

#[tokio::test]
async fn what_a_restore_leaves_in_another_cloud_is_removed_there_and_not_forgotten_here() {
    let home = Bench::new(44).await;
    let job = home.job().await;
    let point = home.run(job).await.unwrap().point;
    let away = Bench::empty(44, home.repository.clone()).await;
    let nothing = away.cloud.graph().await.unwrap();
    let mut there = home.raksha.clone();
    there.cloud = away.raksha.cloud.clone();
    let options = RestoreOptions {
        servers: vec!["db".to_owned()],
        ..RestoreOptions::default()
    };
    let plan = there.plan_restore(point, options).await.unwrap();
    let handle = there.restore(plan).await.unwrap();
    let id = handle.id();
    let told = Arc::new(Notify::new());
    away.fate.set(3, Trouble::Hang(Arc::clone(&told)));
    tokio::select! {
        done = handle.finish() => panic!("it did not die: {done:?}"),
        () = told.notified() => {}
    }
    away.fate.clear();
    let half = away.cloud.graph().await.unwrap();
    assert_ne!(half, nothing);
    // Local clouds keep ids, so that what was made there is called like the original here.
    let original = home.cloud.graph().await.unwrap();

    let reaped = home.raksha.reap(Dead::All).await.unwrap();
    assert_eq!(reaped.restores.len(), 1);
    let undone = home.raksha.undo_restore(id).await.unwrap();
    for left in [reaped.left, undone] {
        let [only] = left.as_slice() else {
            panic!("of one restore: {left:?}");
        };
        let said = only.error.to_string();
        assert!(said.contains(&away.cloud.place()), "{said}");
    }
    assert_eq!(away.cloud.graph().await.unwrap(), half);
    assert_eq!(home.cloud.graph().await.unwrap(), original);

    let reaped = there.reap(Dead::Ended).await.unwrap();
    assert!(reaped.released > 0 && reaped.left.is_empty(), "{reaped:?}");
    assert_eq!(away.cloud.graph().await.unwrap(), nothing);
    for session in home.repository.sessions().await.unwrap() {
        home.repository.fence(session.id, "test").await.unwrap();
    }
    let anchors = home.disks().await.len();
    home.assert_clean(
        anchors,
        "the run's anchors are not the other cloud's to release",
    )
    .await;
}
