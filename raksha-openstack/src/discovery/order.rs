//! The order in which a guest sees its ports.
//!
//! Nova keeps it in its cache of a server's network information and shows it in one place only: the order in which the object `addresses` is
//! written, networks by their first port and within a network port by port. `os-interface` and Neutron list ports in no order.

use std::collections::BTreeMap;
use std::fmt;

use raksha_core::{Error, Kind, Result};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Hardware addresses by server, in the guest's order.
#[derive(Debug, Default)]
pub(super) struct Orders(BTreeMap<String, Vec<String>>);

impl Orders {
    /// Reads what `text`, an answer about one or many servers, tells.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<()> {
        let page: Page = serde_json::from_slice(text).map_err(|source| {
            let message = "the cloud describes servers in a way that is not understood";
            Error::new(Kind::Corrupt, "discover servers", message).caused_by(source)
        })?;
        for server in page.servers.into_iter().chain(page.server) {
            self.0.insert(server.id, server.addresses.0);
        }
        Ok(())
    }

    /// At which place the port with this hardware address is; those that nobody tells of come last.
    pub(super) fn place(&self, server: &str, mac: &str) -> usize {
        let macs = self.0.get(server).map(Vec::as_slice).unwrap_or_default();
        let known = macs
            .iter()
            .position(|known| known.eq_ignore_ascii_case(mac));
        known.unwrap_or(usize::MAX)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    servers: Vec<Seen>,
    server: Option<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    id: String,
    #[serde(default)]
    addresses: Addresses,
}

/// The hardware addresses, each once.
#[derive(Default)]
struct Addresses(Vec<String>);

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "OS-EXT-IPS-MAC:mac_addr")]
    mac: Option<String>,
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("addresses by network")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Addresses, A::Error> {
                let mut macs: Vec<String> = Vec::new();
                while let Some((_, addresses)) = map.next_entry::<String, Vec<Address>>()? {
                    for mac in addresses.into_iter().filter_map(|address| address.mac) {
                        if !macs.contains(&mac) {
                            macs.push(mac);
                        }
                    }
                }
                Ok(Addresses(macs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_as_they_are_written_and_not_as_networks_are_called() {
        let mut orders = Orders::default();
        let text = r#"{"servers": [{"id": "s", "addresses": {
            "zulu": [{"addr": "10.0.0.4", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:09"},
                     {"addr": "172.24.4.9", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:09"},
                     {"addr": "10.0.0.5", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}],
            "alpha": [{"addr": "10.1.0.4", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:05"}]}},
            {"id": "bare"}]}"#;
        orders.read(text.as_bytes()).unwrap();
        orders
            .read(br#"{"server": {"id": "t", "addresses": {}}}"#)
            .unwrap();
        let place = |mac: &str| orders.place("s", mac);
        assert_eq!(place("FA:16:3E:00:00:09"), 0);
        assert_eq!(place("fa:16:3e:00:00:01"), 1);
        assert_eq!(place("fa:16:3e:00:00:05"), 2);
        assert_eq!(place("fa:16:3e:00:00:77"), usize::MAX);
        assert_eq!(orders.place("t", "fa:16:3e:00:00:09"), usize::MAX);
    }
}
