//! Jobs.

use super::bench::Bench;
use crate::cloud::{Selection, ServerSelector};
use crate::error::Kind;
use crate::id::ProjectId;
use crate::protect::NewJob;

fn named(name: &str, servers: &[&str]) -> NewJob {
    let servers = servers
        .iter()
        .map(|s| ServerSelector::IdOrName((*s).to_owned()));
    NewJob::new(name, Selection(servers.collect()))
}

#[tokio::test]
async fn a_job_that_protects_nothing_or_what_is_not_there_is_refused() {
    let bench = Bench::new(1).await;
    let refused = async |job: NewJob, kind: Kind| {
        let error = bench.raksha.create_job(job).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    };
    refused(named("none", &[]), Kind::Invalid).await;
    refused(named("", &["web"]), Kind::Invalid).await;
    refused(named("a\nb", &["web"]), Kind::Invalid).await;
    refused(named("ghost", &["no such server"]), Kind::NotFound).await;
    refused(named("twice", &["web", "sample-web"]), Kind::Invalid).await;
    let tag = Selection(vec![ServerSelector::Tag("nobody's".to_owned())]);
    refused(NewJob::new("tag", tag), Kind::Invalid).await;

    bench
        .raksha
        .create_job(named("one", &["web"]))
        .await
        .unwrap();
    refused(named("one", &["db"]), Kind::AlreadyExists).await;
    assert_eq!(bench.raksha.jobs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn jobs_are_found_by_name_and_by_the_beginning_of_their_id() {
    let bench = Bench::new(2).await;
    let id = bench
        .raksha
        .create_job(named("nightly", &["web"]))
        .await
        .unwrap();
    bench
        .raksha
        .create_job(named("weekly", &["db"]))
        .await
        .unwrap();
    let found = bench.raksha.find_job("nightly").await.unwrap();
    assert_eq!(found.id, id);
    assert_eq!(
        bench.raksha.find_job(&id.to_string()[..10]).await.unwrap(),
        found
    );
    let error = bench.raksha.find_job("").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_job_becomes_another_and_keeps_its_id_and_its_points() {
    let bench = Bench::new(4).await;
    let id = bench.job().await;
    let report = bench.run(id).await.unwrap();
    let before = bench.raksha.job(id).await.unwrap();
    let mut new = NewJob::of(&before);
    new.name = "only web".to_owned();
    new.servers = Selection(vec![ServerSelector::IdOrName("web".to_owned())]);
    let after = bench.raksha.update_job(id, new.clone()).await.unwrap();
    assert_eq!(after, bench.raksha.job(id).await.unwrap());
    assert_eq!((after.id, after.created), (id, before.created));
    assert_eq!(NewJob::of(&after), new);
    let second = bench.run(id).await.unwrap();
    assert!(second.counts.logical_bytes < report.counts.logical_bytes);
    assert_eq!(bench.raksha.points().await.unwrap().len(), 2);

    new.servers = Selection(vec![ServerSelector::IdOrName("ghost".to_owned())]);
    let error = bench.raksha.update_job(id, new.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    new.servers = Selection(Vec::new());
    let error = bench.raksha.update_job(id, new).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert_eq!(bench.raksha.job(id).await.unwrap(), after);
}

#[tokio::test]
async fn a_project_sees_neither_jobs_nor_points_of_another() {
    let bench = Bench::new(3).await;
    let job = bench.job().await;
    let report = bench.run(job).await.unwrap();
    let mut other = bench.raksha.clone();
    other.project = ProjectId::new("q");
    assert!(other.jobs().await.unwrap().is_empty());
    assert!(other.points().await.unwrap().is_empty());
    for error in [
        other.job(job).await.unwrap_err(),
        other.run(job).await.unwrap_err(),
        other.point(report.point).await.unwrap_err(),
        other.forget(&[report.point]).await.unwrap_err(),
        other
            .plan_restore(report.point, Default::default())
            .await
            .unwrap_err(),
        other
            .plan_restore(report.run, Default::default())
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
    bench.raksha.forget(&[report.point]).await.unwrap();
    assert!(bench.raksha.points().await.unwrap().is_empty());
}

#[tokio::test]
async fn deleting_a_job_releases_its_anchors_and_keeps_its_points() {
    let bench = Bench::new(4).await;
    let job = bench.job().await;
    let report = bench.run(job).await.unwrap();
    assert!(bench.snapshots() > 0, "the embedded cloud keeps anchors");
    assert!(bench.raksha.delete_job(job).await.unwrap().is_empty());
    bench.assert_clean(0, "after the job was deleted").await;
    assert_eq!(bench.raksha.runs(Some(job)).await.unwrap().len(), 1);
    bench.raksha.point(report.point).await.unwrap();
}
