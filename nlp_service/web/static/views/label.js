// Paste a report, see what was read.

import { checkbox, field, fill, freshId, h, say } from "../dom.js";
import { ask } from "../api.js";
import { labeledReport } from "../report.js";
import { failed } from "../states.js";

// Invented: it shows every sign that a finding can have.
const EXAMPLE = `EXAM: Chest, two views.
INDICATION: Cough and fever for four days.
COMPARISON: Radiograph of last month.
FINDINGS: Moderate cardiomegaly, unchanged. Small left pleural effusion, larger than before. Patchy opacity at the left base may represent pneumonia. 9 x 7 mm nodule in the right upper lobe. No pneumothorax. Right internal jugular catheter with its tip in the superior vena cava.
IMPRESSION: Left effusion with possible pneumonia. Small right upper lobe nodule.`;

// What was typed stays as long as the page does, and nowhere but in its memory.
const kept = { text: "", sets: null, row: null };

/** Shows the view. */
export async function render({ body, signal }) {
  const { label_sets: sets, default: chosen } = await ask("v1/labels", { signal });
  kept.sets ??= new Set(chosen);
  const text = h("textarea", { rows: 12, spellcheck: "false", required: true, placeholder: "Paste a report ..." });
  text.value = kept.text;
  const boxes = sets.map((set) =>
    checkbox(`${set.id} (${set.labels.length})`, { name: "label_set", value: set.id, checked: kept.sets.has(set.id) }),
  );
  const outcome = h("div", { class: "outcome" });
  const button = h("button", { type: "submit", class: "primary" }, "Label the report");
  const storing = keeping();
  const form = h(
    "form",
    { class: "card" },
    field("Report", text, "It is read on the machine that serves this page, and not kept unless you say so. Ctrl + Enter sends it."),
    h("fieldset", { class: "choices" }, h("legend", {}, "Label sets"), boxes),
    storing.element,
    h(
      "div",
      { class: "actions" },
      button,
      h("button", { type: "button", on: { click: () => ((text.value = EXAMPLE), text.focus()) } }, "Take an example"),
    ),
  );

  function showRow(row) {
    const heading = h("h2", { tabindex: "-1", class: "visually-hidden" }, "What was read");
    const back = h("button", { type: "button", on: { click: edit } }, "Change the report");
    form.hidden = true;
    fill(outcome, heading, labeledReport(row, kept.text, { note: h("div", { class: "actions" }, back) }));
    return heading;
  }

  function edit() {
    kept.row = null;
    fill(outcome);
    form.hidden = false;
    text.focus();
  }

  async function send() {
    const label_sets = [...form.querySelectorAll("[name=label_set]:checked")].map((box) => box.value);
    if (!label_sets.length) {
      fill(outcome, failed({ title: "No label set is chosen", detail: "Choose at least one." }));
      return;
    }
    button.disabled = true;
    button.textContent = "Reading ...";
    try {
      const report = { text: text.value, ...storing.report() };
      const answer = await ask("v1/label", { method: "POST", signal, json: { reports: [report], label_sets, store: storing.isWanted() } });
      Object.assign(kept, { text: text.value, sets: new Set(label_sets), row: answer.results[0] });
      showRow(kept.row).focus();
      if (storing.isWanted()) say("The labels are stored.");
    } catch (error) {
      if (signal.aborted) return;
      fill(outcome, failed(error));
    } finally {
      button.disabled = false;
      button.textContent = "Label the report";
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  text.addEventListener("input", () => (kept.text = text.value));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  fill(body, form, outcome);
  if (kept.row) showRow(kept.row);
}

/** Returns the part of the form that says whether, and under which name, the labels are stored. */
function keeping() {
  const wanted = checkbox("Store the labels, for look-up and review", { name: "store" });
  const name = h("input", { type: "text", maxlength: 256, autocomplete: "off", placeholder: "such as R-2041" });
  const accession = h("input", { type: "text", maxlength: 256, autocomplete: "off" });
  const issuer = h("input", { type: "text", maxlength: 256, autocomplete: "off" });
  const inside = h(
    "div",
    { class: "fields", id: freshId("storing"), hidden: true },
    field("Report id", name),
    field("Accession number", accession),
    field("Issuer of the accession number", issuer),
  );
  const box = wanted.querySelector("input");
  box.addEventListener("change", () => {
    inside.hidden = !box.checked;
    name.required = box.checked;
  });
  return {
    element: h("div", { class: "storing" }, wanted, inside),
    isWanted: () => box.checked,
    report: () =>
      box.checked
        ? { report_id: name.value, accession_number: accession.value || null, accession_number_issuer: issuer.value || null }
        : { report_id: "page" },
  };
}
