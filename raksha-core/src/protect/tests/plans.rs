//! Plans, as the pure function that they are.

use crate::cloud::{
    ConsistencyLedger, Finding, Presence, Problem, ResourceKey, ResourceKind as K, Survey,
};
use crate::cloud::{DiskId, ResourceMapping};
use crate::error::Kind;
use crate::format::tree::Root;
use crate::id::{ChunkId, PointId};
use crate::point::{PointDisk, PointSummary, RecoveryPoint};
use crate::protect::{RestoreOptions, RestorePlan, Step};
use crate::store::RunCounts;
use crate::testkit::cloud::sample_graph;
use crate::time::Timestamp;

const POINT: PointId = PointId::from_bytes([0xab; 32]);

fn point() -> RecoveryPoint {
    let graph = sample_graph().unwrap();
    let disk = |(disk, size)| PointDisk {
        disk,
        root: Root {
            node: ChunkId::from_bytes([1; 32]),
            size,
        },
        counts: RunCounts::default(),
        anchor: None,
        hint_lies: 0,
    };
    let disks = graph.disks().unwrap().into_iter().map(disk).collect();
    RecoveryPoint {
        summary: PointSummary {
            name: "nightly".to_owned(),
            taken: Timestamp::from_millis(1_383_642_000_000),
            project: None,
            principal: None,
            job: None,
            run: None,
            servers: 2,
            counts: RunCounts::default(),
        },
        graph,
        disks,
        ledger: ConsistencyLedger::default(),
    }
}

/// Says `presence` of every resource that the options ask for.
fn survey(options: &RestoreOptions, presence: impl Fn(&ResourceKey) -> Presence) -> Survey {
    let request = RestorePlan::request(&point(), options).unwrap();
    let findings = request.graph.resources().map(|resource| {
        let key = resource.key();
        Finding {
            presence: presence(&key),
            key,
        }
    });
    Survey {
        findings: findings.collect(),
        problems: Vec::new(),
        notes: Vec::new(),
    }
}

fn plan(options: &RestoreOptions, survey: &Survey) -> RestorePlan {
    RestorePlan::new(POINT, &point(), survey, options).unwrap()
}

fn same(key: &ResourceKey) -> Presence {
    Presence::Same {
        id: format!("live-{}", key.id),
    }
}

#[test]
fn into_an_empty_cloud_everything_is_created_in_order() {
    let options = RestoreOptions::default();
    let survey = survey(&options, |_| Presence::Absent);
    let plan = plan(&options, &survey);
    plan.check().unwrap();
    assert_eq!(
        plan,
        self::plan(&options, &survey),
        "the same input, the same plan"
    );
    let position = |wanted: &dyn Fn(&Step) -> bool| {
        let all = plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| wanted(step));
        let positions: Vec<usize> = all.map(|(i, _)| i).collect();
        (positions[0], positions[positions.len() - 1])
    };
    let created = position(&|s| matches!(s, Step::Create { .. }));
    let written = position(&|s| matches!(s, Step::WriteDisk { .. }));
    let servers = position(&|s| matches!(s, Step::CreateServer { .. }));
    let started = position(&|s| matches!(s, Step::Start { .. }));
    assert!(
        created.1 < written.0 && written.1 < servers.0 && servers.1 < started.0,
        "{plan}"
    );
    assert_eq!(written.1 - written.0 + 1, 4, "every disk");
    assert_eq!(started.0, started.1, "db was stopped and stays so");
}

#[test]
fn plans_survive_json_and_read_like_a_table() {
    let options = RestoreOptions {
        servers: vec!["web".to_owned()],
        ..RestoreOptions::default()
    };
    let plan = plan(
        &options,
        &survey(&options, |key| match key.kind {
            K::Network | K::Subnet => same(key),
            K::Router => Presence::Conflict {
                id: "r9".to_owned(),
                reason: "it leads elsewhere: map it".to_owned(),
            },
            _ => Presence::Absent,
        }),
    );
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<RestorePlan>(&json).unwrap(), plan);
    let text = plan.to_string();
    assert!(
        text.starts_with(
            "restore of nightly as of 2013-11-05T09:00:00.000Z (point abababababab)\n"
        ),
        "{text}"
    );
    for line in [
        "  use     network         front                   the live live-sample-front",
        "  create  volume          data",
        "  write   disk            data                    2097152 bytes",
        "  write   disk            web/root                1048576 bytes",
        "  start   server          web",
        "  router way-out: it leads elsewhere: map it (r9)",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line:?} is not in\n{text}"
        );
    }
    assert!(
        !text.contains("server          db"),
        "only what was asked for:\n{text}"
    );
}

