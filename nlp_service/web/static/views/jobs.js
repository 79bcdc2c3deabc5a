// Files: sent, followed, fetched. The list, and one job with the address `#/jobs/<id>`.

import { checkbox, confirmed, facts, field, fill, h, number, say, when, words } from "../dom.js";
import { ask, events, pause, save, send, upload } from "../api.js";
import { valueMark } from "../report.js";
import { empty, failed, loading } from "../states.js";

const ENDED = new Set(["done", "failed", "cancelled"]);
const POLL_MS = 2000;
const PREVIEW_ROWS = 10;
const FORMATS = { csv: "CSV", jsonl: "JSON Lines", parquet: "Parquet" };

/** Shows the list, or the job that the address names. */
export async function render(view) {
  await (view.path[0] ? showJob(view, view.path[0]) : showList(view));
}

async function showList({ body, signal }) {
  const list = h("div", {}, loading());
  fill(body, await uploadForm(signal), h("section", { class: "card" }, h("h2", {}, "The last jobs"), list));
  for (;;) {
    try {
      const { jobs } = await ask("v1/jobs?limit=50", { signal });
      if (jobs.length) drawList(list, jobs);
      else fill(list, empty("There is no job yet.", "A file of reports that is uploaded above shows up here."));
      if (jobs.every((job) => ENDED.has(job.state))) return;
    } catch (problem) {
      if (signal.aborted) return;
      delete list.dataset.shown;
      fill(list, failed(problem));
      if (problem.status && problem.status !== 503) return;
    }
    await pause(POLL_MS, signal);
  }
}

/** Draws the rows again only where they changed, so that the focus stays where it is. */
function drawList(list, jobs) {
  const shown = JSON.stringify(jobs);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  const focused = document.activeElement?.closest?.("[data-job]")?.dataset.job;
  fill(list, h("ul", { class: "rows" }, jobs.map(jobRow)));
  if (focused) list.querySelector(`[data-job="${focused}"] a`)?.focus();
}

function jobRow(job) {
  return h(
    "li",
    { "data-job": job.id, class: "row" },
    h("div", {}, h("a", { class: "row-title", href: `#/jobs/${job.id}` }, job.name), h("p", { class: "quiet" }, when(job.created_at))),
    h("div", { class: "row-side" }, stateMark(job), h("p", { class: "quiet" }, progressText(job))),
  );
}

function stateMark(job) {
  return h("span", { class: ["chip", `is-${job.state}`] }, job.state);
}

function progressText(job) {
  if (job.state === "done") return `${number(job.records)} records`;
  return job.records ? `${number(job.records_done)} of ${number(job.records)} records` : "";
}

