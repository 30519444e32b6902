//! The suite for restorers.

use async_trait::async_trait;
use bytes::Bytes;

use super::breach::{Breach, Must, Verdict, hold, refused, same};
use super::notebook::Notebook;
use super::reader::check_reader;
use crate::cloud::{
    Created, DiskId, DiskReader, DiskSource, DiskWriter, IdMap, PowerState, Presence,
    ResourceDiscovery, ResourceGraph, ResourceKey, ResourceKind as K, ResourceRef,
    ResourceRestorer, RestoreRequest, Selection, Server, ServerSelector,
};
use crate::error::{Kind, Result};
use crate::id::ServerId;
use crate::testkit::Seeded;

/// A cloud to restore into, with a way to look at what came of it.
#[async_trait]
pub trait RestoreBench: Send + Sync {
    /// The implementation under test.
    fn restorer(&self) -> &dyn ResourceRestorer;

    /// Finds what is there.
    fn discovery(&self) -> &dyn ResourceDiscovery;

    /// Reads the disk in the given slot of a live server that is not running.
    async fn read(&self, server: &ServerId, slot: usize) -> Result<Box<dyn DiskReader>>;

    /// Whether the cloud cannot create a server without starting it.
    fn starts_what_it_creates(&self) -> bool;
}

/// Checks that the bench's restorer keeps the contract of [`ResourceRestorer`], by restoring `request` and removing it again.
///
/// The cloud holds nothing of the request but what its mapping names; [`sample_graph`](super::sample_graph) will do for a
/// cloud that allows everything in it.
pub async fn check_restorer(
    bench: &dyn RestoreBench,
    request: &RestoreRequest,
    seed: u64,
) -> Verdict {
    let suite = Suite {
        bench,
        request,
        seed,
    };
    let before = suite.everything().await?;
    let mut ids = suite.survey_empty(&before).await?;
    suite.recorded_before_created(&before, &ids).await?;

    let notebook = Notebook::new();
    let mut created = Vec::new();
    let mut contents = Vec::new();
    for resource in request.graph.resources() {
        if ids.get(&resource.key()).is_some() {
            continue;
        }
        if let ResourceRef::Server(server) = resource {
            contents.extend(suite.write_own_disks(server, &ids, &notebook).await?);
        }
        let one = suite.create(resource, &ids, &notebook).await;
        let one = one.must(&format!("creating {}", resource.key()))?;
        same(
            &one.key,
            &resource.key(),
            "what was created is what was asked for",
        )?;
        ids.insert(one.key.clone(), one.id.clone());
        created.push(one);
        if let ResourceRef::Volume(volume) = resource {
            let disk = DiskId::Volume(volume.id.clone());
            let content = suite.write(&disk, volume.size, &ids, &notebook).await?;
            if let Some(settled) = suite.settle(&disk, &ids, &notebook).await? {
                same(
                    &settled.key,
                    &resource.key(),
                    "what a disk settles in is its volume",
                )?;
                ids.insert(settled.key.clone(), settled.id.clone());
                created.retain(|one| one.key != settled.key);
                created.push(settled);
            }
            contents.push((disk, content));
        }
    }
    let recorded = notebook.open();
    for one in &created {
        let noted = recorded
            .iter()
            .any(|t| t.id.as_ref() == Some(&one.id) || t.id.is_none());
        hold(noted, "what is created is recorded", || format!("{one:?}"))?;
    }
    suite.servers_are_back(&ids, &contents).await?;
    suite.nothing_is_overwritten(&ids, &created).await?;
    suite.undo(created).await?;
    same(
        &suite.everything().await?,
        &before,
        "undoing leaves what was there before",
    )
}

struct Suite<'a> {
    bench: &'a dyn RestoreBench,
    request: &'a RestoreRequest,
    seed: u64,
}

