//! What is particular about restoring into a local cloud.

use bytes::Bytes;

use super::bench::Bench;
use crate::cloud::{
    DiskId, IdMap, Presence, ResourceGraph, ResourceKey, ResourceKind as K, ResourceMapping,
    ResourceRef, ResourceRestorer, RestoreRequest,
};
use crate::error::Kind;
use crate::testkit::cloud::{Notebook, sample_graph};

fn request(graph: ResourceGraph) -> RestoreRequest {
    RestoreRequest {
        graph,
        ..RestoreRequest::default()
    }
}

async fn presence(bench: &Bench, request: &RestoreRequest, kind: K, id: &str) -> Presence {
    let survey = bench.cloud.survey(request).await.unwrap();
    let key = ResourceKey::new(kind, id);
    let finding = survey.findings.into_iter().find(|f| f.key == key);
    finding.unwrap().presence
}

/// Restores everything that is absent, and leaves disks empty.
async fn restore(bench: &Bench, request: &RestoreRequest, ids: &mut IdMap) {
    let notebook = Notebook::new();
    let cloud = &bench.cloud;
    let disks = request.graph.disks().unwrap();
    for resource in request.graph.resources() {
        if ids.get(&resource.key()).is_some() {
            continue;
        }
        let mut to_write = Vec::new();
        if let ResourceRef::Server(server) = resource {
            to_write = disks.clone();
            to_write
                .retain(|(d, _)| matches!(d, DiskId::Local { server: s, .. } if *s == server.id));
        }
        for (disk, size) in to_write {
            let writer = cloud
                .open_disk(&disk, size, request, ids, &notebook)
                .await
                .unwrap();
            writer.write_zeroes(0..size).await.unwrap();
            writer.finish().await.unwrap();
        }
        let made = cloud
            .create(resource, request, ids, &notebook)
            .await
            .unwrap();
        ids.insert(made.key, made.id);
        if let ResourceRef::Volume(volume) = resource {
            let disk = DiskId::Volume(volume.id.clone());
            let writer = cloud
                .open_disk(&disk, volume.size, request, ids, &notebook)
                .await
                .unwrap();
            writer.write_zeroes(0..volume.size).await.unwrap();
            writer.finish().await.unwrap();
        }
    }
}

#[tokio::test]
async fn everything_comes_back_as_it_was_under_the_same_ids() {
    let graph = sample_graph().unwrap();
    let bench = Bench::empty().await;
    let request = request(graph.clone());
    let mut ids = IdMap::default();
    restore(&bench, &request, &mut ids).await;
    for server in &graph.servers {
        bench.cloud.start(server, &ids).await.unwrap();
    }
    let mut back = bench.cloud.graph().await.unwrap();
    let mut wanted = graph;
    for group in back
        .security_groups
        .iter_mut()
        .chain(&mut wanted.security_groups)
    {
        group.rules.sort_by_key(|r| format!("{r:?}"));
    }
    assert_eq!(back, wanted);
    assert!(
        bench
            .cloud
            .describe()
            .await
            .unwrap()
            .awaited_rules
            .is_empty()
    );
}

