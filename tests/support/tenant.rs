//! What a tenant does with `raksha-service`, by requests: jobs, their runs, and a server that is lost.

use raksha_openstack::testkit::Kind;
use serde_json::{Value, json};

use crate::{Served, Tenant, Web};

/// What must be text.
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// A job for `server`; its id.
pub fn job(served: &Served, tenant: &Tenant, name: &str, server: &str) -> String {
    let wanted = json!({ "backupjob": { "name": name, "servers": [{ "name": server }] } });
    let made = served.done(tenant, "POST", "/backupjobs", &wanted, 201);
    text(&made["backupjob"]["id"]).to_owned()
}

/// Begins a run; its id.
pub fn begin(served: &Served, tenant: &Tenant, job: &str, how: &str) -> String {
    let path = format!("/backupjobs/{job}{how}");
    let begun = served.done(tenant, "POST", &path, &Value::Null, 202);
    text(&begun["backupjobrun"]["id"]).to_owned()
}

/// Runs a job to its end; the run.
pub fn run(served: &Served, tenant: &Tenant, job: &str, how: &str) -> Value {
    let run = begin(served, tenant, job, how);
    let ended = served.ended(tenant, &format!("/backupjobruns/{run}"), "backupjobrun");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    ended
}

/// Deletes a server and its volumes, as their owner would.
pub fn lose(served: &Served, tenant: &Tenant, server: &str, volumes: &[&str]) {
    let web = Web::at(served.cloud.url().as_str());
    let token = [("X-Auth-Token", tenant.token.as_str())];
    let id = served.cloud.id_of(Kind::Server, server).unwrap();
    let gone = web.ask("DELETE", &format!("/compute/v2.1/servers/{id}"), &token, "");
    assert_eq!(gone.status, 204, "{gone:?}");
    served.cloud.settle();
    for volume in volumes {
        // Those that go with their server are gone.
        if let Some(id) = served.cloud.id_of(Kind::Volume, volume) {
            let path = format!("/volume/v3/{}/volumes/{id}", tenant.project);
            let gone = web.ask("DELETE", &path, &token, "");
            assert_eq!(gone.status, 202, "{gone:?}");
        }
    }
    served.cloud.settle();
}