#[test]
fn nothing_existing_is_overwritten() {
    let options = RestoreOptions::default();
    let plan = plan(&options, &survey(&options, same));
    let kinds: Vec<K> = plan.conflicts.iter().map(|c| c.key.kind).collect();
    assert_eq!(
        kinds,
        [K::Volume, K::Volume, K::Volume, K::Server, K::Server]
    );
    assert_eq!(plan.check().unwrap_err().kind(), Kind::AlreadyExists);
    assert!(
        plan.steps.iter().all(|s| matches!(s, Step::Reuse { .. })),
        "{plan}"
    );
}

#[test]
fn mapped_resources_are_used_and_servers_cannot_be() {
    let key = |kind, id: &str| ResourceKey::new(kind, id);
    let mapping = ResourceMapping {
        resources: vec![
            (key(K::Network, "sample-front"), "n1".to_owned()),
            (key(K::Volume, "sample-db-data"), "v1".to_owned()),
            (key(K::Server, "sample-db"), "s1".to_owned()),
        ],
        names: vec![(key(K::Server, "sample-web"), "web-2".to_owned())],
        ..ResourceMapping::default()
    };
    let options = RestoreOptions {
        mapping,
        ..RestoreOptions::default()
    };
    let plan = plan(&options, &survey(&options, |_| Presence::Absent));
    let mapped = |wanted: &str| {
        plan.steps
            .iter()
            .any(|s| matches!(s, Step::Map { id, .. } if id == wanted))
    };
    assert!(mapped("n1") && mapped("v1"), "{plan}");
    let writes = |wanted: &DiskId| {
        plan.steps
            .iter()
            .any(|s| matches!(s, Step::WriteDisk { disk, .. } if disk == wanted))
    };
    assert!(
        !writes(&DiskId::Volume("sample-db-data".into())),
        "a mapped volume is not written"
    );
    assert!(writes(&DiskId::Volume("sample-web-data".into())));
    assert!(
        plan.steps
            .iter()
            .any(|s| matches!(s, Step::Start { name, .. } if name == "web-2"))
    );
    let error = plan.check().unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("sample-db"), "{error}");
}

#[test]
fn what_the_cloud_or_the_point_lacks_is_a_problem() {
    let options = RestoreOptions::default();
    let mut said = survey(&options, |_| Presence::Absent);
    said.problems.push(Problem {
        what: "quota".to_owned(),
        reason: "2 servers too many".to_owned(),
    });
    said.findings.retain(|f| f.key.id != "sample-router");
    let mut lacking = point();
    lacking
        .disks
        .retain(|d| d.disk != DiskId::Volume("sample-db-root".into()));
    let plan = RestorePlan::new(POINT, &lacking, &said, &options).unwrap();
    let text = plan.check().unwrap_err().to_string();
    for part in [
        "2 servers too many",
        "sample-router",
        "volume:sample-db-root",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn servers_that_the_point_lacks_are_refused() {
    let options = RestoreOptions {
        servers: vec!["nobody".to_owned()],
        ..RestoreOptions::default()
    };
    let error = RestorePlan::request(&point(), &options).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_part_of_the_graph_is_a_graph() {
    for servers in [vec![], vec!["web".to_owned()], vec!["db".to_owned()]] {
        let options = RestoreOptions {
            servers: servers.clone(),
            ..RestoreOptions::default()
        };
        let part = RestorePlan::request(&point(), &options).unwrap().graph;
        part.check().unwrap_or_else(|e| panic!("{servers:?}: {e}"));
        let groups: Vec<&str> = part.security_groups.iter().map(|g| g.id.as_str()).collect();
        assert_eq!(
            groups,
            ["sample-group-web", "sample-group-db"],
            "groups that rules name come along, {servers:?}"
        );
    }
}
