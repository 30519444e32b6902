//! Tokens: given out, looked at, taken back.

use serde_json::{Value, json};

use super::super::call::{Call, Who, unauthenticated};
use super::super::reply::{Outcome, Refusal, Reply};
use super::super::state::{Kind, Record, set};
use super::super::world::{World, cinder_time, keystone_time};
use super::{directory, forbidden, roles_in_full, texts, trusts};

/// Who holds a token; none if it is unknown, expired or rests on something that is gone.
pub(in super::super) fn who(world: &World, token: &str, now: u64) -> Option<Who> {
    let record = world.state.get(Kind::Token, token)?;
    if record.inner("expires").as_u64()? <= now || gone(world, record).is_some() {
        return None;
    }
    let (user, project) = (record.inner_text("user"), record.inner_text("project"));
    let enabled = |kind, id: &str| directory::enabled(world, kind, id);
    if !enabled(Kind::User, user) || !(project.is_empty() || enabled(Kind::Project, project)) {
        return None;
    }
    Some(Who {
        token: token.to_owned(),
        user: record.inner_text("user").to_owned(),
        project: record.inner_text("project").to_owned(),
        roles: texts(record.inner("roles")),
    })
}

/// Why a token that has not expired is worth nothing any more: what it rests on is gone.
fn gone(world: &World, token: &Record) -> Option<Refusal> {
    let trust = token.inner_text("trust");
    if !trust.is_empty() && trusts::live(world, trust).is_none() {
        return Some(Refusal::missing(format!("Could not find trust: {trust}.")));
    }
    let credential = token.inner_text("credential");
    if !credential.is_empty()
        && world
            .state
            .get(Kind::ApplicationCredential, credential)
            .is_none()
    {
        return Some(Refusal::missing(format!(
            "Could not find Application Credential: {credential}."
        )));
    }
    None
}

/// Refuses who comes to Keystone itself without a token that is worth something; it says more than the other services.
pub(super) fn alive(world: &World, call: &Call) -> Result<(), Refusal> {
    if call.who.is_some() {
        return Ok(());
    }
    let token = call.header("x-auth-token").unwrap_or_default();
    let record = world.state.get(Kind::Token, token);
    Err(record
        .and_then(|record| gone(world, record))
        .unwrap_or_else(unauthenticated))
}

/// What a request for a token proves.
#[derive(Debug, Default)]
struct Proof {
    user: String,
    /// The application credential or the trust that decides project and roles.
    credential: Option<String>,
    method: &'static str,
    /// When the token ends that this one is made of.
    ends: Option<u64>,
}