#[tokio::test]
async fn beside_the_original_with_new_names_and_addresses_ids_are_new() {
    let original = sample_graph().unwrap();
    let bench = Bench::with(original.clone()).await;
    let mut graph = original.clone();
    for (i, port) in graph.ports.iter_mut().enumerate() {
        port.mac = format!("fa:16:3e:00:01:{i:02}");
        for ip in &mut port.fixed_ips {
            ip.address = format!("{}7", ip.address);
        }
    }
    graph.floating_ips.clear();
    let mut request = request(graph);
    request.mapping = ResourceMapping {
        names: vec![
            (
                ResourceKey::new(K::Server, "sample-web"),
                "web-again".to_owned(),
            ),
            (
                ResourceKey::new(K::Server, "sample-db"),
                "db-again".to_owned(),
            ),
            (
                ResourceKey::new(K::SecurityGroup, "sample-group-web"),
                "web-group-again".to_owned(),
            ),
        ],
        ..ResourceMapping::default()
    };
    request
        .mapping
        .volume_types
        .insert("fast".to_owned(), "faster".to_owned());
    request
        .mapping
        .flavors
        .insert("small".to_owned(), "tiny".to_owned());

    let mut ids = IdMap::default();
    let survey = bench.cloud.survey(&request).await.unwrap();
    for finding in survey.findings {
        match finding.presence {
            Presence::Same { id } => ids.insert(finding.key, id),
            Presence::Absent => {}
            Presence::Conflict { reason, .. } => {
                // The db's group refers to the web's, which shall be another one.
                assert_eq!(finding.key.id, "sample-group-db", "{reason}");
                request
                    .mapping
                    .names
                    .push((finding.key, "db-group-again".to_owned()));
            }
        }
    }
    restore(&bench, &request, &mut ids).await;

    let now = bench.cloud.graph().await.unwrap();
    assert_eq!(now.servers.len(), 4);
    assert_eq!(now.networks, original.networks);
    assert_eq!(now.servers[..2], original.servers[..]);
    let web = now.server("web-again").unwrap();
    assert_ne!(web.id.as_str(), "sample-web");
    assert_eq!(web.flavor.name, "tiny");
    let volume = ids
        .get(&ResourceKey::new(K::Volume, "sample-db-data"))
        .unwrap();
    let volume = now
        .volumes
        .iter()
        .find(|v| v.id.as_str() == volume)
        .unwrap();
    assert_eq!(volume.volume_type.as_deref(), Some("faster"));
    let group = ids
        .get(&ResourceKey::new(K::SecurityGroup, "sample-group-web"))
        .unwrap();
    let group = now
        .security_groups
        .iter()
        .find(|g| g.id.as_str() == group)
        .unwrap();
    let other = ids
        .get(&ResourceKey::new(K::SecurityGroup, "sample-group-db"))
        .unwrap();
    let mut remotes: Vec<&str> = group
        .rules
        .iter()
        .filter_map(|r| Some(r.remote_group.as_ref()?.as_str()))
        .collect();
    let mut wanted = vec![group.id.as_str(), other];
    remotes.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(remotes, wanted, "rules refer to the restored groups");
}

#[tokio::test]
async fn what_is_in_the_way_is_told_with_the_reason() {
    let bench = Bench::with(sample_graph().unwrap()).await;
    let same = request(sample_graph().unwrap());
    let is_same = |p: &Presence| matches!(p, Presence::Same { .. });
    let conflict = |p: &Presence, word: &str| match p {
        Presence::Conflict { reason, .. } => assert!(reason.contains(word), "{reason}"),
        other => panic!("{other:?}"),
    };
    for (kind, id) in [
        (K::Network, "sample-back"),
        (K::Subnet, "sample-back-v4"),
        (K::Router, "sample-router"),
        (K::SecurityGroup, "sample-group-web"),
        (K::KeyPair, "sample-key"),
        (K::ServerGroup, "sample-apart"),
        (K::Image, "sample-image"),
    ] {
        let presence = presence(&bench, &same, kind, id).await;
        assert!(is_same(&presence), "{id}: {presence:?}");
    }
    conflict(&presence(&bench, &same, K::Server, "sample-db").await, "db");
    conflict(
        &presence(&bench, &same, K::Port, "sample-db-port").await,
        "fa:16:3e:5a:00:03",
    );
    conflict(
        &presence(&bench, &same, K::FloatingIp, "sample-floating").await,
        "203.0.113.7",
    );
    assert_eq!(
        presence(&bench, &same, K::Volume, "sample-db-data").await,
        Presence::Absent
    );

    let mut other = same.clone();
    other.graph.networks[2].mtu = Some(1400);
    other.graph.subnets[0].cidr = "10.9.0.0/24".to_owned();
    other.graph.key_pairs[0].public_key = "ssh-rsa other".to_owned();
    other.graph.security_groups[1].rules.clear();
    other.graph.ports[2].mac = "fa:16:3e:00:00:77".to_owned();
    conflict(
        &presence(&bench, &other, K::Network, "sample-back").await,
        "mtu",
    );
    conflict(
        &presence(&bench, &other, K::Subnet, "sample-front-v4").await,
        "cidr",
    );
    conflict(
        &presence(&bench, &other, K::KeyPair, "sample-key").await,
        "public_key",
    );
    conflict(
        &presence(&bench, &other, K::SecurityGroup, "sample-group-db").await,
        "rules",
    );
    conflict(
        &presence(&bench, &other, K::Port, "sample-db-port").await,
        "10.2.0.12",
    );

    let mut mapped = other.clone();
    let network = ResourceKey::new(K::Network, "sample-back");
    mapped.mapping.resources = vec![(network, "sample-front".to_owned())];
    let there = presence(&bench, &mapped, K::Network, "sample-back").await;
    assert_eq!(
        there,
        Presence::Same {
            id: "sample-front".to_owned()
        }
    );
    mapped.mapping.resources[0].1 = "gone".to_owned();
    conflict(
        &presence(&bench, &mapped, K::Network, "sample-back").await,
        "mapped",
    );
    mapped.mapping.resources[0].0 = ResourceKey::new(K::Network, "never");
    let survey = bench.cloud.survey(&mapped).await.unwrap();
    assert!(survey.problems[0].what.contains("never"));
}

