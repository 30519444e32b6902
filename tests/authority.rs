//! Jobs of tenants who are not there: on the test cloud, by trust and by application credential, with workers whose days pass at once.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use raksha_core::Timestamp;
use raksha_core::authority::{Authority, DelegationKind, Delegations, SealingKey, Standing};
use raksha_core::cloud::{SecretText, Selection, ServerSelector};
use raksha_core::env::Env;
use raksha_core::id::{DelegationId, JobId, ProjectId};
use raksha_core::protect::{NewJob, Raksha};
use raksha_core::repository::{EngineOptions, Parameters, Repository, Secret as Key, Target};
use raksha_core::schedule::Schedule;
use raksha_core::store::{DueEnd, DueState, JobStore, RunOutcome, RunQueue};
use raksha_core::testkit::{MemoryJobs, SetClock};
use raksha_core::work::{DelegatedProjects, Happening, Worker};
use raksha_openstack::authority::{AuthorityOptions, OpenStackAuthority};
use raksha_openstack::client::{Client, Request, Service};
use raksha_openstack::config::CloudConfig;
use raksha_openstack::testkit::{Case, DevCloud, Options};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;

/// The test cloud with servers of demo's; a service, which is other; a job of demo's that runs every midnight.
struct Night {
    cloud: DevCloud,
    clock: Arc<SetClock>,
    jobs: Arc<MemoryJobs>,
    repository: Repository,
    delegations: Delegations,
    project: ProjectId,
    delegation: DelegationId,
    job: JobId,
    env: Env,
}

impl Night {
    async fn new(kind: DelegationKind, case: Case, expires: Option<Duration>) -> Self {
        let clock = Arc::new(SetClock::new(tokio::time::Instant::now(), BEGIN));
        let env = Env::system().with_clock(clock.clone());
        let mut options = Options::default();
        options.env = env.clone();
        let cloud = DevCloud::start(options).await.unwrap();
        cloud.seed("demo", case).unwrap();
        let mut engine = EngineOptions::default();
        engine.env = env.clone();
        let target = Target::new(Arc::new(InMemory::new()));
        let key = Key::key_file(&[7; 32]);
        let repository = Repository::create(target, Parameters::default(), &key, engine)
            .await
            .unwrap();
        let jobs = Arc::new(MemoryJobs::with_env(env.clone()));
        let store: Arc<dyn JobStore> = jobs.clone();
        let service = cloud.cloud_config("other");
        let key = SealingKey::new(&[5; 32]).unwrap();
        let authority =
            OpenStackAuthority::new(service, key, AuthorityOptions::default(), env.clone());
        let authority: Arc<dyn Authority> = Arc::new(authority);
        let delegations = Delegations::new(authority, store.clone(), env.clone());

        let tenant = connect(&cloud.cloud_config("demo"), &env).await;
        let project = ProjectId::new(tenant.principal().project.id);
        let expires = expires.map(|after| at(0).after(after));
        let token = token(&tenant).await;
        let made = delegations
            .grant(&project, kind, Some(&token), expires)
            .await
            .unwrap();
        let opened = delegations.probe(&project, made.id).await.unwrap();
        assert_eq!(opened, Standing::until(made.expires));
        let raksha = Self::raksha(&cloud, &env, &repository, store, &project).await;
        let every_day = Schedule::every(24 * HOUR, at(24));
        let all = Selection(vec![ServerSelector::All]);
        let new = NewJob::new("nightly", all)
            .with_schedule(every_day)
            .with_delegation(made.id);
        let job = raksha.create_job(new).await.unwrap();
        Self {
            cloud,
            clock,
            jobs,
            repository,
            delegations,
            project,
            delegation: made.id,
            job,
            env,
        }
    }

    /// The tenant, who is there.
    async fn raksha(
        cloud: &DevCloud,
        env: &Env,
        repository: &Repository,
        jobs: Arc<dyn JobStore>,
        project: &ProjectId,
    ) -> Raksha {
        let config = cloud.cloud_config("demo");
        let options = raksha_openstack::OpenStackOptions::default();
        let cloud = raksha_openstack::OpenStack::connect(&config, options, env.clone());
        let cloud = raksha_core::protect::Cloud::new(cloud.await.unwrap());
        Raksha::new(cloud, repository.clone(), jobs, project.clone())
    }

