//! Rules that deny an operation to a role.

use serde::{Deserialize, Serialize};

use super::call::{Area, Call};
use super::pattern::Pattern;
use super::reply::Refusal;

/// An operation that those who have no other role than these may not do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Denial {
    /// Who has this role and not `admin` is denied.
    pub(super) role: String,
    pub(super) pattern: Pattern,
    /// The name of the rule in the service's policy, for the message.
    pub(super) rule: String,
}

/// Refuses what the denials of the cloud deny.
pub(super) fn check(denials: &[Denial], call: &Call) -> Result<(), Refusal> {
    let Some(who) = &call.who else { return Ok(()) };
    for denial in denials {
        let concerned = who.roles.contains(&denial.role) && !who.is_admin();
        if concerned
            && denial
                .pattern
                .matches(&call.method, &call.uri, action(call))
        {
            return Err(denied(call.area, &denial.rule));
        }
    }
    Ok(())
}

/// The only key of the body, as requests to `.../action` have it.
pub(super) fn action(call: &Call) -> Option<&str> {
    let map = call.body.as_object()?;
    map.keys().next().map(String::as_str)
}

/// 403 in a service's words.
pub(super) fn denied(area: Area, rule: &str) -> Refusal {
    match area {
        Area::Identity => Refusal::denied(format!(
            "You are not authorized to perform the requested action: {rule}."
        )),
        Area::Network => {
            let rule = match rule.contains(' ') {
                true => format!("(rule:{rule})"),
                false => format!("rule:{rule}"),
            };
            Refusal::denied(format!("{rule} is disallowed by policy")).kind("PolicyNotAuthorized")
        }
        Area::Image => Refusal::denied("You are not authorized to complete this action."),
        Area::Compute | Area::Volume => {
            Refusal::denied(format!("Policy doesn't allow {rule} to be performed."))
        }
        Area::Objects => Refusal::denied("Access was denied to this resource."),
    }
}

/// Refuses everybody but administrators.
pub(super) fn admin_only(call: &Call, rule: &str) -> Result<(), Refusal> {
    if call.who()?.is_admin() {
        return Ok(());
    }
    Err(denied(call.area, rule))
}
