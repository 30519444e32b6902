//! The operator's own right: the service's user has a role in the tenant's project.

use raksha_core::Result;
use raksha_core::authority::{Delegation, Grant, Made, Standing};
use raksha_core::id::ProjectId;

use super::held::Held;
use super::{OpenStackAuthority, reasons};
use crate::auth::{Auth, Project, Scope};

/// How to get a token for the tenant's project.
pub(super) fn auth(authority: &OpenStackAuthority, project: &ProjectId) -> Result<Auth> {
    let project = Project::Id(project.as_str().to_owned());
    authority.own_auth(Scope::Project(project))
}

/// Nothing is made: whether the service has the right is tried.
pub(super) async fn grant(authority: &OpenStackAuthority, grant: &Grant<'_>) -> Result<Made> {
    if grant.credential.is_some() {
        authority.tenant(grant).await?;
    }
    let held = Held::Operator {};
    let client = authority.connect(auth(authority, grant.project)?).await;
    let client = client.map_err(|error| match reasons::tells(&error) {
        true => {
            let message = format!("the service has no right in the project: {REMEDY}");
            raksha_core::Error::new(raksha_core::Kind::Denied, super::GRANT, message)
                .with("project", grant.project)
                .caused_by(error)
        }
        false => error,
    })?;
    Ok(Made {
        principal: authority.principal(&client, &held),
        // Nobody in the cloud ends it by itself.
        expires: None,
        sealed: held.seal(&authority.key, grant.project, grant.id, &authority.env)?,
    })
}

const REMEDY: &str = "the operator has to give the service's user a role there, such as member";

/// Why the service gets no token for the project.
pub(super) async fn why(
    authority: &OpenStackAuthority,
    delegation: &Delegation,
) -> Result<Standing> {
    match authority.own().await {
        Err(error) if reasons::tells(&error) => Ok(reasons::service_refused(&error)),
        Err(error) => Err(error),
        Ok(_) => {
            let project = &delegation.project;
            let reason = format!(
                "the service's user has no role in the project {project} any more, or the project is disabled or deleted"
            );
            Ok(Standing::lost(reason, REMEDY))
        }
    }
}
