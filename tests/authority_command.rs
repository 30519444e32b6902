//! `raksha authority`, and a worker that has nobody's login: what docs/SCHEDULING.md says of both, command by command.
//!
//! The cloud is the test cloud of `raksha-openstack`, in this process.

use std::thread::sleep;
use std::time::{Duration, Instant};

use raksha_openstack::testkit::{Case, DevCloud, Kind, Options};
use raksha_tests::{Place, Program};
use serde_json::json;

struct World {
    cloud: DevCloud,
    _place: Place,
    /// Somebody of the project.
    tenant: Program,
    /// The service, without anybody's login.
    service: Program,
}

impl World {
    async fn new() -> Self {
        let cloud = DevCloud::start(Options::default()).await.unwrap();
        cloud.seed("demo", Case::LocalDisk).unwrap();
        cloud.settle();
        let place = Place::new();
        let clouds = place.file("clouds.yaml", cloud.clouds_yaml().as_bytes());
        let key = place.file("service-key", &[9; 40]);
        let demo = cloud.id_of(Kind::Project, "demo").unwrap();
        let service = (place.raksha.clone())
            .with("OS_CLIENT_CONFIG_FILE", clouds)
            .with("RAKSHA_SERVICE", "openstack:devcloud-admin")
            .with("RAKSHA_SERVICE_KEY_FILE", key)
            .with("RAKSHA_PROJECT", demo);
        let tenant = service.clone();
        Self {
            cloud,
            _place: place,
            tenant: tenant.with("RAKSHA_CLOUD", "openstack:devcloud-demo"),
            service,
        }
    }

    fn lent(&self) -> usize {
        let state = self.cloud.state();
        state.count(Kind::Trust) + state.count(Kind::ApplicationCredential)
    }
}

/// Makes a delegation; its id.
fn create(world: &World, kind: &str) -> String {
    let create = [
        "authority",
        "create",
        "--kind",
        kind,
        "--expires-in",
        "90days",
    ];
    let id = world.tenant.ok(&create);
    assert_eq!(world.lent(), 1, "{kind}");
    let listed = world.tenant.json(&["authority", "list"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["granted"]),
        (&json!(id), &json!(true))
    );
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lent_is_listed_probed_taken_back_and_renewed() {
    let world = World::new().await;
    let (tenant, service) = (&world.tenant, &world.service);
    for kind in ["trust", "application-credential"] {
        let id = create(&world, kind);
        assert!(
            service
                .ok(&["authority", "probe", &id[..8]])
                .starts_with("expires at")
        );
        // Another project knows nothing of it.
        let other = world.cloud.id_of(Kind::Project, "other").unwrap();
        let other = (tenant.clone())
            .with("RAKSHA_CLOUD", "openstack:devcloud-other")
            .with("RAKSHA_PROJECT", other);
        assert_eq!(other.json(&["authority", "list"]), json!([]));
        let said = other.fails(&["authority", "show", &id]);
        assert!(said.contains("no such delegation"), "{said}");

        // Taken back, it stays listed while a job has it.
        tenant.ok(&[
            "job",
            "create",
            "nightly",
            "--server",
            "case1",
            "--authority",
            &id,
        ]);
        tenant.ok(&["authority", "revoke", &id]);
        assert_eq!(world.lent(), 0, "{kind}");
        let said = service.call(&["authority", "probe", &id]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("renew"), "{said:?}");
        tenant.ok(&["authority", "renew", &id, "--expires-in", "1day"]);
        service.ok(&["authority", "probe", &id]);
        let shown = tenant.json(&["authority", "show", &id]);
        assert_eq!(
            (&shown["granted"], &shown["jobs"]),
            (&json!(true), &json!(["nightly"]))
        );

        tenant.ok(&["job", "delete", "nightly"]);
        tenant.ok(&["authority", "revoke", &id]);
        assert_eq!(tenant.json(&["authority", "list"]), json!([]));
        assert_eq!(world.lent(), 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_login_runs_what_is_due_by_what_was_lent() {
    let world = World::new().await;
    let (tenant, service) = (&world.tenant, &world.service);
    let id = create(&world, "trust");
    tenant.ok(&[
        "job",
        "create",
        "often",
        "--server",
        "case1",
        "--every",
        "1min",
        "--authority",
        &id,
    ]);
    let began = Instant::now();
    let points = loop {
        service.ok(&["schedule", "run", "--once", "--quiet"]);
        let points = tenant.json(&["points"]);
        if points != json!([]) {
            break points;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is due");
        sleep(Duration::from_secs(2));
    };
    let who = points[0]["summary"]["principal"].as_str();
    let who = who.unwrap_or_else(|| panic!("{points}"));
    assert!(who.contains("demo") && who.contains("by trust"), "{who}");
}