#[tokio::test]
async fn a_server_is_created_only_when_its_disks_are_whole() {
    let mut graph = sample_graph().unwrap();
    graph.servers.truncate(1);
    graph.servers[0].ports.clear();
    graph.servers[0].attachments.truncate(1);
    let bench = Bench::empty().await;
    let request = request(graph.clone());
    let notebook = Notebook::new();
    let mut ids = IdMap::default();
    for resource in graph.resources().filter(|r| r.key().kind < K::Volume) {
        let made = bench
            .cloud
            .create(resource, &request, &ids, &notebook)
            .await
            .unwrap();
        ids.insert(made.key, made.id);
    }
    let server = ResourceRef::Server(&graph.servers[0]);
    let refused = bench
        .cloud
        .create(server, &request, &ids, &notebook)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{refused}");

    let disk = DiskId::Local {
        server: "sample-web".into(),
        name: "root".to_owned(),
    };
    let open = || {
        bench
            .cloud
            .open_disk(&disk, 1 << 20, &request, &ids, &notebook)
    };
    let writer = open().await.unwrap();
    let rival = open().await.unwrap_err();
    assert_eq!(rival.kind(), Kind::Conflict, "{rival}");
    writer
        .write_at(0, Bytes::from(vec![1; 4096]))
        .await
        .unwrap();
    let early = writer.finish().await.unwrap_err();
    assert_eq!(early.kind(), Kind::Invalid, "{early}");
    assert!(
        bench
            .cloud
            .create(server, &request, &ids, &notebook)
            .await
            .is_err()
    );
    writer.write_zeroes(4096..1 << 20).await.unwrap();
    writer.finish().await.unwrap();
    writer.finish().await.unwrap();
    assert!(writer.write_zeroes(0..1).await.is_err());
    drop(writer);
    bench
        .cloud
        .create(server, &request, &ids, &notebook)
        .await
        .unwrap();
    let taken = open().await.unwrap_err();
    assert_eq!(taken.kind(), Kind::AlreadyExists, "{taken}");
}

#[tokio::test]
async fn a_restore_that_died_is_undone_by_what_it_recorded() {
    let bench = Bench::empty().await;
    let request = request(sample_graph().unwrap());
    let notebook = Notebook::new();
    let mut ids = IdMap::default();
    for resource in request
        .graph
        .resources()
        .filter(|r| r.key().kind < K::Server)
    {
        let made = bench
            .cloud
            .create(resource, &request, &ids, &notebook)
            .await
            .unwrap();
        ids.insert(made.key, made.id);
    }
    for (disk, size) in request.graph.disks().unwrap() {
        let writer = bench
            .cloud
            .open_disk(&disk, size, &request, &ids, &notebook)
            .await
            .unwrap();
        writer
            .write_at(0, Bytes::from(vec![1; 4096]))
            .await
            .unwrap();
    }
    for temporary in notebook.open().iter().rev() {
        let created = serde_json::from_value(temporary.detail.clone()).unwrap();
        bench.cloud.remove(&created).await.unwrap();
    }
    assert_eq!(bench.cloud.graph().await.unwrap(), ResourceGraph::default());
    assert!(bench.cloud.describe().await.unwrap().disks.is_empty());
    let left = std::fs::read_dir(bench.cloud.path().join("disks"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "files are left");
}

#[tokio::test]
async fn what_others_need_is_not_removed() {
    let bench = Bench::with(sample_graph().unwrap()).await;
    let before = bench.cloud.graph().await.unwrap();
    for (kind, id) in [
        (K::Network, "sample-back"),
        (K::Volume, "sample-db-data"),
        (K::Port, "sample-db-port"),
    ] {
        let created = crate::cloud::Created {
            key: ResourceKey::new(kind, id),
            id: id.to_owned(),
        };
        let refused = bench.cloud.remove(&created).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    }
    assert_eq!(bench.cloud.graph().await.unwrap(), before);
    bench
        .open(&DiskId::Volume("sample-db-data".into()))
        .await
        .unwrap();
}
