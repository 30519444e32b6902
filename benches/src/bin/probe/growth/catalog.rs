//! A catalog with a great many recovery points.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use object_store::ObjectStore;
use raksha_benches::machine::Machine;
use raksha_core::RecoveryPoint;
use raksha_core::cloud::{ConsistencyLedger, ResourceGraph};
use raksha_core::id::RepositoryId;
use raksha_core::repository::{EngineOptions, Parameters, Repository, Target};
use raksha_core::testkit::pretend_points;
use raksha_targets::SqlCatalogs;

use super::figure::{Begun, Figure, Figures, Took, in_a_process};
use super::made::{Place, secret, summary};
use crate::Result;

/// Known beforehand, so that a database can be asked for its log.
const ID: RepositoryId = RepositoryId::from_bytes([7; 16]);

/// Points looked for, and points committed.
const FOUND: u64 = 1000;
const COMMITTED: u64 = 20;
/// Points that are made between collections.
const BETWEEN_COLLECTIONS: u64 = 20_000;

/// How many, and where
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Recovery points; several numbers are measured one after the other
    #[arg(long, default_values_t = [10_000, 100_000, 1_000_000])]
    points: Vec<u64>,
    /// Where the log is
    #[arg(long, value_enum, default_values_t = [Home::Directory, Home::Sqlite])]
    home: Vec<Home>,
    /// Where the repositories are made: a million points are a million files of 4 KiB
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// Where the database is made, which syncs each entry: best where that costs little [default: SCRATCH]
    #[arg(long, value_name = "DIR")]
    database: Option<PathBuf>,
    /// Keep the figures there, beside others that the file has
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Where the log is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Home {
    /// In the target, a directory.
    Directory,
    /// In a SQLite file, with a copy in the target.
    Sqlite,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deed {
    /// Make the repository.
    Make,
    /// Open it.
    Open,
    /// List the newest 100 points.
    List,
    /// Find points by the beginnings of their ids.
    Find,
    /// Commit points one after the other, each by a writer's session.
    Commit,
    /// Open it by its log alone.
    Replay,
}

impl Deed {
    fn title(self) -> &'static str {
        match self {
            Self::Make => "made",
            Self::Open => "opened",
            Self::List => "newest 100 listed",
            Self::Find => "point found by its id",
            Self::Commit => "point committed",
            Self::Replay => "opened, no checkpoint",
        }
    }
}

/// Which repository
#[derive(Debug, clap::Args)]
pub struct DeedArguments {
    #[arg(value_enum)]
    deed: Deed,
    #[arg(value_enum)]
    home: Home,
    folder: PathBuf,
    database: PathBuf,
    points: u64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut figures = match &arguments.save {
        Some(file) => Figures::load(file)?,
        None => Figures::default(),
    };
    for points in &arguments.points {
        for home in &arguments.home {
            let folder = tempfile::tempdir_in(&arguments.scratch)?;
            let elsewhere = arguments.database.as_ref().unwrap_or(&arguments.scratch);
            let database = tempfile::tempdir_in(elsewhere)?;
            for deed in Deed::value_variants() {
                let figure = measure(*deed, *home, folder.path(), database.path(), *points)?;
                println!("{figure}");
                if *deed == Deed::Make {
                    continue;
                }
                figures.add(figure);
                if let Some(file) = &arguments.save {
                    figures.save(file)?;
                }
            }
        }
    }
    Ok(())
}

fn measure(deed: Deed, home: Home, folder: &Path, database: &Path, points: u64) -> Result<Figure> {
    let machine = Machine::read()?;
    let deed_name = deed.to_possible_value().ok_or("a deed without name")?;
    let home_name = home.to_possible_value().ok_or("a home without name")?;
    let told = in_a_process(&[
        "deed",
        deed_name.get_name(),
        home_name.get_name(),
        &folder.display().to_string(),
        &database.display().to_string(),
        &points.to_string(),
    ])?;
    Ok(Figure {
        what: format!("{}: {}", home_name.get_name(), deed.title()),
        chunks: 0,
        points,
        took: serde_json::from_str(&told)?,
        machine,
    })
}

