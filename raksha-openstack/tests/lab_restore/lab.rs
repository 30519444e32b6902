//! The lab: clouds, the little that is asked of them by hand, and what really lies on its disks.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use raksha_core::Kind;
use raksha_core::env::Env;
use raksha_openstack::client::{Request, Service};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_openstack::{CephAccess, OpenStack, OpenStackOptions};
use serde_json::{Value, json};

pub(crate) fn lab() -> PathBuf {
    std::env::var_os("RAKSHA_LAB").map_or_else(|| "/var/lib/raksha-lab".into(), PathBuf::from)
}

pub(crate) fn config(cloud: &str) -> CloudConfig {
    let file = lab().join("clouds.yaml");
    assert!(
        file.is_file(),
        "no lab: {} is not there; start it with tests/lab/openstack-up.sh",
        file.display()
    );
    let sources = Sources::default().variable("OS_CLIENT_CONFIG_FILE", file.to_str().unwrap());
    CloudConfig::named(cloud, &sources).unwrap()
}

/// What a tenant has: nothing but the API. The lab is slow.
pub(crate) fn tenant() -> OpenStackOptions {
    let mut options = OpenStackOptions::default();
    options.restore.deadline = Duration::from_secs(1200);
    options
}

/// What an operator has beside it.
pub(crate) fn operator() -> OpenStackOptions {
    let mut options = tenant();
    options.operator = Some(CephAccess {
        conf: "/etc/ceph/ceph.conf".into(),
        user: "openstack".to_owned(),
        keyring: "/etc/ceph/ceph.client.openstack.keyring".into(),
        pools: vec!["volumes".to_owned()],
    });
    options
}

pub(crate) async fn connect(config: &CloudConfig, options: OpenStackOptions) -> OpenStack {
    let connected = OpenStack::connect(config, options, Env::system()).await;
    connected.unwrap_or_else(|error| panic!("the lab's OpenStack does not answer: {error}"))
}

/// Four letters that no other run has.
pub(crate) fn mark() -> String {
    let bytes: [u8; 3] = Env::system().random().unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes something, and gives its id.
pub(crate) async fn make(
    cloud: &OpenStack,
    service: Service,
    path: &str,
    key: &'static str,
    body: Value,
) -> String {
    let mut request = Request::post(path, json!({ key: body }));
    if service == Service::Compute && key == "server" {
        request = request.microversion("2.52".parse().unwrap());
    }
    let made = cloud
        .client()
        .send(service, request)
        .await
        .unwrap()
        .take(key)
        .unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// Waits until something is `status`.
pub(crate) async fn until(
    cloud: &OpenStack,
    service: Service,
    path: &str,
    key: &'static str,
    status: &str,
) {
    let poll = || async {
        let found = cloud
            .client()
            .send(service, Request::get(path))
            .await?
            .take(key)?;
        let now = found["status"].as_str().unwrap_or_default().to_owned();
        assert!(!now.to_lowercase().contains("error"), "{path}: {found}");
        Ok((now == status).then_some(()))
    };
    cloud
        .client()
        .wait(path, Duration::from_secs(900), poll)
        .await
        .unwrap();
}

/// Deletes something, and waits until it is gone.
pub(crate) async fn delete(cloud: &OpenStack, service: Service, path: &str) {
    let send = || cloud.client().send(service, Request::delete(path));
    match send().await {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => return,
        Err(error) => panic!("{path}: {error}"),
    }
    let gone = || async {
        match cloud.client().send(service, Request::get(path)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(Some(())),
            Err(error) => Err(error),
            Ok(_) => Ok(None),
        }
    };
    cloud
        .client()
        .wait(path, Duration::from_secs(900), gone)
        .await
        .unwrap();
}

/// The ids of all that the project has and a restore can make, but for what is called otherwise than `restore-...`: others work here, too.
pub(crate) async fn everything(cloud: &OpenStack, mark: &str) -> Vec<String> {
    use Service as S;
    let project = cloud.client().principal().project.id;
    let mut all = Vec::new();
    for (service, path, key) in [
        (S::Network, "networks", "networks"),
        (S::Network, "subnets", "subnets"),
        (S::Network, "routers", "routers"),
        (S::Network, "security-groups", "security_groups"),
        (S::Network, "ports", "ports"),
        (S::Network, "floatingips", "floatingips"),
        (S::Compute, "os-keypairs", "keypairs"),
        (S::Compute, "os-server-groups", "server_groups"),
        (S::Compute, "servers/detail", "servers"),
        (S::BlockStorage, "volumes/detail", "volumes"),
        (S::Image, "images", "images"),
    ] {
        for one in cloud
            .client()
            .list(service, Request::get(path), key)
            .await
            .unwrap()
        {
            let text = one.to_string();
            let owner = ["project_id", "tenant_id", "owner"]
                .iter()
                .find_map(|k| one.get(*k)?.as_str());
            let ours = owner.is_none_or(|owner| owner == project);
            if ours && (text.contains(mark) || text.contains("raksha-restore-")) {
                all.push(format!(
                    "{key} {}",
                    one["id"].as_str().or(one["name"].as_str()).unwrap_or(&text)
                ));
            }
        }
    }
    all
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What lies in the cluster for a volume, as a file that loses its name when it is dropped.
pub(crate) fn volume(id: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::remove_file(path).unwrap();
    run(
        "rbd",
        &[
            "--id",
            "openstack",
            "--no-progress",
            "export",
            &format!("volumes/volume-{id}"),
            path,
        ],
    );
    file
}

/// What lies on the hypervisor for a server's own root disk.
pub(crate) fn local_root(id: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let disk = lab().join("nova/instances").join(id).join("disk");
    let (disk, path) = (disk.to_str().unwrap(), file.path().to_str().unwrap());
    run("qemu-img", &["convert", "-U", "-O", "raw", disk, path]);
    file
}
