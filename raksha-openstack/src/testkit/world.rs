//! The cloud behind the services: what exists, where its bytes are, and what happens by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use raksha_core::Timestamp;
use raksha_core::{Error, Result};
use serde_json::Value;

use super::call::{Call, Fate};
use super::disks::Disks;
use super::options::Options;
use super::reply::Refusal;
use super::state::{Change, Kind, Record, State, Work};
use super::{compute, image, objects, volume};

/// How many bytes there are in what Cinder, Nova and Glance call a gigabyte.
pub(super) const GIB: u64 = 1 << 30;

/// Everything that the services share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) disks: Disks,
    pub(super) options: Options,
    /// `http://127.0.0.1:PORT`.
    pub(super) base: String,
    directory: PathBuf,
}

impl World {
    /// The world that lies in `directory`, or a new and empty one.
    pub(super) fn open(directory: &Path, options: Options) -> Result<Self> {
        let failed =
            |source| Error::io("open cloud", source).with("directory", directory.display());
        let disks = Disks::new(directory).map_err(failed)?;
        let state = match std::fs::read(directory.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| {
                let reason =
                    "cloud.json is not what this version writes: begin with an empty directory";
                Error::new(raksha_core::Kind::Corrupt, "open cloud", reason)
                    .with("directory", directory.display())
                    .caused_by(source)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            state,
            disks,
            options,
            base: String::new(),
            directory: directory.to_owned(),
        })
    }

    /// Writes down what exists.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(&self.state)?;
        let new = self.directory.join(format!("{FILE}.new"));
        std::fs::write(&new, bytes)?;
        std::fs::rename(new, self.directory.join(FILE))
    }

    /// Where to put bytes that have no name yet.
    pub(super) fn scratch(&self) -> Result<PathBuf, Refusal> {
        Ok(self.disks.path(&format!("incoming-{}", self.uuid()?)))
    }

    pub(super) fn now(&self) -> u64 {
        self.options.env.now().as_millis()
    }

    /// 32 hexadecimal digits, as Keystone's ids.
    pub(super) fn hex(&self) -> Result<String, Refusal> {
        let bytes = self.options.env.random::<16>();
        let bytes = bytes.map_err(|error| Refusal::new(500, error.to_string()))?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// A random UUID.
    pub(super) fn uuid(&self) -> Result<String, Refusal> {
        let mut digits = self.hex()?;
        digits.replace_range(12..13, "4");
        digits.replace_range(16..17, "a");
        for at in [8, 13, 18, 23] {
            digits.insert(at, '-');
        }
        Ok(digits)
    }

    /// The limit of a resource for a project; -1 is none.
    pub(super) fn limit(&self, project: &str, resource: &str) -> i64 {
        let own = self
            .state
            .quotas
            .get(project)
            .and_then(|own| own.get(resource));
        own.copied().unwrap_or_else(|| default_limit(resource))
    }

    /// The thing has the fields `done` after `time`, or `failed` if that is the call's fate.
    pub(super) fn settle(
        &mut self,
        call: &Call,
        (kind, id): (Kind, &str),
        time: Duration,
        done: Value,
        failed: Value,
    ) {
        let fields = match call.fate {
            Fate::Fine => done,
            Fate::Error => failed,
            Fate::Unfinished => return,
        };
        self.later(call.now, kind, id, time, Change::Set(fields));
    }

    /// The thing is gone after a while, or has the fields `failed` if that is the call's fate.
    pub(super) fn remove_later(&mut self, call: &Call, (kind, id): (Kind, &str), failed: Value) {
        self.state
            .work
            .retain(|work| (work.kind, work.id.as_str()) != (kind, id));
        let time = self.options.pace.deletion;
        match call.fate {
            Fate::Fine => self.later(call.now, kind, id, time, Change::Remove),
            Fate::Error => self.later(call.now, kind, id, time, Change::Set(failed)),
            Fate::Unfinished => {}
        }
    }

    pub(super) fn later(&mut self, now: u64, kind: Kind, id: &str, time: Duration, change: Change) {
        let wait = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.state.work.push(Work {
            due: now.saturating_add(wait),
            kind,
            id: id.to_owned(),
            change,
        });
    }

    /// Lets happen what was due by `now`; whether anything was.
    pub(super) fn tick(&mut self, now: u64) -> bool {
        let mut any = false;
        loop {
            let due = self.state.work.iter().enumerate();
            let due = due.filter(|(_, work)| work.due <= now);
            let Some((at, _)) = due.min_by_key(|(at, work)| (work.due, *at)) else {
                return any;
            };
            let work = self.state.work.remove(at);
            self.apply(work);
            any = true;
        }
    }

    /// Lets happen now what would happen by itself.
    pub(super) fn finish(&mut self) {
        self.tick(u64::MAX);
    }

    fn apply(&mut self, work: Work) {
        match work.change {
            Change::Set(fields) => {
                let stamp = cinder_time(work.due);
                if let Some(record) = self.state.get_mut(work.kind, &work.id) {
                    record.merge(&fields);
                    touch(work.kind, record, &stamp);
                }
            }
            Change::Remove => {
                let Some(record) = self.state.remove(work.kind, &work.id) else {
                    return;
                };
                match work.kind {
                    Kind::Server => compute::gone(self, &record),
                    Kind::Volume | Kind::Snapshot => volume::gone(self, &record),
                    Kind::Image => image::gone(self, &record),
                    Kind::Object => objects::gone(self, &record),
                    _ => {}
                }
            }
        }
    }
}

/// Notes a change's time where Cinder shows it.
fn touch(kind: Kind, record: &mut Record, stamp: &str) {
    if matches!(kind, Kind::Volume | Kind::Snapshot) {
        record.set("updated_at", stamp);
    }
}

const FILE: &str = "cloud.json";

/// The services' own limits, and the lab's where they were raised.
fn default_limit(resource: &str) -> i64 {
    match resource {
        "instances" | "cores" => 30,
        "ram" => 16_384,
        "key_pairs" | "network" | "subnet" | "volumes" => 100,
        "server_groups" | "server_group_members" | "router" | "security_group" => 10,
        "groups" => 20,
        "metadata_items" => 128,
        "snapshots" => 200,
        "gigabytes" => 2000,
        "port" => 500,
        "floatingip" => 50,
        "security_group_rule" => 100,
        _ => -1,
    }
}

/// `2026-11-26T22:38:51Z`, as Nova, Glance and Neutron write it.
pub(super) fn short_time(millis: u64) -> String {
    let text = Timestamp::from_millis(millis).to_string();
    text.split('.').next().unwrap_or_default().to_owned() + "Z"
}

/// `2026-11-26T22:38:51.000000`, as Cinder writes it.
pub(super) fn cinder_time(millis: u64) -> String {
    let text = Timestamp::from_millis(millis).to_string();
    text.trim_end_matches('Z').to_owned() + "000"
}

/// `2026-11-26T22:38:51.000000Z`, as Keystone writes it.
pub(super) fn keystone_time(millis: u64) -> String {
    cinder_time(millis) + "Z"
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::new(500, format!("The cloud's own disk failed: {error}"))
    }
}
