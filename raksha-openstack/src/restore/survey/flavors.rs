//! Which of the cloud's flavors stands for the hardware of a server.

use std::collections::BTreeMap;

use raksha_core::Result;
use raksha_core::cloud::{Flavor, Problem, ResourceMapping};
use serde_json::Value;

use crate::client::{Client, Microversion, Request, Service};

/// From here on flavors tell their extra specs, to those who may see them.
const EXTRA_SPECS: Microversion = Microversion::new(2, 61);

/// A flavor of the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::restore) struct LiveFlavor {
    pub(in crate::restore) id: String,
    /// As values; extra specs are empty where they are not shown.
    pub(in crate::restore) values: Flavor,
    shows_specs: bool,
}

/// The flavors that the principal may use.
pub(in crate::restore) async fn list(client: &Client) -> Result<Vec<LiveFlavor>> {
    let newest = client.microversions(Service::Compute).await?;
    let mut request = Request::get("flavors/detail");
    if newest.is_some_and(|(_, newest)| newest >= EXTRA_SPECS) {
        request = request.microversion(EXTRA_SPECS);
    }
    let found = client.list(Service::Compute, request, "flavors").await?;
    Ok(found.iter().filter_map(read).collect())
}

fn read(flavor: &Value) -> Option<LiveFlavor> {
    let number = |key: &str| flavor.get(key).and_then(Value::as_u64);
    let specs = flavor.get("extra_specs").and_then(Value::as_object);
    let pairs = specs.into_iter().flatten();
    let pairs = pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(LiveFlavor {
        id: flavor.get("id")?.as_str()?.to_owned(),
        values: Flavor {
            name: flavor.get("name")?.as_str()?.to_owned(),
            vcpus: u32::try_from(number("vcpus")?).ok()?,
            memory_mib: number("ram")?,
            root_gib: number("disk").unwrap_or(0),
            ephemeral_gib: number("OS-FLV-EXT-DATA:ephemeral").unwrap_or(0),
            // Nothing is an empty text here.
            swap_mib: number("swap").unwrap_or(0),
            extra_specs: pairs.collect::<BTreeMap<_, _>>(),
        },
        shows_specs: specs.is_some(),
    })
}

impl LiveFlavor {
    /// Whether it makes the same hardware, as far as it is shown.
    fn makes(&self, wanted: &Flavor) -> bool {
        let Flavor {
            name: _,
            vcpus,
            memory_mib,
            root_gib,
            ephemeral_gib,
            swap_mib,
            extra_specs,
        } = wanted;
        let own = &self.values;
        own.vcpus == *vcpus
            && own.memory_mib == *memory_mib
            && own.root_gib == *root_gib
            && own.ephemeral_gib == *ephemeral_gib
            && own.swap_mib == *swap_mib
            && (own.extra_specs == *extra_specs || !self.shows_specs || extra_specs.is_empty())
    }

    fn has_room_for(&self, wanted: &Flavor) -> bool {
        self.values.root_gib >= wanted.root_gib && self.values.memory_mib >= wanted.memory_mib
    }
}

/// The flavor that the mapping names; or else the one of this name if it has room; or else one of the same values.
///
/// # Errors
/// A problem that says what to map.
pub(in crate::restore) fn choose<'a>(
    flavors: &'a [LiveFlavor],
    wanted: &Flavor,
    mapping: &ResourceMapping,
) -> Result<&'a LiveFlavor, Problem> {
    let problem = |reason: String| Problem {
        what: format!("flavor {}", wanted.name),
        reason,
    };
    let names = || {
        let names = flavors.iter().map(|flavor| flavor.values.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    if let Some(mapped) = mapping.flavors.get(&wanted.name) {
        let named = |flavor: &&LiveFlavor| flavor.values.name == *mapped || flavor.id == *mapped;
        return flavors.iter().find(named).ok_or_else(|| {
            problem(format!(
                "it is mapped to {mapped}, which the cloud does not have: map it to one of {}",
                names()
            ))
        });
    }
    let of_name = flavors
        .iter()
        .find(|flavor| flavor.values.name == wanted.name);
    let same = of_name.filter(|flavor| flavor.makes(wanted));
    let same = same.or_else(|| flavors.iter().find(|flavor| flavor.makes(wanted)));
    let usable = same.or_else(|| of_name.filter(|flavor| flavor.has_room_for(wanted)));
    usable.ok_or_else(|| {
        problem(format!(
            "no flavor has {} processors, {} MiB of memory and a root disk of {} GiB: map it to one of {}",
            wanted.vcpus, wanted.memory_mib, wanted.root_gib, names()
        ))
    })
}

/// What will be other about the hardware, if anything.
pub(in crate::restore) fn note(
    chosen: &LiveFlavor,
    wanted: &Flavor,
    server: &str,
) -> Option<String> {
    let name = &chosen.values.name;
    if !chosen.makes(wanted) {
        let Flavor {
            vcpus, memory_mib, ..
        } = chosen.values;
        return Some(format!(
            "the server {server} gets other hardware: flavor {name} with {vcpus} processors and {memory_mib} MiB of memory"
        ));
    }
    let renamed = *name != wanted.name;
    renamed.then(|| {
        format!(
            "the server {server} gets the flavor {name} instead of {}, of the same values",
            wanted.name
        )
    })
}

#[cfg(test)]
impl LiveFlavor {
    /// One of these values, whose extra specs are shown.
    pub(super) fn of(id: &str, values: Flavor) -> Self {
        Self {
            id: id.to_owned(),
            values,
            shows_specs: true,
        }
    }
}
