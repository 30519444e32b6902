//! What is going to happen, and when: requests and answers that are on their way.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

type Happens = Box<dyn FnOnce() + Send>;

/// Things that happen by themselves at some instant, those of one instant in the order in which they were said to. One task for all of them costs a fraction of one for each.
#[derive(Clone)]
pub(super) struct Events(Arc<Mutex<Ahead>>);

#[derive(Default)]
struct Ahead {
    events: BTreeMap<(Instant, u64), Happens>,
    /// How many there ever were.
    count: u64,
    /// Until when the task sleeps, and how it is woken.
    asleep: Option<(Instant, Waker)>,
}

/// While nothing is ahead.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

impl Events {
    /// None yet. The task lives as long as the runtime.
    pub(super) fn start() -> Self {
        let events = Self(Arc::default());
        let ahead = events.clone();
        tokio::spawn(async move {
            let mut sleep = pin!(sleep_until(Instant::now() + LONG));
            poll_fn(|context| {
                loop {
                    let next = ahead.happen(context);
                    if sleep.deadline() != next {
                        sleep.as_mut().reset(next);
                    }
                    if sleep.as_mut().poll(context).is_pending() {
                        return Poll::<()>::Pending;
                    }
                }
            })
            .await;
        });
        events
    }

    /// Lets something happen after some time.
    pub(super) fn after(&self, time: Duration, happens: impl FnOnce() + Send + 'static) {
        let at = Instant::now() + time;
        let mut ahead = self.ahead();
        let number = ahead.count;
        ahead.count += 1;
        ahead.events.insert((at, number), Box::new(happens));
        if let Some((_, task)) = ahead.asleep.take_if(|(until, _)| at < *until) {
            task.wake();
        }
    }

    /// Lets happen what is due, and says when something is next.
    fn happen(&self, context: &mut Context<'_>) -> Instant {
        let now = Instant::now();
        self.ahead().asleep = None;
        loop {
            let mut ahead = self.ahead();
            let Some(first) = ahead.events.first_entry() else {
                let until = now + LONG;
                ahead.asleep = Some((until, context.waker().clone()));
                return until;
            };
            let (at, _) = *first.key();
            if at > now {
                ahead.asleep = Some((at, context.waker().clone()));
                return at;
            }
            let happens = first.remove();
            drop(ahead);
            happens();
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.0.lock().unwrap()
    }
}
