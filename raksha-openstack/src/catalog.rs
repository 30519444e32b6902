//! Which endpoint serves which service.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use raksha_core::{Error, Kind, Result};
use serde::Deserialize;
use url::Url;

use crate::service;

const OPERATION: &str = "find endpoint";

/// For whom an endpoint is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interface {
    /// For users of the cloud.
    #[default]
    Public,
    /// For those on the cloud's own network.
    Internal,
    /// For administrators.
    Admin,
}

impl Interface {
    fn as_str(self) -> &'static str {
        match self {
            Interface::Public => "public",
            Interface::Internal => "internal",
            Interface::Admin => "admin",
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Interface {
    type Err = Error;

    /// Reads `public`, `internal` or `admin`, also with the `URL` that old settings append (`publicURL`).
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_suffix("URL").unwrap_or(text) {
            "public" => Ok(Interface::Public),
            "internal" => Ok(Interface::Internal),
            "admin" => Ok(Interface::Admin),
            _ => Err(Error::new(
                Kind::Invalid,
                "read interface",
                "the interface must be public, internal or admin",
            )
            .with("interface", text)),
        }
    }
}

/// The services of a cloud as the token's answer lists them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    services: Vec<Service>,
}

#[derive(Debug, Clone, Deserialize)]
struct Service {
    #[serde(rename = "type")]
    service_type: String,
    #[serde(default)]
    endpoints: Vec<Listed>,
}

#[derive(Debug, Clone, Deserialize)]
struct Listed {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    region_id: Option<String>,
    /// Text until it is asked for: what an unrelated service registered must not matter.
    #[serde(default)]
    url: Option<String>,
}

impl Listed {
    /// `region_id` is the API's name; `region` is what older Keystones have besides, or alone.
    fn region(&self) -> Option<&str> {
        self.region_id.as_deref().or(self.region.as_deref())
    }
}

/// An endpoint as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The type under which the catalog lists it: maybe an alias that tells an API version, such as `volumev3`.
    pub service_type: String,
    /// Its region, if the catalog says so.
    pub region: Option<String>,
    /// Its URL: still to be asked which API versions live there.
    pub url: Url,
}

impl<'de> Deserialize<'de> for Catalog {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let services = Option::<Vec<Service>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self { services })
    }
}

impl Catalog {
    /// Whether it lists nothing, as with a token that has no scope.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The types under which it lists `service`, which may be an alias.
    pub fn types_of(&self, service: &str) -> Vec<String> {
        let names = service::names(service);
        let listed = self.services.iter().map(|listed| &listed.service_type);
        let found: BTreeSet<&String> = listed.filter(|one| names.contains(&one.as_str())).collect();
        found.into_iter().cloned().collect()
    }

    /// The endpoint of `service` (its [official type or an alias](service)) in `region` for `interface`.
    ///
    /// Names are tried in the order of [`service::names`]; the first that has such an endpoint counts. Without a `region` all
    /// endpoints must lie in one: openstacksdk takes the first, but compute of one region with volumes of another is no cloud to
    /// protect.
    ///
    /// # Errors
    /// [`Kind::NotFound`], naming what was asked for and what the catalog has; [`Kind::Invalid`] if the region must be named;
    /// [`Kind::Corrupt`] if the URL is none.
    pub fn endpoint(
        &self,
        service: &str,
        region: Option<&str>,
        interface: Interface,
    ) -> Result<Endpoint> {
        for name in service::names(service) {
            let found: Vec<&Listed> = self
                .listed(name)
                .filter(|endpoint| endpoint.interface == interface.as_str())
                .filter(|endpoint| region.is_none() || endpoint.region() == region)
                .collect();
            let regions: BTreeSet<&str> = found.iter().filter_map(|e| e.region()).collect();
            if regions.len() > 1 {
                let regions = Vec::from_iter(regions).join(", ");
                return Err(Error::new(
                    Kind::Invalid,
                    OPERATION,
                    "the service exists in several regions: name one (region_name in clouds.yaml, or OS_REGION_NAME)",
                )
                .with("service", name)
                .with("regions", regions));
            }
            if let Some(endpoint) = found.first() {
                return Self::parse(name, endpoint);
            }
        }
        Err(self.missing(service, region, interface))
    }

    fn listed(&self, name: &str) -> impl Iterator<Item = &Listed> {
        self.services
            .iter()
            .filter(move |listed| listed.service_type == name)
            .flat_map(|listed| &listed.endpoints)
    }

    fn parse(name: &str, endpoint: &Listed) -> Result<Endpoint> {
        let text = endpoint.url.as_deref().unwrap_or_default();
        let url = Url::parse(text).map_err(|source| {
            Error::new(
                Kind::Corrupt,
                OPERATION,
                "the catalog's URL is none: the cloud's operator must correct it, or name another by an endpoint override",
            )
            .with("service", name)
            .with("url", format!("{text:?}"))
            .caused_by(source)
        })?;
        Ok(Endpoint {
            service_type: name.to_owned(),
            region: endpoint.region().map(str::to_owned),
            url,
        })
    }

