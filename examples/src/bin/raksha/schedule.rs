//! When jobs run and what is kept of them, and working on what is due.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use raksha_core::objective::Objective;
use raksha_core::protect::{Cancel, NewJob};
use raksha_core::retention::{Retention, Simulation};
use raksha_core::schedule::{MissedRuns, Outside, Schedule, TimeOfDay, Window, Zone};
use raksha_core::store::{DueEnd, DueRun, DueState, Limits, RunOutcome};
use raksha_core::work::{Worker, WorkerOptions};
use raksha_core::{Error, Kind, Result, Timestamp};

use crate::context::Context;
use crate::interrupt;
use crate::output::{short, table};
use crate::values::duration;

/// Days that are simulated unless said otherwise.
const YEAR: u32 = 365;

/// Due runs that are shown unless said otherwise.
const SHOWN: usize = 50;

/// When a job runs.
#[derive(Debug, Args)]
pub struct ScheduleOptions {
    /// Run at these minutes of the calendar: a cron expression, such as "30 2 * * mon-fri"
    #[arg(long, value_name = "CRON", conflicts_with = "every")]
    pub schedule: Option<String>,
    /// Run each time that so much time has gone by
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub every: Option<Duration>,
    /// When the first interval begins, as 2026-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT", requires = "every")]
    pub anchor: Option<Timestamp>,
    /// The time zone of --schedule, --window and --keep-…, such as Europe/Berlin
    #[arg(long, default_value = "UTC")]
    pub zone: Zone,
    /// Begin up to so much later; how much is the same for a job each time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub jitter: Option<Duration>,
    /// Begin only within these hours, as 22:00-05:00
    #[arg(long, value_name = "FROM-TO", value_parser = window)]
    pub window: Option<Window>,
    /// What becomes of a run that is due outside of --window
    #[arg(long, value_enum, default_value_t)]
    pub outside: OutsideWindow,
    /// Give up a run that cannot begin within this time [default: of all that were missed, the latest is made up for]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub skip_after: Option<Duration>,
}

/// What becomes of a run that is due outside the window.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum OutsideWindow {
    /// It waits until the window opens
    #[default]
    Wait,
    /// It is missed
    Miss,
}

fn window(text: &str) -> Result<Window, String> {
    let (start, end) = text.split_once('-').ok_or("write it as 22:00-05:00")?;
    let time = |text: &str| text.parse::<TimeOfDay>().map_err(|e| e.to_string());
    Window::new(time(start)?, time(end)?).map_err(|e| e.to_string())
}

/// Which points of a job are kept.
#[derive(Debug, Args)]
pub struct RetentionOptions {
    /// Keep the newest points
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_last: u32,
    /// Keep the newest point of so many hours
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_hourly: u32,
    /// Keep the newest point of so many days
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_daily: u32,
    /// Keep the newest point of so many weeks
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_weekly: u32,
    /// Keep the newest point of so many months
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_monthly: u32,
    /// Keep the newest point of so many years
    #[arg(long, value_name = "N", default_value_t)]
    pub keep_yearly: u32,
    /// Keep all points that are not older than the newest one by more than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub keep_within: Option<Duration>,
}

/// What a job promises, and how many of its runs there are at once.
#[derive(Debug, Args)]
pub struct ObjectiveOptions {
    /// Tell when the newest verified point becomes older than this: the recovery point objective
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub rpo: Option<Duration>,
    /// How many of its due runs may be under way at once [default: 1]
    #[arg(long, value_name = "N")]
    pub max_parallel: Option<u32>,
}

