//! What the answer to a token request says.

use raksha_core::{Error, Kind, Result, Timestamp};
use serde::Deserialize;

use crate::Secret;
use crate::catalog::Catalog;
use crate::things::utc;

const OPERATION: &str = "read token answer";

/// A token, until when and for what it is good, and the services that can be asked with it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Token {
    /// What goes into the header `X-Auth-Token` of requests.
    pub secret: Secret,
    /// When it was made, by the cloud's clock, if that can be read.
    pub issued_at: Option<Timestamp>,
    /// From when on the cloud refuses it.
    pub expires_at: Timestamp,
    /// Whose token it is.
    pub user: Named,
    /// The project for which it is good, if its scope is a project (by a trust or an application credential as well).
    pub project: Option<Named>,
    /// The roles in that scope, by name.
    pub roles: Vec<String>,
    /// The cloud's services; empty if the token has no scope.
    pub catalog: Catalog,
}

/// A user or project as Keystone names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Unique in the cloud.
    pub id: String,
    /// For people.
    pub name: String,
}

#[derive(Deserialize)]
struct Answer {
    token: Content,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    issued_at: Option<String>,
    expires_at: String,
    user: Named,
    #[serde(default)]
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(default)]
    catalog: Catalog,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

/// Reads the answer (status 201): `subject` is the header `X-Subject-Token`, `body` the JSON.
///
/// # Errors
/// [`Kind::Corrupt`] if this is no answer of Keystone's identity API v3.
pub fn parse(subject: Secret, body: &[u8]) -> Result<Token> {
    if subject.expose().is_empty() {
        return Err(corrupt("the header X-Subject-Token is empty"));
    }
    let Answer { token } = serde_json::from_slice(body).map_err(|source| {
        corrupt("this is no answer of Keystone's identity API v3: check auth_url").caused_by(source)
    })?;
    let Content {
        issued_at,
        expires_at,
        user,
        project,
        roles,
        catalog,
    } = token;
    let expires_at = utc(&expires_at).map_err(|source| {
        corrupt("the time when the token expires cannot be read")
            .with("expires_at", format!("{expires_at:?}"))
            .caused_by(source)
    })?;
    Ok(Token {
        secret: subject,
        issued_at: issued_at.and_then(|time| utc(&time).ok()),
        expires_at,
        user,
        project,
        roles: roles.into_iter().map(|role| role.name).collect(),
        catalog,
    })
}

fn corrupt(message: &str) -> Error {
    Error::new(Kind::Corrupt, OPERATION, message)
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;

    use super::*;
    use crate::catalog::Interface;

    // The Identity API v3 reference's answer to a password request for a project, with two of its services.
    const ANSWER: &str = r#"{"token": {"methods": ["password"],
        "roles": [{"id": "51cc68287d524c759f47c811e6463340", "name": "admin"}],
        "expires_at": "2015-11-07T02:58:43.578887Z",
        "project": {"domain": {"id": "default", "name": "Default"}, "id": "a6944d763bf64ee6a275f1263fae0352", "name": "admin"},
        "is_domain": false,
        "catalog": [
            {"endpoints": [
                {"region_id": "RegionOne", "url": "http://23.253.248.171:8774/v2.1/a6944d763bf64ee6a275f1263fae0352", "region": "RegionOne", "interface": "admin", "id": "2511589f262a407bb0071a814a480af4"},
                {"region_id": "RegionOne", "url": "http://23.253.248.171:8774/v2.1/a6944d763bf64ee6a275f1263fae0352", "region": "RegionOne", "interface": "public", "id": "d200b2509e1343e3887dcc465b4fa534"}],
             "type": "compute", "id": "a226b3eeb5594f50bf8b6df94636ed28", "name": "nova"},
            {"endpoints": [
                {"region_id": "RegionOne", "url": "http://23.253.248.171:8776/v2/a6944d763bf64ee6a275f1263fae0352", "region": "RegionOne", "interface": "public", "id": "a9a9929e6dc645c882ac1abd8bf73d38"}],
             "type": "volumev2", "id": "202382a1b8a94210bb3120af958092c4", "name": "cinderv2"}],
        "user": {"domain": {"id": "default", "name": "Default"}, "id": "ee4dfb6e5540447cb3741905149d9b6e", "name": "admin", "password_expires_at": "2016-11-06T15:32:17.000000"},
        "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"], "issued_at": "2015-11-07T01:58:43.578929Z"}}"#;

    fn read(body: &str) -> Result<Token> {
        parse(Secret::new("gAAAAA".to_owned()), body.as_bytes())
    }

    #[test]
    fn a_token_that_ends_with_its_credential_has_a_time_without_a_zone() {
        let ends = ANSWER.replace("58:43.578887Z", "58:43.578000");
        let read = [ANSWER, &ends].map(|body| read(body).unwrap().expires_at);
        assert_eq!(read[0], read[1]);
    }

    #[test]
    fn the_reference_answer_is_read() {
        let token = read(ANSWER).unwrap();
        assert_eq!(token.secret.expose(), "gAAAAA");
        assert_eq!(
            token.expires_at,
            "2015-11-07T02:58:43.578Z".parse().unwrap()
        );
        let life = token.expires_at.since(token.issued_at.unwrap());
        assert_eq!(life, std::time::Duration::from_secs(3600));
        assert_eq!(token.user.id, "ee4dfb6e5540447cb3741905149d9b6e");
        assert_eq!(token.project.as_ref().unwrap().name, "admin");
        assert_eq!(token.roles, ["admin"]);
        let volumes = token
            .catalog
            .endpoint("block-storage", Some("RegionOne"), Interface::Public);
        assert_eq!(volumes.unwrap().service_type, "volumev2");
        assert!(!format!("{token:?}").contains("gAAAAA"));
    }

    #[test]
    fn answers_that_were_changed() {
        let fuzz = Fuzz::new("token", crate::CORPORA).good(ANSWER);
        fuzz.feed(|body| {
            let token = parse(Secret::new("gAAAAA".to_owned()), body)?;
            let volumes = token.catalog;
            let found = volumes.endpoint("block-storage", None, Interface::Public);
            Ok(found.is_ok().to_string())
        });
    }

    #[test]
    fn a_token_without_scope_has_no_catalog() {
        let token = read(
            r#"{"token": {"methods": ["password"], "user": {"id": "u", "name": "demo", "domain": {"id": "default", "name": "Default"}},
                "expires_at": "2015-11-09T01:42:57.527363Z", "issued_at": "2015-11-09T00:42:57.527404Z"}}"#,
        )
        .unwrap();
        assert!(token.catalog.is_empty());
        assert_eq!(token.project, None);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let late = ANSWER.replace("2015-11-07T02:58:43.578887Z", "tomorrow");
        for body in ["", "{}", "<html>", r#"{"access": {}}"#, "[1]", &late] {
            assert_eq!(read(body).unwrap_err().kind(), Kind::Corrupt, "{body}");
        }
        assert!(parse(Secret::new(String::new()), ANSWER.as_bytes()).is_err());
        for end in 0..ANSWER.len() {
            assert!(read(&ANSWER[..end]).is_err(), "cut at {end}");
        }
    }
}