/// Does one thing, in a process of its own.
pub async fn act(arguments: &DeedArguments) -> Result<()> {
    let place = Place::new(&arguments.folder);
    let took = match arguments.deed {
        Deed::Make => {
            let begun = Begun::now()?;
            make(&place, arguments).await?;
            begun.took(arguments.points)?
        }
        Deed::Open => {
            let begun = Begun::now()?;
            open(&place, arguments).await?;
            begun.took(1)?
        }
        Deed::List => {
            let repository = open(&place, arguments).await?;
            let begun = Begun::now()?;
            let points = repository.points().await?;
            let newest = points.iter().rev().take(100).count();
            let took = begun.took(1)?;
            if newest != 100 {
                return Err(format!("{newest} points are there").into());
            }
            took
        }
        Deed::Find => {
            let repository = open(&place, arguments).await?;
            let points = repository.points().await?;
            let step = points.len() / FOUND as usize;
            let begun = Begun::now()?;
            for point in points.iter().step_by(step.max(1)).take(FOUND as usize) {
                let id = point.id.to_string();
                if repository.find_point(&id[..16]).await? != point.id {
                    return Err(format!("{id} was not found").into());
                }
            }
            begun.took(FOUND)?
        }
        Deed::Commit => commit(&open(&place, arguments).await?, arguments.points).await?,
        Deed::Replay => {
            let checkpoints = place.target().join("checkpoint");
            let aside = arguments.folder.join("checkpoint");
            std::fs::rename(&checkpoints, &aside)?;
            let begun = Begun::now()?;
            open(&place, arguments).await?;
            let took = begun.took(1)?;
            std::fs::rename(&aside, &checkpoints)?;
            took
        }
    };
    println!("{}", serde_json::to_string(&took)?);
    Ok(())
}

async fn make(place: &Place, arguments: &DeedArguments) -> Result<()> {
    let target = match arguments.home {
        Home::Directory => place.quick_target().await?,
        Home::Sqlite => target(place.quick().await?, arguments, true).await?,
    };
    let (parameters, options) = (Parameters::default(), EngineOptions::default());
    let repository = Repository::create_as(ID, target, parameters, &secret(), options).await?;
    let mut made = 0;
    while made < arguments.points {
        let next = arguments.points.min(made + BETWEEN_COLLECTIONS);
        pretend_points(&repository, (made..next).map(summary)).await?;
        drop_old_checkpoints(&place.target().join("checkpoint"))?;
        made = next;
    }
    Ok(())
}

/// Leaves the newest three, as a collection does: all of them would take a hundred times what the points take.
fn drop_old_checkpoints(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<Result<Vec<_>>>()?;
    files.sort();
    files.truncate(files.len().saturating_sub(3));
    for file in files {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

async fn open(place: &Place, arguments: &DeedArguments) -> Result<Repository> {
    let target = target(place.directory().await?, arguments, false).await?;
    Ok(Repository::open(target, &secret(), EngineOptions::default()).await?)
}

async fn target(
    objects: Arc<dyn ObjectStore>,
    arguments: &DeedArguments,
    create: bool,
) -> Result<Target> {
    Ok(match arguments.home {
        Home::Directory => Target::new(objects),
        Home::Sqlite => {
            let file = arguments.database.join("catalog.db");
            let catalogs = SqlCatalogs::sqlite(&file, create).await?;
            Target::mirrored(objects, catalogs.log(ID, "probe").await?)
        }
    })
}

async fn commit(repository: &Repository, points: u64) -> Result<Took> {
    let begun = Begun::now()?;
    for n in points..points + COMMITTED {
        let point = RecoveryPoint {
            summary: summary(n),
            graph: ResourceGraph::default(),
            disks: Vec::new(),
            ledger: ConsistencyLedger::default(),
        };
        let writer = repository.write(&[], "probe").await?;
        let id = writer.commit(&point).await?;
        writer.close().await?;
        repository.point(id).await?;
    }
    begun.took(COMMITTED)
}
