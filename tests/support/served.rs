//! `raksha-service` as its operator starts it, beside a cloud with two tenants.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use raksha_openstack::testkit::{DevCloud, Options, Pace};
use serde_json::{Value, json};

use crate::web::{Answer, Web};
use crate::{Lab, Place, Program, schema, text};

/// A cloud, a repository, and the service.
#[derive(Debug)]
pub struct Served<C = DevCloud> {
    /// The cloud. Its administrator is the service's user.
    pub cloud: C,
    /// Where repository, jobs and settings are.
    pub place: Place,
    clouds: PathBuf,
    keystone: String,
    process: Option<Child>,
    web: Web,
    document: Value,
}

/// Somebody with a token for a project.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The token.
    pub token: String,
    /// The project's id.
    pub project: String,
}

/// So long is waited for anything.
const PATIENCE: Duration = Duration::from_secs(600);

impl Served {
    /// Starts all of it, with a cloud of its own that answers at this pace. What the service is told besides where things are is `more`.
    pub async fn start(pace: Duration, more: &str) -> Self {
        let mut options = Options::default();
        options.pace = Pace::all(pace);
        let cloud = DevCloud::start(options).await.unwrap();
        let place = Place::new();
        let clouds = place.file("clouds.yaml", cloud.clouds_yaml().as_bytes());
        let keystone = format!("{}identity/v3", cloud.url());
        Self::beside(
            cloud,
            place,
            clouds.into(),
            &keystone,
            "devcloud-admin",
            more,
        )
    }
}

impl Served<Lab> {
    /// Starts the service beside the lab's cloud.
    pub fn on_lab(lab: Lab, place: Place, more: &str) -> Self {
        let clouds = lab.clouds();
        let keystone = "http://127.0.0.1:5000/v3";
        Self::beside(lab, place, clouds, keystone, "raksha-admin", more)
    }
}

impl<C> Served<C> {
    fn beside(
        cloud: C,
        place: Place,
        clouds: PathBuf,
        keystone: &str,
        operator: &str,
        more: &str,
    ) -> Self {
        let path = |name: &str| text(&place.path(name));
        place.file("sealing-key", &[7; 64]);
        let settings = format!(
            "listen = '127.0.0.1:0'\ncloud = '{operator}'\ntarget = '{}'\nkey_file = '{}'\njobs = 'sqlite:{}'\n{more}",
            path("target"),
            path("key"),
            path("jobs.sqlite"),
        );
        place.file("service.toml", settings.as_bytes());
        let mut served = Self {
            cloud,
            place,
            clouds,
            keystone: keystone.to_owned(),
            process: None,
            web: Web::at("http://127.0.0.1:1"),
            document: Value::Null,
        };
        served.begin();
        served
    }

