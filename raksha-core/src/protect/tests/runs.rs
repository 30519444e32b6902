//! Runs that go as they should, and what they tell.

use super::bench::{Bench, new_repository};
use crate::cloud::{Consistency, DiskId, Selection, ServerSelector};
use crate::error::Kind;
use crate::local::NewServer;
use crate::protect::{Event, NewJob, Phase, Warning};
use crate::store::{IfNotReached, RunOutcome, RunState};

#[tokio::test]
async fn a_run_leaves_a_point_and_nothing_but_anchors() {
    let bench = Bench::new(10).await;
    let job = bench.job().await;
    let handle = bench.raksha.run(job).await.unwrap();
    let recorded = bench.raksha.run_record(handle.id()).await.unwrap();
    assert_eq!(
        recorded.state,
        RunState::Running,
        "recorded before anything is created"
    );
    let id = handle.id();
    let report = handle.finish().await.unwrap();

    let point = bench.raksha.point(report.point).await.unwrap();
    assert_eq!(point.graph, bench.cloud.graph().await.unwrap());
    assert_eq!(point.disks.len(), bench.disks().await.len());
    assert_eq!(point.ledger, report.ledger);
    assert_eq!(
        (point.summary.job, point.summary.run),
        (Some(job), Some(id))
    );
    assert_eq!(point.summary.principal.as_deref(), Some("somebody"));
    assert_eq!(point.summary.servers, 2);
    assert_eq!(point.summary.counts, report.counts);
    let sizes: u64 = bench.disks().await.iter().map(|d| d.1).sum();
    assert_eq!(report.counts.logical_bytes, sizes);

    let run = bench.raksha.run_record(id).await.unwrap();
    assert_eq!(run.counts, report.counts);
    let succeeded = RunOutcome::Succeeded {
        point: report.point,
    };
    assert!(matches!(run.state, RunState::Ended { outcome, .. } if outcome == succeeded));
    bench
        .assert_clean(bench.disks().await.len(), "after a run")
        .await;
}

#[tokio::test]
async fn the_next_run_reads_only_what_changed_and_equals_a_full_one() {
    let mut bench = Bench::empty(11, new_repository().await).await;
    let server = NewServer::new("web")
        .volume("system", 24 << 20)
        .local_disk("scratch", 5000);
    bench.cloud.add_server(server).await.unwrap();
    let disks = bench.disks().await;
    bench.write(&disks[0].0, 0, 24 << 20).await;
    let job = bench.job().await;
    let first = bench.run(job).await.unwrap();
    bench.write(&disks[0].0, 12_288, 5_000).await;
    let second = bench.run(job).await.unwrap();
    assert!(second.warnings.is_empty(), "{:?}", second.warnings);
    // What the hint calls unchanged is looked at in samples, so it is not next to nothing.
    let (read, before) = (second.counts.read_bytes, first.counts.read_bytes);
    assert!(
        read < before / 2,
        "hints were followed: {read} bytes read after {before}"
    );
    assert!(second.counts.new_bytes > 0 && second.counts.new_bytes < first.counts.new_bytes / 4);
    bench
        .assert_clean(bench.disks().await.len(), "after two runs")
        .await;

    // Property 2: another job has no base and reads everything.
    let other = NewJob::new("other", Selection(vec![ServerSelector::All]));
    let other = bench.raksha.create_job(other).await.unwrap();
    let full = bench.run(other).await.unwrap();
    assert_eq!(full.counts.new_bytes, 0, "and stores nothing");
    let roots = async |point| {
        let point = bench.raksha.point(point).await.unwrap();
        point
            .disks
            .into_iter()
            .map(|d| (d.disk, d.root))
            .collect::<Vec<_>>()
    };
    assert_eq!(roots(full.point).await, roots(second.point).await);
    assert_ne!(roots(first.point).await, roots(second.point).await);
}

#[tokio::test]
async fn a_run_tells_what_it_does() {
    let bench = Bench::new(12).await;
    let job = bench.job().await;
    let handle = bench.raksha.run(job).await.unwrap();
    let mut events = handle.events();
    // Nobody listens to these: a run must not wait for them.
    let _deaf = handle.events();
    let report = handle.finish().await.unwrap();
    let mut phases = Vec::new();
    let mut done = Vec::new();
    let mut point = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Phase { phase } => phases.push(phase),
            Event::DiskDone { disk, size, counts } => {
                assert_eq!(counts.logical_bytes, size);
                done.push(disk);
            }
            Event::Snapshotted { ledger } => assert_eq!(ledger, report.ledger),
            Event::Committed { point: id } => point = Some(id),
            _ => {}
        }
    }
    use Phase::*;
    let expected = [
        Discovering,
        Checking,
        Snapshotting,
        Reading,
        Committing,
        Releasing,
    ];
    assert_eq!(phases, expected);
    assert_eq!(point, Some(report.point));
    done.sort();
    let mut all: Vec<DiskId> = bench.disks().await.into_iter().map(|d| d.0).collect();
    all.sort();
    assert_eq!(done, all);
}

