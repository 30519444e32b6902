use std::fs;

use tempfile::TempDir;

use super::*;
use crate::auth::{ApplicationCredential, Domain, Project, Scope, User};

/// A directory with these files, and sources that look only there.
fn files(files: &[(&str, &str)]) -> (TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let sources = Sources::default()
        .directory(directory.path())
        .home("/home/demo");
    (directory, sources)
}

fn variables(pairs: &[(&str, &str)]) -> Sources {
    pairs
        .iter()
        .fold(Sources::default(), |sources, (name, value)| {
            sources.variable(*name, *value)
        })
}

/// The variables of a password, without those named in `without` and with those in `more`.
fn openrc(without: &[&str], more: &[(&str, &str)]) -> Sources {
    let all = [
        ("OS_AUTH_URL", "https://keystone.example:5000/v3"),
        ("OS_USERNAME", "demo"),
        ("OS_PASSWORD", "hunter2"),
        ("OS_USER_DOMAIN_NAME", "Users"),
        ("OS_PROJECT_NAME", "shop"),
        ("OS_PROJECT_DOMAIN_NAME", "Projects"),
    ];
    let kept = all.into_iter().filter(|(name, _)| !without.contains(name));
    variables(&kept.chain(more.iter().copied()).collect::<Vec<_>>())
}

fn fault(result: Result<CloudConfig>) -> String {
    format!("{:?}", result.expect_err("accepted"))
}

fn name(text: &str) -> Domain {
    Domain::Name(text.to_owned())
}

fn id(text: &str) -> Domain {
    Domain::Id(text.to_owned())
}

fn parts(config: &CloudConfig) -> (&User, &str, &Scope) {
    match &config.auth {
        Auth::Password {
            user,
            password,
            scope,
        } => (user, password.expose(), scope),
        other => panic!("{other:?}"),
    }
}

fn project(name: &str, domain: Domain) -> Scope {
    let name = name.to_owned();
    Scope::Project(Project::Name { name, domain })
}

const CLOUDS: &str = "
clouds:
  prod:
    auth:
      auth_url: https://keystone.example/identity
      username: demo
      password: wrong
      project_id: 0123
      user-domain-id: default
    region_name: North
    interface: internalURL
    cacert: ~/ca.pem
    verify: no
    api_timeout: 2.5
    volumev3_endpoint_override: https://old.example/v3
    block-storage-endpoint-override: https://cinder.example/v3
    compute_endpoint_override: https://nova.example/v2.1
  other:
    auth: {auth_url: 'http://other.example', token: gAAAA}
    auth_type: v3token
";

#[test]
fn a_named_cloud_with_everything() {
    let secure = "clouds: {prod: {auth: {password: '1e3'}}}";
    let (_directory, sources) = files(&[("clouds.yaml", CLOUDS), ("secure.yaml", secure)]);
    // What is set beside a cloud's name plays no part.
    let config = CloudConfig::named("prod", &sources.variable("OS_PASSWORD", "x")).unwrap();
    let user = User::Name {
        name: "demo".to_owned(),
        domain: id("default"),
    };
    let scope = Scope::Project(Project::Id("0123".to_owned()));
    assert_eq!(parts(&config), (&user, "1e3", &scope));
    assert_eq!(config.name, "prod");
    assert_eq!(
        config.auth_url.as_str(),
        "https://keystone.example/identity"
    );
    assert_eq!(config.region.as_deref(), Some("North"));
    assert_eq!(config.interface, Interface::Internal);
    assert_eq!(
        config.ca_certificate,
        Some(PathBuf::from("/home/demo/ca.pem"))
    );
    assert!(!config.verify);
    assert_eq!(config.api_timeout, Some(Duration::from_millis(2500)));
    let overrides: Vec<_> = config
        .endpoint_overrides
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        overrides,
        [
            ("block-storage", "https://cinder.example/v3"),
            ("compute", "https://nova.example/v2.1")
        ]
    );
}

#[test]
fn a_token_of_a_file() {
    let (_directory, sources) = files(&[("clouds.yaml", CLOUDS)]);
    let config = CloudConfig::from_environment(&sources.variable("OS_CLOUD", "other")).unwrap();
    let token = crate::Secret::new("gAAAA".to_owned());
    let scope = Scope::Unstated;
    assert_eq!(config.auth, Auth::Token { token, scope });
    assert_eq!(config.interface, Interface::Public);
    assert!(config.verify);
}