/// `POST /auth/tokens`.
pub(super) fn issue(world: &mut World, call: &Call) -> Outcome {
    let auth = call.body.get("auth").unwrap_or(&Value::Null);
    let identity = auth.get("identity").unwrap_or(&Value::Null);
    let methods = identity.get("methods").map(texts).unwrap_or_default();
    let scope = auth.get("scope");
    let proof = match methods.first().map(String::as_str) {
        Some("password") => password(world, identity)?,
        Some("application_credential") => credential(world, identity, scope, call.now)?,
        Some("token") => token(world, identity, scope, call.now)?,
        None => {
            return Err(Refusal::bad(
                "Expecting to find methods in identity. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.",
            ));
        }
        Some(_) => return Err(unauthenticated()),
    };
    let lifetime = u64::try_from(world.options.token_lifetime.as_millis()).unwrap_or(u64::MAX);
    let mut expires = call.now.saturating_add(lifetime);
    let mut until = keystone_time(expires / 1000 * 1000);
    if let Some(ends) = proof.ends.filter(|ends| *ends < expires) {
        expires = ends;
        // Keystone hands on what it has of the credential, which has no zone.
        until = match proof.method {
            "application_credential" => cinder_time(ends),
            _ => keystone_time(ends / 1000 * 1000),
        };
    }
    let user = world
        .state
        .get(Kind::User, &proof.user)
        .filter(|user| directory::enabled(world, Kind::User, &user.id))
        .ok_or_else(unauthenticated)?;
    let mut body = json!({
        "methods": [proof.method],
        "user": user_in_token(user),
        "audit_ids": [world.hex()?.chars().take(22).collect::<String>()],
        "expires_at": until,
        "issued_at": keystone_time(call.now / 1000 * 1000),
    });
    let mut inner = json!({"user": proof.user, "expires": expires, "trust": "", "credential": "",
        "method": proof.method, "project": "", "roles": []});
    let grant = grants(world, &proof, scope, user)?;
    if let Some(grant) = grant {
        let project = world
            .state
            .get(Kind::Project, &grant.project)
            .ok_or_else(unauthenticated)?;
        set(
            &mut body,
            "project",
            json!({"id": project.id, "name": project.text("name"),
            "domain": {"id": "default", "name": "Default"}}),
        );
        let full = roles_in_full(world, &grant.roles);
        let short = full
            .iter()
            .map(|role| json!({"id": role.get("id"), "name": role.get("name")}));
        set(&mut body, "catalog", catalog(world, &grant.project));
        if let Some(trust) = &grant.trust {
            if let Some(ends) = trust
                .inner("expires")
                .as_u64()
                .filter(|ends| *ends < expires)
            {
                set(
                    &mut body,
                    "expires_at",
                    json!(keystone_time(ends / 1000 * 1000)),
                );
                set(&mut inner, "expires", json!(ends));
            }
            set(&mut body, "roles", json!(full));
            set(
                &mut body,
                "OS-TRUST:trust",
                json!({"id": trust.id,
                "trustor_user": {"id": trust.text("trustor_user_id")},
                "trustee_user": {"id": trust.text("trustee_user_id")},
                "impersonation": trust.get("impersonation")}),
            );
            set(&mut inner, "trust", json!(trust.id));
            if trust.get("impersonation") == &json!(true) {
                let trustor = trust.text("trustor_user_id");
                set(&mut inner, "user", json!(trustor));
                if let Some(user) = world.state.get(Kind::User, trustor) {
                    set(&mut body, "user", user_in_token(user));
                }
            }
        } else {
            set(&mut body, "is_domain", json!(false));
            set(&mut body, "roles", short.collect());
        }
        set(&mut inner, "project", json!(grant.project));
        set(&mut inner, "roles", json!(grant.roles));
    }
    if let Some(credential) = proof.credential {
        if let Some(record) = world.state.get(Kind::ApplicationCredential, &credential) {
            let restricted = record.get("unrestricted") != &json!(true);
            let shown =
                json!({"id": credential, "name": record.get("name"), "restricted": restricted});
            set(&mut body, "application_credential", shown);
        }
        set(&mut inner, "credential", json!(credential));
    }
    let id = format!("gAAAAA{}{}", world.hex()?, world.hex()?);
    let record = world.state.add(Kind::Token, "", &id, body.clone());
    record.inner = inner;
    forget_expired(world, call.now);
    Ok(Reply::json(201, json!({"token": body})).header("x-subject-token", id))
}

fn forget_expired(world: &mut World, now: u64) {
    let old = world.state.ids(Kind::Token, |token| {
        token
            .inner("expires")
            .as_u64()
            .is_some_and(|expires| expires < now)
    });
    for id in old {
        world.state.remove(Kind::Token, &id);
    }
}

fn user_in_token(user: &Record) -> Value {
    json!({"id": user.id, "name": user.text("name"), "password_expires_at": null,
        "domain": {"id": "default", "name": "Default"}})
}

/// What a token is good for.
struct Grant<'a> {
    project: String,
    roles: Vec<String>,
    trust: Option<&'a Record>,
}

