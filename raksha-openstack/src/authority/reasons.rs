//! Why an authority is lost, as far as it can be seen.

use raksha_core::authority::{Delegation, Standing};
use raksha_core::{Error, Kind, Result};

use super::OpenStackAuthority;
use crate::client::{Request, Service};

/// What helps where somebody of the project can help.
pub(super) const RENEW: &str = "have somebody of the project renew it";

/// Whether an error says something of the authority, and not only that the cloud cannot be asked.
pub(super) fn tells(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unauthenticated | Kind::Denied | Kind::NotFound
    ) && !error.is_retryable()
}

/// A role is gone.
pub(super) fn role_lost(role: &str) -> Standing {
    Standing::lost(
        format!("the user who granted it has no longer the role {role} in the project"),
        "have the user given the role again, or let another member of the project renew it",
    )
}

/// The project is disabled.
pub(super) fn project_disabled() -> Standing {
    Standing::lost(
        "the project is disabled",
        "the operator has to enable the project",
    )
}

/// It has ended, if its time is up.
pub(super) fn ended(authority: &OpenStackAuthority, delegation: &Delegation) -> Option<Standing> {
    let at = delegation.expires?;
    (at <= authority.env.now()).then(|| Standing::lost(format!("it ended at {at}"), RENEW))
}

/// The service's own credentials are refused.
pub(super) fn service_refused(error: &Error) -> Standing {
    Standing::lost(
        format!("the cloud refuses the service itself ({error})"),
        "the operator has to correct the service's credentials",
    )
}

/// What the service can see of a user or project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Enabled,
    Disabled,
    Gone,
    /// The service may not look.
    Hidden,
}

async fn look(authority: &OpenStackAuthority, path: String, key: &str) -> Result<Seen> {
    let request = Request::get(path).operation("look why it is lost");
    let answer = authority
        .own()
        .await?
        .send(Service::Identity, request)
        .await;
    match answer {
        Ok(answer) => {
            let enabled = answer.body.pointer(&format!("/{key}/enabled"));
            Ok(match enabled.and_then(serde_json::Value::as_bool) {
                Some(false) => Seen::Disabled,
                _ => Seen::Enabled,
            })
        }
        Err(error) => match error.kind() {
            Kind::NotFound => Ok(Seen::Gone),
            Kind::Denied => Ok(Seen::Hidden),
            _ => Err(error),
        },
    }
}

/// Why the user who granted a delegation can lend nothing any more in its project.
pub(super) async fn of_user(
    authority: &OpenStackAuthority,
    delegation: &Delegation,
    user: &str,
    roles: &[String],
    further: &str,
) -> Result<Standing> {
    let project = look(
        authority,
        format!("projects/{}", delegation.project),
        "project",
    )
    .await?;
    match project {
        Seen::Disabled => return Ok(project_disabled()),
        Seen::Gone => {
            let remedy = "nothing of it is left to protect: delete its jobs";
            return Ok(Standing::lost("the project was deleted", remedy));
        }
        Seen::Enabled | Seen::Hidden => {}
    }
    let roles = roles.join(", ");
    Ok(
        match look(authority, format!("users/{user}"), "user").await? {
            Seen::Disabled => Standing::lost(
                "the user who granted it is disabled",
                "let another member of the project renew it, or have the operator enable the user",
            ),
            Seen::Gone => Standing::lost(
                "the user who granted it was deleted",
                "let another member of the project renew it",
            ),
            Seen::Enabled if further.is_empty() => role_lost(&roles),
            Seen::Enabled => Standing::lost(
                format!(
                    "the user who granted it has no longer the role {roles} in the project, or {further}"
                ),
                "have the user given the role again, or let another member of the project renew it",
            ),
            Seen::Hidden => {
                let mut reason = format!(
                    "the user who granted it was disabled, or has no longer the role {roles} in the project, or the project is disabled"
                );
                if !further.is_empty() {
                    reason += &format!(", or {further}");
                }
                Standing::lost(
                    reason,
                    "let another member of the project renew it, or have the operator look at user and project",
                )
            }
        },
    )
}