    fn worker(&self) -> Worker {
        let jobs: Arc<dyn JobStore> = self.jobs.clone();
        let (delegations, repository) = (self.delegations.clone(), self.repository.clone());
        let projects = DelegatedProjects::new(delegations, repository, jobs.clone());
        Worker::new("night", jobs, Arc::new(projects))
    }

    /// Lets the time pass, a worker looking every ten minutes; what was told of the authority, and when.
    async fn pass(&self, time: Duration) -> Vec<(Timestamp, Standing)> {
        let worker = self.worker();
        let mut events = worker.events();
        let listens = tokio::spawn(async move {
            let mut told = Vec::new();
            while let Some(event) = events.next().await {
                if let Happening::Authority { since, standing } = event.what {
                    told.push((since, standing));
                }
            }
            told
        });
        for _ in 0..time.as_secs() / 600 {
            self.clock.shift(600);
            worker.once().await.unwrap();
        }
        drop(worker);
        listens.await.unwrap()
    }

    async fn ends(&self) -> Vec<DueEnd> {
        let due = self.jobs.due_runs(&self.project, Some(self.job), 100).await;
        let ended = due
            .unwrap()
            .into_iter()
            .rev()
            .filter_map(|one| match one.state {
                DueState::Ended { end, .. } => Some(end),
                _ => None,
            });
        ended.collect()
    }

    async fn admin(&self) -> Client {
        connect(&self.cloud.cloud_config("admin"), &self.env).await
    }
}

async fn connect(config: &CloudConfig, env: &Env) -> Client {
    Client::connect(config, env.clone()).await.unwrap()
}

async fn token(client: &Client) -> SecretText {
    let source = client.token_source(Service::Identity);
    source.token().await.unwrap().value
}

fn at(hours: u32) -> Timestamp {
    Timestamp::from_millis(BEGIN.unsigned_abs() * 1000).after(HOUR * hours)
}

/// What somebody does at noon.
#[derive(Debug, Clone, Copy)]
enum Noon {
    TenantTakesItBack,
    UserIsDisabled,
    RoleIsRemoved,
}

