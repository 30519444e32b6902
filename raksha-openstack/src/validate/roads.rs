//! The roads to the bytes of disks.

use super::{Answer, Finding};
use crate::OpenStack;
use crate::client::{Microversion, Request, Service};
use crate::roads::rbd::{Place, Rbd};
use crate::roads::{RoadKind, volume_image};

/// From here on volumes can be attached to nobody.
const ATTACHMENTS: Microversion = Microversion::new(3, 27);

pub(super) async fn look(cloud: &OpenStack) -> Vec<Finding> {
    let allowed = &cloud.options().roads.allowed;
    let mut found = Vec::new();
    for road in [RoadKind::Rbd, RoadKind::File, RoadKind::Image] {
        let answer = match road {
            _ if !allowed.contains(&road) => Answer::No("the options do not allow it".to_owned()),
            RoadKind::Rbd => rbd(cloud).await,
            RoadKind::File => file(cloud).await,
            RoadKind::Image => image(cloud),
        };
        found.push(Finding::new(road.to_string(), answer));
    }
    found.push(Finding::new("hints of what changed", hints(cloud).await));
    found
}

async fn rbd(cloud: &OpenStack) -> Answer {
    match one_image(cloud).await {
        Ok(Some((place, features))) => Answer::Yes(format!(
            "{place} can be reached; its features are {}",
            features.join(", ")
        )),
        Ok(None) => Answer::Unknown(
            "the project has no volume in the pools that may be read: make one, and look again"
                .to_owned(),
        ),
        Err(why) => Answer::No(why),
    }
}

async fn hints(cloud: &OpenStack) -> Answer {
    if !cloud.options().snapshots.hints {
        return Answer::No("the options do not allow anchors".to_owned());
    }
    match one_image(cloud).await {
        Ok(Some((place, features))) if features.iter().any(|feature| feature == "fast-diff") => {
            Answer::Yes(format!("{place} has fast-diff"))
        }
        Ok(Some((place, _))) => Answer::No(format!(
            "{place} lacks fast-diff, so that comparing reads all of it: rbd feature enable {place} object-map fast-diff, and rbd object-map rebuild {place}; set rbd_default_features for new ones"
        )),
        Ok(None) => Answer::Unknown("the project has no volume in the cluster".to_owned()),
        Err(why) => Answer::No(why),
    }
}

/// A volume of the project in the cluster, and the features that it has there.
async fn one_image(cloud: &OpenStack) -> Result<Option<(Place, Vec<String>)>, String> {
    let options = cloud.options();
    let Some(access) = &options.operator else {
        return Err(
            "no access to a Ceph cluster is configured; operators have one, tenants have not"
                .to_owned(),
        );
    };
    let rbd = Rbd::new(access.clone(), &options.roads, cloud.env());
    let request = Request::get("volumes").query("limit", 50);
    let volumes = cloud.client().send(Service::BlockStorage, request).await;
    let volumes = volumes.and_then(|answer| answer.take("volumes"));
    let volumes = volumes.map_err(|error| error.to_string())?;
    for volume in volumes.as_array().into_iter().flatten() {
        let Some(id) = volume.get("id").and_then(|id| id.as_str()) else {
            continue;
        };
        let found = rbd
            .find(&volume_image(id))
            .await
            .map_err(|error| error.to_string())?;
        if let Some(place) = found {
            let features = rbd
                .features(&place)
                .await
                .map_err(|error| error.to_string())?;
            return Ok(Some((place, features)));
        }
    }
    Ok(None)
}

async fn file(cloud: &OpenStack) -> Answer {
    let roads = &cloud.options().roads;
    if roads.exports.is_empty() && !roads.devices {
        return Answer::No(
            "this machine sees no storage: mount the NFS exports and name them in the options"
                .to_owned(),
        );
    }
    let range = cloud
        .client()
        .microversions(Service::BlockStorage)
        .await
        .ok()
        .flatten();
    if range.is_none_or(|(_, newest)| newest < ATTACHMENTS) {
        return Answer::No(format!(
            "Cinder is older than {ATTACHMENTS}: it does not tell where volumes lie"
        ));
    }
    for (export, mount) in &roads.exports {
        if !mount.is_dir() {
            return Answer::No(format!(
                "the export {export} is not mounted at {}",
                mount.display()
            ));
        }
    }
    let exports: Vec<&str> = roads.exports.keys().map(String::as_str).collect();
    Answer::Yes(format!("exports that are mounted: {}", exports.join(", ")))
}

fn image(cloud: &OpenStack) -> Answer {
    if !cloud.client().has(Service::Image) {
        return Answer::No("the catalog has no image service".to_owned());
    }
    let work = &cloud.options().roads.work;
    let writable = std::fs::create_dir_all(work).and_then(|()| tried(work));
    match writable {
        Ok(()) => Answer::Yes(format!("disks are kept in {} on their way", work.display())),
        Err(error) => Answer::No(format!(
            "the work directory {} cannot be written ({error}): name another one in the options",
            work.display()
        )),
    }
}

fn tried(work: &std::path::Path) -> std::io::Result<()> {
    let probe = work.join(".raksha-validate");
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}