#[test]
fn the_first_file_of_the_search_path_counts() {
    let cloud = |url| format!("clouds: {{a: {{auth: {{auth_url: 'https://{url}', token: t}}}}}}");
    let (first, _) = files(&[("clouds.yml", &cloud("first"))]);
    let (second, _) = files(&[
        ("clouds.yaml", &cloud("second")),
        ("secure.yaml", "clouds: {a: {auth: {token: s}}}"),
        ("named.json", &cloud("named")),
    ]);
    let empty = tempfile::tempdir().unwrap();
    let sources = [&empty, &first, &second]
        .iter()
        .fold(Sources::default(), |sources, directory| {
            sources.directory(directory.path())
        });
    let config = CloudConfig::from_environment(&sources).unwrap();
    assert_eq!(config.auth_url.host_str(), Some("first"));
    assert!(matches!(&config.auth, Auth::Token { token, .. } if token.expose() == "s"));

    let path = second.path().join("named.json").display().to_string();
    let named = sources.clone().variable("OS_CLIENT_CONFIG_FILE", path);
    assert_eq!(
        CloudConfig::named("a", &named).unwrap().auth_url.host_str(),
        Some("named")
    );

    let absent = sources.variable("OS_CLIENT_CONFIG_FILE", "/nowhere/clouds.yaml");
    let message = fault(CloudConfig::named("a", &absent));
    assert!(
        message.contains("NotFound") && message.contains("OS_CLIENT_CONFIG_FILE"),
        "{message}"
    );
}

#[test]
fn profiles_come_from_the_public_file_only() {
    let clouds = "clouds: {a: {profile: vendor, auth: {username: u, user_domain_id: d, password: p}, region_name: R1}}";
    let public = "public-clouds: {vendor: {auth: {auth_url: 'https://iam.{region_name}.example/v3', username: x}, interface: admin}}";
    let (_directory, sources) = files(&[("clouds.yaml", clouds), ("clouds-public.yaml", public)]);
    let config = CloudConfig::named("a", &sources).unwrap();
    assert_eq!(config.auth_url.as_str(), "https://iam.r1.example/v3");
    assert_eq!(config.interface, Interface::Admin);
    assert!(matches!(parts(&config).0, User::Name { name, .. } if name == "u"));

    let (_directory, sources) = files(&[("clouds.yaml", clouds)]);
    let message = fault(CloudConfig::named("a", &sources));
    assert!(
        message.starts_with("Unsupported") && message.contains("profile vendor"),
        "{message}"
    );
}

#[test]
fn regions_have_values_of_their_own() {
    let clouds = "clouds: {a: {auth: {auth_url: 'https://k.example', token: t}, auth_type: token, \
        regions: [North, {name: South, values: {interface: internal, auth: {project_id: s}}}]}}";
    let (_directory, sources) = files(&[("clouds.yaml", clouds)]);
    let config = CloudConfig::named("a", &sources).unwrap();
    assert_eq!(
        (config.region.as_deref(), config.interface),
        (Some("North"), Interface::Public)
    );
    let in_region = |region: &str| {
        CloudConfig::from_environment(&sources.clone().variable("OS_REGION_NAME", region))
    };
    let south = in_region("South").unwrap();
    assert_eq!(
        (south.region.as_deref(), south.interface),
        (Some("South"), Interface::Internal)
    );
    assert!(
        matches!(&south.auth, Auth::Token { scope: Scope::Project(Project::Id(id)), .. } if id == "s")
    );
    let message = fault(in_region("south"));
    assert!(message.contains("regions North, South"), "{message}");
}

#[test]
fn variables_alone() {
    let more = [
        ("OS_REGION_NAME", "West"),
        ("OS_ENDPOINT_TYPE", "adminURL"),
        ("OS_CACERT", "/ca.pem"),
        ("OS_INSECURE", "1"),
        ("OS_IMAGE_ENDPOINT_OVERRIDE", "http://glance.example"),
        ("OS_PROJECT_ID", ""),
    ];
    let config = CloudConfig::from_environment(&openrc(&[], &more)).unwrap();
    let user = User::Name {
        name: "demo".to_owned(),
        domain: name("Users"),
    };
    assert_eq!(
        parts(&config),
        (&user, "hunter2", &project("shop", name("Projects")))
    );
    assert_eq!(config.name, "envvars");
    assert_eq!(config.region.as_deref(), Some("West"));
    assert_eq!(config.interface, Interface::Admin);
    assert!(!config.verify);
    assert_eq!(
        config.endpoint_overrides["image"].as_str(),
        "http://glance.example/"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!format!("{:?}", openrc(&[], &[])).contains("hunter2"));
}

