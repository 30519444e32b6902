//! Workers that compete for due runs, some of which die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Bench, MINUTE, due, ran};
use crate::error::{Kind, Result};
use crate::store::{DueState, Lease, Limits};
use crate::testkit::Seeded;
use crate::testkit::job_store::{project, run};

impl Bench {
    /// Workers that compete for due runs, die in the middle of anything, and come back with leases that were taken over long ago.
    pub(super) async fn nothing_happens_twice_whoever_dies(&self, seed: u64) {
        let mut seeded = Seeded::new(seed);
        let jobs = self.jobs(&["a", "a", "b", "c", "d"]).await;
        let minutes = self.minutes().await;
        let mut all = Vec::new();
        for job in &jobs {
            all.extend((0..12).map(|n| due(job, minutes + n)));
        }
        let limits = Limits {
            per_project: Some(2),
            per_cloud: Some(5),
            per_target: None,
        };
        let mut settled: BTreeMap<_, u32> = BTreeMap::new();
        let mut zombies: Vec<Lease> = Vec::new();
        for round in 0..400 {
            // All workers queue what is due, as all do in life.
            let some = all.iter().take(round * 6).cloned().collect::<Vec<_>>();
            let queued = self.handles.iter().map(|store| store.queue(&some));
            join_all(queued)
                .await
                .into_iter()
                .for_each(|queued| queued.unwrap());
            let takes = self
                .handles
                .iter()
                .map(|store| store.take("someone", MINUTE * 5, &limits));
            let taken: Vec<Lease> = join_all(takes)
                .await
                .into_iter()
                .filter_map(Result::unwrap)
                .collect();
            let distinct: BTreeSet<_> = taken.iter().map(|lease| (lease.job, lease.due)).collect();
            assert_eq!(
                distinct.len(),
                taken.len(),
                "two workers got the same run: {taken:?}"
            );
            let (mut busy, now) = (Vec::new(), self.env.now());
            for owner in ["a", "b", "c", "d"] {
                let due = self
                    .store()
                    .due_runs(&project(owner), None, 1000)
                    .await
                    .unwrap();
                let leased = due
                    .iter()
                    .filter(|d| matches!(d.state, DueState::Leased { until, .. } if until > now));
                busy.push(leased.count());
            }
            assert!(
                busy.iter().all(|n| *n <= 2) && busy.iter().sum::<usize>() <= 5,
                "limits: {busy:?}"
            );

            for lease in taken {
                match seeded.below(3) {
                    // Dies, and may come back.
                    0 => zombies.push(lease),
                    _ => {
                        let store = self.store();
                        let job = jobs.iter().find(|job| job.id == lease.job).unwrap();
                        let mut begun = run(job, 0, 1);
                        begun.id = lease.run_id();
                        store.start_run(&lease, &begun).await.unwrap();
                        store.settle(&lease, &ran(&lease)).await.unwrap();
                        *settled.entry((lease.job, lease.due)).or_default() += 1;
                    }
                }
            }
            let back = seeded.below(zombies.len() as u64 + 1);
            for _ in 0..back {
                let lease = zombies
                    .swap_remove(usize::try_from(seeded.below(zombies.len() as u64)).unwrap());
                // It is only good if nobody took it over.
                let end = ran(&lease);
                match self.other().settle(&lease, &end).await {
                    Ok(()) => *settled.entry((lease.job, lease.due)).or_default() += 1,
                    Err(error) => assert_eq!(error.kind(), Kind::Fenced, "{error}"),
                }
            }
            self.pass(Duration::from_secs(seeded.below(240)));
            if settled.len() == all.len() {
                break;
            }
        }
        assert_eq!(
            settled.len(),
            all.len(),
            "not all runs were brought to an end, seed {seed}"
        );
        assert!(
            settled.values().all(|count| *count == 1),
            "a run was settled twice, seed {seed}"
        );
        self.drain().await;
    }
}
