//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Data protection for cloud workloads: back up whole servers, bring them back as they were.
#[derive(Debug, Parser)]
#[command(name = "raksha", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where the repository lies: file:///dir, a plain path, or memory:
    #[arg(long, global = true, env = "RAKSHA_TARGET", value_name = "URL")]
    pub target: Option<String>,
    /// The cloud: local:DIR
    #[arg(long, global = true, env = "RAKSHA_CLOUD", value_name = "CLOUD")]
    pub cloud: Option<String>,
    /// Where jobs and runs are kept: sqlite:FILE [default: jobs.sqlite in the XDG data directory, or beside a target directory]
    #[arg(long, global = true, env = "RAKSHA_JOBS", value_name = "URL")]
    pub jobs: Option<String>,
    /// The project that jobs and points belong to
    #[arg(long, global = true, env = "RAKSHA_PROJECT", default_value = "default")]
    pub project: String,
    /// A file that holds the passphrase (its first line)
    #[arg(
        long,
        global = true,
        env = "RAKSHA_PASSPHRASE_FILE",
        value_name = "FILE"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// A file that is the key: at least 32 bytes, such as `head -c 32 /dev/urandom` gives
    #[arg(
        long,
        global = true,
        env = "RAKSHA_KEY_FILE",
        value_name = "FILE",
        conflicts_with = "passphrase_file"
    )]
    pub key_file: Option<PathBuf>,
    /// Memory for work under way: 256MiB, 1GiB ...
    #[arg(long, global = true, env = "RAKSHA_MEMORY", default_value = "256MiB", value_parser = bytes, value_name = "BYTES")]
    pub memory: u64,
    /// Where index objects are kept for the next time
    #[arg(long, global = true, env = "RAKSHA_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository
    Init(Init),
    /// Show servers and all that belongs to them
    Discover {
        /// The servers: an id, a name, tag=TAG, metadata:KEY=VALUE, or all
        #[arg(default_value = "all")]
        servers: Vec<String>,
    },
    /// Backup jobs
    #[command(subcommand)]
    Job(Job),
    /// Backup runs
    #[command(subcommand)]
    Run(Run),
    /// Bring back what a run or point holds
    Restore(Restore),
    /// List recovery points
    Points,
    /// Give up recovery points
    Forget {
        /// The points, by their ids or how these begin
        #[arg(required = true)]
        points: Vec<String>,
    },
    /// Forbid that a point is forgotten
    Hold {
        /// The point
        point: String,
        /// Allow it again
        #[arg(long)]
        lift: bool,
    },
    /// Find and delete what no point needs
    Collect(Collect),
    /// Check that everything is there and is what it must be
    Verify {
        /// Check objects against their names and the log against its chain; needs no key
        #[arg(long)]
        keyless: bool,
    },
    /// What the repository holds
    Stats,
    /// Who did what when
    Log {
        /// The first entry
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Keys that open the repository
    #[command(subcommand)]
    Key(Key),
    /// Disks without any cloud
    #[command(subcommand)]
    Disk(Disk),
    /// Clean up after runs and restores that died
    Reap {
        /// Take all runs and restores for dead: nothing else works for this project
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub struct Init {
    /// How disks are cut into chunks
    #[arg(long, value_enum, default_value = "aligned")]
    pub chunking: ChunkingName,
    /// zstd's level, from -7 to 19; none stores chunks as they are
    #[arg(long, default_value = "1", allow_hyphen_values = true)]
    pub compression: String,
    /// Store chunks readable for whoever reads the target
    #[arg(long)]
    pub no_seal: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ChunkingName {
    /// 64 KiB each
    Fixed,
    /// By content, at any byte
    FastCdc,
    /// By content, between blocks of 4 KiB
    Aligned,
}

#[derive(Debug, Subcommand)]
pub enum Job {
    /// Make a job; prints its id
    Create {
        /// What to call it
        name: String,
        /// A server: an id, a name, tag=TAG, metadata:KEY=VALUE, or all; may be given several times
        #[arg(long = "server", required = true)]
        servers: Vec<String>,
        /// The consistency demanded
        #[arg(long, value_enum, default_value = "crash")]
        consistency: ConsistencyName,
        /// Fail a run that reaches less, instead of marking its point
        #[arg(long)]
        refuse: bool,
    },
    /// List jobs
    List,
    /// Show a job
    Show {
        /// Its id or name
        job: String,
    },
    /// Remove a job; its runs and points stay
    Delete {
        /// Its id or name
        job: String,
    },
    /// Run a job; prints the run's id
    Run {
        /// Its id or name
        job: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConsistencyName {
    /// Each disk by itself as after a power cut
    Crash,
    /// All disks of a server as after one power cut
    CrashAcrossDisks,
    /// File systems flushed and frozen
    FileSystem,
    /// Applications took part
    Application,
}

#[derive(Debug, Subcommand)]
pub enum Run {
    /// List runs
    List {
        /// Only those of this job, by id or name
        #[arg(long)]
        job: Option<String>,
    },
    /// Show a run
    Show {
        /// Its id or how it begins
        run: String,
    },
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The run or point, by its id or how it begins
    pub run: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Only this server of the point; may be given several times
    #[arg(long = "server")]
    pub servers: Vec<String>,
    /// Only the volumes
    #[arg(long, conflicts_with = "networks_only")]
    pub disks_only: bool,
    /// Only the networks
    #[arg(long)]
    pub networks_only: bool,
    /// Do not start servers that were running
    #[arg(long)]
    pub leave_stopped: bool,
}

#[derive(Debug, Args)]
pub struct Collect {
    /// Count, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Rewrite packs of which less than this share is needed
    #[arg(long, default_value_t = 0.5)]
    pub rewrite_below: f64,
    /// Take sessions for dead that were silent for so long: 7d, 12h ...
    #[arg(long, default_value = "7d", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub fence_after: std::time::Duration,
    /// Retire, and leave deleting to somebody who may
    #[arg(long)]
    pub no_delete: bool,
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// List key slots
    List,
    /// Add a key slot
    Add {
        /// Its name
        slot: String,
        /// A file that holds the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// A file that is the new key
        #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_file")]
        new_key_file: Option<PathBuf>,
    },
    /// Remove a key slot
    Remove {
        /// Its name
        slot: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Disk {
    /// Back up a file or block device; prints the point's id
    Backup {
        /// The file or device
        path: PathBuf,
        /// What to call the disk
        #[arg(long)]
        name: String,
    },
    /// Write a disk of a point to a file or block device
    Restore {
        /// The point, by its id or how it begins
        point: String,
        /// The file or device
        path: PathBuf,
        /// Which disk, if the point holds several
        #[arg(long)]
        disk: Option<String>,
        /// Overwrite what is there
        #[arg(long)]
        force: bool,
    },
    /// Show which bytes differ between two points
    Diff {
        /// One point
        a: String,
        /// The other
        b: String,
        /// Which disk, if the points hold several
        #[arg(long)]
        disk: Option<String>,
    },
}

/// A number of bytes: `1048576`, `256MiB`, `1G` (units are powers of 1024).
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("write it as 268435456, 256MiB or 1GiB".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write it as 268435456, 256MiB or 1GiB")?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "it is too large".into())
}
