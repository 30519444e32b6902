"use strict";
// Everything that is shown is text: nothing from anywhere is taken for markup.

const $ = (id) => document.getElementById(id);
const state = { token: null, project: null, jobs: [], policies: [], hooks: [], timer: null, restore: null, mayChange: false };

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function row(...cells) {
  const tr = element("tr");
  for (const cell of cells) {
    const td = element("td", null, cell.name);
    for (const part of [cell.parts ?? cell].flat()) td.append(part ?? "");
    tr.append(td);
  }
  return tr;
}

const number = (text) => ({ name: "number", parts: [text] });
const when = (text) => ({ name: "when", parts: [time(text)] });

function button(text, action, name = "quiet") {
  const made = element("button", text, name);
  made.type = "button";
  made.disabled = !state.mayChange;
  made.addEventListener("click", () => action(made).catch(trouble));
  return made;
}

function size(bytes) {
  if (bytes === undefined || bytes === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return (unit === 0 ? bytes : bytes.toFixed(bytes < 10 ? 2 : 1)) + " " + units[unit];
}

function time(text) {
  if (!text) return "–";
  return text.slice(0, 16).replace("T", " ");
}

async function ask(method, path, body) {
  const options = { method, headers: { "X-Auth-Token": state.token } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  const said = text ? JSON.parse(text) : null;
  if (answer.ok) return said;
  const error = said?.error;
  const failed = new Error(error ? words(error) : "the service answered with " + answer.status);
  failed.status = answer.status;
  throw failed;
}

function words(error) {
  const context = Object.entries(error.context).map(([name, value]) => name + " " + value);
  const more = context.length ? " (" + context.join(", ") + ")" : "";
  return error.operation + ": " + error.reason + more + (error.cause ? ": " + error.cause : "") + " [" + error.request_id + "]";
}

const of = (path) => "/v1/" + encodeURIComponent(state.project) + path;

function say(id, text) {
  $(id).textContent = text ?? "";
  $(id).hidden = !text;
}

function trouble(error) {
  if (error.status === 401) leave("The token is not worth anything any more: sign in again.");
  else say("trouble", error.message);
}

// Signing in and out.

async function enter(event) {
  event.preventDefault();
  state.token = $("token").value.trim();
  say("refused");
  try {
    const { session } = await ask("GET", "/v1/session");
    state.project = session.project.id;
    state.mayChange = session.may_change;
    $("who").textContent = session.user.name + " in project " + session.project.name + (session.may_change ? "" : " (you may look only)");
    state.policies = (await ask("GET", of("/policies"))).policies;
    state.hooks = (await ask("GET", of("/hooks"))).hooks;
  } catch (error) {
    state.token = null;
    say("refused", error.message);
    return;
  }
  $("token").value = "";
  $("door").hidden = true;
  $("house").hidden = false;
  $("leave").hidden = false;
  $("new-job").disabled = !state.mayChange;
  await refresh();
}

function leave(why) {
  clearTimeout(state.timer);
  Object.assign(state, { token: null, project: null });
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  $("who").textContent = "";
  $("door").hidden = false;
  $("house").hidden = true;
  $("leave").hidden = true;
  say("refused", why);
}

// What is shown.

async function refresh() {
  clearTimeout(state.timer);
  if (!state.token) return;
  let busy = false;
  try {
    const [jobs, runs, restores, points] = await Promise.all([
      ask("GET", of("/backupjobs/detail")),
      ask("GET", of("/backupjobruns/detail?limit=20")),
      ask("GET", of("/restores?limit=20")),
      ask("GET", of("/points?limit=50&sizes=1")),
    ]);
    if (!state.token) return;
    state.jobs = jobs.backupjobs;
    show("jobs", jobs.backupjobs, showJob);
    show("runs", runs.backupjobruns, showRun);
    show("restores", restores.restores, showRestore);
    show("points", points.points, showPoint);
    say("trouble");
    busy = [...runs.backupjobruns, ...restores.restores].some((one) => one.status === "running");
  } catch (error) {
    trouble(error);
  }
  if (state.token) state.timer = setTimeout(refresh, busy ? 1000 : 10000);
}

function show(id, things, make) {
  $(id).replaceChildren(...things.map(make));
  $("no-" + id).hidden = things.length > 0;
  $(id).parentElement.hidden = things.length === 0;
}

const jobName = (id) => state.jobs.find((job) => job.id === id)?.name ?? "a job that was deleted";
const colours = { succeeded: "good", running: "busy", failed: "bad", cancelled: "warn", met: "good", at_risk: "warn", late: "bad" };
const mark = (status, text) => element("span", text ?? status, "state " + colours[status]);

function showJob(job) {
  const protection = [];
  if (job.objective) protection.push(mark(job.protection.objective, job.protection.objective.replace("_", " ")));
  const verified = job.protection.verified;
  protection.push(element("div", verified ? "verified point of " + time(verified.taken) : "no verified point", "soft"));
  const schedule = [job.in_words.schedule ?? "when asked to"];
  if (job.policy) schedule.push(element("div", "policy " + job.policy, "soft"));
  if (job.next_due) schedule.push(element("div", "next " + time(job.next_due), "soft"));
  const hooks = (job.hooks ?? []).map((hook) => hook.name + (hook.if_fails === "warn" ? " (goes on if it fails)" : ""));
  if (hooks.length) schedule.push(element("div", "calls " + hooks.join(", then "), "soft"));
  const run = job.newest_run;
  return row(job.name, job.in_words.servers, { parts: schedule }, job.in_words.retention, { parts: protection },
    { parts: run ? [mark(run.status), element("div", time(run.started), "soft")] : ["–"] },
    { parts: [button("Run now", async () => { await ask("POST", of("/backupjobs/" + job.id)); await refresh(); })] });
}

function progress(one) {
  const disks = one.disks.filter((disk) => disk.size !== undefined);
  const bar = element("progress");
  const total = disks.reduce((sum, disk) => sum + disk.size, 0);
  if (total > 0) {
    bar.max = total;
    bar.value = disks.reduce((sum, disk) => sum + disk.counts.logical_bytes, 0);
  }
  bar.setAttribute("aria-label", one.phase ?? "beginning");
  return [mark("running", (one.phase ?? "beginning").replaceAll("_", " ")), bar];
}

function outcome(one) {
  if (one.status === "running") return progress(one);
  return one.error ? [mark(one.status), element("div", one.error, "soft")] : [mark(one.status)];
}

function showRun(run) {
  const actions = [];
  if (run.status === "running") actions.push(button("Cancel", async () => { await ask("POST", of("/backupjobruns/" + run.id + "/cancel")); await refresh(); }));
  if (run.restorable) {
    actions.push(button("Restore…", async () => openRestore(run)));
    actions.push(button("Forget", async (self) => {
      if (self.textContent === "Forget") { self.textContent = "Forget the point?"; clearTimeout(state.timer); state.timer = setTimeout(refresh, 8000); return; }
      await ask("DELETE", of("/backupjobruns/" + run.id));
      await refresh();
    }));
  }
  const counts = run.counts;
  const warnings = run.warnings.map((warning) => element("div", warning, "soft warn"));
  return row(when(run.started), jobName(run.job), { parts: [...outcome(run), ...warnings] }, number(size(counts.logical_bytes)), number(size(counts.read_bytes)),
    number(size(counts.new_bytes)), number(size(counts.stored_bytes)), { parts: actions });
}

function showRestore(restore) {
  const actions = [];
  if (restore.status === "running") actions.push(button("Cancel", async () => { await ask("POST", of("/restores/" + restore.id + "/cancel")); await refresh(); }));
  const written = restore.disks.reduce((sum, disk) => sum + disk.counts.logical_bytes, 0);
  return row(when(restore.started), { parts: outcome(restore) }, number(String(restore.created.length)), number(size(written)), { parts: actions });
}

function showPoint(point) {
  return row(when(point.taken), point.name, number(String(point.servers)), number(size(point.logical_bytes)),
    number(size(point.unique_bytes)), number(size(point.shared_bytes)), point.held ? "held" : "");
}

// A new job.

function openJob() {
  const policies = $("job-policy");
  policies.replaceChildren(element("option", "none: runs when asked to, keeps everything"));
  policies.firstChild.value = "";
  for (const policy of state.policies) {
    const option = element("option", policy.name);
    option.value = policy.name;
    policies.append(option);
  }
  describePolicy();
  $("job-hooks").hidden = state.hooks.length === 0;
  $("hooks").replaceChildren(...state.hooks.map(offerHook));
  say("job-trouble");
  $("job-dialog").showModal();
}

function describePolicy() {
  const policy = state.policies.find((one) => one.name === $("job-policy").value);
  const parts = policy ? [policy.description, policy.in_words.schedule, "keeps " + policy.in_words.retention, policy.in_words.objective] : [];
  $("policy-words").textContent = parts.filter((part) => part).join(" · ");
}

const held = {
  crash_across_disks: "all disks of a server are as after one power cut",
  file_system: "file systems are written out and hold still",
  application: "the application takes part",
};

function offerHook(hook, n) {
  const offered = element("div", null, "hook");
  const label = element("label", null, "check");
  const chosen = element("input");
  Object.assign(chosen, { type: "checkbox", id: "hook-" + n });
  label.append(chosen, hook.name);
  const fails = element("select");
  Object.assign(fails, { id: "hook-fails-" + n, disabled: true });
  fails.setAttribute("aria-label", "if " + hook.name + " fails");
  for (const [value, text] of [["refuse", "if it fails, the run fails"], ["warn", "if it fails, go on with a warning"]]) {
    const option = element("option", text);
    option.value = value;
    fails.append(option);
  }
  chosen.addEventListener("change", () => { fails.disabled = !chosen.checked; });
  const holds = hook.holds ? "by the operator's word, " + (held[hook.holds] ?? hook.holds) : null;
  const words = [hook.description, holds, "takes " + hook.within + " s at most"];
  offered.append(label, fails, element("p", words.filter((part) => part).join(" · "), "hint"));
  return offered;
}

function chosenHooks() {
  return state.hooks.map((hook, n) => ({ name: hook.name, if_fails: $("hook-fails-" + n).value })).filter((_, n) => $("hook-" + n).checked);
}

function selector(text) {
  if (text === "all") return "all";
  const [kind, ...rest] = text.split(":");
  if (["id", "name", "tag"].includes(kind) && rest.length) return { [kind]: rest.join(":") };
  return { id_or_name: text };
}

async function makeJob(event) {
  event.preventDefault();
  const backupjob = {
    name: $("job-name").value,
    servers: list($("job-servers").value).map(selector),
    hooks: chosenHooks(),
  };
  if ($("job-policy").value) backupjob.policy = $("job-policy").value;
  try {
    await ask("POST", of("/backupjobs"), { backupjob });
    $("job-dialog").close();
    $("job-form").reset();
    await refresh();
  } catch (error) {
    say("job-trouble", error.message);
  }
}

const list = (text) => text.split(",").map((part) => part.trim()).filter((part) => part);

// A restore: first a plan, then, if somebody approves of it, the restore.

function openRestore(run) {
  state.restore = { run, plan: null, names: new Map() };
  $("restore-form").reset();
  $("restore-what").textContent = jobName(run.job) + ", as of " + time(run.started);
  $("plan").hidden = true;
  $("approve").disabled = true;
  say("restore-trouble");
  $("restore-dialog").showModal();
}

async function makePlan(event) {
  event?.preventDefault();
  const restore = state.restore;
  const names = [...restore.names.values()].filter(([, name]) => name);
  const options = {
    servers: list($("restore-servers").value),
    scope: $("restore-scope").value,
    leave_stopped: $("restore-stopped").checked,
    mapping: { names },
  };
  say("restore-trouble");
  $("approve").disabled = true;
  try {
    showPlan(await ask("POST", of("/backupjobruns/" + restore.run.id + "/plan"), { options }));
  } catch (error) {
    $("plan").hidden = true;
    say("restore-trouble", error.message);
  }
}

const verbs = { reuse: "use", map: "map", create: "create", write_disk: "write", create_server: "create", start: "start" };

function showPlan({ plan, bytes, refused }) {
  const restore = state.restore;
  restore.plan = plan;
  $("plan-steps").replaceChildren(...plan.steps.map((step) =>
    row(verbs[step.step] ?? step.step, step.step === "write_disk" ? "disk" : step.key.kind.replaceAll("_", " "), step.name,
      number(step.size !== undefined ? size(step.size) : step.id ? "the live one" : ""))));
  const conflicts = plan.conflicts.map((conflict) => {
    const parts = [];
    if (["server", "volume", "network", "router", "security_group"].includes(conflict.key.kind)) {
      const input = element("input");
      input.placeholder = "another name";
      input.setAttribute("aria-label", "another name for " + conflict.name);
      input.addEventListener("input", () => restore.names.set(conflict.key.kind + " " + conflict.key.id, [conflict.key, input.value.trim()]));
      parts.push(input);
    }
    return row(conflict.key.kind.replaceAll("_", " "), conflict.name, conflict.reason, { parts });
  });
  const problems = plan.problems.map((problem) => row("", problem.what, problem.reason, ""));
  $("plan-conflicts").replaceChildren(...conflicts, ...problems);
  $("plan-way").hidden = conflicts.length + problems.length === 0;
  $("plan-notes").replaceChildren(...plan.notes.map((note) => element("li", note)));
  $("plan-sum").textContent = refused ? "This cannot be carried out as it stands." : "Nothing stands in the way; " + size(bytes) + " are written.";
  $("plan").hidden = false;
  $("approve").disabled = Boolean(refused);
}

async function approve() {
  const { run, plan } = state.restore;
  $("approve").disabled = true;
  try {
    await ask("POST", of("/backupjobruns/" + run.id), { plan });
    $("restore-dialog").close();
    await refresh();
  } catch (error) {
    say("restore-trouble", error.message);
  }
}

// What was looked at is what is carried out: other options need another plan.
function unplan() {
  $("plan").hidden = true;
  $("approve").disabled = true;
}

$("enter").addEventListener("submit", enter);
$("leave").addEventListener("click", () => leave());
$("new-job").addEventListener("click", openJob);
$("job-policy").addEventListener("change", describePolicy);
$("job-form").addEventListener("submit", makeJob);
$("restore-form").addEventListener("submit", makePlan);
for (const id of ["restore-scope", "restore-servers", "restore-stopped"]) $(id).addEventListener("input", unplan);
$("approve").addEventListener("click", approve);
for (const close of document.querySelectorAll("[data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
