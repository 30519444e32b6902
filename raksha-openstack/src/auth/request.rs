//! The request for a token (`POST /v3/auth/tokens`) as a value.
//!
//! Source of the body: the Identity API v3 reference, *Authentication and token management*, and its extension OS-TRUST.

use std::fmt;

use raksha_core::{Error, Kind, Result};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use url::Url;
use zeroize::Zeroizing;

use super::{ApplicationCredential, Auth, Domain, Project, Scope, User};
use crate::Secret;

const OPERATION: &str = "build token request";

/// A `POST` with a JSON body and no token. The answer is for [`answer::parse`](super::answer::parse).
pub struct TokenRequest {
    /// Where to send it.
    pub url: Url,
    /// The JSON body. It holds the secret, and is wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// The request for a token as `auth` says, at the identity service of `auth_url`.
///
/// The path is completed as keystoneauth does it: `/v3` is added unless `auth_url` ends with it.
///
/// # Errors
/// [`Kind::Unsupported`] if `auth_url` names the identity API v2; [`Kind::Invalid`] for [`Auth::Given`], which asks for no other token.
pub fn issue_token(auth_url: &Url, auth: &Auth) -> Result<TokenRequest> {
    if matches!(auth, Auth::Given { .. }) {
        let message = "a token that is used as it is has no request: look at it";
        return Err(Error::new(Kind::Invalid, OPERATION, message));
    }
    // Room enough for everything, so that growing leaves no copy of the secret behind: at worst JSON escapes a byte as six.
    let mut body = Zeroizing::new(Vec::with_capacity(8192 + 6 * secret(auth).expose().len()));
    serde_json::to_writer(&mut *body, &Body { auth }).map_err(|source| {
        Error::new(Kind::Internal, OPERATION, "the body cannot be written").caused_by(source)
    })?;
    Ok(TokenRequest {
        url: token_url(auth_url)?,
        body,
    })
}

/// Where to ask (`GET`) what a token says, given in `X-Subject-Token`. The answer is for [`answer::parse`](super::answer::parse).
///
/// # Errors
/// As [`issue_token`].
pub fn token_url(auth_url: &Url) -> Result<Url> {
    let path = auth_url.path().trim_end_matches('/');
    if path.ends_with("/v2.0") {
        return Err(Error::new(
            Kind::Unsupported,
            OPERATION,
            "this is the identity API v2, which OpenStack removed: name the v3 URL, or the one without a version",
        )
        .with("auth_url", auth_url));
    }
    let version = if path.ends_with("/v3") { "" } else { "/v3" };
    let mut url = auth_url.clone();
    url.set_path(&format!("{path}{version}/auth/tokens"));
    Ok(url)
}

fn secret(auth: &Auth) -> &Secret {
    match auth {
        Auth::Password { password, .. } => password,
        Auth::ApplicationCredential { secret, .. } => secret,
        Auth::Token { token, .. } | Auth::Given { token } => token,
    }
}

/// The whole body; what it borrows is written without a copy in between.
struct Body<'a> {
    auth: &'a Auth,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        one(serializer, "auth", &Request(self.auth))
    }
}

struct Request<'a>(&'a Auth);

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("identity", &Identity(self.0))?;
        match self.0 {
            Auth::Password { scope, .. } | Auth::Token { scope, .. } => {
                if *scope != Scope::Unstated {
                    map.serialize_entry("scope", scope)?;
                }
            }
            Auth::ApplicationCredential { .. } | Auth::Given { .. } => {}
        }
        map.end()
    }
}

struct Identity<'a>(&'a Auth);

impl Serialize for Identity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match self.0 {
            Auth::Password { user, password, .. } => {
                map.serialize_entry("methods", &["password"])?;
                map.serialize_entry("password", &PasswordMethod { user, password })?;
            }
            Auth::ApplicationCredential { credential, secret } => {
                map.serialize_entry("methods", &["application_credential"])?;
                map.serialize_entry(
                    "application_credential",
                    &CredentialMethod { credential, secret },
                )?;
            }
            Auth::Token { token, .. } => {
                map.serialize_entry("methods", &["token"])?;
                map.serialize_entry("token", &TokenMethod { id: token.expose() })?;
            }
            // It has no request.
            Auth::Given { .. } => {}
        }
        map.end()
    }
}

#[derive(Serialize)]
struct TokenMethod<'a> {
    id: &'a str,
}

struct PasswordMethod<'a> {
    user: &'a User,
    password: &'a Secret,
}

impl Serialize for PasswordMethod<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WithPassword<'a> {
            #[serde(flatten)]
            user: &'a User,
            password: &'a str,
        }
        let user = WithPassword {
            user: self.user,
            password: self.password.expose(),
        };
        one(serializer, "user", &user)
    }
}

struct CredentialMethod<'a> {
    credential: &'a ApplicationCredential,
    secret: &'a Secret,
}

impl Serialize for CredentialMethod<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.credential {
            ApplicationCredential::Id(id) => map.serialize_entry("id", id)?,
            ApplicationCredential::Name { name, user } => {
                map.serialize_entry("name", name)?;
                map.serialize_entry("user", user)?;
            }
        }
        map.serialize_entry("secret", self.secret.expose())?;
        map.end()
    }
}

impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            User::Id(id) => one(serializer, "id", id),
            User::Name { name, domain } => named(serializer, name, domain),
        }
    }
}