fn grants<'a>(
    world: &'a World,
    proof: &Proof,
    scope: Option<&Value>,
    user: &Record,
) -> Result<Option<Grant<'a>>, Refusal> {
    if let Some(id) = &proof.credential {
        let credential = world.state.get(Kind::ApplicationCredential, id);
        let credential = credential.ok_or_else(unauthenticated)?;
        // What the user lost since, the credential lost too.
        let held = directory::roles(world, &proof.user, &credential.project);
        let mut roles = texts(credential.inner("roles"));
        roles.retain(|role| held.contains(role));
        if !directory::enabled(world, Kind::Project, &credential.project) {
            return Err(Refusal::missing(format!(
                "Unable to validate token because project {} is disabled",
                credential.project
            )));
        }
        if roles.is_empty() {
            return Err(unauthenticated());
        }
        return Ok(Some(Grant {
            project: credential.project.clone(),
            roles,
            trust: None,
        }));
    }
    let project = match scope {
        None => match user.text("default_project_id") {
            "" => return Ok(None),
            id => id.to_owned(),
        },
        Some(Value::String(_)) => return Ok(None),
        Some(scope) => {
            if let Some(id) = scope.pointer("/OS-TRUST:trust/id").and_then(Value::as_str) {
                let trust = trusts::live(world, id).ok_or_else(unauthenticated)?;
                if trust.text("trustee_user_id") != proof.user {
                    return Err(forbidden(""));
                }
                let trustor = trust.text("trustor_user_id");
                if !directory::enabled(world, Kind::User, trustor) {
                    return Err(forbidden(""));
                }
                if !directory::enabled(world, Kind::Project, &trust.project) {
                    return Err(unauthenticated());
                }
                let held = directory::roles(world, trustor, &trust.project);
                let mut roles = texts(trust.inner("roles"));
                if roles.iter().any(|role| !held.contains(role)) {
                    return Err(forbidden(""));
                }
                if roles.iter().any(|role| role == "member") {
                    roles.push("reader".to_owned());
                }
                return Ok(Some(Grant {
                    project: trust.project.clone(),
                    roles,
                    trust: Some(trust),
                }));
            }
            let wanted = scope.get("project").ok_or_else(unauthenticated)?;
            let id = wanted.get("id").and_then(Value::as_str);
            let name = wanted.get("name").and_then(Value::as_str);
            let found = world.state.filter(Kind::Project, |project| {
                id.map_or_else(|| Some(project.text("name")) == name, |id| project.id == id)
            });
            let found = found.first().ok_or_else(unauthenticated)?;
            if !directory::enabled(world, Kind::Project, &found.id) {
                return Err(unauthenticated());
            }
            found.id.clone()
        }
    };
    let roles = directory::roles(world, &proof.user, &project);
    if roles.is_empty() {
        return Err(unauthenticated());
    }
    Ok(Some(Grant {
        project,
        roles,
        trust: None,
    }))
}

fn find_user<'a>(world: &'a World, wanted: &Value) -> Option<&'a Record> {
    if let Some(id) = wanted.get("id").and_then(Value::as_str) {
        return world.state.get(Kind::User, id);
    }
    let name = wanted.get("name").and_then(Value::as_str)?;
    let domain = wanted.get("domain")?;
    let default = domain.get("id").is_some_and(|id| id == "default")
        || domain.get("name").is_some_and(|name| name == "Default");
    let users = world
        .state
        .filter(Kind::User, |user| default && user.text("name") == name);
    users.first().copied()
}

fn password(world: &World, identity: &Value) -> Result<Proof, Refusal> {
    let wanted = identity
        .pointer("/password/user")
        .ok_or_else(unauthenticated)?;
    let user = find_user(world, wanted).ok_or_else(unauthenticated)?;
    if wanted.get("password") != Some(user.inner("password")) {
        return Err(unauthenticated());
    }
    Ok(Proof {
        user: user.id.clone(),
        method: "password",
        ..Proof::default()
    })
}

fn credential(
    world: &World,
    identity: &Value,
    scope: Option<&Value>,
    now: u64,
) -> Result<Proof, Refusal> {
    let wanted = identity
        .get("application_credential")
        .ok_or_else(unauthenticated)?;
    let found = match wanted.get("id").and_then(Value::as_str) {
        Some(id) => Some(
            world
                .state
                .get(Kind::ApplicationCredential, id)
                .ok_or_else(|| {
                    Refusal::missing(format!("Could not find Application Credential: {id}."))
                })?,
        ),
        None => {
            let user = wanted.get("user").and_then(|user| find_user(world, user));
            let user = user.ok_or_else(unauthenticated)?;
            let name = wanted
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let all = world
                .state
                .filter(Kind::ApplicationCredential, |credential| {
                    credential.text("user_id") == user.id && credential.text("name") == name
                });
            all.first().copied()
        }
    };
    let found = found.ok_or_else(unauthenticated)?;
    if scope.is_some() {
        return Err(Refusal::new(
            401,
            "Error authenticating with application credential: Application credentials cannot request a scope.",
        ));
    }
    let ends = found.inner("expires").as_u64();
    if wanted.get("secret") != Some(found.inner("secret")) || ends.is_some_and(|ends| ends <= now) {
        return Err(unauthenticated());
    }
    Ok(Proof {
        user: found.text("user_id").to_owned(),
        credential: Some(found.id.clone()),
        method: "application_credential",
        ends,
    })
}