async function uploadForm(signal) {
  const [{ label_sets: sets, default: chosen }, api] = await Promise.all([ask("v1/labels", { signal }), ask("openapi.json", { signal })]);
  const formats = api.paths["/v1/jobs"].post.requestBody.content["multipart/form-data"].schema.properties.format.enum;
  const input = h("input", { type: "file", id: "file", required: true, class: "visually-hidden" });
  const name = h("p", { class: "quiet", id: "file-name" }, "CSV, JSON Lines, Parquet and more, also packed with gzip");
  const drop = h(
    "div",
    { class: "drop" },
    input,
    h("label", { for: "file", class: "button" }, "Choose a file"),
    h("p", {}, "or drop it here"),
    name,
  );
  input.setAttribute("aria-describedby", "file-name");
  const boxes = sets.map((set) =>
    checkbox(`${set.id} (${set.labels.length})`, { name: "label_set", value: set.id, checked: chosen.includes(set.id) }),
  );
  const store = checkbox("Store the labels, for look-up and review", { name: "store" });
  const columns = Object.fromEntries(
    ["text", "report_id", "accession_number"].map((name) => [name, h("input", { type: "text", autocomplete: "off" })]),
  );
  const format = h(
    "select",
    {},
    h("option", { value: "" }, "by the file's name"),
    formats.map((id) => h("option", { value: id }, id)),
  );
  const encoding = h("input", { type: "text", autocomplete: "off", placeholder: "found out" });
  const progress = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const going = h("div", { hidden: true, class: "going" }, progress, h("p", { class: "quiet" }, "Uploading ..."));
  const problem = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Start the job");
  const form = h(
    "form",
    { class: "card" },
    h("h2", {}, "Label a file"),
    drop,
    h("fieldset", { class: "choices" }, h("legend", {}, "Label sets"), boxes),
    store,
    h(
      "details",
      {},
      h("summary", {}, "Columns, format, encoding"),
      h(
        "div",
        { class: "fields" },
        field("Column of the text", columns.text, "Usual names are found without help."),
        field("Column of the report id", columns.report_id),
        field("Column of the accession number", columns.accession_number),
        field("Format", format),
        field("Encoding", encoding),
      ),
    ),
    h("div", { class: "actions" }, button),
    going,
    problem,
  );

  const showName = () => {
    const [file] = input.files;
    fill(name, file ? [h("strong", {}, file.name), `, ${size(file.size)}`] : "No file is chosen.");
    drop.classList.toggle("is-full", Boolean(file));
  };
  input.addEventListener("change", showName);
  for (const event of ["dragenter", "dragover"]) {
    drop.addEventListener(event, (dragged) => {
      dragged.preventDefault();
      drop.classList.add("is-over");
    });
  }
  for (const event of ["dragleave", "drop"]) drop.addEventListener(event, () => drop.classList.remove("is-over"));
  drop.addEventListener("drop", (dropped) => {
    dropped.preventDefault();
    if (dropped.dataTransfer.files.length) {
      input.files = dropped.dataTransfer.files;
      showName();
    }
  });

  async function start() {
    const data = new FormData();
    const mapping = Object.fromEntries(Object.entries(columns).flatMap(([name, { value }]) => (value.trim() ? [[name, value.trim()]] : [])));
    data.set("label_sets", [...form.querySelectorAll("[name=label_set]:checked")].map((box) => box.value).join(","));
    data.set("store", store.querySelector("input").checked ? "true" : "false");
    if (format.value) data.set("format", format.value);
    if (encoding.value.trim()) data.set("encoding", encoding.value.trim());
    if (Object.keys(mapping).length) data.set("columns", JSON.stringify(mapping));
    data.set("file", input.files[0]);
    button.disabled = true;
    going.hidden = false;
    fill(problem);
    try {
      const job = await upload("v1/jobs", data, (share) => (progress.value = share));
      if (!signal.aborted) window.location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      if (!signal.aborted) fill(problem, failed(error));
    } finally {
      button.disabled = false;
      going.hidden = true;
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  return form;
}

async function showJob({ body, signal, rename }, id) {
  const head = h("div", { class: "card" });
  const after = h("div", { class: "view" });
  let job = await ask(`v1/jobs/${id}`, { signal });
  rename(job.name);
  const meter = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const line = h("p", { class: "quiet" });
  const chip = h("p", {});
  const counts = h("div");
  const error = h("div");
  const actions = h("div", { class: "actions" });
  fill(head, h("div", { class: "card-head" }, h("h2", {}, "Progress"), chip), meter, line, error, counts, actions);
  fill(body, h("p", {}, h("a", { href: "#/jobs" }, "All jobs")), head, after);
  let drawn = null;
  const started = { at: performance.now(), done: null };

  function draw() {
    fill(chip, stateMark(job));
    meter.value = job.progress;
    line.textContent = [progressText(job), remaining(job, started)].filter(Boolean).join(", ");
    fill(error, job.error && failed({ title: "The job failed", detail: job.error }));
    fill(
      counts,
      facts([
        ["Labeled", number(job.counts.ok)],
        ["Without text", job.counts.no_text ? number(job.counts.no_text) : null],
        ["No report", job.counts.not_applicable ? number(job.counts.not_applicable) : null],
        ["Rejected", job.counts.rejected ? number(job.counts.rejected) : null],
        ["Label sets", job.label_sets.join(", ")],
        ["Stored", job.store ? "yes, for look-up and review" : null],
        ["Model", job.model && `${job.model.name} ${job.model.version}`],
        ["Created", when(job.created_at)],
        ["Ended", when(job.ended_at)],
      ]),
    );
    // Buttons are made anew only when other ones are due: the focus stays on the one in use.
    if (drawn === job.state) return;
    const hadFocus = actions.contains(document.activeElement);
    fill(actions, buttons());
    if (hadFocus) (actions.querySelector("button") ?? chip).focus();
    if (drawn !== null) say(`The job is ${job.state}.`);
    drawn = job.state;
    if (job.state === "done") showResults(after, job, signal);
  }

  function buttons() {
    if (!ENDED.has(job.state)) return [act("Cancel", "danger", cancel)];
    return [
      job.state === "done" &&
        Object.entries(FORMATS).map(([format, title]) =>
          act(`Download ${title}`, "", () => save(`v1/jobs/${id}/results?format=${format}`, `${stem(job.name)}-labels.${format}`)),
        ),
      job.state === "done" &&
        job.counts.rejected > 0 &&
        act("Download rejects", "", () => save(`v1/jobs/${id}/rejects`, `${stem(job.name)}-rejects.jsonl`)),
      act("Delete", "danger", remove),
    ];
  }

  function act(title, kind, work) {
    const button = h("button", { type: "button", class: kind }, title);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await work();
      } catch (problem) {
        if (!signal.aborted) fill(error, failed(problem));
      } finally {
        button.disabled = false;
      }
    });
    return button;
  }

  async function cancel() {
    job = await ask(`v1/jobs/${id}/cancel`, { method: "POST", signal });
    draw();
  }

  async function remove() {
    if (!(await confirmed("Delete this job?", "Its results go with it. Labels that were stored stay.", "Delete the job"))) return;
    await send(`v1/jobs/${id}`, { method: "DELETE", signal });
    say("The job is deleted.");
    window.location.hash = "#/jobs";
  }

  draw();
  // A service that is restarted breaks the stream; the job goes on there, and so does the page.
  while (!ENDED.has(job.state)) {
    try {
      for await (job of events(`v1/jobs/${id}/events`, signal)) draw();
      if (!ENDED.has(job.state)) job = await ask(`v1/jobs/${id}`, { signal });
      draw();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status && problem.status !== 503) throw problem;
      line.textContent = "The service cannot be reached; trying again ...";
      await pause(POLL_MS, signal);
    }
  }
}