#[test]
fn which_of_several_settings_counts() {
    let scope = |without: &[&str], more: &[(&str, &str)]| {
        let config = CloudConfig::from_environment(&openrc(without, more)).unwrap();
        parts(&config).2.clone()
    };
    let both = [
        ("OS_PROJECT_ID", "77"),
        ("OS_TENANT_NAME", "old"),
        ("OS_TENANT_ID", "66"),
    ];
    assert_eq!(
        scope(&[], &both),
        Scope::Project(Project::Id("77".to_owned()))
    );
    assert_eq!(scope(&[], &both[1..2]), project("shop", name("Projects")));
    assert_eq!(
        scope(
            &["OS_PROJECT_DOMAIN_NAME"],
            &[("OS_DEFAULT_DOMAIN", "default")]
        ),
        project("shop", id("default"))
    );
    let domains = [("OS_PROJECT_DOMAIN_ID", "p"), ("OS_DOMAIN_ID", "d")];
    assert_eq!(scope(&[], &domains), project("shop", id("p")));
    assert_eq!(
        scope(&["OS_PROJECT_NAME"], &domains[1..]),
        Scope::Domain(id("d"))
    );
    assert_eq!(
        scope(&["OS_PROJECT_NAME"], &[("OS_TRUST_ID", "t")]),
        Scope::Trust("t".to_owned())
    );
    assert_eq!(
        scope(&["OS_PROJECT_NAME"], &[("OS_SYSTEM_SCOPE", "all")]),
        Scope::System
    );
    assert_eq!(scope(&["OS_PROJECT_NAME"], &[]), Scope::Unstated);

    let clouds = "clouds: {a: {project_id: outside, username: outside, auth: {auth_url: 'https://k.example', \
        project_id: inside, username: inside, domain_id: d, password: p}}}";
    let (_directory, sources) = files(&[("clouds.yaml", clouds)]);
    let config = CloudConfig::named("a", &sources).unwrap();
    let user = User::Name {
        name: "inside".to_owned(),
        domain: id("d"),
    };
    let scope = Scope::Project(Project::Id("outside".to_owned()));
    assert_eq!(parts(&config), (&user, "p", &scope));
}

