//! Where a service's API is, and which microversions it speaks.
//!
//! A catalog's URL may name the API's version, or not; it may go on with the project. What a service's version document says of itself is believed
//! as to versions, but not as to hosts: behind proxies those are often wrong, and the token goes to no other host than the catalog's.

use raksha_core::{Error, Kind, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::transport::{Call, Content, Reading};
use super::{Inner, Microversion, Service, problem};

const OPERATION: &str = "find API version";

/// What is known of one service.
#[derive(Default)]
pub(super) struct Known {
    base: OnceCell<Url>,
    range: OnceCell<Option<Range>>,
}

/// The lowest and the highest microversion.
pub(super) type Range = (Microversion, Microversion);

/// An endpoint's URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    /// Up to what comes before the version.
    root: Url,
    version: Option<String>,
    /// What comes after the version: the project, if anything.
    rest: Vec<String>,
}

impl Location {
    fn of(url: &Url) -> Self {
        let segments: Vec<&str> = url.path().split('/').filter(|s| !s.is_empty()).collect();
        let at = segments.iter().rposition(|segment| is_version(segment));
        let (before, after) = segments.split_at(at.unwrap_or(segments.len()));
        let mut root = url.clone();
        root.set_query(None);
        root.set_fragment(None);
        root.set_path(&before.join("/"));
        let mut after = after.iter().map(|segment| (*segment).to_owned());
        Self {
            root,
            version: after.next(),
            rest: after.collect(),
        }
    }

    fn versioned(&self, version: &str, rest: &[String]) -> Url {
        let mut path = self.root.path().trim_end_matches('/').to_owned();
        for segment in std::iter::once(version).chain(rest.iter().map(String::as_str)) {
            path.push('/');
            path.push_str(segment);
        }
        let mut url = self.root.clone();
        url.set_path(&path);
        url
    }
}

/// `v3`, `v2.1`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        let mut parts = number.split('.');
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.next().is_some_and(digits)
            && parts.next().is_none_or(digits)
            && parts.next().is_none()
    })
}

/// A version that a document lists.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    /// As in paths: from the link, or else the id.
    segment: String,
    range: Option<Range>,
}

impl Inner {
    /// The URL that the paths of requests to `service` are relative to.
    pub(super) async fn base(&self, service: Service) -> Result<Url> {
        let known = self.known(service)?;
        known
            .base
            .get_or_try_init(|| self.find_base(service))
            .await
            .cloned()
    }

    async fn find_base(&self, service: Service) -> Result<Url> {
        let endpoint = self.endpoint(service)?;
        let Some(wanted) = service.version() else {
            return Ok(endpoint);
        };
        let location = Location::of(&endpoint);
        let mut rest = location.rest.clone();
        if service == Service::BlockStorage && rest.is_empty() {
            // Cinder can do without the project only from 3.67 on.
            rest.extend(
                self.session
                    .current()
                    .project
                    .as_ref()
                    .map(|p| p.id.clone()),
            );
        }
        let base = location.versioned(wanted, &rest);
        if location.version.as_deref() == Some(wanted) || service == Service::Identity {
            return Ok(base);
        }
        let listed = self.look(service, &location.root).await?;
        match listed {
            // Where nothing can be found out the version is taken for granted: requests will tell.
            None => Ok(base),
            Some(listed) if listed.iter().any(|v| v.segment == wanted) => Ok(base),
            Some(listed) => {
                let has: Vec<&str> = listed.iter().map(|v| v.segment.as_str()).collect();
                let message = "the service does not speak the API version that is needed";
                Err(Error::new(Kind::Unsupported, OPERATION, message)
                    .with("service", service)
                    .with("needed", wanted)
                    .with("it has", has.join(", "))
                    .with("url", &location.root))
            }
        }
    }

    /// The endpoint as it is set or as the catalog has it.
    pub(super) fn endpoint(&self, service: Service) -> Result<Url> {
        if let Some(url) = self.config.endpoint_overrides.get(service.official()) {
            return Ok(url.clone());
        }
        if service == Service::Identity {
            return Ok(self.config.auth_url.clone());
        }
        let catalog = &self.session.current().catalog;
        let region = self.config.region.as_deref();
        let found = catalog.endpoint(service.official(), region, self.config.interface)?;
        Ok(found.url)
    }

