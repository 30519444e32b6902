//! What a restore needs of the cloud beside room for its resources: flavors, volume types, zones, quotas.

use raksha_core::Result;
use raksha_core::cloud::{
    DiskSource, Presence, Problem, ResourceKey, ResourceKind as K, ResourceRef, RestoreRequest,
    Server, Survey, Volume,
};
use serde_json::Value;

use super::super::Restorer;
use super::super::bodies::gib;
use super::super::there::There;
use super::flavors;
use super::live::Live;
use crate::client::{Request, Service};

/// Adds what can be said from what is there.
pub(super) fn check(live: &Live, request: &RestoreRequest, survey: &mut Survey) {
    let mapping = &request.mapping;
    for (key, _) in mapping.resources.iter().chain(&mapping.names) {
        if request.graph.find(key).is_none() {
            survey.problems.push(Problem {
                what: key.to_string(),
                reason: "the mapping names it, but it is not part of what shall be restored: correct the mapping".to_owned(),
            });
        }
    }
    let ids = raksha_core::cloud::IdMap::default();
    let there = There::new(request, &ids);
    for server in made_servers(request, survey) {
        match flavors::choose(&live.flavors, &server.flavor, mapping) {
            Ok(chosen) if !mapping.flavors.contains_key(&server.flavor.name) => {
                survey
                    .notes
                    .extend(flavors::note(chosen, &server.flavor, &server.name));
            }
            Ok(_) => {}
            Err(problem) => add(survey, problem),
        }
        let zone = there.zone(server.availability_zone.as_deref());
        if let Some(zone) = zone.filter(|zone| !live.server_zones.contains(*zone)) {
            add(
                survey,
                unknown("availability zone", zone, live.server_zones.iter()),
            );
        }
        for attachment in &server.attachments {
            if let DiskSource::Local { name, .. } = &attachment.source
                && name != "root"
            {
                add(survey, Problem {
                    what: format!("disk {name} of server {}", server.name),
                    reason: "only the root of a server's own disks can be given content through the cloud's API: leave the server out".to_owned(),
                });
            }
        }
    }
    for volume in made_volumes(request, survey) {
        let wanted = there.volume_type(volume.volume_type.as_deref());
        if let Some(wanted) = wanted.filter(|wanted| !live.volume_types.contains(*wanted)) {
            add(
                survey,
                unknown("volume type", wanted, live.volume_types.iter()),
            );
        }
        let zone = there.zone(volume.availability_zone.as_deref());
        if let Some(zone) = zone.filter(|zone| !live.volume_zones.contains(*zone)) {
            add(
                survey,
                unknown(
                    "availability zone of volumes",
                    zone,
                    live.volume_zones.iter(),
                ),
            );
        }
    }
}

fn unknown<'a>(what: &str, name: &str, there: impl Iterator<Item = &'a String>) -> Problem {
    let names: Vec<&str> = there.map(String::as_str).collect();
    Problem {
        what: format!("{what} {name}"),
        reason: format!(
            "the cloud has none of this name for this user: map it to one of {}",
            names.join(", ")
        ),
    }
}

/// Each problem once, however many resources have it.
fn add(survey: &mut Survey, problem: Problem) {
    if !survey.problems.contains(&problem) {
        survey.problems.push(problem);
    }
}

fn is_made(survey: &Survey, key: &ResourceKey) -> bool {
    let mut findings = survey.findings.iter();
    findings.any(|finding| finding.key == *key && finding.presence == Presence::Absent)
}

fn made_servers<'a>(request: &'a RestoreRequest, survey: &Survey) -> Vec<&'a Server> {
    let servers = request.graph.servers.iter();
    servers
        .filter(|s| is_made(survey, &ResourceRef::Server(s).key()))
        .collect()
}

fn made_volumes<'a>(request: &'a RestoreRequest, survey: &Survey) -> Vec<&'a Volume> {
    let volumes = request.graph.volumes.iter();
    volumes
        .filter(|v| is_made(survey, &ResourceRef::Volume(v).key()))
        .collect()
}