impl ScheduleOptions {
    /// The schedule that was asked for.
    pub fn schedule(&self, now: Timestamp) -> Result<Option<Schedule>> {
        let mut schedule = match (&self.schedule, self.every) {
            (Some(cron), _) => Schedule::cron(cron, self.zone.clone())?,
            (None, Some(every)) => {
                let mut schedule = Schedule::every(every, self.anchor.unwrap_or(now));
                schedule.zone = self.zone.clone();
                schedule
            }
            (None, None)
                if self.jitter.is_some() || self.window.is_some() || self.skip_after.is_some() =>
            {
                let message = "--jitter, --window and --skip-after say how a schedule is kept: give --schedule or --every as well";
                return Err(Error::new(Kind::Invalid, "read the command line", message));
            }
            (None, None) => return Ok(None),
        };
        schedule.jitter = self.jitter.unwrap_or_default();
        let outside = match self.outside {
            OutsideWindow::Wait => Outside::Wait,
            OutsideWindow::Miss => Outside::Miss,
        };
        schedule.window = self.window.map(|window| window.with_outside(outside));
        if let Some(grace) = self.skip_after {
            schedule.missed = MissedRuns::Skip { grace };
        }
        Ok(Some(schedule))
    }
}

impl RetentionOptions {
    /// The policy that was asked for.
    pub fn retention(&self, zone: &Zone) -> Retention {
        let Self {
            keep_last,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            keep_within,
        } = *self;
        Retention {
            last: keep_last,
            hourly: keep_hourly,
            daily: keep_daily,
            weekly: keep_weekly,
            monthly: keep_monthly,
            yearly: keep_yearly,
            within: keep_within,
            zone: zone.clone(),
        }
    }
}

/// A job with all that was asked for.
pub fn complete(
    new: NewJob,
    now: Timestamp,
    schedule: &ScheduleOptions,
    retention: &RetentionOptions,
    objective: &ObjectiveOptions,
) -> Result<NewJob> {
    let mut new = new
        .with_retention(retention.retention(&schedule.zone))
        .with_max_parallel(objective.max_parallel.unwrap_or(1));
    new.schedule = schedule.schedule(now)?;
    new.objective = objective.rpo.map(Objective::new);
    Ok(new)
}

/// What is simulated.
#[derive(Debug, Args)]
pub struct SimulateOptions {
    /// A job, by name or id, whose schedule and retention are simulated where the options do not say otherwise
    pub job: Option<String>,
    #[command(flatten)]
    pub schedule: ScheduleOptions,
    #[command(flatten)]
    pub retention: RetentionOptions,
    /// How many days
    #[arg(long, default_value_t = YEAR)]
    pub days: u32,
    /// When it begins, as 2026-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<Timestamp>,
    /// Show each point that is kept at the end as well, and why
    #[arg(long)]
    pub points: bool,
}

/// Shows what a policy would keep.
pub async fn simulate(context: &Context, options: SimulateOptions) -> Result<()> {
    let from = options.from.unwrap_or_else(|| context.env.now());
    let job = match &options.job {
        Some(job) => {
            let (jobs, project) = (context.jobs().await?, context.project().await?);
            let all = jobs.jobs(&project).await?;
            let found = all
                .into_iter()
                .find(|j| j.name == *job || j.id.to_string() == *job);
            Some(found.ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    "simulate job",
                    "the project has no job of this name or id",
                )
                .with("job", job)
            })?)
        }
        None => None,
    };
    let asked = options.retention.retention(&options.schedule.zone);
    let retention = match &job {
        Some(job) if asked.keeps_everything() => job.retention.clone(),
        _ => asked,
    };
    let asked = options.schedule.schedule(from)?;
    let schedule = asked.or_else(|| job.and_then(|job| job.schedule)).ok_or_else(|| {
        let message = "without a schedule there is nothing to simulate: give --schedule or --every, or a job that has one";
        Error::new(Kind::Invalid, "simulate job", message)
    })?;
    let length = Duration::from_secs(24 * 3600) * options.days;
    let simulation = Simulation::run(&retention, &schedule, from, length)?;
    context.output.show(&simulation, || {
        let mut lines = vec![
            format!("schedule  {schedule}"),
            format!("keeps     {retention}"),
            simulation.to_string(),
        ];
        if options.points {
            lines.push(simulation.points.to_string());
        }
        lines.join("\n")
    })
}