    /// The microversions of `service`; none if it has none.
    pub(super) async fn range(&self, service: Service) -> Result<Option<Range>> {
        if service.microversion_name().is_none() {
            return Ok(None);
        }
        let known = self.known(service)?;
        known
            .range
            .get_or_try_init(|| self.find_range(service))
            .await
            .copied()
    }

    /// The path at which the API of `service` tells of its version and its microversions.
    pub(super) async fn document(&self, service: Service) -> Result<String> {
        let location = Location::of(&self.base(service).await?);
        let url = match &location.version {
            Some(version) => location.versioned(version, &[]),
            None => location.root,
        };
        Ok(format!("{}/", url.path().trim_end_matches('/')))
    }

    async fn find_range(&self, service: Service) -> Result<Option<Range>> {
        let location = Location::of(&self.base(service).await?);
        let Some(version) = &location.version else {
            return Ok(None);
        };
        for url in [location.versioned(version, &[]), location.root.clone()] {
            let listed = self.look(service, &url).await?.unwrap_or_default();
            if let Some(found) = listed.into_iter().find(|v| v.segment == *version) {
                return Ok(found.range);
            }
        }
        Ok(None)
    }

    /// The version document at `url`, or none if there is none.
    async fn look(&self, service: Service, url: &Url) -> Result<Option<Vec<Listed>>> {
        let mut url = url.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let call = Call {
            service,
            method: Method::GET,
            shown: url.path().to_owned(),
            url,
            headers: HeaderMap::new(),
            body: None,
            idempotent: true,
            operation: OPERATION,
            timeout: self.transport.options().attempt,
            id: super::request_id(self.transport.env()),
            accepted: &[StatusCode::MULTIPLE_CHOICES],
        };
        let reply = self.exchange(&call, Reading::Whole).await?;
        let Content::Whole(body) = &reply.content else {
            return Ok(None);
        };
        if reply.status.is_success() || reply.status == StatusCode::MULTIPLE_CHOICES {
            return Ok(serde_json::from_slice(body).ok().and_then(|v| versions(&v)));
        }
        if reply.status.is_client_error() && reply.status != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        Err(problem::refused(
            &call,
            reply.status,
            &problem::words(body),
            reply.request_id(),
        ))
    }

    fn known(&self, service: Service) -> Result<&Known> {
        self.known.get(&service).ok_or_else(|| {
            Error::new(Kind::Internal, OPERATION, "an unknown service").with("service", service)
        })
    }
}

/// What a version document lists: one `version`, `versions`, or Keystone's `versions` with `values`.
fn versions(document: &Value) -> Option<Vec<Listed>> {
    if let Some(one) = document.get("version") {
        return Some(listed(one).into_iter().collect());
    }
    let versions = document.get("versions")?;
    let all = versions.get("values").unwrap_or(versions).as_array()?;
    Some(all.iter().filter_map(listed).collect())
}

fn listed(version: &Value) -> Option<Listed> {
    let text = |key: &str| version.get(key).and_then(Value::as_str);
    let links = version.get("links").and_then(Value::as_array);
    let from_link = links
        .into_iter()
        .flatten()
        .filter(|link| link.get("rel").and_then(Value::as_str) == Some("self"))
        .filter_map(|link| link.get("href").and_then(Value::as_str))
        .find_map(|href| {
            let segments = href.trim_end_matches('/').rsplit('/');
            segments.into_iter().find(|segment| is_version(segment))
        });
    let range = (|| {
        let max = text("version").or(text("max_version"))?;
        Some((text("min_version")?.parse().ok()?, max.parse().ok()?))
    })();
    Some(Listed {
        segment: from_link.or(text("id"))?.to_owned(),
        range,
    })
}

#[cfg(test)]
mod tests {
    use raksha_core::testkit::Fuzz;
    use serde_json::json;

