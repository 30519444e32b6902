//! Points that expire, as others see to them at the same time.

use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::*;
use crate::error::Kind;
use crate::store::BackupJob;

fn last(last: u32) -> Retention {
    Retention {
        last,
        ..Retention::default()
    }
}

impl Bench {
    /// The project as another process sees it, whose requests to the target take their time.
    async fn elsewhere(&self) -> Raksha {
        let slow = ThrottleConfig {
            wait_get_per_call: Duration::from_millis(5),
            wait_put_per_call: Duration::from_millis(5),
            wait_list_per_call: Duration::from_millis(5),
            ..ThrottleConfig::default()
        };
        let target = Target::new(Arc::new(ThrottledStore::new(self.objects.clone(), slow)));
        let options = EngineOptions {
            env: Env::system().with_clock(self.clock.clone()),
            ..EngineOptions::default()
        };
        let repository = Repository::open(target, &Self::secret(), options)
            .await
            .unwrap();
        let (cloud, store) = (self.raksha.cloud().clone(), self.jobs.clone());
        Raksha::new(cloud, repository, store, self.raksha.project().clone())
    }

    /// A job of which three points were taken, all of them kept.
    async fn three_points(&self) -> BackupJob {
        let job = self.hourly(|job| job).await;
        for _ in 0..3 {
            self.pass(HOUR);
            self.raksha.run(job).await.unwrap().finish().await.unwrap();
        }
        self.raksha.job(job).await.unwrap()
    }

    async fn retain(&self, job: &BackupJob, retention: Retention) -> BackupJob {
        let mut job = job.clone();
        job.retention = retention;
        self.jobs.update_job(&job).await.unwrap();
        job
    }
}

#[tokio::test(start_paused = true)]
async fn what_two_workers_forget_at_once_is_forgotten_once_and_no_trouble() {
    let bench = Bench::new().await;
    let job = bench.three_points().await;
    let job = bench.retain(&job, last(1)).await;
    let points = bench.points().await;
    let (one, other) = (bench.worker(), bench.worker());
    let events = (one.events(), other.events());
    let (here, there) = (bench.elsewhere().await, bench.elsewhere().await);
    tokio::join!(
        one.follow_up(&here, &job, points[2]),
        other.follow_up(&there, &job, points[2]),
    );
    assert_eq!(bench.points().await, points[2..]);
    let mut told = [told(events.0, one).await, told(events.1, other).await];
    told.sort_by_key(Vec::len);
    let verified = Happening::Verified { point: points[2] };
    let expired = Happening::Expired {
        points: vec![points[1], points[0]],
    };
    assert_eq!(told, [vec![verified.clone()], vec![verified, expired]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_meanwhile_stays_and_the_rest_is_forgotten() {
    // Whenever it is asked for: before it is decided what expired, after that, and in the end when it is forgotten already.
    for wait in (0..).step_by(3) {
        let bench = Bench::new().await;
        let job = bench.three_points().await;
        let job = bench.retain(&job, last(1)).await;
        let points = bench.points().await;
        let worker = bench.worker();
        let events = worker.events();
        let (here, there) = (bench.elsewhere().await, bench.elsewhere().await);
        let hold = async {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            there.repository().hold(points[0], true, "test").await
        };
        let (hold, ()) = tokio::join!(hold, worker.follow_up(&here, &job, points[2]));
        let (left, expired) = match &hold {
            Ok(()) => (vec![points[0], points[2]], vec![points[1]]),
            Err(error) => {
                assert_eq!(error.kind(), Kind::NotFound, "{error}");
                (vec![points[2]], vec![points[1], points[0]])
            }
        };
        assert_eq!(bench.points().await, left, "after {wait} ms");
        let verified = Happening::Verified { point: points[2] };
        let expired = Happening::Expired { points: expired };
        assert_eq!(told(events, worker).await, [verified, expired]);
        if hold.is_err() {
            assert!(wait > 0, "it was never held in time");
            return;
        }
    }
}

#[tokio::test]
async fn what_somebody_asked_to_keep_during_the_run_is_kept() {
    let bench = Bench::new().await;
    let job = bench.three_points().await;
    let points = bench.points().await;
    let at_the_start = bench.retain(&job, last(1)).await;
    let worker = bench.worker();
    bench.retain(&job, last(2)).await;
    worker
        .follow_up(&bench.raksha, &at_the_start, points[2])
        .await;
    assert_eq!(bench.points().await, points[1..]);
    bench.raksha.delete_job(job.id).await.unwrap();
    worker
        .follow_up(&bench.raksha, &at_the_start, points[2])
        .await;
    assert_eq!(
        bench.points().await,
        points[1..],
        "nobody says how long points of a deleted job are kept"
    );
}
