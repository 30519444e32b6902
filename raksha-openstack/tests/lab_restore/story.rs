//! One of everything is lost, and comes back: as a tenant by images, and as an operator straight into the cluster.

use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use raksha_core::cloud::{
    DiskId, IdMap, Presence, Recorder, ResourceDiscovery, ResourceGraph, ResourceKey,
    ResourceKind as K, ResourceRef, ResourceRestorer, RestoreRequest, Selection, ServerSelector,
    SnapshotProvider,
};
use raksha_core::testkit::cloud::Notebook;
use raksha_core::{Kind, Result};
use raksha_openstack::temporary::ATTACHMENT;
use raksha_openstack::{OpenStack, OpenStackOptions};
use serde_json::Value;

use crate::lab::{config, connect, everything, mark, operator, tenant, volume};
use crate::original::build;

async fn discover(cloud: &OpenStack, name: &str) -> ResourceGraph {
    let selection = Selection(vec![ServerSelector::Name(name.to_owned())]);
    let graph = cloud.discover(&selection).await.unwrap();
    graph.check().unwrap();
    graph
}

/// Writes what is in `from` to a disk of the restore.
async fn write(
    cloud: &OpenStack,
    disk: &DiskId,
    size: u64,
    from: &Path,
    request: &RestoreRequest,
    ids: &IdMap,
    recorder: &dyn Recorder,
) -> Result<()> {
    let writer = cloud.open_disk(disk, size, request, ids, recorder).await?;
    let file = std::fs::File::open(from).unwrap();
    let mut at = 0;
    while at < size {
        let length = (size - at).min(1 << 20);
        let mut buffer = vec![0; usize::try_from(length).unwrap()];
        file.read_exact_at(&mut buffer, at).unwrap();
        match buffer.iter().all(|byte| *byte == 0) {
            true => writer.write_zeroes(at..at + length).await?,
            false => writer.write_at(at, Bytes::from(buffer)).await?,
        }
        at += length;
    }
    writer.finish().await
}

fn same_files(one: &Path, other: &Path) -> bool {
    let done = std::process::Command::new("cmp")
        .args([one, other])
        .output()
        .unwrap();
    done.status.success()
}

/// A restore under way, in the order in which the core has it.
struct Restore<'a> {
    cloud: &'a OpenStack,
    request: &'a RestoreRequest,
    ids: IdMap,
    notebook: Notebook,
}

impl<'a> Restore<'a> {
    async fn survey(cloud: &'a OpenStack, request: &'a RestoreRequest) -> Restore<'a> {
        let survey = cloud.survey(request).await.unwrap();
        assert_eq!(survey.problems, []);
        let mut ids = IdMap::default();
        for finding in survey.findings {
            match finding.presence {
                Presence::Same { id } => ids.insert(finding.key, id),
                Presence::Absent => {}
                Presence::Conflict { reason, .. } => panic!("{}: {reason}", finding.key),
            }
        }
        Restore {
            cloud,
            request,
            ids,
            notebook: Notebook::new(),
        }
    }

    async fn create(&mut self, kinds: impl Fn(K) -> bool) {
        for resource in self.request.graph.resources() {
            let key = resource.key();
            if !kinds(key.kind) || self.ids.get(&key).is_some() {
                continue;
            }
            let created = self
                .cloud
                .create(resource, self.request, &self.ids, &self.notebook)
                .await;
            let created = created.unwrap_or_else(|error| panic!("creating {key}: {error}"));
            self.ids.insert(created.key, created.id);
        }
    }

    /// Fills the volumes, and compares what then lies in the cluster.
    async fn fill(&mut self, contents: &[(String, tempfile::NamedTempFile)], straight: bool) {
        for point in &self.request.graph.volumes {
            let disk = DiskId::Volume(point.id.clone());
            let (_, content) = contents
                .iter()
                .find(|(id, _)| *id == point.id.as_str())
                .unwrap();
            let (request, ids, notebook) = (self.request, &self.ids, &self.notebook);
            write(
                self.cloud,
                &disk,
                point.size,
                content.path(),
                request,
                ids,
                notebook,
            )
            .await
            .unwrap();
            let recorded = notebook.open();
            let attached = recorded.iter().any(|t| t.kind == ATTACHMENT);
            assert_eq!(attached, straight, "by the road that it shall take");
            if let Some(settled) = self
                .cloud
                .settle_disk(&disk, request, ids, notebook)
                .await
                .unwrap()
            {
                self.ids.insert(settled.key, settled.id);
            }
            let live = self
                .ids
                .get(&ResourceKey::new(K::Volume, point.id.as_str()))
                .unwrap();
            assert!(
                same_files(content.path(), volume(live).path()),
                "{} is not what it was",
                point.name
            );
        }
    }

    /// Releases all that was recorded, the latest first, as the core undoes a restore.
    async fn undo(self) {
        for temporary in self.notebook.open().iter().rev() {
            self.cloud
                .release(temporary)
                .await
                .unwrap_or_else(|error| panic!("{temporary:?}: {error}"));
            self.cloud.release(temporary).await.unwrap();
        }
    }
}

