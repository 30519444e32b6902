//! Targets by themselves.

use raksha_core::Result;
use raksha_core::env::Env;
use raksha_openstack::client::{Client, Service};
use raksha_openstack::config::{CloudConfig, Sources};
use raksha_targets::{Credentials, OpenOptions, ValidateOptions, validate};

use crate::args::TargetVerb;
use crate::context::Context;

/// Does what is asked of a target.
pub async fn carry_out(context: &Context, verb: TargetVerb) -> Result<()> {
    match verb {
        TargetVerb::Validate { url } => {
            let options = options(&url, false, &context.env).await?;
            let found = validate(&url, &options, &ValidateOptions::default()).await?;
            context.output.show(&found, || found.to_string())
        }
        #[cfg(feature = "rados")]
        TargetVerb::Reindex { url } => {
            let options = options(&url, true, &context.env).await?;
            let done = raksha_targets::reindex(&url, &options).await?;
            context.output.show(&done, || {
                format!(
                    "{} objects; {} of them were not in the index; {} names without an object were",
                    done.objects, done.added, done.removed
                )
            })
        }
    }
}

/// How the target at `address` is opened. One in Swift that names no authentication takes tokens of the cloud that the environment means.
pub async fn options(address: &str, create: bool, env: &Env) -> Result<OpenOptions> {
    let options = OpenOptions::default().create(create);
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    let of_its_own = query.split('&').any(|option| option.starts_with("auth="));
    if !place.starts_with("swift:") || of_its_own {
        return Ok(options);
    }
    let config = CloudConfig::from_environment(&Sources::system())?;
    let client = Client::connect(&config, env.clone()).await?;
    let tokens = client.token_source(Service::ObjectStore);
    Ok(options.credentials(Credentials::Tokens(tokens)))
}
