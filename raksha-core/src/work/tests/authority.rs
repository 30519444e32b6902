//! Jobs that run by a delegation.

use super::*;
use crate::authority::{Authority, DelegationKind, Delegations, SealingKey, Standing};
use crate::error::Kind;
use crate::protect::Quotas;
use crate::testkit::{AuthorityCase, PretendAuthority, check_authority};

const MINUTE: Duration = Duration::from_secs(60);

/// A bench with an authority: a job runs every hour by a delegation that expires after so long.
struct Lent {
    bench: Bench,
    authority: Arc<PretendAuthority>,
    delegations: Delegations,
    job: JobId,
    id: crate::id::DelegationId,
}

impl Lent {
    async fn new(expires: Option<Duration>, every: Duration) -> Self {
        let bench = Bench::new().await;
        let env = Env::system().with_clock(bench.clock.clone());
        let key = SealingKey::new(&[9; 32]).unwrap();
        let cloud = bench.raksha.cloud().clone();
        let authority = Arc::new(PretendAuthority::new(key, env.clone(), cloud));
        let of_all: Arc<dyn Authority> = authority.clone();
        let delegations = Delegations::new(of_all, bench.jobs.clone(), env);
        let project = bench.raksha.project();
        let token = PretendAuthority::token(project);
        let expires = expires.map(|after| at(0).after(after));
        let made = (delegations).grant(project, DelegationKind::Trust, Some(&token), expires);
        let id = made.await.unwrap().id;
        let schedule = Schedule::every(every, at(0).after(every));
        let job = bench
            .hourly(|job| job.with_delegation(id).with_schedule(schedule))
            .await;
        Self {
            bench,
            authority,
            delegations,
            job,
            id,
        }
    }

    fn worker(&self) -> Worker {
        let jobs: Arc<dyn JobStore> = self.bench.jobs.clone();
        let repository = self.bench.raksha.repository().clone();
        let projects = DelegatedProjects::new(self.delegations.clone(), repository, jobs.clone());
        Worker::new("lent", jobs, Arc::new(projects))
    }

    fn token(&self) -> crate::cloud::SecretText {
        PretendAuthority::token(self.bench.raksha.project())
    }

    /// Everything that is told of the authority while workers look every ten minutes for so long.
    async fn watch(&self, time: Duration) -> Vec<(Timestamp, String)> {
        let worker = self.worker();
        let events = worker.events();
        for _ in 0..time.as_secs() / 600 {
            self.bench.pass(MINUTE * 10);
            worker.once().await.unwrap();
        }
        standings(told(events, worker).await)
    }
}

