//! By what right jobs run while nobody is there: delegations made, looked at, renewed and revoked.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use raksha_core::authority::{Delegation, DelegationKind, Standing};
use raksha_core::id::DelegationId;
use raksha_core::{Error, Kind, Result};
use serde_json::json;

use crate::cloud;
use crate::context::Context;
use crate::output::{short, table};
use crate::values::duration;

#[derive(Debug, Subcommand)]
pub enum AuthorityVerb {
    /// Let the service act for the project of --cloud, which is used as somebody of it; prints the delegation's id
    Create {
        /// By which way
        #[arg(long, value_enum, default_value_t)]
        kind: Way,
        #[command(flatten)]
        how: How,
    },
    /// List the project's delegations
    List,
    /// Show a delegation, and the jobs that have it
    Show {
        /// Its id, or the beginning of it
        delegation: String,
    },
    /// Ask the cloud whether a delegation is good, and until when
    Probe {
        /// Its id, or the beginning of it
        delegation: String,
    },
    /// Grant a delegation anew, with the credentials of --cloud: jobs that have it go on with it
    Renew {
        /// Its id, or the beginning of it
        delegation: String,
        #[command(flatten)]
        how: How,
    },
    /// End a delegation. While jobs have it, it stays listed, and can be renewed
    Revoke {
        /// Its id, or the beginning of it
        delegation: String,
    },
}

/// How something is granted.
#[derive(Debug, Args)]
pub struct How {
    /// Let it end after so long, such as 90days [default: never by itself]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub expires_in: Option<Duration>,
    /// Make application credentials without access rules, for clouds whose services do not know them: they are good for every request
    #[arg(long)]
    pub no_access_rules: bool,
}

/// The ways to act for a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// A trust of the tenant's user in the service's
    #[default]
    Trust,
    /// An application credential of the tenant's user
    ApplicationCredential,
    /// The service's own role in the project
    Operator,
}

impl From<Way> for DelegationKind {
    fn from(way: Way) -> Self {
        match way {
            Way::Trust => Self::Trust,
            Way::ApplicationCredential => Self::ApplicationCredential,
            Way::Operator => Self::Operator,
        }
    }
}

pub async fn carry_out(context: &Context, verb: AuthorityVerb) -> Result<()> {
    let project = context.project().await?;
    match verb {
        AuthorityVerb::Create { kind, how } => {
            let delegations = context.delegations(!how.no_access_rules).await?;
            let token = cloud::token(context.cloud_address()?, &context.env).await?;
            let expires = how.expires_in.map(|time| context.env.now().after(time));
            let made = delegations
                .grant(&project, kind.into(), Some(&token), expires)
                .await?;
            context
                .output
                .show(&json!({ "delegation": made.id }), || made.id.to_string())
        }
        AuthorityVerb::List => {
            let listed = context.jobs().await?.delegations(&project).await?;
            let shown: Vec<_> = listed.iter().map(public).collect();
            context.output.show(&shown, || {
                let rows = listed.iter().map(|one| {
                    [
                        short(one.id),
                        one.kind.to_string(),
                        one.created.to_string(),
                        ends(one),
                        one.principal.clone(),
                    ]
                });
                table(["DELEGATION", "KIND", "CREATED", "ENDS", "ACTS AS"], rows)
            })
        }
        AuthorityVerb::Show { delegation } => {
            let one = find(context, &delegation).await?;
            let jobs = context.jobs().await?.jobs(&project).await?;
            let having = jobs
                .into_iter()
                .filter(|job| job.delegation == Some(one.id));
            let having: Vec<String> = having.map(|job| job.name).collect();
            let mut shown = public(&one);
            if let Some(object) = shown.as_object_mut() {
                object.insert("jobs".to_owned(), json!(having));
            }
            context.output.show(&shown, || {
                let lines = [
                    format!("delegation  {}", one.id),
                    format!("kind        {}", one.kind),
                    format!("acts as     {}", one.principal),
                    format!("created     {}", one.created),
                    format!("ends        {}", ends(&one)),
                    format!("jobs        {}", having.join(", ")),
                ];
                lines.join("\n")
            })
        }
        AuthorityVerb::Probe { delegation } => {
            let id = find(context, &delegation).await?.id;
            let delegations = context.delegations(true).await?;
            let standing = delegations.probe(&project, id).await?;
            context.output.show(&standing, || standing.to_string())?;
            match standing {
                Standing::Lost { reason, remedy } => Err(Error::new(
                    Kind::Denied,
                    "probe delegation",
                    format!("{reason}: {remedy}"),
                )
                .with("delegation", id)),
                _ => Ok(()),
            }
        }
        AuthorityVerb::Renew { delegation, how } => {
            let id = find(context, &delegation).await?.id;
            let delegations = context.delegations(!how.no_access_rules).await?;
            let token = cloud::token(context.cloud_address()?, &context.env).await?;
            let expires = how.expires_in.map(|time| context.env.now().after(time));
            let made = delegations
                .renew(&project, id, Some(&token), expires)
                .await?;
            context
                .output
                .show(&public(&made), || format!("it ends: {}", ends(&made)))
        }
        AuthorityVerb::Revoke { delegation } => {
            let id = find(context, &delegation).await?.id;
            let delegations = context.delegations(true).await?;
            let token = match &context.common.cloud {
                Some(address) => Some(cloud::token(address, &context.env).await?),
                None => None,
            };
            delegations.revoke(&project, id, token.as_ref()).await?;
            context.output.show(&json!({ "revoked": id }), String::new)
        }
    }
}

/// What is shown of it: not what is sealed, although nobody could open it.
fn public(delegation: &Delegation) -> serde_json::Value {
    json!({
        "id": delegation.id,
        "project": delegation.project,
        "kind": delegation.kind,
        "principal": delegation.principal,
        "created": delegation.created,
        "expires": delegation.expires,
        "granted": delegation.sealed.is_some(),
    })
}

fn ends(delegation: &Delegation) -> String {
    match (&delegation.sealed, delegation.expires) {
        (None, _) => "not granted".to_owned(),
        (Some(_), None) => "when revoked".to_owned(),
        (Some(_), Some(at)) => at.to_string(),
    }
}

/// One of the project's delegations, by the beginning of its id.
async fn find(context: &Context, text: &str) -> Result<Delegation> {
    let project = context.project().await?;
    let listed = context.jobs().await?.delegations(&project).await?;
    let begins = |one: &Delegation| !text.is_empty() && one.id.to_string().starts_with(text);
    let mut found = listed.into_iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(unfound(
            Kind::Invalid,
            "several ids begin like this: write more of it",
            text,
        )),
        (None, _) => Err(unfound(
            Kind::NotFound,
            "the project has no such delegation",
            text,
        )),
    }
}

fn unfound(kind: Kind, message: &str, text: &str) -> Error {
    Error::new(kind, "find delegation", message).with("delegation", text)
}

/// The id that a job names.
pub async fn named(context: &Context, text: Option<&str>) -> Result<Option<DelegationId>> {
    match text {
        Some(text) => Ok(Some(find(context, text).await?.id)),
        None => Ok(None),
    }
}
