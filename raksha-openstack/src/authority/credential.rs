//! Application credentials: a credential of its own for the tenant's user, good for one project and for some requests.

use raksha_core::authority::{Delegation, Grant, Made, Standing};
use raksha_core::cloud::SecretText;
use raksha_core::{Error, Kind, Result};
use serde_json::{Value, json};

use super::held::Held;
use super::{GRANT, OpenStackAuthority, REVOKE, reasons, rules};
use crate::Secret;
use crate::auth::{ApplicationCredential, Auth};
use crate::client::{Client, Request, Service};
use crate::things::{self, text};

/// How to get a token by one.
pub(super) fn auth(id: &str, secret: &str) -> Auth {
    Auth::ApplicationCredential {
        credential: ApplicationCredential::Id(id.to_owned()),
        secret: Secret::new(secret.to_owned()),
    }
}

fn path(user: &str) -> String {
    format!("users/{user}/application_credentials")
}

/// A credential that can make no others, expires when it is asked to, and is good for what a backup sends.
pub(super) async fn grant(authority: &OpenStackAuthority, grant: &Grant<'_>) -> Result<Made> {
    let tenant = authority.tenant(grant).await?;
    let roles = authority.roles(&tenant)?;
    let user = tenant.principal().user.id;
    // Names are unique for a user, and a delegation that is renewed has two for a while.
    let drawn = u32::from_le_bytes(authority.env.random()?);
    let name = format!("raksha-{}-{drawn:08x}", grant.id);
    let names: Vec<Value> = roles.iter().map(|name| json!({ "name": name })).collect();
    let mut wanted = json!({
        "name": name,
        "description": "lets a backup service act while nobody is there; delete it to end that",
        "roles": names,
        "unrestricted": false,
        // Without its last letter Keystone of older releases does not read it, and adds it.
        "expires_at": grant.expires.map(|at| at.to_string().trim_end_matches('Z').to_owned()),
    });
    if authority.options.access_rules
        && let Some(object) = wanted.as_object_mut()
    {
        object.insert("access_rules".to_owned(), rules::as_json(&tenant).await?);
    }
    let body = json!({ "application_credential": wanted });
    let request = Request::post(path(&user), body).operation(GRANT);
    let made = tenant
        .send(Service::Identity, request)
        .await?
        .take("application_credential")?;
    let id = things::id(&made)?;
    let held = Held::ApplicationCredential {
        credential: id.clone(),
        name,
        secret: text(&made, "secret").to_owned(),
        user: user.clone(),
        roles,
    };
    let finished = finish(authority, grant, &held, &made).await;
    if finished.is_err()
        && let Err(error) = delete(&tenant, &user, &id).await
    {
        tracing::warn!(%error, credential = %id, "an application credential that is of no use could not be deleted");
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
    let Held::ApplicationCredential {
        credential, secret, ..
    } = held
    else {
        return Err(Error::new(
            Kind::Internal,
            GRANT,
            "this is no application credential",
        ));
    };
    let client = authority.connect(auth(credential, secret)).await?;
    if authority.options.access_rules {
        rules::accepted(&client).await?;
    }
    Ok(Made {
        principal: authority.principal(&client, held),
        expires: things::time(made, "expires_at"),
        sealed: held.seal(&authority.key, grant.project, grant.id, &authority.env)?,
    })
}

/// Why no token is given for an application credential; `error` is what Keystone said.
pub(super) async fn why(
    authority: &OpenStackAuthority,
    delegation: &Delegation,
    held: &Held,
    error: &Error,
) -> Result<Standing> {
    let Held::ApplicationCredential { user, roles, .. } = held else {
        let message = "this is no application credential";
        return Err(Error::new(Kind::Internal, "probe delegation", message));
    };
    if let Some(ended) = reasons::ended(authority, delegation) {
        return Ok(ended);
    }
    if error.kind() == Kind::NotFound {
        // One of a project that is disabled is not found either, and Keystone says so.
        if error.to_string().contains("is disabled") {
            return Ok(reasons::project_disabled());
        }
        let reason = "the application credential was deleted, or the user who granted it was";
        return Ok(Standing::lost(reason, reasons::RENEW));
    }
    match authority.own().await {
        Ok(_) => {
            let further = "its secret is another";
            reasons::of_user(authority, delegation, user, roles, further).await
        }
        // It needs no service, but then nobody can look.
        Err(_) => Ok(Standing::lost(
            "the cloud does not accept the application credential any more: the user who granted it was disabled, or lost a role, or the project is disabled",
            reasons::RENEW,
        )),
    }
}

/// Deletes the credential: as its user if that is there, else as the service, which then has to be an administrator.
pub(super) async fn revoke(
    authority: &OpenStackAuthority,
    id: &str,
    user: &str,
    credential: Option<&SecretText>,
) -> Result<()> {
    if let Some(token) = credential {
        let tenant = authority.by_token(token).await?;
        match delete(&tenant, user, id).await {
            // Another member of the project may have granted it.
            Err(error) if error.kind() == Kind::Denied => {}
            done => return done,
        }
    }
    delete(authority.own().await?, user, id).await.map_err(|error| match error.kind() {
        Kind::Denied => {
            let message = "only the user who granted it or an administrator can delete the application credential: give a token of one of them";
            Error::new(Kind::Denied, REVOKE, message)
                .with("application credential", id)
                .with("user", user)
                .caused_by(error)
        }
        _ => error,
    })
}

/// Deletes a credential. That it is gone, with or without its user, is fine.
async fn delete(client: &Client, user: &str, id: &str) -> Result<()> {
    let request = Request::delete(format!("{}/{id}", path(user))).operation(REVOKE);
    match client.send(Service::Identity, request).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        done => done.map(drop),
    }
}
