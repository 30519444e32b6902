//! What the command line can say.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use raksha_core::cloud::{Consistency, ServerSelector};
use raksha_core::protect::Scope;
use raksha_core::repository::{Compression, StoredName};
use raksha_core::store::{IfNotReached, JobHook};

use crate::authority::AuthorityVerb;
use crate::disk::DiskVerb;
use crate::schedule::{
    ObjectiveOptions, RetentionOptions, ScheduleOptions, ScheduleVerb, SimulateOptions,
};
use crate::values::{bytes, compression, duration, hook, pair, selector};

/// Back up servers and disks, deduplicated and sealed, and bring them back as they were.
#[derive(Debug, Parser)]
#[command(name = "raksha", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What all verbs have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// Where backups are kept: a directory, file:///directory, memory: ...
    #[arg(long, global = true, env = "RAKSHA_TARGET", value_name = "URL")]
    pub target: Option<String>,
    /// The cloud whose servers are protected: local:DIRECTORY, or openstack:NAME with a name from clouds.yaml (openstack: alone reads the OS_*
    /// variables). An operator adds a Ceph user, as in openstack:NAME?ceph_user=openstack
    #[arg(long, global = true, env = "RAKSHA_CLOUD")]
    pub cloud: Option<String>,
    /// Where the commit log is kept, if not in the target: sqlite:FILE, postgres://USER@HOST/DATABASE. The target gets a copy of it
    #[arg(long, global = true, env = "RAKSHA_CATALOG", value_name = "URL")]
    pub catalog: Option<String>,
    /// Where jobs and runs are kept: sqlite:FILE, postgres://USER@HOST/DATABASE [default: beside a target in a directory (DIRECTORY.jobs.sqlite), else
    /// raksha/TARGET.jobs.sqlite in the user's data directory]
    #[arg(long, global = true, env = "RAKSHA_JOBS")]
    pub jobs: Option<String>,
    /// Whose jobs and points [default: the project that the cloud's credentials belong to, or else `default`]
    #[arg(long, global = true, env = "RAKSHA_PROJECT")]
    pub project: Option<String>,
    /// A file with the hooks that jobs may have called before disks are taken and after: a JSON list, see docs/SCHEDULING.md
    #[arg(
        long = "hooks",
        global = true,
        env = "RAKSHA_HOOKS",
        value_name = "FILE"
    )]
    pub hooks_file: Option<PathBuf>,
    #[command(flatten)]
    pub key: KeyOptions,
    #[command(flatten)]
    pub service: ServiceOptions,
    /// The memory that work under way may use, in bytes; K, M and G are understood [default: 256M, and 64M more for each processor beyond four, up to 1G]
    #[arg(long, global = true, env = "RAKSHA_MEMORY", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell nothing of progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What opens the repository; everything but `verify --keyless`, `discover` and listing jobs and runs needs it. What is not
/// given here is looked for in the environment: RAKSHA_KEY_FILE, RAKSHA_PASSPHRASE_FILE, RAKSHA_PASSPHRASE.
#[derive(Debug, Args)]
pub struct KeyOptions {
    /// A file whose first line is the passphrase; `-` reads it from stdin [env: RAKSHA_PASSPHRASE_FILE, or the passphrase itself in
    /// RAKSHA_PASSPHRASE]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// A file of at least 32 bytes that nobody can guess [env: RAKSHA_KEY_FILE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_file"
    )]
    pub key_file: Option<PathBuf>,
}