fn standings(told: Vec<Happening>) -> Vec<(Timestamp, String)> {
    let standings = told.into_iter().filter_map(|happening| match happening {
        Happening::Authority { standing, since } => Some((since, standing.to_string())),
        _ => None,
    });
    standings.collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn the_authority_that_only_pretends_keeps_the_contract() {
    let bench = Bench::new().await;
    let key = SealingKey::new(&[9; 32]).unwrap();
    let cloud = bench.raksha.cloud().clone();
    let authority = PretendAuthority::new(key, Env::system(), cloud);
    let project = ProjectId::new("p");
    let case = AuthorityCase {
        kind: DelegationKind::Trust,
        credential: PretendAuthority::token(&project),
        foreign: PretendAuthority::token(&ProjectId::new("q")),
        project,
    };
    check_authority(&authority, case).await;
}

#[tokio::test]
async fn a_run_acts_as_its_delegation_says_and_its_point_names_who() {
    let lent = Lent::new(None, HOUR).await;
    lent.bench.pass(HOUR);
    lent.worker().once().await.unwrap();
    let points = lent.bench.raksha.points().await.unwrap();
    let who = points[0].summary.principal.as_deref();
    assert_eq!(who, Some("somebody of p"));
    // A worker that has only its own right does not run it as if that were the same.
    lent.bench.pass(HOUR);
    lent.bench.worker().once().await.unwrap();
    let ends = lent.bench.ends(lent.job).await;
    let [DueEnd::Ran { .. }, DueEnd::Failed { error }] = ends.as_slice() else {
        panic!("{ends:?}")
    };
    assert!(error.contains("delegation"), "{error}");
}

#[tokio::test]
async fn a_loss_is_told_before_the_run_is_due_and_the_run_ends_with_the_remedy() {
    let lent = Lent::new(None, DAY).await;
    assert_eq!(lent.watch(HOUR * 12).await, []);
    let asked = lent.authority.asked();
    lent.authority
        .says(Some(Standing::lost("the trust was revoked", "renew it")));
    assert_eq!(
        lent.watch(HOUR * 10).await,
        [],
        "nobody looks long before it matters"
    );
    assert_eq!(lent.authority.asked(), asked);
    let told = lent.watch(HOUR + MINUTE * 30).await;
    let [(since, what)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(what, "lost: the trust was revoked: renew it");
    assert!(*since >= at(23) && *since < at(24), "{since}");

    assert_eq!(lent.watch(HOUR * 2).await, [], "once is enough");
    let ends = lent.bench.ends(lent.job).await;
    let [DueEnd::Failed { error }] = ends.as_slice() else {
        panic!("{ends:?}")
    };
    assert!(
        error.contains("the trust was revoked") && error.contains("renew it"),
        "{error}"
    );
    // Renewed, it goes on, and that is told as well.
    lent.authority.says(None);
    let project = lent.bench.raksha.project();
    lent.delegations
        .renew(project, lent.id, Some(&lent.token()), None)
        .await
        .unwrap();
    let told = lent.watch(DAY).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1, "good");
    assert_eq!(lent.bench.points().await.len(), 1);
}

#[tokio::test]
async fn an_end_is_forecast_a_day_before_and_told_with_its_time_also_if_nobody_was_there() {
    let lent = Lent::new(Some(DAY * 3 + HOUR / 2), HOUR * 12).await;
    let told = lent.watch(DAY * 4).await;
    let end = at(72).after(HOUR / 2);
    let expected = [
        (end.before(DAY), format!("expires at {end}")),
        (
            end,
            format!("lost: it ended at {end}: have somebody of the project renew it"),
        ),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        lent.bench.points().await.len(),
        6,
        "the runs before it happened"
    );

    let lent = Lent::new(Some(DAY * 3 + HOUR / 2), HOUR * 12).await;
    lent.worker().once().await.unwrap();
    let worker = lent.worker();
    let events = worker.events();
    lent.bench.pass(DAY * 10);
    worker.once().await.unwrap();
    assert_eq!(standings(super::told(events, worker).await), expected);
}

#[tokio::test]
async fn a_cloud_that_cannot_be_asked_says_nothing_about_the_authority() {
    let lent = Lent::new(None, HOUR).await;
    lent.worker().plan().await.unwrap();
    lent.authority.falls_silent(true);
    lent.bench.pass(HOUR);
    let worker = lent.worker();
    let events = worker.events();
    worker.once().await.unwrap();
    let told = told(events, worker).await;
    assert_eq!(standings(told.clone()), []);
    assert!(
        told.iter()
            .any(|one| matches!(one, Happening::Postponed { error: Some(_), .. })),
        "{told:?}"
    );
    lent.authority.falls_silent(false);
    lent.bench.pass(MINUTE * 2);
    lent.worker().once().await.unwrap();
    assert!(matches!(
        lent.bench.ends(lent.job).await.as_slice(),
        [DueEnd::Ran {
            outcome: RunOutcome::Succeeded { .. },
            ..
        }]
    ));
}

#[tokio::test]
async fn a_delegation_that_jobs_have_is_revoked_and_stays_to_be_renewed() {
    let lent = Lent::new(None, HOUR).await;
    let project = lent.bench.raksha.project().clone();
    lent.delegations
        .revoke(&project, lent.id, None)
        .await
        .unwrap();
    let [listed] = lent
        .delegations
        .list(&project)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(listed.sealed, None);
    let standing = lent.delegations.probe(&project, lent.id).await.unwrap();
    assert!(standing.is_lost(), "{standing}");
    let told = lent.watch(MINUTE * 10).await;
    assert!(
        told[0].1.contains("revoked") && told[0].1.contains("renew"),
        "{told:?}"
    );

    lent.bench.raksha.delete_job(lent.job).await.unwrap();
    lent.delegations
        .revoke(&project, lent.id, None)
        .await
        .unwrap();
    assert_eq!(lent.delegations.list(&project).await.unwrap(), []);
    let foreign = lent.delegations.probe(&ProjectId::new("q"), lent.id).await;
    assert_eq!(foreign.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_grant_that_fails_leaves_nothing_listed_unless_it_may_have_had_an_effect() {
    let lent = Lent::new(None, HOUR).await;
    let project = ProjectId::new("q");
    let grant = || (lent.delegations).grant(&project, DelegationKind::Trust, None, None);
    assert_eq!(grant().await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(lent.delegations.list(&project).await.unwrap(), []);
}

#[tokio::test]
async fn no_secret_is_in_what_is_printed() {
    let lent = Lent::new(None, HOUR).await;
    let listed = lent
        .delegations
        .list(lent.bench.raksha.project())
        .await
        .unwrap();
    let json = serde_json::to_string(&listed).unwrap();
    let shown = format!("{:?} {listed:?} {json}", lent.delegations);
    // The one that pretends keeps its secrets where a cloud would.
    let shown = shown.replace(&format!("{:?}", lent.authority), "");
    assert!(
        !shown.contains("hush") && !shown.contains("token of"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_quota_that_is_used_up_ends_the_run_with_what_is_used_and_the_remedy() {
    let bench = Bench::new().await;
    let cloud = LocalCloud::open(bench._scratch.path().join("cloud"), Env::system());
    let cloud = cloud.await.unwrap();
    let volume = cloud.graph().await.unwrap().volumes[0].id.clone();
    let volume = crate::cloud::DiskId::Volume(volume);
    cloud
        .write_disk(&volume, 0, "precious".into())
        .await
        .unwrap();
    let job = bench.hourly(|job| job).await;
    for (quotas, name) in [
        (
            Quotas::default().with_points(1),
            "quota points, used 1, limit 1",
        ),
        (Quotas::default().with_stored_bytes(1), "quota stored_bytes"),
        (
            Quotas::default().with_runs_per_day(1),
            "quota runs_per_day, used 1, limit 1",
        ),
    ] {
        let limited = bench.raksha.clone().with_quotas(quotas);
        let first = bench.points().await.is_empty();
        if first {
            limited.run(job).await.unwrap().finish().await.unwrap();
        }
        let error = limited.run(job).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Full, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.to_string().contains("ask the operator"), "{error}");
    }
    let usage = bench.raksha.usage().await.unwrap();
    assert_eq!((usage.points, usage.runs_per_day), (1, 1));
    assert!(usage.stored_bytes > 0);
    bench.pass(DAY + MINUTE);
    let limited = bench
        .raksha
        .clone()
        .with_quotas(Quotas::default().with_runs_per_day(1));
    let under_way = limited.run(job).await.unwrap();
    assert_eq!(
        bench.raksha.usage().await.unwrap().points,
        2,
        "one is under way"
    );
    drop(under_way);

    let worker = Worker::new("limited", bench.jobs.clone(), Arc::new(limited));
    worker.once().await.unwrap();
    let ends = bench.ends(job).await;
    let Some(DueEnd::Failed { error }) = ends.last() else {
        panic!("{ends:?}")
    };
    assert!(error.contains("runs_per_day"), "{error}");
}