#[test]
fn application_credentials() {
    let credential = |more: &[(&str, &str)]| {
        let base = [
            ("OS_AUTH_URL", "https://k.example"),
            ("OS_APPLICATION_CREDENTIAL_SECRET", "hush"),
        ];
        CloudConfig::from_environment(&variables(&[&base, more].concat()))
    };
    let found = |more: &[(&str, &str)]| match credential(more).unwrap().auth {
        Auth::ApplicationCredential { credential, secret } => {
            assert_eq!(secret.expose(), "hush");
            credential
        }
        other => panic!("{other:?}"),
    };
    let by_id = ("OS_APPLICATION_CREDENTIAL_ID", "c");
    let by_name = ("OS_APPLICATION_CREDENTIAL_NAME", "n");
    let declared = ("OS_AUTH_TYPE", "v3applicationcredential");
    assert_eq!(
        found(&[by_id, declared]),
        ApplicationCredential::Id("c".to_owned())
    );
    assert_eq!(
        found(&[by_id, by_name]),
        ApplicationCredential::Id("c".to_owned())
    );
    assert_eq!(
        found(&[by_name, ("OS_USER_ID", "u")]),
        ApplicationCredential::Name {
            name: "n".to_owned(),
            user: User::Id("u".to_owned())
        }
    );
    let message = fault(credential(&[by_name]));
    assert!(message.contains("OS_USERNAME"), "{message}");
    let message = fault(credential(&[
        by_id,
        ("OS_PROJECT_NAME", "p"),
        ("OS_TRUST_ID", "t"),
    ]));
    assert!(
        message.contains("settings project_name, trust_id"),
        "{message}"
    );
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    for (without, expected) in [
        (
            "OS_AUTH_URL",
            "set auth_url under auth in clouds.yaml, or OS_AUTH_URL",
        ),
        ("OS_USERNAME", "OS_USERNAME"),
        ("OS_PASSWORD", "OS_PASSWORD"),
        (
            "OS_USER_DOMAIN_NAME",
            "OS_USER_DOMAIN_NAME or OS_USER_DOMAIN_ID",
        ),
        (
            "OS_PROJECT_DOMAIN_NAME",
            "OS_PROJECT_DOMAIN_NAME or OS_PROJECT_DOMAIN_ID",
        ),
    ] {
        let message = fault(CloudConfig::from_environment(&openrc(&[without], &[])));
        assert!(
            message.starts_with("Invalid") && message.contains(expected),
            "{message}"
        );
        assert!(message.contains("from the OS_* variables"), "{message}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (variable, value, expected) in [
        (
            "OS_AUTH_TYPE",
            "v3oidcpassword",
            "known are password, v3password",
        ),
        ("OS_INTERFACE", "secret", "public, internal or admin"),
        ("OS_INSECURE", "maybe", "insecure must be true or false"),
        ("OS_API_TIMEOUT", "-1", "api_timeout must be"),
        ("OS_API_TIMEOUT", "inf", "api_timeout must be"),
        ("OS_SYSTEM_SCOPE", "all", "project_name, system_scope"),
        ("OS_TRUST_ID", "t", "project_name, trust_id"),
        ("OS_AUTH_URL", "keystone.example", "auth_url is no URL"),
        (
            "OS_AUTH_URL",
            "ftp://keystone.example",
            "http:// or https://",
        ),
        (
            "OS_AUTH_URL",
            "https://iam.{region_name}.example",
            "placeholder",
        ),
        (
            "OS_AUTH_URL",
            "https://u:hunter2@k.example",
            "must not hold a user",
        ),
        (
            "OS_DNS_ENDPOINT_OVERRIDE",
            "nowhere",
            "dns_endpoint_override is no URL",
        ),
    ] {
        let message = fault(CloudConfig::from_environment(&openrc(
            &[variable],
            &[(variable, value)],
        )));
        assert!(
            message.starts_with("Invalid") && message.contains(expected),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn which_cloud_is_meant() {
    let message = fault(CloudConfig::from_environment(&variables(&[(
        "OS_REGION_NAME",
        "R",
    )])));
    assert!(message.contains("no cloud is described"), "{message}");

    let (_directory, sources) = files(&[("clouds.yaml", CLOUDS)]);
    let message = fault(CloudConfig::from_environment(&sources));
    assert!(message.contains("clouds other, prod"), "{message}");
    let message = fault(CloudConfig::named("production", &sources));
    assert!(
        message.starts_with("NotFound") && message.contains("clouds other, prod"),
        "{message}"
    );

    let sources = openrc(&[], &[("OS_CLOUD_NAME", "mine"), ("OS_CLOUD", "mine")]);
    assert_eq!(
        CloudConfig::from_environment(&sources).unwrap().name,
        "mine"
    );
    let (directory, _) = files(&[("clouds.yaml", "clouds: {mine: {}}")]);
    let message = fault(CloudConfig::named(
        "mine",
        &sources.directory(directory.path()),
    ));
    assert!(message.contains("rename one"), "{message}");
}

#[test]
fn files_with_a_fault_are_refused() {
    for (text, expected) in [
        ("clouds: [hunter2", "no valid YAML: line"),
        ("- hunter2", "must be a mapping with the key clouds"),
        ("clouds: hunter2", "clouds must be a mapping"),
        ("clouds: {a: {auth: hunter2}}", "auth must be a mapping"),
        (
            "clouds: {a: {auth: {auth_url: [hunter2]}}}",
            "auth_url must be one value",
        ),
        (
            "clouds: {a: {regions: {hunter2: 1}}}",
            "regions must be a list",
        ),
    ] {
        let (_directory, sources) = files(&[("clouds.yaml", text)]);
        let message = fault(CloudConfig::named("a", &sources));
        assert!(
            message.starts_with("Invalid") && message.contains(expected),
            "{message}"
        );
        assert!(message.contains("clouds.yaml"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
