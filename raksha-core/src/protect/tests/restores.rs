//! Restores that go as they should, and those that are refused.

use bytes::Bytes;

use super::bench::{Bench, as_in_the_point, server_key};
use crate::cloud::{
    DiskId, ResourceDiscovery, ResourceKey, ResourceKind, Selection, ServerSelector,
};
use crate::error::Kind;
use crate::protect::{RestoreOptions, Scope, Step};
use crate::store::RestoreOutcome;
use crate::store::RestoreState;

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let mut source = Bench::new(50).await;
    let job = source.job().await;
    source.run(job).await.unwrap();
    source
        .write(&DiskId::Volume("sample-web-data".into()), 700_000, 9_999)
        .await;
    let report = source.run(job).await.unwrap();
    let (graph, contents) = (source.cloud.graph().await.unwrap(), source.contents().await);

    let bench = Bench::empty(50, source.repository.clone()).await;
    let plan = bench
        .raksha
        .plan_restore(report.point, RestoreOptions::default())
        .await
        .unwrap();
    plan.check().unwrap();
    assert_eq!(plan.bytes(), report.counts.logical_bytes);
    let restored = bench
        .raksha
        .restore(plan)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();

    let live = as_in_the_point(bench.cloud.graph().await.unwrap(), &restored);
    assert_eq!(live, as_in_the_point(graph, &restored));
    let mut there = bench.contents().await;
    there.sort();
    let mut contents = contents;
    contents.sort();
    assert_eq!(there, contents);
    bench.assert_clean(0, "after a restore").await;
    let record = bench.raksha.restore_record(restored.restore).await.unwrap();
    assert!(matches!(
        record.state,
        RestoreState::Ended {
            outcome: RestoreOutcome::Succeeded,
            ..
        }
    ));
    let error = bench
        .raksha
        .undo_restore(restored.restore)
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Conflict,
        "what succeeded is its owner's"
    );
}

