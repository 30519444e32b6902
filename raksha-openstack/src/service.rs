//! The official names of services, and what catalogs call them besides.
//!
//! Source: the OpenStack service types authority (`service-types.yaml` of openstack/service-types-authority, the data of
//! os-service-types 1.9.0, version 2024-05-08), reduced to the services that protecting a server can involve. Clouds older than that
//! authority registered Cinder as `volumev3`, and their catalogs still say so.

/// Official types and their aliases, an alias of a newer API first, as the authority orders them.
const TYPES: &[(&str, &[&str])] = &[
    (
        "block-storage",
        &["volumev3", "volumev2", "volume", "block-store"],
    ),
    ("compute", &[]),
    ("dns", &[]),
    ("identity", &[]),
    ("image", &[]),
    ("key-manager", &[]),
    ("load-balancer", &[]),
    ("network", &[]),
    ("object-store", &[]),
    ("orchestration", &[]),
    ("placement", &[]),
    ("shared-file-system", &["sharev2", "share"]),
    ("workflow", &["workflowv2"]),
];

/// The official type of `service`, which may be an alias; `None` for what the table does not know.
pub fn official(service: &str) -> Option<&'static str> {
    TYPES
        .iter()
        .find(|(name, aliases)| *name == service || aliases.contains(&service))
        .map(|(name, _)| *name)
}

/// All names under which a catalog may list `service`, in the order in which to look for them: as asked, the official type, its
/// aliases. Each name once; an unknown service has its own name only.
pub fn names(service: &str) -> Vec<&str> {
    let mut names = vec![service];
    if let Some((name, aliases)) = TYPES
        .iter()
        .find(|(name, aliases)| *name == service || aliases.contains(&service))
    {
        names.extend(
            std::iter::once(name)
                .chain(*aliases)
                .copied()
                .filter(|other| *other != service),
        );
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_to_the_official_type_and_its_siblings() {
        assert_eq!(official("volume"), Some("block-storage"));
        assert_eq!(official("compute"), Some("compute"));
        assert_eq!(official("compute_legacy"), None);
        assert_eq!(
            names("block-storage"),
            [
                "block-storage",
                "volumev3",
                "volumev2",
                "volume",
                "block-store"
            ]
        );
        assert_eq!(
            names("volume"),
            [
                "volume",
                "block-storage",
                "volumev3",
                "volumev2",
                "block-store"
            ]
        );
        assert_eq!(names("telescope"), ["telescope"]);
    }

    #[test]
    fn no_name_belongs_to_two_services() {
        let mut all: Vec<&str> = TYPES
            .iter()
            .flat_map(|(name, aliases)| std::iter::once(name).chain(*aliases).copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