/// Who a service is that acts for tenants: what `authority`, and workers whose jobs have a delegation, need.
#[derive(Debug, Args)]
pub struct ServiceOptions {
    /// The cloud as the service itself, whose user tenants trust: openstack:NAME, with options as for --cloud
    #[arg(long, global = true, env = "RAKSHA_SERVICE", value_name = "CLOUD")]
    pub service: Option<String>,
    /// A file of at least 32 bytes that nobody can guess: what is secret about delegations is sealed with it
    #[arg(
        long,
        global = true,
        env = "RAKSHA_SERVICE_KEY_FILE",
        value_name = "FILE"
    )]
    pub service_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a repository in the target; prints its id
    Init(InitOptions),
    /// Show servers and what belongs to them
    Discover {
        /// Servers, as for `job create` [default: all]
        #[arg(value_parser = selector)]
        servers: Vec<ServerSelector>,
    },
    /// Backup jobs: what to protect
    #[command(subcommand)]
    Job(JobVerb),
    /// Backup runs: what was done
    #[command(subcommand)]
    Run(RunVerb),
    /// Runs that are due, and workers for them
    #[command(subcommand)]
    Schedule(ScheduleVerb),
    /// By what right jobs run while nobody is there
    #[command(subcommand)]
    Authority(AuthorityVerb),
    /// Bring servers back as they were
    Restore(RestoreOptions),
    /// List recovery points
    Points,
    /// Show a recovery point: its servers, its disks, and how consistent they are
    Point {
        /// Its id, or the beginning of it
        point: String,
    },
    /// Forget recovery points; their space comes back with `collect`
    Forget {
        /// Ids, or beginnings of ids
        #[arg(required = true)]
        points: Vec<String>,
    },
    /// Forbid that a point is forgotten, or allow it again
    Hold {
        /// Its id, or the beginning of it
        point: String,
        /// Allow it again
        #[arg(long)]
        lift: bool,
    },
    /// Free the space that no point needs
    Collect(CollectOptions),
    /// Check that everything in the target is intact
    Verify(VerifyArguments),
    /// Take damaged packs out of use, and store again what they lost: from a replica, from a disk, or in the next backup
    Repair(RepairArguments),
    /// Copy all points to a second repository that does not have them yet, and read them back from there
    Replicate(ReplicateArguments),
    /// Keep everything that points need from being deleted for some time, where the target can (S3 with object lock); tells until when each is safe
    Keep(KeepArguments),
    /// Fill the catalog of --catalog from the target, or the copy of the log in the target from the catalog
    Rebuild(RebuildOptions),
    /// Show what the repository holds
    Stats,
    /// Show who did what when, from the commit log
    Log {
        /// The number of the first entry
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// End a session that is taken for dead: nothing that it does takes effect any more
    Fence {
        /// Its number, as `log` and `stats` show it
        session: u64,
    },
    /// Clean up after runs and restores that died
    Reap(ReapOptions),
    /// The cloud by itself
    #[command(subcommand)]
    Cloud(CloudVerb),
    /// Targets, without any repository
    #[command(subcommand)]
    Target(TargetVerb),
    /// Keys that open the repository
    #[command(subcommand)]
    Key(KeyVerb),
    /// Single disks, without any cloud
    #[command(subcommand)]
    Disk(DiskVerb),
}

#[derive(Debug, Args)]
pub struct InitOptions {
    /// The size of a segment, the unit of a disk's tree: a power of two from 1M to 1G
    #[arg(long, value_parser = bytes)]
    pub segment_size: Option<u64>,
    /// The size of the objects that chunks are packed into: from 1M to 1G
    #[arg(long, value_parser = bytes)]
    pub pack_size: Option<u64>,
    /// The zstd level that chunks are compressed at: from -7 (fastest) to 19 (smallest), 0 for not at all, or auto: by itself, lower while the
    /// target waits for the compressor, higher while the compressor waits for the target [default: auto]
    #[arg(long, value_name = "LEVEL", value_parser = compression, allow_negative_numbers = true)]
    pub compression: Option<Compression>,
}

#[derive(Debug, Args)]
pub struct RebuildOptions {
    /// Move a log that lies in the target itself into the catalog
    #[arg(long)]
    pub move_log: bool,
    /// The repository moved from this place, or was reached by this name; nobody may use it by that any more
    #[arg(long, value_name = "PLACE")]
    pub moved_from: Option<String>,
    /// The target is a copy of another one that goes its own way: give it a log of its own
    #[arg(long, conflicts_with = "moved_from")]
    pub copy: bool,
}