#[tokio::test]
async fn a_run_can_be_restored_by_its_id_from_the_target_alone() {
    let source = Bench::new(51).await;
    let job = source.job().await;
    let report = source.run(job).await.unwrap();
    // Another job store, which knows nothing.
    let bench = Bench::empty(51, source.repository.clone()).await;
    let plan = bench
        .raksha
        .plan_restore(report.run, RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(plan.point, report.point);

    let handle = source.raksha.run(job).await.unwrap();
    handle.cancel().cancel();
    let cancelled = handle.id();
    handle.finish().await.unwrap_err();
    let error = source
        .raksha
        .plan_restore(cancelled, RestoreOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("cancelled"), "{error}");
}

#[tokio::test]
async fn what_is_in_the_way_is_listed_and_refused() {
    let bench = Bench::new(52).await;
    let job = bench.job().await;
    let point = bench.run(job).await.unwrap().point;
    let before = bench.cloud.graph().await.unwrap();
    let plan = bench
        .raksha
        .plan_restore(point, RestoreOptions::default())
        .await
        .unwrap();
    assert!(
        plan.conflicts
            .iter()
            .any(|c| c.key == server_key("sample-web"))
    );
    let error = bench.raksha.restore(plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(
        error.to_string().contains("web") && error.to_string().contains("db"),
        "{error}"
    );
    assert_eq!(bench.cloud.graph().await.unwrap(), before);
    assert!(bench.raksha.restores().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_that_the_cloud_has_overtaken_is_refused() {
    let source = Bench::new(53).await;
    let job = source.job().await;
    let point = source.run(job).await.unwrap().point;
    let bench = Bench::empty(53, source.repository.clone()).await;
    let plan = bench
        .raksha
        .plan_restore(point, RestoreOptions::default())
        .await
        .unwrap();
    let server = crate::local::NewServer::new("web");
    bench.cloud.add_server(server).await.unwrap();
    let error = bench.raksha.restore(plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
}

#[tokio::test]
async fn one_server_comes_back_beside_the_living() {
    let bench = Bench::new(54).await;
    let job = bench.job().await;
    let point = bench.run(job).await.unwrap().point;
    let before = bench.cloud.graph().await.unwrap();

    // The server is lost, the rest of the project lives on.
    let key = |kind, id: &str| ResourceKey::new(kind, id);
    for key in [
        key(
            ResourceKind::FloatingIp,
            &before.floating_ips[0].id.to_string(),
        ),
        server_key("sample-web"),
        key(ResourceKind::Port, "sample-web-front"),
        key(ResourceKind::Port, "sample-web-back"),
    ] {
        let created = crate::cloud::Created {
            id: key.id.clone(),
            key,
        };
        crate::cloud::ResourceRestorer::remove(&bench.cloud, &created)
            .await
            .unwrap();
    }
    let options = RestoreOptions {
        servers: vec!["web".to_owned()],
        ..RestoreOptions::default()
    };
    let plan = bench.raksha.plan_restore(point, options).await.unwrap();
    plan.check().unwrap();
    let reused = plan
        .steps
        .iter()
        .filter(|s| matches!(s, Step::Reuse { .. }))
        .count();
    assert!(reused >= 5, "networks and groups are there still:\n{plan}");
    bench
        .raksha
        .restore(plan)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let selection = Selection(vec![ServerSelector::Name("web".to_owned())]);
    let live = bench.cloud.discover(&selection).await.unwrap();
    assert_eq!(live.servers[0].ports.len(), 2);
    let after = bench.cloud.graph().await.unwrap();
    assert_eq!(after.networks.len(), before.networks.len());
    assert_eq!(after.servers.len(), before.servers.len());
}

#[tokio::test]
async fn disks_alone_and_networks_alone() {
    let source = Bench::new(55).await;
    let job = source.job().await;
    let point = source.run(job).await.unwrap().point;
    let bench = Bench::empty(55, source.repository.clone()).await;
    let only = async |scope| {
        let options = RestoreOptions {
            scope,
            ..RestoreOptions::default()
        };
        let plan = bench.raksha.plan_restore(point, options).await.unwrap();
        bench
            .raksha
            .restore(plan.clone())
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        plan
    };
    let networks = only(Scope::Networks).await;
    assert_eq!(networks.bytes(), 0);
    let graph = bench.cloud.graph().await.unwrap();
    assert_eq!(
        (graph.servers.len(), graph.volumes.len(), graph.ports.len()),
        (0, 0, 0)
    );
    assert_eq!(
        (
            graph.networks.len(),
            graph.subnets.len(),
            graph.routers.len()
        ),
        (3, 2, 1)
    );

    let disks = only(Scope::Disks).await;
    assert!(disks.notes.iter().any(|n| n.contains("root")), "{disks}");
    let graph = bench.cloud.graph().await.unwrap();
    assert_eq!((graph.servers.len(), graph.volumes.len()), (0, 3));
}

#[tokio::test]
async fn damage_in_the_target_is_found_before_a_server_exists() {
    let source = Bench::new(56).await;
    let job = source.job().await;
    let point = source.run(job).await.unwrap().point;
    let bench = Bench::empty(56, source.repository.clone()).await;
    damage_data(&source).await;
    let plan = bench
        .raksha
        .plan_restore(point, RestoreOptions::default())
        .await
        .unwrap();
    let handle = bench.raksha.restore(plan).await.unwrap();
    let id = handle.id();
    let error = handle.finish().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(bench.cloud.graph().await.unwrap(), Default::default());
    let record = bench.raksha.restore_record(id).await.unwrap();
    assert!(matches!(
        record.state,
        RestoreState::Ended {
            outcome: RestoreOutcome::Failed { .. },
            ..
        }
    ));
}

/// Flips a bit in the middle of every pack.
async fn damage_data(bench: &Bench) {
    use futures_util::TryStreamExt;
    use object_store::{ObjectStore, ObjectStoreExt};
    let objects = &bench.repository.target().objects;
    let packs = objects.list(Some(&"packs".into()));
    let packs: Vec<_> = packs.try_collect().await.unwrap();
    assert!(!packs.is_empty());
    for pack in packs {
        let bytes = objects
            .get(&pack.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        objects
            .put(&pack.location, Bytes::from(bytes).into())
            .await
            .unwrap();
    }
}