    /// Says what there is instead: endpoints of the service if it is listed at all, else the listed services.
    fn missing(&self, service: &str, region: Option<&str>, interface: Interface) -> Error {
        let endpoints: BTreeSet<String> = service::names(service)
            .into_iter()
            .flat_map(|name| self.listed(name))
            .map(|e| format!("{} in {}", e.interface, e.region().unwrap_or("no region")))
            .collect();
        let (message, has) = if self.is_empty() {
            let message = "the catalog is empty, as with a token that has no scope: name a project";
            (message, String::from("nothing"))
        } else if endpoints.is_empty() {
            let types: BTreeSet<&str> = self
                .services
                .iter()
                .map(|s| s.service_type.as_str())
                .collect();
            let message = "the cloud does not list this service";
            (message, Vec::from_iter(types).join(", "))
        } else {
            let message =
                "the cloud lists the service, but not like this: check region and interface";
            (message, Vec::from_iter(endpoints).join(", "))
        };
        Error::new(Kind::NotFound, OPERATION, message)
            .with("service", service)
            .with("region", region.unwrap_or("any"))
            .with("interface", interface)
            .with("the catalog has", has)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog() -> Catalog {
        let endpoint = |region: &str, interface: &str, url: &str| json!({"region_id": region, "region": region, "interface": interface, "url": url, "id": "1"});
        serde_json::from_value(json!([
            {"type": "compute", "id": "1", "name": "nova", "endpoints": [
                endpoint("North", "public", "https://n.example/v2.1"),
                endpoint("South", "public", "https://s.example/v2.1"),
                endpoint("South", "internal", "http://10.0.0.1/v2.1")]},
            {"type": "volume", "endpoints": [endpoint("North", "public", "https://v.example/v1")]},
            {"type": "volumev3", "endpoints": [endpoint("North", "public", "https://v.example/v3/p")]},
            {"type": "image", "endpoints": [endpoint("North", "public", "no url")]},
            {"type": "network", "endpoints": [{"region": "Old", "interface": "public", "url": "https://o.example"}]},
        ]))
        .unwrap()
    }

    fn url(service: &str, region: Option<&str>, interface: Interface) -> String {
        match catalog().endpoint(service, region, interface) {
            Ok(endpoint) => endpoint.url.to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn region_and_interface_choose() {
        let (public, internal) = (Interface::Public, Interface::Internal);
        assert_eq!(
            url("compute", Some("North"), public),
            "https://n.example/v2.1"
        );
        assert_eq!(
            url("compute", Some("South"), public),
            "https://s.example/v2.1"
        );
        assert_eq!(url("compute", None, internal), "http://10.0.0.1/v2.1");
        assert_eq!(url("network", Some("Old"), public), "https://o.example/");
    }

    #[test]
    fn aliases_are_found_newest_first() {
        let found = catalog()
            .endpoint("block-storage", None, Interface::Public)
            .unwrap();
        assert_eq!(found.service_type, "volumev3");
        assert_eq!(found.url.as_str(), "https://v.example/v3/p");
        let asked = catalog()
            .endpoint("volume", None, Interface::Public)
            .unwrap();
        assert_eq!(asked.url.as_str(), "https://v.example/v1");
    }

    #[test]
    fn errors_say_what_there_is() {
        let public = Interface::Public;
        for (service, region, interface, expected) in [
            (
                "compute",
                Some("North"),
                Interface::Internal,
                "NotFound: find endpoint: the cloud lists the service, but not like this: check region and interface (service compute, region North, interface internal, the catalog has internal in South, public in North, public in South)",
            ),
            (
                "block-storage",
                Some("South"),
                public,
                "NotFound: find endpoint: the cloud lists the service, but not like this: check region and interface (service block-storage, region South, interface public, the catalog has public in North)",
            ),
            (
                "object-store",
                None,
                public,
                "NotFound: find endpoint: the cloud does not list this service (service object-store, region any, interface public, the catalog has compute, image, network, volume, volumev3)",
            ),
            (
                "compute",
                None,
                public,
                "Invalid: find endpoint: the service exists in several regions: name one (region_name in clouds.yaml, or OS_REGION_NAME) (service compute, regions North, South)",
            ),
        ] {
            assert_eq!(url(service, region, interface), expected);
        }
        assert!(url("image", None, public).starts_with("Corrupt"));
        let empty: Catalog = serde_json::from_str("null").unwrap();
        let error = empty.endpoint("compute", None, public).unwrap_err();
        assert!(error.to_string().contains("no scope"), "{error}");
    }
}