#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// Make a job; prints its id
    Create {
        /// What to call it
        name: String,
        /// A server: its id or name, id:ID, name:NAME, tag:TAG, metadata:KEY=VALUE, or all. May be given several times
        #[arg(long = "server", short, required = true, value_parser = selector)]
        servers: Vec<ServerSelector>,
        /// The consistency demanded
        #[arg(long, value_enum, default_value_t)]
        consistency: Level,
        /// Fail a run that reaches less, instead of marking its point
        #[arg(long)]
        refuse: bool,
        #[command(flatten)]
        schedule: Box<ScheduleOptions>,
        #[command(flatten)]
        retention: RetentionOptions,
        #[command(flatten)]
        objective: ObjectiveOptions,
        /// Let its runs act by this delegation: its id, or the beginning of it
        #[arg(long, value_name = "DELEGATION")]
        authority: Option<String>,
        /// Have this hook of --hooks called before its disks are taken, and after; several in this order. NAME:warn goes on if it fails
        #[arg(long = "hook", value_name = "NAME", value_parser = hook)]
        hooks: Vec<JobHook>,
    },
    /// Change a job: what is given replaces what it says, the rest stays. What is queued of it stays queued
    Update {
        /// Its name or id
        job: String,
        /// What to call it from now on
        #[arg(long)]
        name: Option<String>,
        /// A server, instead of those that it has: as for `create`
        #[arg(long = "server", short, value_parser = selector)]
        servers: Vec<ServerSelector>,
        /// The consistency demanded
        #[arg(long, value_enum)]
        consistency: Option<Level>,
        /// Whether to fail a run that reaches less, instead of marking its point
        #[arg(long, value_name = "BOOL")]
        refuse: Option<bool>,
        #[command(flatten)]
        schedule: Box<ScheduleOptions>,
        /// Run only when somebody asks for it
        #[arg(long, conflicts_with_all = ["schedule", "every"])]
        no_schedule: bool,
        #[command(flatten)]
        retention: RetentionOptions,
        /// Keep all points
        #[arg(long)]
        keep_everything: bool,
        #[command(flatten)]
        objective: ObjectiveOptions,
        /// Have no objective any more
        #[arg(long, conflicts_with = "rpo")]
        no_rpo: bool,
        /// A hook, instead of those that it has: as for `create`
        #[arg(long = "hook", value_name = "NAME", value_parser = hook, conflicts_with = "no_hooks")]
        hooks: Vec<JobHook>,
        /// Have no hooks called any more
        #[arg(long)]
        no_hooks: bool,
    },
    /// Show what a schedule and a retention policy would keep over a year, before any job has them
    Simulate(Box<SimulateOptions>),
    /// List jobs
    List,
    /// Show a job and its runs
    Show {
        /// Its name or id
        job: String,
    },
    /// Remove a job; its points stay
    Delete {
        /// Its name or id
        job: String,
    },
    /// Run a job; prints the run's id
    Run {
        /// Its name or id
        job: String,
    },
}

/// The levels of consistency; each includes the ones before it.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Level {
    /// Each disk by itself is as after a power cut
    #[default]
    Crash,
    /// All disks of a server are as after one power cut
    CrashAcrossDisks,
    /// File systems were flushed and frozen
    FileSystem,
    /// Applications took part
    Application,
}

impl From<Level> for Consistency {
    fn from(level: Level) -> Self {
        match level {
            Level::Crash => Self::Crash,
            Level::CrashAcrossDisks => Self::CrashAcrossDisks,
            Level::FileSystem => Self::FileSystem,
            Level::Application => Self::Application,
        }
    }
}

/// What `--refuse` says.
pub fn if_not_reached(refuse: bool) -> IfNotReached {
    match refuse {
        true => IfNotReached::Refuse,
        false => IfNotReached::Mark,
    }
}

#[derive(Debug, Subcommand)]
pub enum RunVerb {
    /// List runs, the newest first
    List {
        /// Only those of this job
        job: Option<String>,
    },
    /// Show a run
    Show {
        /// Its id, or the beginning of it
        run: String,
    },
}

#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// A run or a recovery point: its id, or the beginning of it
    pub from: String,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// Restore into this cloud [default: the one of --cloud]
    #[arg(long, value_name = "CLOUD")]
    pub into: Option<String>,
    /// Only this server, by id or name. May be given several times
    #[arg(long = "server", short, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only a part of it
    #[arg(long, value_enum)]
    pub only: Option<Part>,
    /// Use a live resource instead of creating one: KIND:ID-OR-NAME=LIVE-ID, as in network:front=6ac2…
    #[arg(long = "map", value_name = "KIND:WHAT=ID", value_parser = pair)]
    pub maps: Vec<(String, String)>,
    /// Give a resource a new name: KIND:ID-OR-NAME=NAME, as in server:web=web-2
    #[arg(long = "rename", value_name = "KIND:WHAT=NAME", value_parser = pair)]
    pub renames: Vec<(String, String)>,
    /// Use another volume type
    #[arg(long = "volume-type", value_name = "OLD=NEW", value_parser = pair)]
    pub volume_types: Vec<(String, String)>,
    /// Use another flavor
    #[arg(long = "flavor", value_name = "OLD=NEW", value_parser = pair)]
    pub flavors: Vec<(String, String)>,
    /// Use another availability zone
    #[arg(long = "zone", value_name = "OLD=NEW", value_parser = pair)]
    pub zones: Vec<(String, String)>,
    /// Do not start servers that were running
    #[arg(long)]
    pub leave_stopped: bool,
}

/// A part of what a point holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Part {
    /// Volumes, without servers
    Disks,
    /// Networks, subnets, routers and security groups, without servers
    Networks,
}