#[tokio::test]
async fn consistency_that_is_not_reached_is_marked_or_refused() {
    let bench = Bench::new(13).await;
    let demand = async |name: &str, or| {
        let job = NewJob::new(name, Selection(vec![ServerSelector::All]));
        let job = job.with_consistency(Consistency::Application, or);
        let job = bench.raksha.create_job(job).await.unwrap();
        bench.run(job).await
    };
    let error = demand("refuse", IfNotReached::Refuse).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    bench.assert_clean(0, "after a refusal").await;

    let report = demand("mark", IfNotReached::Mark).await.unwrap();
    let warned = |w: &Warning| matches!(w, Warning::LessConsistent { .. });
    assert!(report.warnings.iter().any(warned));
    let point = bench.raksha.point(report.point).await.unwrap();
    assert_eq!(point.ledger.reached(), Consistency::CrashAcrossDisks);
}

#[tokio::test]
async fn a_base_that_was_forgotten_costs_time_and_nothing_else() {
    let bench = Bench::new(14).await;
    let job = bench.job().await;
    let first = bench.run(job).await.unwrap();
    bench.raksha.forget(&[first.point]).await.unwrap();
    bench.repository.collect(&Default::default()).await.unwrap();
    let second = bench.run(job).await.unwrap();
    assert_eq!(second.counts.read_bytes, first.counts.read_bytes);
    let verified = bench.repository.verify(&Default::default()).await.unwrap();
    assert!(verified.is_whole(), "{verified:?}");
    bench
        .assert_clean(bench.disks().await.len(), "after both")
        .await;
}

#[tokio::test]
async fn a_writer_that_is_fenced_off_starts_anew() {
    let bench = Bench::new(15).await;
    let job = bench.job().await;
    let handle = bench.raksha.run(job).await.unwrap();
    let mut events = handle.events();
    let repository = bench.repository.clone();
    let fence = async move {
        let mut disks = 0;
        while let Some(event) = events.next().await {
            disks += usize::from(matches!(event, Event::DiskDone { .. }));
            if disks == 1 {
                let open = repository.sessions().await.unwrap();
                repository.fence(open[0].id, "test").await.unwrap();
                break;
            }
        }
    };
    let (report, ()) = tokio::join!(handle.finish(), fence);
    let report = report.unwrap();
    let again = |w: &Warning| matches!(w, Warning::Again { .. });
    assert!(report.warnings.iter().any(again), "{:?}", report.warnings);
    let verified = bench.repository.verify(&Default::default()).await.unwrap();
    assert!(verified.is_whole(), "{verified:?}");
    bench
        .assert_clean(bench.disks().await.len(), "after being fenced")
        .await;
}

#[tokio::test]
async fn two_runs_of_a_job_at_once_both_succeed() {
    let bench = Bench::new(16).await;
    let job = bench.job().await;
    let (a, b) = tokio::join!(bench.run(job), bench.run(job));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a.point, b.point);
    bench.run(job).await.unwrap();
    bench
        .assert_clean(bench.disks().await.len(), "after three runs")
        .await;
}

#[tokio::test]
async fn a_job_whose_servers_are_gone_fails_and_says_so() {
    let bench = Bench::new(17).await;
    let job = NewJob::new(
        "web",
        Selection(vec![ServerSelector::Name("web".to_owned())]),
    );
    let job = bench.raksha.create_job(job).await.unwrap();
    let empty = Bench::empty(17, new_repository().await).await;
    let mut raksha = bench.raksha.clone();
    raksha.cloud = empty.raksha.cloud().clone();
    let handle = raksha.run(job).await.unwrap();
    let id = handle.id();
    let error = handle.finish().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let run = raksha.run_record(id).await.unwrap();
    let RunState::Ended {
        outcome: RunOutcome::Failed { error: recorded },
        ..
    } = run.state
    else {
        panic!("{run:?}");
    };
    assert_eq!(recorded, error.to_string());
}

#[tokio::test]
async fn a_hint_that_lied_is_remembered_and_the_next_one_looked_at_more_closely() {
    let mut bench = Bench::empty(18, new_repository().await).await;
    let server = NewServer::new("web").volume("system", 24 << 20);
    bench.cloud.add_server(server).await.unwrap();
    let disk = bench.disks().await[0].0.clone();
    let job = bench.job().await;
    let lies = async |bench: &Bench, point| {
        let point = bench.raksha.point(point).await.unwrap();
        point.disk(&disk).unwrap().hint_lies
    };
    bench.write(&disk, 0, 24 << 20).await;
    let first = bench.run(job).await.unwrap();
    let honest = bench.run(job).await.unwrap();
    assert_eq!(
        lies(&bench, first.point).await + lies(&bench, honest.point).await,
        0
    );

    bench.write(&disk, 0, 24 << 20).await;
    bench.fate.lie(true);
    let lied = bench.run(job).await.unwrap();
    let warned = |w: &Warning| matches!(w, Warning::HintLied { .. });
    assert!(lied.warnings.iter().any(warned), "{:?}", lied.warnings);
    assert_eq!(lies(&bench, lied.point).await, 1);

    bench.fate.lie(false);
    let after = bench.run(job).await.unwrap();
    assert!(after.warnings.is_empty(), "{:?}", after.warnings);
    assert_eq!(lies(&bench, after.point).await, 1);
    let (before, now) = (honest.counts.read_bytes, after.counts.read_bytes);
    assert!(
        now > 4 * before,
        "{now} bytes looked at, {before} before the lie"
    );
}
