// Data sets: asked for, followed, and their cards. The list, and one data set with the address `#/datasets/<id>`.

import { checkbox, confirmed, facts, field, fill, h, number, say, when } from "../dom.js";
import { ask, pause, save, send } from "../api.js";
import { markdown } from "../markdown.js";
import { empty, failed, loading } from "../states.js";

const ENDED = new Set(["done", "failed", "cancelled"]);
const POLL_MS = 1500;

/** Shows the list, or the data set that the address names. */
export async function render(view) {
  await (view.path[0] ? showDataset(view, view.path[0]) : showList(view));
}

async function showList({ body, signal }) {
  const list = h("div", {}, loading());
  fill(body, await requestForm(signal), h("section", { class: "card" }, h("h2", {}, "The last data sets"), list));
  let shown = null;
  for (;;) {
    try {
      const { datasets } = await ask("v1/datasets?limit=50", { signal });
      const now = JSON.stringify(datasets);
      if (now !== shown) {
        const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id;
        if (datasets.length) fill(list, h("ul", { class: "rows" }, datasets.map(datasetRow)));
        else fill(list, empty("There is no data set yet.", "One that is built above shows up here, with its card."));
        if (focused) list.querySelector(`[data-id="${focused}"] a`)?.focus();
        shown = now;
      }
      if (datasets.every((one) => ENDED.has(one.state))) return;
    } catch (problem) {
      if (signal.aborted) return;
      shown = null;
      fill(list, failed(problem));
      if (problem.status && problem.status !== 503) return;
    }
    await pause(POLL_MS, signal);
  }
}

function datasetRow(one) {
  return h(
    "li",
    { "data-id": one.id, class: "row" },
    h("div", {}, h("a", { class: "row-title", href: `#/datasets/${one.id}` }, one.name), h("p", { class: "quiet" }, when(one.created_at))),
    h("div", { class: "row-side" }, stateMark(one), h("p", { class: "quiet" }, progressText(one))),
  );
}

function stateMark(one) {
  return h("span", { class: ["chip", `is-${one.state}`] }, one.state);
}

function progressText(one) {
  if (one.state === "done") return `${number(one.rows)} images`;
  if (one.state !== "running" || !one.stage) return "";
  return one.done ? `${one.stage}: ${number(one.done)}` : one.stage;
}

