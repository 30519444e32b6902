//! What must be true of a simulated world, whatever happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use raksha_core::id::PointId;
use raksha_core::repository::Damage;
use raksha_core::{Error, Kind};

use super::process::Work;
use crate::Random;

/// Contents by their hash: each is made once, so that it says which backup it is of.
type ContentId = [u8; 32];

/// What a point gave back, or why it gave nothing.
pub(super) type Restored = std::result::Result<Vec<u8>, String>;

/// A disk as its guest sees it.
#[derive(Clone)]
struct Disk {
    name: String,
    bytes: Arc<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Known {
    disks: Vec<Disk>,
    /// Everything that was ever offered to the repository.
    offered: BTreeMap<ContentId, Arc<Vec<u8>>>,
    /// Points whose commit was answered, and nobody has begun to forget them.
    committed: BTreeMap<PointId, Arc<Vec<u8>>>,
    /// Somebody has begun to forget these.
    forgetting: BTreeSet<PointId>,
    /// These are forgotten for certain.
    forgotten: BTreeSet<PointId>,
    /// Backups of these failed for certain: there must be no such points.
    failed: BTreeMap<ContentId, String>,
    broken: Option<String>,
    /// Whether a read may have been given wrong bytes.
    corrupt: bool,
    backups: u64,
    commits: u64,
}

/// What is known and what went wrong; shared by all processes of a world.
#[derive(Clone, Default)]
pub(super) struct Oracle(Arc<Mutex<Known>>);

fn content_id(content: &[u8]) -> ContentId {
    *blake3::hash(content).as_bytes()
}

impl Oracle {
    pub(super) fn new(corrupt: bool, random: &mut Random) -> Self {
        let oracle = Self::default();
        {
            let mut known = oracle.known();
            known.corrupt = corrupt;
            for n in 0..3 {
                let size = 1 + random.below(120_000) as usize;
                let bytes = Arc::new(random.bytes(size));
                let name = format!("disk {n}");
                known.disks.push(Disk { name, bytes });
            }
        }
        oracle
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    /// A guest writes: something new, something that is on the disk elsewhere or on another one, or zeroes; or it resizes.
    pub(super) fn scribble(&self, random: &mut Random) {
        let mut known = self.known();
        let disks = known.disks.len() as u64;
        let from = Arc::clone(&known.disks[random.below(disks) as usize].bytes);
        let disk = &mut known.disks[random.below(disks) as usize];
        let bytes = Arc::make_mut(&mut disk.bytes);
        let start = random.below(bytes.len() as u64) as usize / 4096 * 4096;
        let end = (start + 1 + random.below(20_000) as usize).min(bytes.len());
        let length = end - start;
        match random.below(6) {
            0 => bytes[start..end].fill(0),
            1 | 2 if from.len() >= length => {
                let at = random.below((from.len() - length) as u64 + 1) as usize / 4096 * 4096;
                bytes[start..end].copy_from_slice(&from[at..at + length]);
            }
            3 => bytes.resize(1 + random.below(120_000) as usize, 7),
            _ => bytes[start..end].copy_from_slice(&random.bytes(length)),
        }
    }

    /// A disk to back up, unlike any that was backed up before.
    pub(super) fn begin_backup(&self, random: &mut Random) -> (String, Arc<Vec<u8>>) {
        let mut known = self.known();
        known.backups += 1;
        let number = known.backups;
        let n = random.below(known.disks.len() as u64) as usize;
        let disk = &known.disks[n];
        let name = disk.name.clone();
        let mut bytes = Vec::clone(&disk.bytes);
        bytes.extend_from_slice(&number.to_le_bytes());
        let content = Arc::new(bytes);
        let id = content_id(&content);
        known.offered.insert(id, Arc::clone(&content));
        (name, content)
    }

    pub(super) fn committed(&self, id: PointId, content: &Arc<Vec<u8>>) {
        let mut known = self.known();
        known.commits += 1;
        known.committed.insert(id, Arc::clone(content));
    }

    /// A backup failed with an error that says that there is no point.
    pub(super) fn certainly_failed(&self, content: &[u8], error: &Error) {
        let told = format!("{error:?}");
        self.known().failed.insert(content_id(content), told);
    }

    /// A point to restore or to forget.
    pub(super) fn pick(&self, random: &mut Random) -> Option<(PointId, Arc<Vec<u8>>)> {
        let known = self.known();
        let n = random.below(known.committed.len().max(1) as u64) as usize;
        let (id, content) = known.committed.iter().nth(n)?;
        Some((*id, Arc::clone(content)))
    }

    pub(super) fn begin_forget(&self, id: PointId) {
        self.known().forgetting.insert(id);
    }

    pub(super) fn forgotten(&self, id: PointId) {
        let mut known = self.known();
        known.committed.remove(&id);
        known.forgotten.insert(id);
    }

    pub(super) fn may_be_forgotten(&self, id: PointId) -> bool {
        self.known().forgetting.contains(&id)
    }

    /// A process failed at something: that is fair if the target did not answer, for one of the `fair` reasons, or if bytes were wrong.
    pub(super) fn failed(&self, work: Work, what: &str, error: &Error, fair: &[Kind]) {
        let corrupt = self.known().corrupt;
        let excused = match error.kind() {
            Kind::Unavailable | Kind::Timeout => true,
            Kind::Corrupt | Kind::WrongKey | Kind::Unsupported | Kind::NotFound if corrupt => true,
            kind => fair.contains(&kind),
        };
        if !excused {
            self.broken(format!("{work:?}: {what}: {error:?}"));
        }
    }

    /// A verification says that something is damaged; nothing ever is, but reads may be wrong.
    pub(super) fn damage(&self, damage: &[Damage]) {
        if !self.known().corrupt {
            self.broken(format!("a false alarm: {damage:?}"));
        }
    }

    /// Something happened that must not. The first is what counts.
    pub(super) fn broken(&self, what: String) {
        self.known().broken.get_or_insert(what);
    }

    pub(super) fn verdict(&self) -> Option<String> {
        self.known().broken.clone()
    }

    pub(super) fn commits(&self) -> u64 {
        self.known().commits
    }

    /// What is known at this moment, whatever happens next.
    pub(super) fn frozen(&self) -> Self {
        Self(Arc::new(Mutex::new(self.known().clone())))
    }

    /// Compares what the repository says to hold, and gives back, with what is known.
    pub(super) fn compare(&self, listed: &BTreeMap<PointId, Restored>) {
        let known = self.known();
        let mut wrong = None;
        for id in known.committed.keys() {
            if !listed.contains_key(id) && !known.forgetting.contains(id) {
                wrong = Some(format!("point {id} was committed and is gone"));
            }
        }
        for (id, content) in listed {
            let content = match content {
                Ok(content) => content,
                Err(error) => {
                    wrong = Some(format!("point {id} cannot be restored: {error}"));
                    continue;
                }
            };
            if known.forgotten.contains(id) {
                wrong = Some(format!("point {id} was forgotten and is there"));
            }
            if let Some(expected) = known.committed.get(id) {
                if **expected != *content {
                    wrong = Some(format!("point {id} came back different"));
                }
                continue;
            }
            let content_id = content_id(content);
            if let Some(error) = known.failed.get(&content_id) {
                wrong = Some(format!("point {id} exists, and its backup failed: {error}"));
            } else if !known.offered.contains_key(&content_id) {
                wrong = Some(format!("point {id} holds what nobody ever offered"));
            }
        }
        drop(known);
        if let Some(wrong) = wrong {
            self.broken(wrong);
        }
    }
}
