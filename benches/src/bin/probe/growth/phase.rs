//! What is done to a repository by a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use raksha_core::id::ChunkId;
use raksha_core::repository::{CollectOptions, Repository};
use raksha_core::testkit::{Seeded, index_footprint, known_chunks};
use rustix::fs::{Advice, fadvise};

use super::figure::{Begun, Took};
use super::made::{self, Place};
use crate::Result;

/// Chunks asked for at once: about as many as a segment of a disk has.
const AT_ONCE: usize = 1024;

/// Points committed one after the other.
const COMMITS: u64 = 10;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Make the repository, if there is none, and add chunks.
    Make,
    /// Open it with an empty local cache.
    OpenCold,
    /// Open it with the local cache that was left then.
    OpenWarm,
    /// Look for chunks that are there.
    Present,
    /// Look for chunks that are not there.
    Absent,
    /// The same with the local files out of the page cache.
    PresentCold,
    /// The same with the local files out of the page cache.
    AbsentCold,
    /// Collect: mark what points reach, add up how much of each pack that is, retire what no point needs, and delete it.
    Collect,
    /// Commit a point that stores nothing.
    Commit,
}

/// Which repository
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    phase: Phase,
    folder: PathBuf,
    /// Chunks that it has before
    #[arg(long)]
    had: u64,
    /// Chunks that it has, or is to have
    #[arg(long)]
    chunks: u64,
    #[arg(long)]
    points: u64,
}

impl Phase {
    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Make => "made",
            Self::OpenCold => "opened, no local cache",
            Self::OpenWarm => "opened, local cache",
            Self::Present => "chunk that is there",
            Self::Absent => "chunk that is not there",
            Self::PresentCold => "chunk that is there, cold",
            Self::AbsentCold => "chunk that is not there, cold",
            Self::Collect => "collection",
            Self::Commit => "point that stores nothing",
        }
    }
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let Arguments {
        phase,
        folder,
        had,
        chunks,
        points,
    } = arguments;
    let place = Place::new(folder);
    let took = match phase {
        Phase::Make => {
            let begun = Begun::now()?;
            let reached = if place.target().exists() {
                made::needed_before(*had)
            } else {
                made::make(&place, *points, *chunks).await?
            };
            made::grow(&place, *had..*chunks).await?;
            made::reach(&place, *points, reached..made::needed_before(*chunks)).await?;
            begun.took(1)?
        }
        Phase::OpenCold | Phase::OpenWarm => {
            if *phase == Phase::OpenCold {
                fs::remove_dir_all(place.cache())?;
            }
            let begun = Begun::now()?;
            let repository = place.open().await?;
            let took = begun.took(1)?;
            eprintln!("    {:?}", index_footprint(&repository));
            took
        }
        Phase::Present | Phase::Absent | Phase::PresentCold | Phase::AbsentCold => {
            let repository = place.open().await?;
            let cold = matches!(phase, Phase::PresentCold | Phase::AbsentCold);
            if cold {
                forget_pages(&place.cache())?;
            }
            let there = matches!(phase, Phase::Present | Phase::PresentCold);
            let times = if cold { 1 << 13 } else { 1 << 20 };
            look_up(&repository, times, *chunks, there)?
        }
        Phase::Collect => {
            let repository = place.open().await?;
            let begun = Begun::now()?;
            let collected = repository.collect(&CollectOptions::default()).await?;
            eprintln!("    {collected:?}");
            begun.took(1)?
        }
        Phase::Commit => commit(&place.open().await?, *points).await?,
    };
    println!("{}", serde_json::to_string(&took)?);
    Ok(())
}

/// Looks for so many chunks at random places, of those that are there or of others.
fn look_up(repository: &Repository, times: usize, chunks: u64, there: bool) -> Result<Took> {
    let mut random = Seeded::new(1);
    let number = |random: &mut Seeded| match there {
        true => loop {
            let number = random.below(chunks);
            if !made::is_garbage(number) {
                break number;
            }
        },
        false => chunks + random.below(u64::MAX / 2),
    };
    let ids: Vec<ChunkId> = (0..times)
        .map(|_| made::chunk(number(&mut random)))
        .collect();
    let begun = Begun::now()?;
    let mut known = 0;
    for some in ids.chunks(AT_ONCE) {
        known += known_chunks(repository, some)?;
    }
    let took = begun.took(times as u64)?;
    let expected = if there { times as u64 } else { 0 };
    match known == expected {
        true => Ok(took),
        false => Err(format!("{known} chunks of {expected} are there").into()),
    }
}

/// Commits a point that is like one that is there, and stores nothing else.
async fn commit(repository: &Repository, points: u64) -> Result<Took> {
    let newest = repository
        .points()
        .await?
        .pop()
        .ok_or("no point is there")?;
    let mut point = repository.point(newest.id).await?;
    let mut all = Took::default();
    for n in 0..COMMITS {
        point.summary = made::summary(points + n);
        let begun = Begun::now()?;
        let writer = repository.write(&[newest.id], "probe").await?;
        writer.commit(&point).await?;
        writer.close().await?;
        all = all.and(begun.took(1)?);
    }
    Ok(all)
}

/// Has the kernel forget what it keeps in memory of the files in this folder that this process has open.
fn forget_pages(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize()?;
    for open in fs::read_dir("/proc/self/fd")? {
        let open = open?.path();
        if !fs::read_link(&open).is_ok_and(|file| file.starts_with(&folder)) {
            continue;
        }
        let file = File::open(&open)?;
        // Pages that are not written yet cannot be forgotten.
        file.sync_data()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
