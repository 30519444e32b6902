//! The meters of the disks that a run or restore is busy with, and telling how far they are.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::{Event, Feed};
use crate::cloud::DiskId;
use crate::image::Meter;
use crate::store::{DiskProgress, RunCounts};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// The meters of all disks.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Vec<Dial>>);

#[derive(Debug)]
struct Dial {
    disk: DiskId,
    size: u64,
    meter: Arc<Meter>,
    told: RunCounts,
    done: bool,
}

impl Gauge {
    fn lock(&self) -> MutexGuard<'_, Vec<Dial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A meter for a disk, from zero.
    pub(super) fn begin(&self, disk: &DiskId, size: u64) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        let mut dials = self.lock();
        dials.retain(|dial| dial.disk != *disk);
        dials.push(Dial {
            disk: disk.clone(),
            size,
            meter: Arc::clone(&meter),
            told: RunCounts::default(),
            done: false,
        });
        meter
    }

    /// Notes that a disk is done, so that no late progress of it is told.
    pub(super) fn end(&self, disk: &DiskId) {
        let mut dials = self.lock();
        for dial in dials.iter_mut().filter(|dial| dial.disk == *disk) {
            dial.done = true;
        }
    }

    /// Bytes so far, for each disk.
    pub(super) fn disks(&self) -> Vec<DiskProgress> {
        let dials = self.lock();
        let each = dials.iter().map(|dial| DiskProgress {
            disk: dial.disk.clone(),
            counts: dial.meter.counts(),
        });
        each.collect()
    }

    /// Tells of progress, for ever.
    pub(super) async fn tell(&self, feed: &Feed) -> Infallible {
        loop {
            tokio::time::sleep(TICK).await;
            for dial in self.lock().iter_mut().filter(|dial| !dial.done) {
                let counts = dial.meter.counts();
                if counts != dial.told {
                    dial.told = counts;
                    feed.say(Event::Disk {
                        disk: dial.disk.clone(),
                        size: dial.size,
                        counts,
                    });
                }
            }
        }
    }
}

/// The sum of `disks`.
pub(super) fn sum(disks: &[DiskProgress]) -> RunCounts {
    let mut sum = RunCounts::default();
    for disk in disks {
        sum += disk.counts;
    }
    sum
}
