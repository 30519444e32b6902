//! Several processes append to one log at once, and are killed at random: the log stays without gaps, nobody is told twice that a
//! number is theirs, nothing that somebody was told is lost, and the copy in the target is whole.
//!
//! This program starts itself again as the processes that append: then the variable `RAKSHA_APPEND_TO` is set.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic, and so may what they share"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raksha_core::Result;
use raksha_core::env::Env;
use raksha_core::id::RepositoryId;
use raksha_core::store::{Appended, ManifestCatalog, MirroredCatalog, ObjectCatalog};
use raksha_targets::testkit::Random;
use raksha_targets::{OpenOptions, SqlCatalogs, open};

const ID: RepositoryId = RepositoryId::from_bytes([5; 16]);

/// Processes that live at once.
const PROCESSES: usize = 5;

/// How long they are left to it.
const WHILE: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match (
        std::env::var("RAKSHA_APPEND_TO"),
        std::env::var("RAKSHA_APPEND_COPY"),
    ) {
        (Ok(address), Ok(copy)) => match runtime.block_on(append_on_and_on(&address, &copy)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("a process that appends: {error:?}");
                ExitCode::FAILURE
            }
        },
        _ => {
            runtime.block_on(all());
            ExitCode::SUCCESS
        }
    }
}

async fn all() {
    let home = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite:{}/catalogs.db", home.path().display());
    many_append(&sqlite, &home.path().join("copy of sqlite"), async || {}).await;
    #[cfg(feature = "lab")]
    {
        let schema = raksha_targets::testkit::PostgresSchema::new().await;
        let copy = home.path().join("copy of postgres");
        // The server hangs up now and then: whoever was waiting does not know whether it won.
        many_append(schema.address(), &copy, async || {
            schema.end_connections().await
        })
        .await;
        schema.remove().await;
    }
}

async fn log(address: &str, copy: &str) -> Result<MirroredCatalog> {
    let target = open(copy, &OpenOptions::default().create(true)).await?;
    let catalogs = SqlCatalogs::open(address, true).await?;
    let log = catalogs.log(ID, "here").await?;
    Ok(MirroredCatalog::new(log, target.objects))
}

/// Appends until it is killed, and prints every number that it was told to be its own, with the nonce of what it appended.
async fn append_on_and_on(address: &str, copy: &str) -> Result<()> {
    let log = again(async || log(address, copy).await).await?;
    let mut number = 0;
    loop {
        let news = again(async || log.read(number, 100).await).await?;
        number += news.len() as u64;
        if !news.is_empty() {
            continue;
        }
        let nonce: [u8; 32] = Env::system().random()?;
        let mine = Bytes::from([&nonce[..], &vec![b'x'; number as usize % 900]].concat());
        if wins(&log, number, &mine).await? {
            let line = format!("{number} {}\n", nonce_of(&mine));
            // In one piece: a killed process leaves no half of it behind that could be mistaken.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
    }
}

fn nonce_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(32)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether `mine` got the number, looked up where the answer was lost, as writers of a repository do.
async fn wins(log: &MirroredCatalog, number: u64, mine: &Bytes) -> Result<bool> {
    let appended = again(async || log.append(number, mine.clone()).await).await?;
    match appended {
        Appended::Done => Ok(true),
        Appended::Taken => {
            let there = again(async || log.read(number, 1).await).await?;
            Ok(there.first() == Some(mine))
        }
    }
}

async fn again<T>(work: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..50 {
        match work().await {
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            done => return done,
        }
    }
    work().await
}

/// What processes said: for each number, the entries that somebody was told to be their own.
type Told = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

struct Appender {
    child: Child,
    listener: JoinHandle<()>,
}

impl Appender {
    fn start(address: &str, copy: &Path, told: &Told) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env("RAKSHA_APPEND_TO", address)
            .env("RAKSHA_APPEND_COPY", copy)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let told = Arc::clone(told);
        let listener = std::thread::spawn(move || {
            for line in lines.lines() {
                let line = line.unwrap();
                let (number, entry) = line.split_once(' ').unwrap();
                let mut told = told.lock().unwrap();
                told.entry(number.parse().unwrap())
                    .or_default()
                    .push(entry.to_owned());
            }
        });
        Self { child, listener }
    }

    /// Kills it: nothing of the process runs after that.
    fn kill(mut self) {
        if let Some(ended) = self.child.try_wait().unwrap() {
            panic!("a process that appends gave up by itself: {ended}");
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.listener.join().unwrap();
    }
}

async fn many_append(address: &str, copy: &Path, disturb: impl AsyncFn()) {
    let seed = u64::from_le_bytes(Env::system().random().unwrap());
    println!("processes append to {address}, seed {seed}");
    let random = Random::new(seed);
    let told = Told::default();
    let start = || Appender::start(address, copy, &told);
    let mut appenders: Vec<Appender> = (0..PROCESSES).map(|_| start()).collect();
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < WHILE {
        tokio::time::sleep(Duration::from_millis(30 + random.below(300))).await;
        if random.below(5) == 0 {
            disturb().await;
        }
        let victim = random.below(PROCESSES as u64) as usize;
        appenders.push(start());
        appenders.swap_remove(victim).kill();
        kills += 1;
    }
    appenders.into_iter().for_each(Appender::kill);

    let log = log(address, copy.to_str().unwrap()).await.unwrap();
    // Reading checks that there are no gaps, and completes the copy by at most the last entry.
    let entries = log.read(0, 1_000_000).await.unwrap();
    let target = open(copy.to_str().unwrap(), &OpenOptions::default())
        .await
        .unwrap();
    let copied = ObjectCatalog::new(target.objects)
        .read(0, 1_000_000)
        .await
        .unwrap();
    assert!(
        copied == entries,
        "the copy has {} of {} entries, or others",
        copied.len(),
        entries.len()
    );

    let told = told.lock().unwrap();
    for (number, owners) in told.iter() {
        assert_eq!(
            owners.len(),
            1,
            "{} were told that {number} is theirs",
            owners.len()
        );
        let entry = entries.get(*number as usize);
        let entry = entry.unwrap_or_else(|| {
            panic!("entry {number} was lost, and its writer was told that it is there")
        });
        assert_eq!(
            owners[0],
            nonce_of(entry),
            "another entry than its writer's has number {number}"
        );
    }
    println!(
        "{} entries, {} writers told, {kills} processes killed",
        entries.len(),
        told.len()
    );
    assert!(entries.len() > 50 && kills > 10, "too little happened");
    // At most one entry a killed process is in the log without anybody having been told.
    assert!(entries.len() - told.len() <= kills + PROCESSES);
}
