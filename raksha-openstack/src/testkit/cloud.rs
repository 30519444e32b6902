//! The cloud as its users hold it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::any;
use raksha_core::{Error, Kind as ErrorKind, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::call::{Area, Call, Fate, Who};
use super::faults::Faults;
use super::guest::{self, Guest};
use super::http::{self, Cloud};
use super::options::Options;
use super::peer::{Door, Peer};
use super::policy::Denial;
use super::reply::{Body, Refusal};
use super::requests::RequestRecord;
use super::state::{Inventory, Kind};
use super::world::World;
use super::{compute, identity, network, services, volume};
use crate::Secret;
use crate::auth::{Auth, Domain, Project, Scope, User};
use crate::catalog::Interface;
use crate::config::CloudConfig;

/// The password of every user.
const PASSWORD: &str = "raksha";

/// An OpenStack in this process. Cheap to clone; it stops when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct DevCloud(Arc<Running>);

#[derive(Debug)]
struct Running {
    cloud: Cloud,
    url: Url,
    server: JoinHandle<()>,
    /// Removed with the cloud.
    _scratch: Option<tempfile::TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl DevCloud {
    /// A new cloud in a directory of its own, which goes with it.
    ///
    /// # Errors
    /// What the operating system says about directories and ports.
    pub async fn start(options: Options) -> Result<Self> {
        let scratch =
            tempfile::tempdir().map_err(|source| Error::io("start test cloud", source))?;
        let path = scratch.path().to_owned();
        Self::run(&path, options, Some(scratch)).await
    }

    /// The cloud that lies in `directory`, or a new one there: what exists stays when the process ends, so that several processes, one
    /// after the other, see the same cloud. Two at once must not have it open.
    ///
    /// # Errors
    /// What the operating system says about directories and ports; [`Corrupt`](ErrorKind::Corrupt) if another version wrote it.
    pub async fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::run(directory.as_ref(), options, None).await
    }

    async fn run(
        directory: &Path,
        options: Options,
        scratch: Option<tempfile::TempDir>,
    ) -> Result<Self> {
        let failed = |source| Error::io("start test cloud", source);
        let listener = TcpListener::bind(("127.0.0.1", options.port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut world = World::open(directory, options)?;
        world.base = format!("http://{address}");
        let url = Url::parse(&world.base).map_err(|source| {
            Error::new(
                ErrorKind::Internal,
                "start test cloud",
                "the address is no URL",
            )
            .caused_by(source)
        })?;
        if world.state.all(Kind::User).is_empty() {
            let now = world.now();
            let seeded = identity::seed(&mut world)
                .and_then(|()| compute::seed_flavors(&mut world))
                .and_then(|()| volume::seed_types(&mut world))
                .and_then(|()| network::seed_public(&mut world, now));
            seeded.map_err(|refusal| refused("start test cloud", &refusal))?;
            world.save().map_err(failed)?;
        }
        let cloud = Cloud {
            world: Arc::new(Mutex::new(world)),
            faults: Faults::default(),
            requests: super::requests::Requests::default(),
        };
        let app = Router::new()
            .fallback(any(http::answer))
            .with_state(cloud.clone())
            .into_make_service_with_connect_info::<Peer>();
        let server = tokio::spawn(async move {
            // It ends when it is aborted, and has no error of its own.
            let _ = axum::serve(Door(listener), app).await;
        });
        Ok(Self(Arc::new(Running {
            cloud,
            url,
            server,
            _scratch: scratch,
        })))
    }

    /// `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// How `user` reaches the project of the same name.
    pub fn cloud_config(&self, user: &str) -> CloudConfig {
        self.cloud_config_for(user, user)
    }

    /// How `user` reaches `project`.
    pub fn cloud_config_for(&self, user: &str, project: &str) -> CloudConfig {
        let domain = || Domain::Name("Default".to_owned());
        let mut auth_url = self.0.url.clone();
        auth_url.set_path("/identity/v3");
        CloudConfig {
            name: format!("devcloud-{user}"),
            auth_url,
            auth: Auth::Password {
                user: User::Name {
                    name: user.to_owned(),
                    domain: domain(),
                },
                password: Secret::new(PASSWORD.to_owned()),
                scope: Scope::Project(Project::Name {
                    name: project.to_owned(),
                    domain: domain(),
                }),
            },
            region: Some("RegionOne".to_owned()),
            interface: Interface::default(),
            ca_certificate: None,
            client_certificate: None,
            client_key: None,
            verify: true,
            endpoint_overrides: BTreeMap::new(),
            api_timeout: None,
        }
    }

    /// A clouds.yaml with the clouds `devcloud-admin`, `devcloud-demo` and `devcloud-other`.
    pub fn clouds_yaml(&self) -> String {
        let mut text = "clouds:\n".to_owned();
        for user in ["admin", "demo", "other"] {
            text += &format!(
                "  devcloud-{user}:\n    region_name: RegionOne\n    identity_api_version: 3\n    auth:\n      auth_url: {}identity/v3\n      \
                 username: {user}\n      password: {PASSWORD}\n      project_name: {user}\n      user_domain_name: Default\n      project_domain_name: Default\n",
                self.0.url
            );
        }
        text
    }

    /// Where the bytes of a volume, a snapshot, an image or a server's local root disk lie: a file, raw but for images.
    pub fn disk_path(&self, id: &str) -> PathBuf {
        self.0.cloud.world().disks.path(id)
    }

    /// Trouble on demand.
    pub fn faults(&self) -> Faults {
        self.0.cloud.faults.clone()
    }

    /// What was asked of the cloud so far, the latest last.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.0.cloud.requests.all()
    }

    /// Forgets what was asked so far.
    pub fn forget_requests(&self) {
        self.0.cloud.requests.clear();
    }

    /// What exists now, after everything that is under way has been let happen if its time has come.
    pub fn state(&self) -> Inventory {
        let mut world = self.0.cloud.world();
        let now = world.now();
        world.tick(now);
        Inventory::of(&world.state)
    }

    /// Lets everything that is under way happen now.
    pub fn settle(&self) {
        let mut world = self.0.cloud.world();
        world.finish();
        let _ = world.save();
    }

    /// The id of the thing of a kind that has this name; none if there is none or several.
    pub fn id_of(&self, kind: Kind, name: &str) -> Option<String> {
        let world = self.0.cloud.world();
        let found = world.state.ids(kind, |record| record.text("name") == name);
        let mut found = found.into_iter();
        found.next().filter(|_| found.next().is_none())
    }

    /// Limits how many of a resource a project may have, by the service's name for it: `volumes`, `gigabytes`, `snapshots`,
    /// `instances`, `cores`, `ram`, `network`, `port`, `floatingip` ...; -1 is no limit.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such project.
    pub fn set_quota(&self, project: &str, resource: &str, limit: i64) -> Result<()> {
        let project = self.named(Kind::Project, project)?;
        let mut world = self.0.cloud.world();
        let own = world.state.quotas.entry(project).or_default();
        own.insert(resource.to_owned(), limit);
        Ok(())
    }

    /// Denies the requests that `pattern` means to everybody who has `role` and not `admin`. `rule` is the policy's name, for the
    /// message: `os_compute_api:servers:create_image`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a pattern that is none.
    pub fn deny(&self, role: &str, pattern: &str, rule: &str) -> Result<()> {
        let denial = Denial {
            role: role.to_owned(),
            pattern: pattern.parse()?,
            rule: rule.to_owned(),
        };
        self.0.cloud.world().state.denials.push(denial);
        Ok(())
    }

    /// Denies nothing any more but what the services deny by themselves.
    pub fn allow_all(&self) {
        self.0.cloud.world().state.denials.clear();
    }

    /// Gives `user` these roles in `project`, and no others there.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such user or project.
    pub fn grant(&self, user: &str, project: &str, roles: &[&str]) -> Result<()> {
        let (user, project) = (
            self.named(Kind::User, user)?,
            self.named(Kind::Project, project)?,
        );
        identity::grant(&mut self.0.cloud.world(), &user, &project, roles);
        Ok(())
    }

    /// All tokens are worth nothing from now on.
    pub fn expire_tokens(&self) {
        let mut world = self.0.cloud.world();
        for token in world.state.ids(Kind::Token, |_| true) {
            world.state.remove(Kind::Token, &token);
        }
    }

    /// The guest of a server writes one more record round all its disks, each disk after the other; its number.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such server, [`Conflict`](ErrorKind::Conflict) if it does not run.
    pub fn write_records(&self, server: &str) -> Result<u64> {
        let mut world = self.0.cloud.world();
        let now = world.now();
        world.tick(now);
        let running = world
            .state
            .get(Kind::Server, server)
            .map(|server| server.text("status") == "ACTIVE");
        let fault = |kind, reason| Error::new(kind, "write records", reason).with("server", server);
        match running {
            Some(true) => {}
            Some(false) => {
                return Err(fault(
                    ErrorKind::Conflict,
                    "the server does not run, so its guest writes nothing: start it",
                ));
            }
            None => {
                return Err(fault(
                    ErrorKind::NotFound,
                    "there is no such server: name it by its id",
                ));
            }
        }
        let number = Self::write_round(&mut world, server);
        number.map_err(|refusal| refused("write records", &refusal))
    }

    /// One more record on each disk.
    fn write_round(world: &mut World, server: &str) -> Result<u64, Refusal> {
        let disks = world
            .state
            .get(Kind::Server, server)
            .map(compute::disks_of)
            .unwrap_or_default();
        let guest = world.state.guests.entry(server.to_owned()).or_default();
        guest.last += 1;
        let number = guest.last;
        let (at, bytes) = guest::record(number);
        for disk in disks {
            world.disks.write(&disk, at, &bytes)?;
        }
        Ok(number)
    }

    /// A guest that writes at all goes on.
    pub(super) fn go_on_writing(world: &mut World, server: &str) -> Result<(), Refusal> {
        let writes = world
            .state
            .guests
            .get(server)
            .is_some_and(|guest| guest.last > 0);
        let running = world
            .state
            .get(Kind::Server, server)
            .is_some_and(|server| server.text("status") == "ACTIVE");
        if writes && running {
            Self::write_round(world, server)?;
        }
        Ok(())
    }

    /// What the guest of a server did so far.
    pub fn guest(&self, server: &str) -> Guest {
        self.0
            .cloud
            .world()
            .state
            .guests
            .get(server)
            .cloned()
            .unwrap_or_default()
    }

    /// From now on the agent in a server's guest does not answer, or does again.
    pub fn set_agent_hangs(&self, server: &str, hangs: bool) {
        let mut world = self.0.cloud.world();
        world
            .state
            .guests
            .entry(server.to_owned())
            .or_default()
            .agent_hangs = hangs;
    }

    fn named(&self, kind: Kind, name: &str) -> Result<String> {
        self.id_of(kind, name).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "change test cloud",
                "there is nothing of this kind and name",
            )
            .with("kind", kind)
            .with("name", name)
        })
    }

    /// Does what `user` asks for in the project of the same name, without HTTP and without waiting: for making in the beginning what [`seed`](Self::seed) does
    /// not. In a path, such as `/volume/v3/{project}/volumes`, `{project}` is the project's id. Gives the answer.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such user, [`Internal`](ErrorKind::Internal) with the answer if the cloud refuses.
    pub fn ask(&self, user: &str, method: &str, path: &str, body: Value) -> Result<Value> {
        let (user_id, project) = (
            self.named(Kind::User, user)?,
            self.named(Kind::Project, user)?,
        );
        let mut world = self.0.cloud.world();
        let now = world.now();
        let path = path.replace("{project}", &project);
        let mut call: Call =
            services::read(&world, method, &path, axum::http::HeaderMap::new(), now);
        call.body = body;
        call.fate = Fate::Fine;
        let role = if user == "admin" { "admin" } else { "member" };
        call.who = Some(Who {
            token: String::new(),
            user: user_id,
            project,
            roles: vec![role.to_owned(), "reader".to_owned()],
        });
        let version = match call.area {
            Area::Compute => Some("compute 2.79"),
            Area::Volume => Some("volume 3.70"),
            _ => None,
        };
        if let Some(version) = version {
            let value = axum::http::HeaderValue::from_static(version);
            call.headers.insert("openstack-api-version", value);
        }
        let (reply, _) = services::serve(&mut world, &call);
        world.finish();
        let failed = || {
            Error::new(
                ErrorKind::Internal,
                "seed test cloud",
                "the cloud refused what it was seeded with",
            )
            .with("path", &path)
            .with("answer", format!("{:?}", reply.body))
        };
        match &reply.body {
            _ if !(200..300).contains(&reply.status) => Err(failed()),
            Body::Json(value) => Ok(value.clone()),
            _ => Ok(Value::Null),
        }
    }

    /// Adds an image with bytes, public, as `admin`: raw; its id.
    ///
    /// # Errors
    /// What the operating system says about the file.
    pub fn add_image(
        &self,
        name: &str,
        bytes: &[u8],
        properties: &[(&str, &str)],
    ) -> Result<String> {
        let mut fields = serde_json::json!({"name": name, "disk_format": "raw", "container_format": "bare",
            "visibility": "public", "min_disk": 1});
        for (key, value) in properties {
            super::state::set(&mut fields, key, Value::from(*value));
        }
        let made = self.ask("admin", "POST", "/image/v2/images", fields)?;
        let id = made
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let mut world = self.0.cloud.world();
        let failed = |source| Error::io("add image to test cloud", source).with("image", name);
        let scratch = format!("raw-{id}");
        std::fs::write(world.disks.path(&scratch), bytes).map_err(failed)?;
        let filled = super::image::fill(&world, &scratch, &id, "raw");
        world.disks.remove(&scratch);
        let filled = filled.map_err(|refusal| refused("add image to test cloud", &refusal))?;
        if let Some(image) = world.state.get_mut(Kind::Image, &id) {
            image.merge(&filled);
        }
        world.save().map_err(failed)?;
        Ok(id)
    }
}

fn refused(operation: &'static str, refusal: &Refusal) -> Error {
    Error::new(ErrorKind::Internal, operation, refusal.message.clone())
}
