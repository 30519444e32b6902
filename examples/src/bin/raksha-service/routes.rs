//! Every route there is, once: the router, the OpenAPI document and the tests are made from this table.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use axum::http::Method;
use raksha_core::Result;

use crate::call::{Call, Reply};
use crate::{authority, dashboard, jobs, metrics, openapi, points, policies, restores, runs};

/// What somebody must be for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nobody in particular.
    None,
    /// Somebody with a token, for whichever project.
    Any,
    /// Somebody with a token for the project of the path.
    Look,
    /// The same, with a role that may change things.
    Change,
}

type Answer = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

/// A route.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Its name in the OpenAPI document.
    pub operation: &'static str,
    pub summary: &'static str,
    pub right: Right,
    /// Options of the query, each with what it means.
    pub query: &'static [(&'static str, &'static str)],
    /// The schema of the body.
    pub takes: Option<&'static str>,
    /// The status of success, and the schema of its body: JSON, or a media type with a slash in it.
    pub gives: (u16, Option<&'static str>),
    pub handler: fn(Call) -> Answer,
}

/// Makes routes readable in a table: `GET "/path" name Right (options) takes -> status gives, handler, "summary"`.
macro_rules! routes {
    ($($method:ident $path:literal $operation:ident $right:ident $query:expr, $takes:expr => $status:literal $gives:expr, $handler:path, $summary:literal;)*) => {
        vec![$(Route {
            method: Method::$method,
            path: $path,
            operation: stringify!($operation),
            summary: $summary,
            right: Right::$right,
            query: $query,
            takes: $takes,
            gives: ($status, $gives),
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

const PAGE: &[(&str, &str)] = &[
    ("limit", "At most so many"),
    (
        "marker",
        "Begin after the one of this id: `next` of the page before",
    ),
];
const RUNS: &[(&str, &str)] = &[
    ("limit", "At most so many"),
    (
        "marker",
        "Begin after the one of this id: `next` of the page before",
    ),
    ("job", "Only those of this job"),
];
const POINTS: &[(&str, &str)] = &[
    ("limit", "At most so many"),
    (
        "marker",
        "Begin after the one of this id: `next` of the page before",
    ),
    (
        "sizes",
        "1 to find out what each takes in the target, which walks all trees",
    ),
];
const RUN: &[(&str, &str)] = &[(
    "prepare",
    "1 to read everything, whatever the cloud says has not changed",
)];

/// All routes.
pub fn all() -> &'static [Route] {
    &ROUTES
}

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    routes! {
        GET "/v1/session" session Any &[], None => 200 Some("Session"), points::session,
            "Whose token this is";

        GET "/v1/{project_id}/backupjobs" list_jobs Look PAGE, None => 200 Some("Jobs"), jobs::list,
            "The project's jobs, in the order of their names";
        GET "/v1/{project_id}/backupjobs/detail" detail_jobs Look PAGE, None => 200 Some("JobDetails"), jobs::detail,
            "The same, each with its newest run and how it is protected";
        POST "/v1/{project_id}/backupjobs" create_job Change &[], Some("NewJob") => 201 Some("JobDetail"), jobs::create,
            "Makes a job";
        GET "/v1/{project_id}/backupjobs/{job_id}" show_job Look &[], None => 200 Some("JobDetail"), jobs::show,
            "A job";
        PUT "/v1/{project_id}/backupjobs/{job_id}" replace_job Change &[], Some("NewJob") => 200 Some("JobDetail"), jobs::replace,
            "Makes another job of it: what is not given is as in a new one";
        PATCH "/v1/{project_id}/backupjobs/{job_id}" change_job Change &[], Some("JobChange") => 200 Some("JobDetail"), jobs::change,
            "Changes what is given, and nothing else";
        DELETE "/v1/{project_id}/backupjobs/{job_id}" delete_job Change &[], None => 204 None, jobs::delete,
            "Removes a job; its runs stay listed, and its points stay whole";
        POST "/v1/{project_id}/backupjobs/{job_id}" run_job Change RUN, None => 202 Some("RunBegun"), runs::begin,
            "Runs a job now, as whoever asks; answers with the run's id";

        POST "/v1/{project_id}/backupjobs/{job_id}/authority" renew_authority Change &[], None => 200 Some("JobDetail"), authority::renew,
            "Grants the job's right to run by itself anew, by whoever asks";

        GET "/v1/{project_id}/backupjobruns" list_runs Look RUNS, None => 200 Some("Runs"), runs::list,
            "The project's runs, the newest first";
        GET "/v1/{project_id}/backupjobruns/detail" detail_runs Look RUNS, None => 200 Some("RunDetails"), runs::detail,
            "The same, with each disk";
        GET "/v1/{project_id}/backupjobruns/{run_id}" show_run Look &[], None => 200 Some("RunDetail"), runs::show,
            "A run, with its progress";
        DELETE "/v1/{project_id}/backupjobruns/{run_id}" delete_run Change &[], None => 204 None, runs::forget,
            "Forgets the point of a run; its space comes back when garbage is collected";
        POST "/v1/{project_id}/backupjobruns/{run_id}/cancel" cancel_run Change &[], None => 202 None, runs::cancel,
            "Asks a run to stop";
        POST "/v1/{project_id}/backupjobruns/{run_id}/plan" plan_restore Look &[], Some("RestoreOptions") => 200 Some("Planned"), restores::plan,
            "What a restore would do; nothing changes";
        POST "/v1/{project_id}/backupjobruns/{run_id}" restore_run Change &[], Some("NewRestore") => 202 Some("RestoreBegun"), restores::begin,
            "Restores what a run made, by a plan that was looked at or by options; answers with the restore's id";

        GET "/v1/{project_id}/restores" list_restores Look PAGE, None => 200 Some("Restores"), restores::list,
            "The project's restores, the newest first";
        GET "/v1/{project_id}/restores/{restore_id}" show_restore Look &[], None => 200 Some("RestoreDetail"), restores::show,
            "A restore, with its progress";
        POST "/v1/{project_id}/restores/{restore_id}/cancel" cancel_restore Change &[], None => 202 None, restores::cancel,
            "Asks a restore to stop, and to remove what it created";

        GET "/v1/{project_id}/points" list_points Look POINTS, None => 200 Some("Points"), points::list,
            "The project's recovery points, the newest first";
        GET "/v1/{project_id}/points/{point_id}" show_point Look &[], None => 200 Some("PointDetail"), points::show,
            "A recovery point: its servers and disks, how consistent they are, and what it takes in the target";
        GET "/v1/{project_id}/quotas" show_quotas Look &[], None => 200 Some("Quotas"), points::quotas,
            "How much the project may have, and has";
        GET "/v1/{project_id}/policies" list_policies Look &[], None => 200 Some("Policies"), policies::list,
            "What the operator publishes";
        GET "/v1/{project_id}/hooks" list_hooks Look &[], None => 200 Some("Hooks"), policies::hooks,
            "What jobs may have called before disks are taken and after";
        POST "/v1/{project_id}/simulate" simulate Look &[], Some("Simulate") => 200 Some("Simulated"), policies::simulate,
            "What a schedule and a retention policy would keep over time";

        GET "/openapi.json" openapi None &[], None => 200 Some("Document"), openapi::show,
            "This document";
        GET "/metrics" metrics None &[], None => 200 Some("text/plain"), metrics::show,
            "Metrics in Prometheus' text format";
        GET "/healthz" health None &[], None => 200 Some("Health"), points::health,
            "Whether the job store answers";
        GET "/" dashboard None &[], None => 200 Some("text/html"), dashboard::page,
            "The dashboard";
        GET "/dashboard.css" dashboard_style None &[], None => 200 Some("text/css"), dashboard::style,
            "How the dashboard looks";
        GET "/dashboard.svg" dashboard_icon None &[], None => 200 Some("image/svg+xml"), dashboard::icon,
            "What tabs show of the dashboard";
        GET "/dashboard.js" dashboard_script None &[], None => 200 Some("text/javascript"), dashboard::script,
            "What the dashboard does";
    }
});