async function requestForm(signal) {
  const { label_sets: sets, default: chosen } = await ask("v1/labels", { signal });
  const images = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" });
  const reports = h("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const job = h("input", { type: "text", autocomplete: "off", spellcheck: "false", pattern: "[0-9a-f]{32}" });
  const name = h("input", { type: "text", autocomplete: "off", maxlength: 100, placeholder: "dataset" });
  const size = h("input", { type: "number", min: 32, max: 8192, value: "1024" });
  const labels = h(
    "select",
    {},
    sets.map((set) => h("option", { value: set.id, selected: set.id === chosen[0] }, set.id)),
  );
  const hide = checkbox("Pseudonyms in place of identifiers", { name: "deidentify", checked: true });
  const problem = h("div");
  const button = h("button", { type: "submit", class: "primary" }, "Build the data set");
  const form = h(
    "form",
    { class: "card" },
    h("h2", {}, "Build a data set"),
    h(
      "div",
      { class: "fields" },
      field("Images", images, "A folder of DICOM files, a manifest or an image index, under a job folder of the server."),
      field("Reports", reports, "A file or folder, under a job folder of the server."),
      field("Labels of a job", job, "The id of a job that is done, in place of labelling again."),
      field("Name", name),
      field("Label set", labels),
      field("Longest side in pixels", size),
    ),
    hide,
    h("div", { class: "actions" }, button),
    problem,
  );

  async function start() {
    const json = { images: images.value.trim(), recipe: { image: { size: Number(size.value) }, labels: { label_set: labels.value } } };
    if (reports.value.trim()) json.reports = reports.value.trim();
    if (job.value.trim()) json.labels_job = job.value.trim();
    if (name.value.trim()) json.name = name.value.trim();
    if (!hide.querySelector("input").checked) json.recipe.deidentify = { enabled: false };
    button.disabled = true;
    fill(problem);
    try {
      const made = await ask("v1/datasets", { method: "POST", json, signal });
      window.location.hash = `#/datasets/${made.id}`;
    } catch (error) {
      if (!signal.aborted) fill(problem, failed(error));
    } finally {
      button.disabled = false;
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  return form;
}

async function showDataset({ body, signal, rename }, id) {
  let one = await ask(`v1/datasets/${id}`, { signal });
  rename(one.name);
  const chip = h("p", {});
  const line = h("p", { class: "quiet" });
  const error = h("div");
  const counts = h("div");
  const actions = h("div", { class: "actions" });
  const card = h("div", {});
  fill(
    body,
    h("p", {}, h("a", { href: "#/datasets" }, "All data sets")),
    h("div", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Build"), chip), line, error, counts, actions),
    card,
  );
  let drawn = null;

  function draw() {
    fill(chip, stateMark(one));
    line.textContent = progressText(one);
    fill(error, one.error && failed({ title: "The data set could not be built", detail: one.error }));
    const images = one.counts?.images;
    const leftOut = images && Object.values(images.excluded).reduce((sum, each) => sum + each, 0);
    const unread = one.failed && Object.values(one.failed).reduce((sum, each) => sum + each, 0);
    fill(
      counts,
      facts([
        ["Images", images && number(images.indexed)],
        ["In the data set", one.rows === null ? null : number(one.rows)],
        ["Left out", leftOut ? number(leftOut) : null],
        ["Could not be read", unread ? number(unread) : null],
        ["Splits", one.splits && Object.entries(one.splits).map(([split, rows]) => `${split} ${number(rows)}`).join(", ")],
        ["Label set", one.label_set],
        ["Longest side", `${number(one.image_size)} pixels`],
        ["Identifiers", one.deidentified ? "pseudonyms" : "as in the source"],
        ["Created", when(one.created_at)],
        ["Ended", when(one.ended_at)],
      ]),
    );
    if (drawn === one.state) return;
    const hadFocus = actions.contains(document.activeElement);
    fill(actions, buttons());
    if (hadFocus) actions.querySelector("button")?.focus();
    if (drawn !== null) say(`The data set is ${one.state}.`);
    drawn = one.state;
    if (one.state === "done") showCard(card, id, signal);
  }

  function buttons() {
    if (!ENDED.has(one.state)) return [act("Cancel", "danger", cancel)];
    return [
      one.state === "done" && act("Download the card", "", () => save(`v1/datasets/${id}/card`, "card.html")),
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
    one = await ask(`v1/datasets/${id}/cancel`, { method: "POST", signal });
    draw();
  }

  async function remove() {
    if (!(await confirmed("Delete this data set?", "Its pictures and rows go with it. Exports elsewhere stay.", "Delete the data set"))) return;
    await send(`v1/datasets/${id}`, { method: "DELETE", signal });
    say("The data set is deleted.");
    window.location.hash = "#/datasets";
  }

  draw();
  while (!ENDED.has(one.state)) {
    await pause(POLL_MS, signal);
    try {
      one = await ask(`v1/datasets/${id}`, { signal });
      draw();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status && problem.status !== 503) throw problem;
      line.textContent = "The service cannot be reached; trying again ...";
    }
  }
}

async function showCard(place, id, signal) {
  fill(place, loading("Loading the card ..."));
  try {
    const { markdown: text, plots } = await ask(`v1/datasets/${id}/card?format=json`, { signal });
    const pictures = Object.fromEntries(Object.entries(plots).map(([name, data]) => [name, `data:image/png;base64,${data}`]));
    fill(place, h("section", { class: "card prose", "aria-label": "Data card" }, markdown(text, pictures)));
  } catch (problem) {
    if (!signal.aborted) fill(place, failed(problem));
  }
}