/** Returns how long a job will take, judged by what was done while the page looked on. */
function remaining(job, started) {
  if (job.state !== "running") return "";
  started.done ??= job.records_done;
  const seconds = (performance.now() - started.at) / 1000;
  const done = job.records_done - started.done;
  if (done <= 0 || seconds < 2) return "";
  const left = ((job.records - job.records_done) * seconds) / done;
  return left < 90 ? `about ${Math.ceil(left)} s left` : `about ${Math.ceil(left / 60)} min left`;
}

async function showResults(after, job, signal) {
  try {
    const { results } = await ask(`v1/jobs/${job.id}/results?limit=${PREVIEW_ROWS}`, { signal });
    const rejects = job.counts.rejected ? await (await send(`v1/jobs/${job.id}/rejects`, { signal })).text() : "";
    fill(after, results.length > 0 && preview(results), rejects && rejectTable(rejects.trim().split("\n").slice(0, PREVIEW_ROWS)));
  } catch (problem) {
    if (!signal.aborted) fill(after, failed(problem));
  }
}

function preview(rows) {
  const line = (row) => {
    const told = Object.values(row.labels).flatMap((labels) => Object.entries(labels).filter(([, label]) => label.value && label.value !== "negative"));
    return h(
      "tr",
      {},
      h("td", {}, row.report_id),
      h("td", {}, row.accession_number ?? ""),
      h(
        "td",
        {},
        row.status === "ok"
          ? told.length
            ? h("ul", { class: "values" }, told.map(([name, label]) => h("li", {}, name.replaceAll("_", " "), " ", valueMark(label.value))))
            : h("span", { class: "quiet" }, "nothing positive or uncertain")
          : h("span", { class: "quiet" }, words(row.status)),
      ),
    );
  };
  return table("The first rows", ["Report id", "Accession number", "Positive and uncertain labels"], rows.map(line));
}

function rejectTable(lines) {
  const rows = lines.map((text) => {
    const { row, report_id, field: name, reason } = JSON.parse(text);
    return h("tr", {}, [row, report_id ?? "", name ?? "", reason].map((cell) => h("td", {}, String(cell))));
  });
  return table("The first rejects", ["Row", "Report id", "Field", "Reason"], rows);
}

function table(title, columns, rows) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      h("table", {}, h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))), h("tbody", {}, rows)),
    ),
  );
}

const stem = (name) => name.replace(/(\.[A-Za-z0-9]{1,10}){1,2}$/, "") || "job";

function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