/// A graph without what must differ: ids, times, states, and the addresses that a router got outside.
fn shape(graph: &ResourceGraph) -> Value {
    let mut names = std::collections::BTreeMap::new();
    for resource in graph.resources() {
        let name = match resource {
            ResourceRef::FloatingIp(_) => "floating".to_owned(),
            other => format!("<{}>", other.name()),
        };
        names.insert(resource.key().id, name);
    }
    let mut value = serde_json::to_value(graph).unwrap();
    clean(&mut value, &names);
    for kind in value.as_object_mut().unwrap().values_mut() {
        if let Value::Array(all) = kind {
            all.sort_by_key(Value::to_string);
        }
    }
    value
}

fn clean(value: &mut Value, names: &std::collections::BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for gone in ["raw", "omissions"] {
                fields.remove(gone);
            }
            // The lab gives addresses outside as it likes.
            if fields.contains_key("fixed_address") {
                fields.remove("address");
            }
            fields.values_mut().for_each(|field| clean(field, names));
            // The cloud has no order for these.
            for unordered in ["rules", "security_groups"] {
                if let Some(Value::Array(items)) = fields.get_mut(unordered) {
                    items.sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
                *text = name.clone();
            }
        }
        _ => {}
    }
}

async fn comes_back(
    options: OpenStackOptions,
    road: &str,
    request: &RestoreRequest,
    contents: &[(String, tempfile::NamedTempFile)],
    mark: &str,
) {
    let straight = options.operator.is_some();
    let cloud = connect(&config("raksha-demo"), options).await;
    let before = everything(&cloud, mark).await;
    let started = std::time::Instant::now();
    let mut restore = Restore::survey(&cloud, request).await;
    restore
        .create(|kind| !matches!(kind, K::Server | K::FloatingIp))
        .await;
    restore.fill(contents, straight).await;
    restore.create(|_| true).await;
    for server in &request.graph.servers {
        cloud.start(server, &restore.ids).await.unwrap();
    }
    let name = request.graph.servers[0].name.clone();
    let live = discover(&cloud, &name).await;
    eprintln!("{road}: back after {:.0?}", started.elapsed());

    // Whoever restores once more learns that it is there, and overwrites nothing.
    let survey = cloud.survey(request).await.unwrap();
    let key = ResourceKey::new(K::Server, request.graph.servers[0].id.as_str());
    let found = survey.findings.iter().find(|f| f.key == key).unwrap();
    assert!(
        matches!(found.presence, Presence::Conflict { .. }),
        "{found:?}"
    );
    let again = DiskId::Volume(request.graph.volumes[0].id.clone());
    let size = request.graph.volumes[0].size;
    let refused = cloud
        .open_disk(&again, size, request, &restore.ids, &restore.notebook)
        .await;
    assert_eq!(refused.unwrap_err().kind(), Kind::AlreadyExists);

    restore.undo().await;
    assert_eq!(shape(&live), shape(&request.graph), "{road}");
    assert_eq!(
        everything(&cloud, mark).await,
        before,
        "{road}: undoing leaves nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_everything_comes_back() {
    let mark = mark();
    let cloud = connect(&config("raksha-demo"), tenant()).await;
    let original = build(&cloud, &mark).await;
    let name = format!("restore-{mark}-server");
    let graph = discover(&cloud, &name).await;
    original.stop(&cloud).await;
    let contents = original.volumes.iter().map(|id| (id.clone(), volume(id)));
    let contents: Vec<_> = contents.collect();
    original.delete(&cloud).await;
    assert_eq!(everything(&cloud, &mark).await, Vec::<String>::new());

    let request = RestoreRequest {
        graph,
        ..RestoreRequest::default()
    };
    comes_back(operator(), "rbd", &request, &contents, &mark).await;
    let mut remade = tenant();
    remade.restore.reimage = false;
    comes_back(
        remade,
        "image, volumes made anew",
        &request,
        &contents,
        &mark,
    )
    .await;
    comes_back(tenant(), "image", &request, &contents, &mark).await;
}
