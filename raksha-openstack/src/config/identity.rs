//! From settings to who one is.

use raksha_core::Result;

use super::settings::Settings;
use crate::Secret;
use crate::auth::{ApplicationCredential, Auth, Domain, Project, Scope, User};

/// The values of `auth_type` that are understood.
const KNOWN: &str = "password, v3password, token, v3token, v3applicationcredential";

/// A project, domain or user domain as the settings have it: by id, by name.
type Pair<'a> = (Option<&'a str>, Option<&'a str>);

/// Reads who one is and for what.
pub(super) fn auth(settings: &Settings) -> Result<Auth> {
    let wanted = settings.setting(&["auth_plugin", "auth_type"])?;
    let password = settings.credential(&["password"])?;
    let token = settings.target(&["auth_token", "token"])?;
    let kind = match wanted {
        Some(kind) => kind,
        None if password.is_some() => "password",
        None if settings
            .credential(&["application_credential_secret"])?
            .is_some() =>
        {
            "v3applicationcredential"
        }
        None if token.is_some() => "token",
        None => "password",
    };
    match kind {
        "password" | "v3password" => Ok(Auth::Password {
            user: user(settings)?,
            password: password
                .map(secret)
                .ok_or_else(|| missing(settings, "the password", "password", "OS_PASSWORD"))?,
            scope: scope(settings)?,
        }),
        "token" | "v3token" => Ok(Auth::Token {
            token: token
                .map(secret)
                .ok_or_else(|| missing(settings, "the token", "token", "OS_TOKEN"))?,
            scope: scope(settings)?,
        }),
        "v3applicationcredential" => application_credential(settings),
        _ => Err(settings
            .fault(format!(
                "this auth_type is not supported; known are {KNOWN}"
            ))
            .with("auth_type", kind)),
    }
}

fn application_credential(settings: &Settings) -> Result<Auth> {
    let id = settings.credential(&["application_credential_id"])?;
    let name = settings.credential(&["application_credential_name"])?;
    let credential = match (id, name) {
        (Some(id), _) => ApplicationCredential::Id(id.to_owned()),
        (None, Some(name)) => ApplicationCredential::Name {
            name: name.to_owned(),
            user: user(settings)?,
        },
        (None, None) => {
            return Err(missing(
                settings,
                "the application credential",
                "application_credential_id",
                "OS_APPLICATION_CREDENTIAL_ID",
            ));
        }
    };
    let secret = settings
        .credential(&["application_credential_secret"])?
        .map(secret)
        .ok_or_else(|| {
            missing(
                settings,
                "the application credential's secret",
                "application_credential_secret",
                "OS_APPLICATION_CREDENTIAL_SECRET",
            )
        })?;
    // Keystone refuses a scope here, though it be the credential's own project.
    let stated = scopes(settings)?;
    if !stated.is_empty() {
        return Err(settings
            .fault("an application credential belongs to one project, and Keystone refuses it together with any scope: remove these settings")
            .with("settings", stated.join(", ")));
    }
    Ok(Auth::ApplicationCredential { credential, secret })
}

fn user(settings: &Settings) -> Result<User> {
    if let Some(id) = settings.credential(&["user_id"])? {
        return Ok(User::Id(id.to_owned()));
    }
    let Some(name) = settings.credential(&["user_name", "username"])? else {
        return Err(missing(settings, "the user", "username", "OS_USERNAME"));
    };
    let domain = domain(
        settings,
        ["user_domain_id", "user_domain_name"],
        project(settings)? != (None, None),
    )?;
    Ok(User::Name {
        name: name.to_owned(),
        domain: domain.ok_or_else(|| {
            missing(
                settings,
                "the user's domain (a name is unique only in its domain)",
                "user_domain_name or user_domain_id",
                "OS_USER_DOMAIN_NAME or OS_USER_DOMAIN_ID",
            )
        })?,
    })
}

/// The domain of a user or project: its own, or else the one stated for both. Of an id and a name the id counts.
fn domain(settings: &Settings, [id, name]: [&str; 2], in_project: bool) -> Result<Option<Domain>> {
    let mut places = vec![[id, name]];
    if in_project {
        places.push(["domain_id", "domain_name"]);
    }
    places.push(["default_domain_id", "default_domain_name"]);
    for [id, name] in places {
        match (settings.target(&[id])?, settings.target(&[name])?) {
            (Some(id), _) => return Ok(Some(Domain::Id(id.to_owned()))),
            (None, Some(name)) => return Ok(Some(Domain::Name(name.to_owned()))),
            (None, None) => {}
        }
    }
    // openstackclient's OS_DEFAULT_DOMAIN is an id.
    let last = settings.target(&["default_domain"])?;
    Ok(last.map(|id| Domain::Id(id.to_owned())))
}

fn project(settings: &Settings) -> Result<Pair<'_>> {
    Ok((
        settings.target(&["tenant_id", "project_id"])?,
        settings.target(&["tenant_name", "project_name"])?,
    ))
}

/// The names of the scopes that the settings ask for.
fn scopes(settings: &Settings) -> Result<Vec<&'static str>> {
    let (id, name) = project(settings)?;
    let in_project = id.or(name).is_some();
    let domain = settings
        .target(&["domain_id"])?
        .or(settings.target(&["domain_name"])?);
    Ok([
        ("project_id", id.is_some()),
        ("project_name", id.is_none() && name.is_some()),
        // Beside a project it is the domain of user and project, and no scope.
        ("domain", domain.is_some() && !in_project),
        ("trust_id", settings.target(&["trust_id"])?.is_some()),
        (
            "system_scope",
            settings.target(&["system_scope"])?.is_some(),
        ),
    ]
    .into_iter()
    .filter_map(|(name, stated)| stated.then_some(name))
    .collect())
}

fn scope(settings: &Settings) -> Result<Scope> {
    let stated = scopes(settings)?;
    if stated.len() > 1 {
        return Err(settings
            .fault("a token has one scope: keep one of these settings")
            .with("settings", stated.join(", ")));
    }
    Ok(match stated.first() {
        None => Scope::Unstated,
        Some(&"trust_id") => Scope::Trust(
            settings
                .target(&["trust_id"])?
                .unwrap_or_default()
                .to_owned(),
        ),
        Some(&"system_scope") => match settings.target(&["system_scope"])? {
            Some("all") => Scope::System,
            _ => return Err(settings.fault("system_scope must be all")),
        },
        Some(&"domain") => {
            let (id, name) = (
                settings.target(&["domain_id"])?,
                settings.target(&["domain_name"])?,
            );
            Scope::Domain(match id {
                Some(id) => Domain::Id(id.to_owned()),
                None => Domain::Name(name.unwrap_or_default().to_owned()),
            })
        }
        Some(_) => Scope::Project(match project(settings)? {
            (Some(id), _) => Project::Id(id.to_owned()),
            (None, name) => Project::Name {
                name: name.unwrap_or_default().to_owned(),
                domain: domain(settings, ["project_domain_id", "project_domain_name"], true)?
                    .ok_or_else(|| {
                        missing(
                            settings,
                            "the project's domain (a name is unique only in its domain)",
                            "project_domain_name or project_domain_id",
                            "OS_PROJECT_DOMAIN_NAME or OS_PROJECT_DOMAIN_ID",
                        )
                    })?,
            },
        }),
    })
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// `what` is not stated; `key` or `variable` would.
pub(super) fn missing(
    settings: &Settings,
    what: &str,
    key: &str,
    variable: &str,
) -> raksha_core::Error {
    settings.fault(format!(
        "{what} is missing: set {key} under auth in clouds.yaml, or {variable}"
    ))
}