impl From<Part> for Scope {
    fn from(part: Part) -> Self {
        match part {
            Part::Disks => Self::Disks,
            Part::Networks => Self::Networks,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum CloudVerb {
    /// Show which roads to disks, levels of consistency and rights there are, and what to change for more
    Validate {
        /// Try rights that can only be known by trying, with the smallest things there are, which are removed again
        #[arg(long)]
        r#try: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum TargetVerb {
    /// Try out what a target keeps of what it promises; leaves nothing behind
    Validate {
        /// The target: a directory, file:///directory, s3://bucket/prefix ...
        url: String,
    },
    /// Make the index of names of a target in RADOS anew, from its objects
    #[cfg(feature = "rados")]
    Reindex {
        /// The target: rados://pool/namespace
        url: String,
    },
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Only these points and what they need [default: everything]
    #[arg(value_name = "POINT", conflicts_with = "keyless")]
    pub points: Vec<String>,
    /// Only what can be checked without a key
    #[arg(long)]
    pub keyless: bool,
    /// Read only this share of the packs, drawn at random, such as 0.05; tells what it may have missed
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["keyless", "after"])]
    pub sample: Option<f64>,
    /// Read packs at no more than this many bytes a second; K, M and G are understood
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "keyless")]
    pub rate: Option<u64>,
    /// End after so many bytes of packs, and tell where to go on
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "keyless")]
    pub at_most: Option<u64>,
    /// Go on where an earlier verification ended
    #[arg(long, value_name = "PACK", conflicts_with = "keyless")]
    pub after: Option<StoredName>,
}

#[derive(Debug, Args)]
pub struct KeepArguments {
    /// For how long, from now on, such as 60days
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub time: Duration,
    /// Leave what is kept for at least so long already [default: half of it]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub at_least: Option<Duration>,
    /// Let what is moved forward bind everybody, so that nobody at all can take it back (compliance mode)
    #[arg(long)]
    pub bind_all: bool,
}

#[derive(Debug, Args)]
pub struct RepairArguments {
    /// Take what is lost from this repository, which holds copies of the points
    #[arg(long, value_name = "URL")]
    pub replica: Option<String>,
    #[command(flatten)]
    pub of_replica: ReplicaOptions,
    /// Take what is lost from this disk, as far as it still has it: a file or a block device
    #[arg(long, value_name = "PATH")]
    pub disk: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReplicateArguments {
    /// The target of the second repository, which `init` made
    pub to: String,
    #[command(flatten)]
    pub of_replica: ReplicaOptions,
}

/// What opens the second repository. What is not given here is looked for in RAKSHA_REPLICA_KEY_FILE, RAKSHA_REPLICA_PASSPHRASE_FILE and
/// RAKSHA_REPLICA_PASSPHRASE.
#[derive(Debug, Args)]
pub struct ReplicaOptions {
    /// Where the second repository's commit log is kept, if not in its target
    #[arg(long, env = "RAKSHA_REPLICA_CATALOG", value_name = "URL")]
    pub replica_catalog: Option<String>,
    /// The second repository's passphrase: the first line of this file
    #[arg(long, value_name = "FILE")]
    pub replica_passphrase_file: Option<PathBuf>,
    /// The second repository's key: this file
    #[arg(long, value_name = "FILE", conflicts_with = "replica_passphrase_file")]
    pub replica_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CollectOptions {
    /// Change nothing, only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Retire what is not needed, but delete nothing
    #[arg(long)]
    pub no_delete: bool,
    /// Rewrite packs of which less than this share is needed, from 0 (none) to 1
    #[arg(long, default_value_t = 0.5)]
    pub rewrite_below: f64,
    /// Fence off sessions that were silent for so long, such as 2h [default: 7days]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub fence_after: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ReapOptions {
    /// Take everything for dead that does not live in this process
    #[arg(long)]
    pub all: bool,
    /// Take for dead what gave no sign of life for so long
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5min")]
    pub silent_for: Duration,
    /// Remove what this restore created, which died or failed
    #[arg(long, value_name = "RESTORE")]
    pub undo: Option<String>,
    /// Clean up in this cloud, into which something was restored [default: the one of --cloud]
    #[arg(long, value_name = "CLOUD")]
    pub into: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// List key slots
    List,
    /// Add a key slot. What is not given here is looked for in RAKSHA_NEW_KEY_FILE, RAKSHA_NEW_PASSPHRASE_FILE and
    /// RAKSHA_NEW_PASSPHRASE
    Add {
        /// What to call the slot
        slot: String,
        /// A file whose first line is the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// A new key file
        #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_file")]
        new_key_file: Option<PathBuf>,
    },
    /// Remove a key slot
    Remove {
        /// Which
        slot: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
