//! Serves a small OpenStack from a directory, for trying out and for tests that kill their clients.
//!
//! ```sh
//! devcloud DIRECTORY [--port PORT] [--pace MILLISECONDS] [--seed USER]
//! ```
//!
//! It prints a clouds.yaml and serves until it is interrupted. What exists stays in the directory. With `--seed demo` the servers case1, case2,
//! case3a and case3b are made for that user, unless they are there.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use raksha_openstack::testkit::{Case, DevCloud, Kind, Options, Pace};

#[derive(Debug, Parser)]
#[command(about = "Serves a small OpenStack from a directory")]
struct Arguments {
    /// Where the cloud lies; made if it is missing.
    directory: PathBuf,
    /// The port on 127.0.0.1; any that is free if it is not stated.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How many milliseconds every change of state takes.
    #[arg(long, default_value_t = 5)]
    pace: u64,
    /// Makes servers for this user: demo, other or admin.
    #[arg(long)]
    seed: Option<String>,
}

#[tokio::main]
async fn main() -> raksha_core::Result<()> {
    let arguments = Arguments::parse();
    let mut options = Options::default();
    options.port = arguments.port;
    options.pace = Pace::all(Duration::from_millis(arguments.pace));
    std::fs::create_dir_all(&arguments.directory).map_err(|source| {
        raksha_core::Error::io("open cloud", source)
            .with("directory", arguments.directory.display())
    })?;
    let cloud = DevCloud::open(&arguments.directory, options).await?;
    if let Some(user) = &arguments.seed {
        for (name, case) in [
            ("case1", Case::LocalDisk),
            ("case2", Case::BootedFromVolume),
            ("case3a", Case::TwoOnOneNetwork),
        ] {
            if cloud.id_of(Kind::Server, name).is_none() {
                cloud.seed(user, case)?;
            }
        }
    }
    print!("{}", cloud.clouds_yaml());
    // An interruption that cannot be waited for ends the program as well.
    let _ = tokio::signal::ctrl_c().await;
    Ok(())
}
