//! Somebody works, slowly, while others forget a point, collect it, and store the same bytes again: between any two requests.
//!
//! Requests take their time by a simulated clock, and what the others do takes none. So each instant is tried.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use raksha_core::repository::{Target, verify_keyless};
use raksha_tests::{Random, back_up, restore};
use tokio::time::Instant;

use crate::begun::{Begun, WORK, Work, rewrite};

/// How long each request takes.
const REQUEST: Duration = Duration::from_millis(4);

/// Does the work while others forget, collect and move what there is after `gone`, and store it again after `again`. How long the work takes.
async fn try_out(begun: &Begun, work: Work, gone: Duration, again: Duration) -> Duration {
    let objects = begun.copy();
    let slow = ThrottleConfig {
        wait_get_per_call: REQUEST,
        wait_list_per_call: REQUEST,
        wait_put_per_call: REQUEST,
        wait_delete_per_call: REQUEST,
        ..ThrottleConfig::default()
    };
    let slow: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(objects.clone(), slow));
    let mine = begun.open(slow.clone()).await.unwrap();
    let other = begun.open(objects.clone()).await.unwrap();
    let began = Instant::now();
    let working = async {
        let made = begun.work(work, &mine, &slow).await.unwrap();
        (made, began.elapsed())
    };
    let others = async {
        tokio::time::sleep_until(began + gone).await;
        other.forget(&[begun.goes.0], "test").await.unwrap();
        other.collect(&rewrite()).await.unwrap();
        tokio::time::sleep_until(began + again).await;
        back_up(&other, "goes", &begun.goes.1).await.unwrap()
    };
    let ((made, took), id) = tokio::join!(working, others);
    let keyless = verify_keyless(&Target::new(objects.clone())).await.unwrap();
    assert!(keyless.is_whole(), "{:?}", keyless.damage);
    let after = begun.open(objects).await.unwrap();
    let mut expected = vec![(begun.stays.0, &begun.stays.1), (id, &begun.goes.1)];
    expected.extend(made.map(|id| (id, begun.of(work))));
    for (id, content) in expected {
        let back = restore(&after, id).await.unwrap();
        assert!(back.as_ref() == Some(content), "{id} came back different");
    }
    took
}

#[tokio::test(start_paused = true)]
async fn whatever_others_do_between_two_requests_nothing_is_lost_and_nobody_told_of_damage() {
    let begun = Begun::new(&mut Random::announced("instants")).await;
    for work in WORK {
        let never = Duration::from_secs(3600);
        let takes = try_out(&begun, work, never, never).await;
        let mut tried = 0;
        // Between two requests, and not at the same time as one.
        let mut gone = REQUEST / 2;
        while gone < takes {
            let mut again = gone;
            while again < takes + REQUEST {
                println!("{work:?}: gone after {gone:?}, there again after {again:?}");
                try_out(&begun, work, gone, again).await;
                tried += 1;
                again += REQUEST.max((again - gone) / 4);
            }
            gone += REQUEST;
        }
        println!("{work:?}: {takes:?}, {tried} pairs of instants");
    }
}