    /// Starts the service anew.
    pub fn begin(&mut self) {
        let program = Program::beside("raksha-service");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.path("service.log"));
        let mut process = Command::new(program)
            .arg(self.place.path("service.toml"))
            .current_dir(self.place.folder())
            .env_clear()
            .env("OS_CLIENT_CONFIG_FILE", &self.clouds)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "{line:?}: {}", self.log());
        self.web = Web::at(line.trim());
        self.process = Some(process);
        self.document = self.web.ask("GET", "/openapi.json", &[], "").json();
    }

    /// What the service wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("service.log")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.web.url()
    }

    /// Its OpenAPI document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Kills the service, so that nothing of it runs any more.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks the service to end; gives its exit code when it has.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let id = process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
        process.wait().unwrap().code()
    }

    /// Signs `user` in to the project of the same name.
    pub fn sign_in(&self, user: &str) -> Tenant {
        let domain = json!({ "name": "Default" });
        let asked = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": { "name": user, "domain": domain, "password": "raksha" } } },
            "scope": { "project": { "name": user, "domain": domain } } } });
        let answer = self.keystone("POST", "/auth/tokens", &[], &asked.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
        let token = answer.header("x-subject-token").unwrap().to_owned();
        let project = answer.json()["token"]["project"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        Tenant { token, project }
    }

    /// Asks Keystone itself.
    #[track_caller]
    pub fn keystone(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let web = Web::at(&self.keystone);
        let base = self.keystone.strip_prefix(&web.url()).unwrap();
        web.ask(method, &format!("{base}{path}"), headers, body)
    }

    /// Asks the service; `path` is below the tenant's project. The answer must be what the document says of the route.
    #[track_caller]
    pub fn ask(&self, tenant: &Tenant, method: &str, path: &str, body: &Value) -> Answer {
        let below = format!("/v1/{}{path}", tenant.project);
        self.ask_at(Some(tenant), method, &below, body)
    }

    /// The same with the whole path, and perhaps nobody's token.
    #[track_caller]
    pub fn ask_at(
        &self,
        tenant: Option<&Tenant>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let token = tenant.map(|tenant| ("X-Auth-Token", tenant.token.as_str()));
        let headers: Vec<(&str, &str)> = token.into_iter().collect();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self.web.ask(method, path, &headers, &body);
        self.check(method, path, &answer);
        answer
    }

    /// Asks; it must be answered with `status`. Gives the body.
    #[track_caller]
    pub fn get(&self, tenant: &Tenant, path: &str) -> Value {
        self.done(tenant, "GET", path, &Value::Null, 200)
    }

    /// Asks; it must be answered with `status`. Gives the body.
    #[track_caller]
    pub fn done(
        &self,
        tenant: &Tenant,
        method: &str,
        path: &str,
        body: &Value,
        status: u16,
    ) -> Value {
        let answer = self.ask(tenant, method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// The route of the document that a request meant, as its pattern.
    fn pattern(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let fits = |pattern: &str| {
            let (mut a, mut b) = (pattern.split('/'), path.split('/'));
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if a == b || a.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        let paths = self.document["paths"].as_object().unwrap();
        let mut found: Vec<_> = paths.iter().filter(|(pattern, _)| fits(pattern)).collect();
        // What has fewer names is meant.
        found.sort_by_key(|(pattern, _)| pattern.matches('{').count());
        found.first()?.1.get(method.to_lowercase())
    }

    /// The answer is what the document says.
    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let id = answer.header("x-openstack-request-id").unwrap_or_default();
        assert!(id.starts_with("req-"), "{method} {path}: {answer:?}");
        let failure = json!({ "$ref": "#/components/schemas/Failure" });
        let succeeded = (200..300).contains(&answer.status);
        let schema = match self.pattern(method, path) {
            Some(route) if succeeded => {
                let told = route["responses"].get(answer.status.to_string());
                let told = told.unwrap_or_else(|| {
                    panic!("{method} {path} is not said to answer {}", answer.status)
                });
                match told.get("content") {
                    None => {
                        assert_eq!(answer.text, "", "{method} {path}");
                        return;
                    }
                    Some(content) => match content.get("application/json") {
                        Some(json) => json["schema"].clone(),
                        None => return,
                    },
                }
            }
            None if succeeded => panic!("{method} {path} is not in the document"),
            _ => {
                assert_eq!(answer.json()["error"]["request_id"], id);
                failure
            }
        };
        let faults = schema::faults(&self.document, &schema, &answer.json());
        assert!(
            faults.is_empty(),
            "{method} {path}: {faults:#?}\n{}",
            answer.text
        );
    }

    /// Waits until what is at `path` (a run or a restore, under `name`) has ended; gives it.
    #[track_caller]
    pub fn ended(&self, tenant: &Tenant, path: &str, name: &str) -> Value {
        let began = Instant::now();
        loop {
            let shown = self.get(tenant, path)[name].clone();
            if shown["status"] != "running" {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "{path} gets nowhere: {shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Waits until something has happened.
#[track_caller]
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl<C> Drop for Served<C> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the service's log:\n{}", self.log());
        }
        self.kill();
    }
}
