//! Trusts: the tenant's user lends roles to the service's user (Keystone's extension OS-TRUST).

use raksha_core::authority::{Delegation, Grant, Made, Standing};
use raksha_core::cloud::SecretText;
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::held::Held;
use super::{GRANT, OpenStackAuthority, REVOKE, reasons};
use crate::auth::Scope;
use crate::client::{Client, Request, Service};
use crate::things;

const TRUSTS: &str = "OS-TRUST/trusts";

/// A trust that expires when it is asked to, and cannot be lent on.
pub(super) async fn grant(authority: &OpenStackAuthority, grant: &Grant<'_>) -> Result<Made> {
    // What cannot be used is not made.
    authority.own_auth(Scope::Unstated)?;
    let tenant = authority.tenant(grant).await?;
    let roles = authority.roles(&tenant)?;
    let (user, trustee) = (
        tenant.principal().user.id,
        authority.own().await?.principal().user.id,
    );
    let names: Vec<Value> = roles.iter().map(|name| json!({ "name": name })).collect();
    let body = json!({ "trust": {
        "trustor_user_id": user,
        "trustee_user_id": trustee,
        "project_id": grant.project.as_str(),
        "impersonation": true,
        "roles": names,
        "allow_redelegation": false,
        "expires_at": grant.expires.map(|at| at.to_string()),
    } });
    let request = Request::post(TRUSTS, body).operation(GRANT);
    let made = tenant
        .send(Service::Identity, request)
        .await?
        .take("trust")?;
    let id = things::id(&made)?;
    let held = Held::Trust {
        trust: id.clone(),
        user,
        roles,
    };
    let finished = finish(authority, grant, &held, &made).await;
    if finished.is_err()
        && let Err(error) = delete(&tenant, &id).await
    {
        tracing::warn!(%error, trust = %id, "a trust that is of no use could not be deleted");
    }
    finished
}

/// Tries it, and seals it.
async fn finish(
    authority: &OpenStackAuthority,
    grant: &Grant<'_>,
    held: &Held,
    made: &Value,
) -> Result<Made> {
    let sealed = held.seal(&authority.key, grant.project, grant.id, &authority.env)?;
    let Held::Trust { trust, .. } = held else {
        return Err(Error::new(Kind::Internal, GRANT, "this is no trust"));
    };
    let auth = authority.own_auth(Scope::Trust(trust.clone()))?;
    let client = authority.connect(auth).await?;
    Ok(Made {
        principal: authority.principal(&client, held),
        expires: things::time(made, "expires_at"),
        sealed,
    })
}

/// Why no token is given for a trust.
pub(super) async fn why(
    authority: &OpenStackAuthority,
    delegation: &Delegation,
    held: &Held,
) -> Result<Standing> {
    let Held::Trust { trust, user, roles } = held else {
        return Err(Error::new(
            Kind::Internal,
            "probe delegation",
            "this is no trust",
        ));
    };
    let own = match authority.own().await {
        Ok(own) => own,
        Err(error) if reasons::tells(&error) => return Ok(reasons::service_refused(&error)),
        Err(error) => return Err(error),
    };
    let request = Request::get(format!("{TRUSTS}/{trust}")).operation("look at trust");
    match own.send(Service::Identity, request).await {
        Ok(_) => reasons::of_user(authority, delegation, user, roles, "").await,
        Err(error) if error.kind() == Kind::NotFound => {
            if let Some(ended) = reasons::ended(authority, delegation) {
                return Ok(ended);
            }
            let reason =
                "the trust was revoked, or the user who granted it, or the project, was deleted";
            Ok(Standing::lost(reason, reasons::RENEW))
        }
        Err(error) if reasons::tells(&error) => Ok(reasons::service_refused(&error)),
        Err(error) => Err(error),
    }
}

/// Deletes the trust: as the tenant if somebody of it is there, else as the tenant by the trust itself, else as the service, which then has to be an administrator.
pub(super) async fn revoke(
    authority: &OpenStackAuthority,
    delegation: &Delegation,
    trust: &str,
    credential: Option<&SecretText>,
) -> Result<()> {
    if let Some(token) = credential {
        let tenant = authority.by_token(token).await?;
        match delete(&tenant, trust).await {
            // Another member of the project may have granted it.
            Err(error) if error.kind() == Kind::Denied => {}
            done => return done,
        }
    }
    let held = Held::Trust {
        trust: trust.to_owned(),
        user: String::new(),
        roles: Vec::new(),
    };
    match authority.client(delegation, &held).await {
        Ok(by_trust) => match delete(&by_trust, trust).await {
            Err(error) if reasons::tells(&error) => {}
            done => return done,
        },
        Err(error) if reasons::tells(&error) => {}
        Err(error) => return Err(error),
    }
    let own = authority.own().await?;
    let look = Request::get(format!("{TRUSTS}/{trust}")).operation(REVOKE);
    match own.send(Service::Identity, look).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        _ => {}
    }
    delete(own, trust).await.map_err(|error| match error.kind() {
        Kind::Denied => {
            let message = "it opens nothing at present, and only the user who granted it or an administrator can delete the trust: ask one of them";
            Error::new(Kind::Denied, REVOKE, message).with("trust", trust).caused_by(error)
        }
        _ => error,
    })
}

/// Deletes a trust. That it is gone is fine.
async fn delete(client: &Client, trust: &str) -> Result<()> {
    let request = Request::delete(format!("{TRUSTS}/{trust}")).operation(REVOKE);
    match client.send(Service::Identity, request).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        done => done.map(drop),
    }
}
