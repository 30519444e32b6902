//! The catalog of `--catalog`, for targets that cannot hold the commit log by themselves.

use raksha_core::Result;
use raksha_core::repository::{self, Rebuilt, Repository};
use raksha_targets::SqlCatalogs;

use crate::args::RebuildOptions;
use crate::context::{Context, missing};
use crate::repository::who;

/// The database of `--catalog`.
pub async fn open(context: &Context, create: bool) -> Result<SqlCatalogs> {
    let address = context.common.catalog.as_deref();
    let address = address.ok_or_else(|| missing("a catalog", "--catalog", "RAKSHA_CATALOG"))?;
    SqlCatalogs::open(address, create).await
}

/// Brings the log in the catalog and its copy in the target together.
pub async fn rebuild(context: &Context, options: RebuildOptions) -> Result<()> {
    let RebuildOptions {
        move_log,
        moved_from,
        copy,
    } = options;
    let secret = context.secret()?;
    let target = context.bare_target(false).await?;
    let id = Repository::identify(&*target.objects).await?;
    let catalogs = open(context, true).await?;
    let place = &target.description;
    if let Some(from) = moved_from {
        catalogs.moved(id, &from, place).await?;
    }
    let log = match copy {
        true => catalogs.log_of_copy(id, place),
        false => catalogs.log(id, place).await?,
    };
    let mut options = repository::RebuildOptions::default();
    options.move_log = move_log;
    options.who = who();
    options.env = context.env.clone();
    let done = repository::rebuild(target.objects, log, &secret, &options).await?;
    context.output.show(&done, || show(&done))
}

fn show(done: &Rebuilt) -> String {
    let Rebuilt {
        entries,
        void_entries,
        points,
        into_catalog,
        into_target,
        moved,
    } = done;
    let mut lines = vec![
        format!(
            "the log has {entries} entries, {void_entries} of them without effect, and {points} points"
        ),
        format!("copied {into_catalog} entries into the catalog, {into_target} into the target"),
    ];
    if *moved {
        lines.push(
            "the log was moved from the target into the catalog: name it from now on".to_owned(),
        );
    }
    lines.join("\n")
}