fn token(
    world: &World,
    identity: &Value,
    scope: Option<&Value>,
    now: u64,
) -> Result<Proof, Refusal> {
    let id = identity
        .pointer("/token/id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let record = world.state.get(Kind::Token, id);
    let record = record.ok_or_else(|| Refusal::missing("Could not recognize Fernet token"))?;
    if who(world, id, now).is_none() {
        return Err(Refusal::missing("Failed to validate token"));
    }
    if !record.inner_text("trust").is_empty() {
        return Err(forbidden(
            "Using trust-scoped token to create another token. Create a new trust-scoped token instead",
        ));
    }
    let credential = record.inner_text("credential");
    let other_project = scope
        .and_then(|scope| scope.pointer("/project/id"))
        .is_some_and(|project| project != record.inner("project"));
    if !credential.is_empty() && other_project {
        return Err(unauthenticated());
    }
    Ok(Proof {
        user: record.inner_text("user").to_owned(),
        credential: (!credential.is_empty()).then(|| credential.to_owned()),
        method: "token",
        ends: record.inner("expires").as_u64(),
    })
}

/// `GET` or `HEAD /auth/tokens`: what a token says.
pub(super) fn validate(world: &World, call: &Call) -> Outcome {
    let caller = call.who()?;
    let id = call.header("x-subject-token").unwrap_or_default();
    if id != caller.token && !caller.is_admin() {
        return Err(forbidden("identity:validate_token"));
    }
    let record = world.state.get(Kind::Token, id);
    let record = record.ok_or_else(|| Refusal::missing("Could not recognize Fernet token"))?;
    if let Some(why) = gone(world, record) {
        return Err(why);
    }
    if who(world, id, call.now).is_none() {
        return Err(Refusal::missing(format!("Could not find token: {id}.")));
    }
    Ok(Reply::json(200, json!({"token": record.body})).header("x-subject-token", id))
}

/// `DELETE /auth/tokens`.
pub(super) fn revoke(world: &mut World, call: &Call) -> Outcome {
    let caller = call.who()?;
    let id = call.header("x-subject-token").unwrap_or_default();
    let record = world.state.get(Kind::Token, id);
    let record = record.ok_or_else(|| Refusal::missing("Could not recognize Fernet token"))?;
    if record.inner_text("user") != caller.user && !caller.is_admin() {
        return Err(forbidden("identity:revoke_token"));
    }
    world.state.remove(Kind::Token, id);
    Ok(Reply::empty(204))
}

/// Where the services are.
pub(super) fn catalog(world: &World, project: &str) -> Value {
    let services = [
        ("identity", "keystone", "/identity/v3".to_owned()),
        ("compute", "nova", "/compute/v2.1".to_owned()),
        ("volumev3", "cinderv3", format!("/volume/v3/{project}")),
        ("block-storage", "cinder", format!("/volume/v3/{project}")),
        ("image", "glance", "/image".to_owned()),
        ("network", "neutron", "/network".to_owned()),
        (
            "object-store",
            "swift",
            format!("/object-store/v1/AUTH_{project}"),
        ),
    ];
    let services = services
        .into_iter()
        .enumerate()
        .map(|(at, (kind, name, path))| {
            let url = format!("{}{path}", world.base);
            let endpoints = ["admin", "internal", "public"].iter().enumerate();
            let endpoints = endpoints.map(|(nth, interface)| {
                json!({"id": format!("{:032x}", at * 3 + nth + 1), "interface": interface,
                "region_id": "RegionOne", "region": "RegionOne", "url": url})
            });
            json!({"id": format!("{:032x}", at + 100), "type": kind, "name": name,
            "endpoints": endpoints.collect::<Vec<_>>()})
        });
    services.collect()
}