    use super::*;

    fn location(url: &str) -> (String, Option<String>, Vec<String>) {
        let Location {
            root,
            version,
            rest,
        } = Location::of(&Url::parse(url).unwrap());
        (root.to_string(), version, rest)
    }

    #[test]
    fn urls_come_apart_at_the_version() {
        let owned = |s: &str| Some(s.to_owned());
        let plain: Vec<String> = Vec::new();
        for (url, root, version, rest) in [
            (
                "http://h:8774/v2.1",
                "http://h:8774/",
                owned("v2.1"),
                plain.clone(),
            ),
            (
                "http://h:8774/v2.1/",
                "http://h:8774/",
                owned("v2.1"),
                plain.clone(),
            ),
            (
                "https://h/volume/v3/p1",
                "https://h/volume",
                owned("v3"),
                vec!["p1".to_owned()],
            ),
            ("https://h/image", "https://h/image", None, plain.clone()),
            ("https://h", "https://h/", None, plain.clone()),
            (
                "https://h/v1/nova/v2.1",
                "https://h/v1/nova",
                owned("v2.1"),
                plain.clone(),
            ),
            (
                "https://h/vault/version",
                "https://h/vault/version",
                None,
                plain,
            ),
        ] {
            assert_eq!(location(url), (root.to_owned(), version, rest), "{url}");
        }
        let nested = Location::of(&Url::parse("https://h/volume/v2/p1").unwrap());
        let v3 = nested.versioned("v3", &nested.rest);
        assert_eq!(v3.as_str(), "https://h/volume/v3/p1");
    }

    #[test]
    fn documents_of_all_services_are_understood() {
        let range = |min: (u32, u32), max: (u32, u32)| {
            Some((
                Microversion::new(min.0, min.1),
                Microversion::new(max.0, max.1),
            ))
        };
        let nova = json!({"version": {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1",
            "links": [{"rel": "self", "href": "http://internal:8774/v2.1/"}, {"rel": "describedby", "href": "http://docs/v9"}]}});
        let cinder = json!({"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0",
            "links": [{"rel": "describedby", "href": "https://docs/"}, {"rel": "self", "href": "http://h:8776/v3/"}]}]});
        let glance = json!({"versions": [{"id": "v2.16", "status": "CURRENT", "links": [{"rel": "self", "href": "http://h:9292/v2/"}]}]});
        let neutron = json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": "http://h:9696/v2.0/"}]}]});
        let keystone = json!({"versions": {"values": [{"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "http://h:5000/v3/"}]}]}});
        let old =
            json!({"versions": [{"id": "v2.0", "version": "", "min_version": "", "links": []}]});
        for (document, segment, range) in [
            (nova, "v2.1", range((2, 1), (2, 93))),
            (cinder, "v3", range((3, 0), (3, 70))),
            (glance, "v2", None),
            (neutron, "v2.0", None),
            (keystone, "v3", None),
            (old, "v2.0", None),
        ] {
            let segment = segment.to_owned();
            assert_eq!(versions(&document), Some(vec![Listed { segment, range }]));
        }
        for nothing in [json!(null), json!([]), json!({"versions": 3}), json!({})] {
            assert_eq!(versions(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn documents_that_were_changed() {
        let good =
            br#"{"versions": {"values": [{"id": "v3.14", "version": "3.70", "min_version": "3.0",
            "links": [{"rel": "self", "href": "http://h:5000/v3/"}]}]}}"#;
        Fuzz::new("versions", crate::CORPORA)
            .good(*good)
            .feed(|body| {
                let refuse = |why: String| Error::new(Kind::Corrupt, OPERATION, why);
                let document = serde_json::from_slice(body).map_err(|e| refuse(e.to_string()))?;
                let versions = versions(&document).ok_or_else(|| refuse("none".into()))?;
                let ranges = versions.iter().filter(|listed| listed.range.is_some());
                Ok(format!(
                    "{} {}",
                    versions.len().min(2),
                    ranges.count().min(2)
                ))
            });
    }
}
