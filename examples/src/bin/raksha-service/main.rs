//! `raksha-service`: a REST service over Raksha's libraries, for the tenants of an OpenStack cloud. An example of how they are embedded.
//!
//! ```sh
//! raksha-service CONFIGURATION [--listen ADDRESS] [--workers N]
//! ```
//!
//! Every route is a line in `routes.rs`; every other file is one group of them, or one thing that they need. docs/SERVICE.md shows how it is used.

mod acting;
mod app;
mod authority;
mod background;
mod call;
mod config;
mod dashboard;
mod failure;
mod jobs;
mod metrics;
mod openapi;
mod points;
mod policies;
mod restores;
mod routes;
mod runs;
mod serve;
mod sizes;
mod start;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use raksha_core::protect::Cancel;
use raksha_core::{Error, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use config::Config;

#[derive(Debug, Parser)]
#[command(about = "Backups of whole servers, administered by the projects that own them")]
struct Arguments {
    /// The configuration: a TOML file
    configuration: PathBuf,
    /// Where to listen, instead of where the configuration says
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// How many workers to run, instead of what the configuration says
    #[arg(long)]
    workers: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the service ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut config = Config::read(&arguments.configuration)?;
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.workers.count = arguments.workers.unwrap_or(config.workers.count);
    let failed = |source| Error::io("listen", source);
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let app = start::app(config).await?;
    let drain = Cancel::new();
    let work = start::work(&app, &drain);
    // For whoever started it with port 0.
    println!("http://{address}");
    tracing::info!(%address, workers = app.config.workers.count, "listening");

    let asked = asked_to_end(drain.clone());
    let served = axum::serve(listener, serve::router(app.clone()))
        .with_graceful_shutdown(asked)
        .await;
    served.map_err(|source| Error::io("serve", source))?;
    start::drained(&app, work).await;
    Ok(())
}

/// Comes when the process is asked to end; asked again, it ends at once.
async fn asked_to_end(drain: Cancel) {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(
        "asked to end: what is under way is brought to its end; asked again, it is left to be cleaned up"
    );
    drain.cancel();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
}