impl Serialize for Project {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Project::Id(id) => one(serializer, "id", id),
            Project::Name { name, domain } => named(serializer, name, domain),
        }
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Domain::Id(id) => one(serializer, "id", id),
            Domain::Name(name) => one(serializer, "name", name),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Everything {
            all: bool,
        }
        #[derive(Serialize)]
        struct Trust<'a> {
            id: &'a str,
        }
        match self {
            Scope::Unstated => serializer.serialize_none(),
            Scope::Unscoped => serializer.serialize_str("unscoped"),
            Scope::Project(project) => one(serializer, "project", project),
            Scope::Domain(domain) => one(serializer, "domain", domain),
            Scope::System => one(serializer, "system", &Everything { all: true }),
            Scope::Trust(id) => one(serializer, "OS-TRUST:trust", &Trust { id }),
        }
    }
}

fn one<S: Serializer>(serializer: S, key: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

fn named<S: Serializer>(serializer: S, name: &str, domain: &Domain) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("name", name)?;
    map.serialize_entry("domain", domain)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(auth: &Auth) -> Value {
        let url = Url::parse("https://keystone.example").unwrap();
        serde_json::from_slice(&issue_token(&url, auth).unwrap().body).unwrap()
    }

    fn password(user: User, scope: Scope) -> Auth {
        let password = Secret::new("devstacker".to_owned());
        Auth::Password {
            user,
            password,
            scope,
        }
    }

    fn admin() -> User {
        let domain = Domain::Name("Default".to_owned());
        User::Name {
            name: "admin".to_owned(),
            domain,
        }
    }

    fn by_id() -> User {
        User::Id("ee4dfb6e5540447cb3741905149d9b6e".to_owned())
    }

    // Bodies as printed in the Identity API v3 reference.

    #[test]
    fn password_without_scope() {
        assert_eq!(
            body(&password(admin(), Scope::Unstated)),
            json!({"auth": {"identity": {"methods": ["password"], "password": {
                "user": {"name": "admin", "domain": {"name": "Default"}, "password": "devstacker"}}}}})
        );
    }

    #[test]
    fn password_for_each_scope() {
        let identity = json!({"methods": ["password"], "password": {
            "user": {"id": "ee4dfb6e5540447cb3741905149d9b6e", "password": "devstacker"}}});
        let domain = || Domain::Id("default".to_owned());
        let project = Project::Name {
            name: "admin".to_owned(),
            domain: domain(),
        };
        let id = "a6944d763bf64ee6a275f1263fae0352";
        for (scope, expected) in [
            (Scope::Unscoped, json!("unscoped")),
            (Scope::System, json!({"system": {"all": true}})),
            (
                Scope::Domain(domain()),
                json!({"domain": {"id": "default"}}),
            ),
            (
                Scope::Domain(Domain::Name("Default".to_owned())),
                json!({"domain": {"name": "Default"}}),
            ),
            (
                Scope::Project(Project::Id(id.to_owned())),
                json!({"project": {"id": id}}),
            ),
            (
                Scope::Project(project),
                json!({"project": {"domain": {"id": "default"}, "name": "admin"}}),
            ),
        ] {
            let expected = json!({"auth": {"identity": identity, "scope": expected}});
            assert_eq!(body(&password(by_id(), scope)), expected);
        }
    }

    #[test]
    fn application_credential_by_id_and_by_name() {
        let auth = |credential| Auth::ApplicationCredential {
            credential,
            secret: Secret::new("rEaqvJka48mpv".to_owned()),
        };
        let id = "423f19a4ac1e4f48bbb4180756e6eb6c";
        assert_eq!(
            body(&auth(ApplicationCredential::Id(id.to_owned()))),
            json!({"auth": {"identity": {"methods": ["application_credential"],
                "application_credential": {"id": id, "secret": "rEaqvJka48mpv"}}}})
        );
        let named = ApplicationCredential::Name {
            name: "monitoring".to_owned(),
            user: User::Id(id.to_owned()),
        };
        assert_eq!(
            body(&auth(named)),
            json!({"auth": {"identity": {"methods": ["application_credential"],
                "application_credential": {"name": "monitoring", "secret": "rEaqvJka48mpv", "user": {"id": id}}}}})
        );
    }

    #[test]
    fn token_for_a_trust() {
        let auth = Auth::Token {
            token: Secret::new("e80b74".to_owned()),
            scope: Scope::Trust("de0945a".to_owned()),
        };
        assert_eq!(
            body(&auth),
            json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "e80b74"}},
                "scope": {"OS-TRUST:trust": {"id": "de0945a"}}}})
        );
    }

    #[test]
    fn the_path_is_completed_once() {
        for (given, expected) in [
            ("https://k.example", "https://k.example/v3/auth/tokens"),
            ("https://k.example/v3/", "https://k.example/v3/auth/tokens"),
            (
                "http://k.example:5000/identity",
                "http://k.example:5000/identity/v3/auth/tokens",
            ),
            (
                "http://k.example/identity/v3",
                "http://k.example/identity/v3/auth/tokens",
            ),
        ] {
            let url = token_url(&Url::parse(given).unwrap()).unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let old = token_url(&Url::parse("https://k.example/v2.0/").unwrap());
        assert_eq!(old.unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn the_body_never_grows_and_is_not_printed() {
        let secret = "\u{1}".repeat(10_000);
        let auth = Auth::Token {
            token: Secret::new(secret),
            scope: Scope::Unscoped,
        };
        let url = Url::parse("https://k.example").unwrap();
        let request = issue_token(&url, &auth).unwrap();
        assert!(request.body.len() > 60_000);
        assert!(request.body.capacity() <= 8192 + 60_000);
        assert!(!format!("{request:?}{auth:?}").contains("u0001"));
    }
}
