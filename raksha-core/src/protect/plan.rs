//! What a restore would do, as a value: made from a recovery point and what the live cloud says, shown, kept, and carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::scope::{RestoreOptions, Scope, request};
use crate::cloud::{
    DiskId, DiskSource, PowerState, Presence, Problem, ResourceKey, ResourceKind as K, ResourceRef,
    RestoreRequest, Survey,
};
use crate::error::{Error, Kind, Result};
use crate::id::PointId;
use crate::point::RecoveryPoint;
use crate::time::Timestamp;

/// What a restore would do. Display is a table; serde makes JSON of it and takes it back.
///
/// A function of the point, the survey and the options alone, so the same cloud gives the same plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestorePlan {
    /// What is restored.
    pub point: PointId,
    /// What people call it.
    pub name: String,
    /// The instant that it shows.
    pub taken: Timestamp,
    /// What was asked for.
    pub options: RestoreOptions,
    /// What would be done, in this order.
    pub steps: Vec<Step>,
    /// What is in the way. While there is any of it, the plan is refused.
    pub conflicts: Vec<Conflict>,
    /// What else keeps the plan from being carried out.
    pub problems: Vec<Problem>,
    /// What the restore will not bring back, or not as it was, for whoever decides.
    pub notes: Vec<String>,
}

/// One step of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Use a live resource, which is the same in all that matters.
    Reuse {
        /// The resource of the point.
        key: ResourceKey,
        /// Its name.
        name: String,
        /// The live one's id.
        id: String,
    },
    /// Use the live resource that the mapping names.
    Map {
        /// The resource of the point.
        key: ResourceKey,
        /// Its name.
        name: String,
        /// The live one's id.
        id: String,
    },
    /// Create a resource that servers need.
    Create {
        /// The resource of the point.
        key: ResourceKey,
        /// The name that it will have.
        name: String,
    },
    /// Write a disk and check that it is what it was.
    WriteDisk {
        /// The disk.
        disk: DiskId,
        /// What people call it.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Create a server, with its disks and ports; or something that needs the server to be there.
    CreateServer {
        /// The server, or a floating IP.
        key: ResourceKey,
        /// The name that it will have.
        name: String,
    },
    /// Start a server.
    Start {
        /// The server.
        key: ResourceKey,
        /// The name that it will have.
        name: String,
    },
}

/// Something live that is in the way of a resource of the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The resource of the point.
    pub key: ResourceKey,
    /// Its name.
    pub name: String,
    /// The live one's id.
    pub id: String,
    /// What is in the way, and what to do.
    pub reason: String,
}