/// Adds the quotas that would not suffice. A service that does not tell is left to say so itself.
pub(super) async fn check_quotas(
    restorer: &Restorer,
    live: &Live,
    request: &RestoreRequest,
    survey: &mut Survey,
) -> Result<()> {
    let servers = made_servers(request, survey);
    let volumes = made_volumes(request, survey);
    let count = |kind: K| {
        let of_kind = survey.findings.iter().filter(|f| f.key.kind == kind);
        of_kind.filter(|f| f.presence == Presence::Absent).count() as u64
    };
    let mut short = Vec::new();
    if !servers.is_empty() {
        let limits = limits(restorer, Service::Compute).await;
        // What they will have, and not what they had.
        let hardware = servers.iter().map(|server| {
            let chosen = flavors::choose(&live.flavors, &server.flavor, &request.mapping);
            chosen.map_or(&server.flavor, |chosen| &chosen.values)
        });
        let cores = hardware.clone().map(|had| u64::from(had.vcpus)).sum();
        let memory = hardware.map(|had| had.memory_mib).sum();
        for (what, needed, most, used) in [
            (
                "servers",
                servers.len() as u64,
                "maxTotalInstances",
                "totalInstancesUsed",
            ),
            ("processors", cores, "maxTotalCores", "totalCoresUsed"),
            ("MiB of memory", memory, "maxTotalRAMSize", "totalRAMUsed"),
            (
                "server groups",
                count(K::ServerGroup),
                "maxServerGroups",
                "totalServerGroupsUsed",
            ),
        ] {
            short.extend(lacks(&limits, what, needed, most, used));
        }
    }
    if !volumes.is_empty() {
        let limits = limits(restorer, Service::BlockStorage).await;
        let size = volumes.iter().map(|v| gib(v.size).max(1)).sum();
        for (what, needed, most, used) in [
            (
                "volumes",
                volumes.len() as u64,
                "maxTotalVolumes",
                "totalVolumesUsed",
            ),
            (
                "GiB of volumes",
                size,
                "maxTotalVolumeGigabytes",
                "totalGigabytesUsed",
            ),
        ] {
            short.extend(lacks(&limits, what, needed, most, used));
        }
    }
    let networking = [
        ("networks", K::Network, "network"),
        ("subnets", K::Subnet, "subnet"),
        ("routers", K::Router, "router"),
        ("security groups", K::SecurityGroup, "security_group"),
        ("ports", K::Port, "port"),
        ("floating IPs", K::FloatingIp, "floatingip"),
    ];
    if networking.iter().any(|(_, kind, _)| count(*kind) > 0) {
        let project = restorer.client.principal().project.id;
        let asked = Request::get(format!("quotas/{project}/details.json"));
        let quota = match restorer.client.send(Service::Network, asked).await {
            Ok(answer) => answer.take("quota").unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "the network service does not tell its quotas");
                Value::Null
            }
        };
        for (what, kind, key) in networking {
            let of_kind = quota.get(key).unwrap_or(&Value::Null);
            short.extend(lacks(of_kind, what, count(kind), "limit", "used"));
        }
    }
    survey.problems.extend(short);
    Ok(())
}

/// A service's absolute limits and what is used of them; null if it does not tell.
async fn limits(restorer: &Restorer, service: Service) -> Value {
    let asked = restorer.client.send(service, Request::get("limits")).await;
    match asked {
        Ok(answer) => answer
            .body
            .pointer("/limits/absolute")
            .cloned()
            .unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, %service, "the service does not tell its limits");
            Value::Null
        }
    }
}

/// The problem if `needed` is more than what is left.
fn lacks(limits: &Value, what: &str, needed: u64, most: &str, used: &str) -> Option<Problem> {
    // Below zero means without limit.
    let most = limits.get(most)?.as_u64()?;
    let left = most.saturating_sub(limits.get(used)?.as_u64()?);
    (needed > left).then(|| Problem {
        what: format!("quota of {what}"),
        reason: format!("{needed} are needed, and {left} of {most} are left: free some, restore less, or have the quota raised"),
    })
}