impl Suite<'_> {
    fn restorer(&self) -> &dyn ResourceRestorer {
        self.bench.restorer()
    }

    async fn everything(&self) -> Result<ResourceGraph, Breach> {
        let all = Selection(vec![ServerSelector::All]);
        self.bench
            .discovery()
            .discover(&all)
            .await
            .must("discovering everything")
    }

    async fn create(
        &self,
        resource: ResourceRef<'_>,
        ids: &IdMap,
        notebook: &Notebook,
    ) -> Result<Created> {
        self.restorer()
            .create(resource, self.request, ids, notebook)
            .await
    }

    /// Surveys the cloud; gives the ids of what is there already.
    async fn survey_empty(&self, before: &ResourceGraph) -> Result<IdMap, Breach> {
        let survey = self
            .restorer()
            .survey(self.request)
            .await
            .must("surveying")?;
        same(
            &self.everything().await?,
            before,
            "a survey changes nothing",
        )?;
        let rule = "nothing stands in the way of the suite's request";
        hold(survey.problems.is_empty(), rule, || {
            format!("{:?}", survey.problems)
        })?;
        let mut ids = IdMap::default();
        for resource in self.request.graph.resources() {
            let key = resource.key();
            let mut of_it = survey.findings.iter().filter(|f| f.key == key);
            let (Some(finding), None) = (of_it.next(), of_it.next()) else {
                let rule = "a survey has one finding for every resource";
                hold(false, rule, || format!("none or several for {key}"))?;
                continue;
            };
            match &finding.presence {
                Presence::Absent => {}
                Presence::Same { id } => ids.insert(key, id.as_str()),
                Presence::Conflict { reason, .. } => {
                    hold(false, rule, || format!("{key}: {reason}"))?;
                }
            }
        }
        Ok(ids)
    }

    async fn recorded_before_created(&self, before: &ResourceGraph, ids: &IdMap) -> Verdict {
        let absent = self
            .request
            .graph
            .resources()
            .find(|r| ids.get(&r.key()).is_none());
        let Some(resource) = absent else {
            return Ok(());
        };
        let outcome = self.create(resource, ids, &Notebook::with_room(0)).await;
        hold(
            outcome.is_err(),
            "what cannot be recorded is not created",
            || "it is".to_owned(),
        )?;
        let survey = self
            .restorer()
            .survey(self.request)
            .await
            .must("surveying")?;
        let finding = survey.findings.iter().find(|f| f.key == resource.key());
        let presence = finding.map(|f| &f.presence);
        same(
            &presence,
            &Some(&Presence::Absent),
            "what was not recorded is not there",
        )?;
        same(
            &self.everything().await?,
            before,
            "what was not recorded is not there",
        )
    }

    async fn write_own_disks(
        &self,
        server: &Server,
        ids: &IdMap,
        notebook: &Notebook,
    ) -> Result<Vec<(DiskId, Vec<u8>)>, Breach> {
        let mut contents = Vec::new();
        for attachment in &server.attachments {
            if let DiskSource::Local { name, size } = &attachment.source {
                let disk = DiskId::Local {
                    server: server.id.clone(),
                    name: name.clone(),
                };
                let content = self.write(&disk, *size, ids, notebook).await?;
                let settled = self.settle(&disk, ids, notebook).await?;
                let rule = "a server's own disk settles with the server";
                hold(settled.is_none(), rule, || format!("{settled:?}"))?;
                contents.push((disk, content));
            }
        }
        Ok(contents)
    }

    async fn settle(
        &self,
        disk: &DiskId,
        ids: &IdMap,
        notebook: &Notebook,
    ) -> Result<Option<Created>, Breach> {
        let settled = self
            .restorer()
            .settle_disk(disk, self.request, ids, notebook)
            .await;
        settled.must("settling a written disk")
    }

    /// Writes a disk, the first time without finishing.
    async fn write(
        &self,
        disk: &DiskId,
        size: u64,
        ids: &IdMap,
        notebook: &Notebook,
    ) -> Result<Vec<u8>, Breach> {
        let mut random = Seeded::new(self.seed);
        let given_up = self.open(disk, size, ids, notebook).await?;
        let junk = Bytes::from(random.bytes(512));
        given_up.write_at(0, junk).await.must("writing a disk")?;
        drop(given_up);

        let writer = self.open(disk, size, ids, notebook).await?;
        // Zeroes where the junk was: it must not show through.
        let zeroes = size.min(512);
        writer
            .write_zeroes(0..zeroes)
            .await
            .must("writing zeroes")?;
        let mut content = vec![0; usize::try_from(zeroes).unwrap_or(0)];
        while (content.len() as u64) < size {
            let at = content.len() as u64;
            let length = (1 + random.below(200_000)).min(size - at);
            if random.below(3) == 0 {
                writer
                    .write_zeroes(at..at + length)
                    .await
                    .must("writing zeroes")?;
                content.resize(content.len() + usize::try_from(length).unwrap_or(0), 0);
            } else {
                let data = random.bytes(usize::try_from(length).unwrap_or(0));
                content.extend_from_slice(&data);
                writer
                    .write_at(at, Bytes::from(data))
                    .await
                    .must("writing a disk")?;
            }
        }
        writer.finish().await.must("finishing a disk")?;
        Ok(content)
    }

    async fn open(
        &self,
        disk: &DiskId,
        size: u64,
        ids: &IdMap,
        notebook: &Notebook,
    ) -> Result<Box<dyn DiskWriter>, Breach> {
        let opened = self
            .restorer()
            .open_disk(disk, size, self.request, ids, notebook)
            .await;
        opened.must(&format!("opening {disk} for writing"))
    }

    async fn servers_are_back(&self, ids: &IdMap, contents: &[(DiskId, Vec<u8>)]) -> Verdict {
        let live = self.everything().await?;
        live.check().must("checking the restored graph")?;
        for server in &self.request.graph.servers {
            let key = ResourceKey::new(K::Server, server.id.as_str());
            let id = ids.get(&key).must("the restored server's id")?;
            let back = live.servers.iter().find(|s| s.id.as_str() == id);
            let back = back.must("the restored server")?;
            let new_name = self.request.mapping.names.iter().find(|(k, _)| *k == key);
            let name = new_name.map_or(&server.name, |(_, name)| name);
            same(
                &back.name,
                name,
                "a restored server has the mapping's name or the point's",
            )?;
            same(
                &back.metadata,
                &server.metadata,
                "a restored server has its metadata",
            )?;
            let starts = self.bench.starts_what_it_creates() && !self.request.leave_stopped;
            if !(starts && server.power == PowerState::Running) {
                same(
                    &back.power,
                    &PowerState::Stopped,
                    "a server is created stopped",
                )?;
            }
            same_ports(&self.request.graph, server, &live, back)?;
            same_slots(server, back)?;
            for (slot, attachment) in server.attachments.iter().enumerate() {
                let disk = match &attachment.source {
                    DiskSource::Volume(id) => DiskId::Volume(id.clone()),
                    DiskSource::Local { name, .. } => DiskId::Local {
                        server: server.id.clone(),
                        name: name.clone(),
                    },
                };
                let Some((_, content)) = contents.iter().find(|(known, _)| *known == disk) else {
                    continue;
                };
                let reader = self
                    .bench
                    .read(&back.id, slot)
                    .await
                    .must("reading a restored disk")?;
                check_reader(reader.as_ref(), content, self.seed).await?;
            }
            self.restorer()
                .start(server, ids)
                .await
                .must("starting a server")?;
        }
        let live = self.everything().await?;
        for server in &self.request.graph.servers {
            let key = ResourceKey::new(K::Server, server.id.as_str());
            let back = live
                .servers
                .iter()
                .find(|s| Some(s.id.as_str()) == ids.get(&key));
            let runs = back.is_some_and(|s| s.power == PowerState::Running);
            let ran = server.power == PowerState::Running;
            same(
                &runs,
                &ran,
                "a server runs after its start if it ran in the point",
            )?;
        }
        Ok(())
    }

    async fn nothing_is_overwritten(&self, ids: &IdMap, created: &[Created]) -> Verdict {
        let before = self.everything().await?;
        let survey = self
            .restorer()
            .survey(self.request)
            .await
            .must("surveying again")?;
        let notebook = Notebook::new();
        for one in created.iter().filter(|c| c.key.kind == K::Server) {
            let finding = survey.findings.iter().find(|f| f.key == one.key);
            let in_the_way = matches!(
                finding.map(|f| &f.presence),
                Some(Presence::Conflict { .. })
            );
            hold(in_the_way, "a server that is there is a conflict", || {
                format!("{finding:?}")
            })?;
        }
        // Without what is known of this restore, so that nobody can take it for a part of itself.
        let mut others = IdMap::default();
        for (key, id) in ids
            .iter()
            .filter(|(key, _)| key.kind != K::Server && key.kind != K::Port)
        {
            others.insert(key.clone(), id);
        }
        for port in &self.request.graph.ports {
            let outcome = self
                .create(ResourceRef::Port(port), &others, &notebook)
                .await;
            refused(
                outcome,
                Kind::AlreadyExists,
                "a port whose addresses are taken is refused",
            )?;
        }
        for volume in &self.request.graph.volumes {
            let disk = DiskId::Volume(volume.id.clone());
            let opened = self
                .restorer()
                .open_disk(&disk, volume.size, self.request, ids, &notebook)
                .await;
            let rule = "a disk that a server has is not opened for writing";
            let attached = before.servers.iter().any(|s| {
                s.attachments.iter().any(|a| match &a.source {
                    DiskSource::Volume(live) => {
                        let key = ResourceKey::new(K::Volume, volume.id.as_str());
                        ids.get(&key) == Some(live.as_str())
                    }
                    DiskSource::Local { .. } => false,
                })
            });
            hold(!attached || opened.is_err(), rule, || disk.to_string())?;
        }
        same(
            &self.everything().await?,
            &before,
            "what was refused has changed nothing",
        )
    }

    async fn undo(&self, created: Vec<Created>) -> Verdict {
        for one in created.iter().rev() {
            for _ in 0..2 {
                let removed = self.restorer().remove(one).await;
                removed.must(&format!("removing {}, and removing it again", one.key))?;
            }
        }
        Ok(())
    }
}

/// Compares the ports, by what the guest sees of them.
fn same_ports(
    point: &ResourceGraph,
    server: &Server,
    live: &ResourceGraph,
    back: &Server,
) -> Verdict {
    let seen = |graph: &ResourceGraph, server: &Server| -> Vec<(String, Vec<String>)> {
        let ports = server
            .ports
            .iter()
            .filter_map(|id| graph.ports.iter().find(|p| p.id == *id));
        let seen = ports.map(|p| {
            let addresses = p.fixed_ips.iter().map(|ip| ip.address.clone());
            (p.mac.to_ascii_lowercase(), addresses.collect())
        });
        seen.collect()
    };
    let rule = "a restored server has its ports, hardware addresses and addresses, in order";
    same(&seen(live, back), &seen(point, server), rule)
}

/// Compares the slots, by what the guest sees of them.
fn same_slots(server: &Server, back: &Server) -> Verdict {
    let slots = |server: &Server| -> Vec<(bool, Option<u32>)> {
        let slots = server.attachments.iter();
        let slots = slots.map(|a| (matches!(a.source, DiskSource::Volume(_)), a.boot_index));
        slots.collect()
    };
    let rule = "a restored server has its disks in their slots";
    same(&slots(back), &slots(server), rule)
}