async fn happens(night: &Night, what: Noon) {
    let demo = connect(&night.cloud.cloud_config("demo"), &night.env).await;
    let user = demo.principal().user.id;
    match what {
        Noon::TenantTakesItBack => {
            for (path, key) in [
                ("OS-TRUST/trusts".to_owned(), "trusts"),
                (
                    format!("users/{user}/application_credentials"),
                    "application_credentials",
                ),
            ] {
                let asked = Request::get(path.as_str()).query("trustor_user_id", &user);
                let listed = demo.send(Service::Identity, asked).await.unwrap().body;
                for one in listed[key].as_array().unwrap() {
                    let path = format!("{path}/{}", one["id"].as_str().unwrap());
                    demo.send(Service::Identity, Request::delete(path))
                        .await
                        .unwrap();
                }
            }
        }
        Noon::UserIsDisabled => {
            let body = json!({"user": {"enabled": false}});
            let request = Request::patch(format!("users/{user}"), body);
            night
                .admin()
                .await
                .send(Service::Identity, request)
                .await
                .unwrap();
        }
        Noon::RoleIsRemoved => night.cloud.grant("demo", "demo", &["reader"]).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_noon_is_told_before_midnight_and_the_run_ends_with_the_remedy() {
    for kind in [DelegationKind::Trust, DelegationKind::ApplicationCredential] {
        for (what, word) in [
            (Noon::TenantTakesItBack, "ed, or the user who granted it"),
            (Noon::UserIsDisabled, "disabled"),
            (Noon::RoleIsRemoved, "role member"),
        ] {
            let night = Night::new(kind, Case::TwoOnOneNetwork, None).await;
            assert_eq!(night.pass(12 * HOUR).await, [], "{kind} {what:?}");
            happens(&night, what).await;
            let told = night.pass(HOUR * 12 - Duration::from_secs(600)).await;
            let [(since, Standing::Lost { reason, remedy })] = told.as_slice() else {
                panic!("{kind} {what:?}: {told:?}")
            };
            println!("{kind}, {what:?}: {since}: {reason}: {remedy}");
            assert!(*since >= at(23) && *since < at(24), "{since}");
            assert!(reason.contains(word), "{reason}");

            assert_eq!(night.pass(HOUR).await, [], "once is enough");
            let ends = night.ends().await;
            let [DueEnd::Failed { error }] = ends.as_slice() else {
                panic!("{ends:?}")
            };
            assert!(error.contains(reason) && error.contains(remedy), "{error}");
            assert!(night.repository.points().await.unwrap().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_a_day_before_and_a_delegation_that_was_renewed_goes_on() {
    for kind in [DelegationKind::Trust, DelegationKind::ApplicationCredential] {
        let night = Night::new(kind, Case::TwoOnOneNetwork, Some(HOUR * 60)).await;
        let told = night.pass(HOUR * 40).await;
        let expected = Standing::Expiring { at: at(60) };
        assert_eq!(told, [(at(36), expected)]);
        // A worker that has been there for long asks with a token that has ended.
        let demo = connect(&night.cloud.cloud_config("demo"), &night.env).await;
        let token = token(&demo).await;
        let renewed = night
            .delegations
            .renew(&night.project, night.delegation, Some(&token), None);
        assert_eq!(renewed.await.unwrap().expires, None);
        let told = night.pass(HOUR * 34).await;
        assert!(matches!(told.as_slice(), [(_, Standing::Good)]), "{told:?}");
        let ends = night.ends().await;
        assert_eq!(ends.len(), 3, "{ends:?}");
        let succeeded = |end: &DueEnd| {
            matches!(
                end,
                DueEnd::Ran {
                    outcome: RunOutcome::Succeeded { .. },
                    ..
                }
            )
        };
        assert!(ends.iter().all(succeeded), "{ends:?}");
        let left = |kind| night.cloud.state().count(kind);
        let (trusts, credentials) = (
            left(raksha_openstack::testkit::Kind::Trust),
            left(raksha_openstack::testkit::Kind::ApplicationCredential),
        );
        assert_eq!(trusts + credentials, 1, "what it rested on before is gone");
    }
}

/// Access rules are narrow, and a backup by them is whole: of local disks and volumes, first and again, with its temporaries released.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_good_for_a_backup_and_for_nothing_else() {
    for case in [
        Case::LocalDisk,
        Case::BootedFromVolume,
        Case::TwoOnOneNetwork,
    ] {
        let night = Night::new(DelegationKind::ApplicationCredential, case, None).await;
        night.pass(HOUR * 49).await;
        let ends = night.ends().await;
        let succeeded = |end: &DueEnd| {
            matches!(
                end,
                DueEnd::Ran {
                    outcome: RunOutcome::Succeeded { .. },
                    ..
                }
            )
        };
        assert!(
            ends.len() == 2 && ends.iter().all(succeeded),
            "{case:?}: {ends:?}"
        );
        let refused: Vec<_> = night
            .cloud
            .requests()
            .into_iter()
            .filter(|one| one.status == 401 && !one.user.is_empty())
            .collect();
        assert!(refused.is_empty(), "{case:?}: {refused:?}");
        let points = night.repository.points().await.unwrap();
        for point in &points {
            let who = point.summary.principal.as_deref().unwrap();
            assert!(
                who.contains("user demo") && who.contains("application credential"),
                "{who}"
            );
        }
    }
    let night = Night::new(
        DelegationKind::ApplicationCredential,
        Case::TwoOnOneNetwork,
        None,
    )
    .await;
    let demo = connect(&night.cloud.cloud_config("demo"), &night.env).await;
    let server = raksha_openstack::testkit::Kind::Server;
    let server = night.cloud.id_of(server, "case3a").unwrap();
    let delegation = night.delegation.to_string();
    raksha_tests::is_narrow(&demo, &night.env, &delegation, &server).await;
}