#[derive(Debug, Subcommand)]
pub enum ScheduleVerb {
    /// Work on what is due, until Ctrl-C: then what is under way is finished. Any number of such workers may share --jobs
    Run(WorkOptions),
    /// List due runs: those that wait, those under way, and what became of the others
    List {
        /// Only those of this job
        job: Option<String>,
        /// At most so many, those that were due last
        #[arg(long, default_value_t = SHOWN)]
        most: usize,
    },
}

/// How a worker works.
#[derive(Debug, Args)]
pub struct WorkOptions {
    /// Do what is due by now, one after the other, and end
    #[arg(long)]
    pub once: bool,
    /// What to call this worker
    #[arg(long, default_value = "raksha")]
    pub name: String,
    /// How often to look what is due
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    pub poll: Duration,
    /// How long the run of a worker that died waits until another one takes it over; at least 30s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5min")]
    pub lease: Duration,
    /// How many runs this worker has under way at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub runs_at_once: usize,
    /// How many runs of the project all workers together have under way at once [default: any number]
    #[arg(long, value_name = "N")]
    pub project_limit: Option<u32>,
    /// Verify only this share of the packs that hold a new point, drawn at random, such as 0.1 [default: all of them]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub verify_sample: Option<f64>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a number above 0, and not above 1".to_owned()),
    }
}

pub async fn carry_out(context: &Context, verb: ScheduleVerb) -> Result<()> {
    match verb {
        ScheduleVerb::Run(options) => work(context, options).await,
        ScheduleVerb::List { job, most } => {
            let (jobs, project) = (context.jobs().await?, context.project().await?);
            let all = jobs.jobs(&project).await?;
            let job = match &job {
                Some(text) => Some(context.raksha().await?.find_job(text).await?.id),
                None => None,
            };
            let due = jobs.due_runs(&project, job, most).await?;
            context.output.show(&due, || {
                let rows = due.iter().map(|one| {
                    let job = all.iter().find(|job| job.id == one.job);
                    [
                        one.due.to_string(),
                        job.map_or_else(|| short(one.job), |job| job.name.clone()),
                        state(one),
                    ]
                });
                table(["DUE", "JOB", "STATE"], rows)
            })
        }
    }
}

fn state(one: &DueRun) -> String {
    match &one.state {
        DueState::Waiting if one.ready > one.due => format!("waits until {}", one.ready),
        DueState::Waiting => "waits".to_owned(),
        DueState::Leased { worker, until } => format!("{worker} has it until {until}"),
        DueState::Ended { end, .. } => match end {
            DueEnd::Ran { run, outcome } => match outcome {
                RunOutcome::Succeeded { .. } => format!("succeeded: run {}", short(run)),
                RunOutcome::Failed { error } => format!("failed: run {}: {error}", short(run)),
                RunOutcome::Cancelled => format!("cancelled: run {}", short(run)),
            },
            DueEnd::Missed { reason } => format!("missed: {reason}"),
            DueEnd::Failed { error } => format!("could not begin: {error}"),
        },
    }
}

async fn work(context: &Context, options: WorkOptions) -> Result<()> {
    let projects = context.projects().await?;
    let mut how = WorkerOptions::default();
    how.poll = options.poll;
    how.lease = options.lease;
    how.runs_at_once = options.runs_at_once;
    how.limits = Limits {
        per_project: options.project_limit,
        ..Limits::default()
    };
    how.verify_sample = options.verify_sample;
    let worker = Worker::new(options.name, context.jobs().await?, projects).with_options(how);
    let mut events = worker.events();
    let (json, quiet) = (context.common.json, context.common.quiet);
    let shown = tokio::spawn({
        let output = context.output;
        async move {
            while let Some(event) = events.next().await {
                if json || !quiet {
                    output.show(&event, || event.to_string())?;
                }
            }
            Ok::<_, Error>(())
        }
    });
    let drain = Cancel::new();
    interrupt::cancels(drain.clone());
    let done = match options.once {
        true => worker.once().await,
        false => {
            worker.work(&drain).await;
            Ok(())
        }
    };
    // The last listener ends with the worker.
    drop(worker);
    match shown.await {
        Ok(shown) => done.and(shown),
        Err(_) => done,
    }
}