impl RestorePlan {
    /// The plan for `options`, given what the cloud says to [their request](Self::request).
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Invalid`] if the point does not hold what the options ask for. What the cloud has against it is no
    /// error but part of the plan.
    pub fn new(
        id: PointId,
        point: &RecoveryPoint,
        survey: &Survey,
        options: &RestoreOptions,
    ) -> Result<Self> {
        let request = Self::request(point, options)?;
        let mut plan = Self {
            point: id,
            name: point.summary.name.clone(),
            taken: point.summary.taken,
            options: options.clone(),
            steps: Vec::new(),
            conflicts: Vec::new(),
            problems: survey.problems.clone(),
            notes: survey.notes.clone(),
        };
        let mut later = Vec::new();
        for resource in request.graph.resources() {
            let key = resource.key();
            let name = name_there(resource, &request);
            match plan.decide(resource, survey, name.clone()) {
                Decision::Use(step) => plan.steps.push(step),
                Decision::Make if matches!(key.kind, K::Server | K::FloatingIp) => {
                    later.push(Step::CreateServer { key, name });
                }
                Decision::Make => plan.steps.push(Step::Create { key, name }),
                Decision::Nothing => {}
            }
        }
        plan.add_disks(&request, point, &later)?;
        plan.add_starts(&request, later);
        plan.add_notes(&request, point)?;
        Ok(plan)
    }

    /// What the cloud is asked about `options`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Invalid`] if the point does not hold what they ask for.
    pub fn request(point: &RecoveryPoint, options: &RestoreOptions) -> Result<RestoreRequest> {
        request(&point.graph, options)
    }

    /// Whether the plan can be carried out as it stands.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] or else [`Kind::Invalid`], listing everything that keeps it from being carried out.
    pub fn check(&self) -> Result<()> {
        let conflicts = self.conflicts.iter().map(Conflict::to_string);
        let problems = self
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.what, p.reason));
        let all: Vec<String> = conflicts.chain(problems).collect();
        let kind = match (self.conflicts.is_empty(), all.is_empty()) {
            (_, true) => return Ok(()),
            (false, _) => Kind::AlreadyExists,
            (true, _) => Kind::Invalid,
        };
        Err(Error::new(kind, "restore", all.join("; ")).with("point", self.point))
    }

    /// The bytes of all disks that would be written, holes included.
    pub fn bytes(&self) -> u64 {
        let sizes = self.steps.iter().map(|step| match step {
            Step::WriteDisk { size, .. } => *size,
            _ => 0,
        });
        sizes.sum()
    }

    /// What becomes of one resource.
    fn decide(&mut self, resource: ResourceRef<'_>, survey: &Survey, name: String) -> Decision {
        let key = resource.key();
        let mut mapped = self.options.mapping.resources.iter();
        let mapped = mapped
            .find(|(known, _)| *known == key)
            .map(|(_, id)| id.clone());
        let finding = survey.findings.iter().find(|finding| finding.key == key);
        match (mapped, finding.map(|finding| &finding.presence)) {
            (Some(_), _) if key.kind == K::Server => {
                self.problems.push(Problem {
                    what: key.to_string(),
                    reason: "a server cannot be mapped, since nothing existing is overwritten: leave it out, or take the mapping away".to_owned(),
                });
                Decision::Nothing
            }
            (mapped, Some(Presence::Conflict { id, reason })) => {
                let id = mapped.unwrap_or_else(|| id.clone());
                let reason = reason.clone();
                self.conflicts.push(Conflict {
                    key,
                    name,
                    id,
                    reason,
                });
                Decision::Nothing
            }
            (Some(id), _) => Decision::Use(Step::Map { key, name, id }),
            // What servers and volumes hold is not compared, so that "the same" says too little to use them.
            (None, Some(Presence::Same { id })) if matches!(key.kind, K::Server | K::Volume) => {
                let (id, reason) = (id.clone(), "it is there already, and nothing existing is overwritten: give the restored one a new name, or remove that one first".to_owned());
                self.conflicts.push(Conflict {
                    key,
                    name,
                    id,
                    reason,
                });
                Decision::Nothing
            }
            (None, Some(Presence::Same { id })) => {
                let id = id.clone();
                Decision::Use(Step::Reuse { key, name, id })
            }
            (None, Some(Presence::Absent)) => Decision::Make,
            (None, None) => {
                self.problems.push(Problem {
                    what: key.to_string(),
                    reason: "the cloud's implementation says nothing about it".to_owned(),
                });
                Decision::Nothing
            }
        }
    }

    /// The disks whose volumes or servers are created.
    fn add_disks(
        &mut self,
        request: &RestoreRequest,
        point: &RecoveryPoint,
        later: &[Step],
    ) -> Result<()> {
        let sizes = match self.options.scope {
            Scope::Servers => request.graph.disks()?,
            Scope::Networks => Vec::new(),
            Scope::Disks => {
                let volumes = request.graph.volumes.iter();
                volumes
                    .map(|v| (DiskId::Volume(v.id.clone()), v.size))
                    .collect()
            }
        };
        for (disk, size) in sizes {
            let (owner, name) = match &disk {
                DiskId::Volume(id) => {
                    let key = ResourceKey::new(K::Volume, id.as_str());
                    let found = request.graph.find(&key);
                    (
                        key,
                        found.map_or_else(String::new, |r| name_there(r, request)),
                    )
                }
                DiskId::Local { server, name } => {
                    let key = ResourceKey::new(K::Server, server.as_str());
                    let found = request.graph.find(&key);
                    let of = found.map_or_else(String::new, |r| name_there(r, request));
                    (key, format!("{of}/{name}"))
                }
                DiskId::Named(name) => (ResourceKey::new(K::Volume, ""), name.clone()),
            };
            let made = self.steps.iter().chain(later).any(|step| match step {
                Step::Create { key, .. } | Step::CreateServer { key, .. } => *key == owner,
                _ => false,
            });
            if !made {
                continue;
            }
            if point.disk(&disk).is_err() {
                self.problems.push(Problem {
                    what: disk.to_string(),
                    reason: "the point does not hold its content: leave its server out".to_owned(),
                });
            }
            self.steps.push(Step::WriteDisk { disk, name, size });
        }
        Ok(())
    }

    fn add_starts(&mut self, request: &RestoreRequest, later: Vec<Step>) {
        let running = |key: &ResourceKey| match request.graph.find(key) {
            Some(ResourceRef::Server(server)) => server.power == PowerState::Running,
            _ => false,
        };
        let mut starts = Vec::new();
        if !self.options.leave_stopped {
            for step in &later {
                if let Step::CreateServer { key, name } = step
                    && running(key)
                {
                    let (key, name) = (key.clone(), name.clone());
                    starts.push(Step::Start { key, name });
                }
            }
        }
        self.steps.extend(later);
        self.steps.extend(starts);
    }

    fn add_notes(&mut self, request: &RestoreRequest, point: &RecoveryPoint) -> Result<()> {
        for omission in &request.graph.omissions {
            let note = format!("{} is not in the point: {}", omission.what, omission.reason);
            self.notes.push(note);
        }
        if self.options.scope == Scope::Disks {
            let all = RestoreOptions {
                scope: Scope::Servers,
                ..self.options.clone()
            };
            for server in Self::request(point, &all)?.graph.servers {
                for attachment in &server.attachments {
                    if let DiskSource::Local { name, .. } = &attachment.source {
                        self.notes.push(format!(
                            "the disk {name} of the server {} is left out: it comes only with its server",
                            server.name
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

enum Decision {
    /// Something live stands for it.
    Use(Step),
    /// It is created.
    Make,
    /// It is in conflict or a problem.
    Nothing,
}

/// What a resource will be called: its new name, or else its own, or else its id.
fn name_there(resource: ResourceRef<'_>, request: &RestoreRequest) -> String {
    let key = resource.key();
    let mut names = request.mapping.names.iter();
    match names.find(|(known, _)| *known == key) {
        Some((_, name)) => name.clone(),
        None if resource.name().is_empty() => key.id,
        None => resource.name().to_owned(),
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {} ({})",
            self.key.kind, self.name, self.reason, self.id
        )
    }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.point.to_string().chars().take(12).collect();
        writeln!(
            f,
            "restore of {} as of {} (point {short})",
            self.name, self.taken
        )?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        let list = |f: &mut fmt::Formatter<'_>, title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return Ok(());
            }
            writeln!(f, "{title}:")?;
            lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
        };
        list(
            f,
            "in the way",
            self.conflicts.iter().map(Conflict::to_string).collect(),
        )?;
        let problems = self
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.what, p.reason));
        list(f, "problems", problems.collect())?;
        list(f, "notes", self.notes.clone())?;
        if self.conflicts.is_empty() && self.problems.is_empty() {
            write!(f, "nothing stands in the way")
        } else {
            write!(f, "this cannot be carried out as it stands")
        }
    }
}

impl fmt::Display for Step {
    /// One line of a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |verb: &str, kind: String, name: &str, more: String| {
            let line = format!("  {verb:<8}{kind:<16}{name:<24}{more}");
            f.write_str(line.trim_end())
        };
        match self {
            Self::Reuse { key, name, id } => {
                line("use", key.kind.to_string(), name, format!("the live {id}"))
            }
            Self::Map { key, name, id } => {
                line("map", key.kind.to_string(), name, format!("to {id}"))
            }
            Self::Create { key, name } | Self::CreateServer { key, name } => {
                line("create", key.kind.to_string(), name, String::new())
            }
            Self::WriteDisk { name, size, .. } => {
                line("write", "disk".to_owned(), name, format!("{size} bytes"))
            }
            Self::Start { key, name } => line("start", key.kind.to_string(), name, String::new()),
        }
    }
}
