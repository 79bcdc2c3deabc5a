// Studies: looked up by their identifiers, with every version of their labels.

import { facts, field, fill, h, when } from "../dom.js";
import { ask } from "../api.js";
import { labeledReport } from "../report.js";
import { empty, failed, loading } from "../states.js";

/** Shows the view. */
export async function render({ body, signal }) {
  const accession = h("input", { type: "text", maxlength: 256, autocomplete: "off", spellcheck: "false" });
  const issuer = h("input", { type: "text", maxlength: 256, autocomplete: "off", spellcheck: "false" });
  const study = h("input", { type: "text", maxlength: 64, autocomplete: "off", spellcheck: "false", inputmode: "decimal" });
  const outcome = h("div", { class: "view" });
  const form = h(
    "form",
    { class: "card", role: "search", "aria-label": "Studies" },
    h(
      "div",
      { class: "fields" },
      field("Accession number", accession, "Matched exactly. It is sent in the body of the request: no log has it."),
      field("Issuer of the accession number", issuer, "Where several systems give numbers."),
      field("Study Instance UID", study),
    ),
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Look up")),
  );

  async function search() {
    const wanted = {
      accession_number: accession.value.trim() || null,
      accession_number_issuer: issuer.value.trim() || null,
      study_instance_uid: study.value.trim() || null,
    };
    fill(outcome, loading("Looking ..."));
    try {
      const { reports } = await ask("v1/studies/search", { method: "POST", json: wanted, signal });
      const heading = h("h2", { tabindex: "-1" }, reports.length === 1 ? "1 report" : `${reports.length} reports`);
      fill(
        outcome,
        heading,
        reports.length
          ? reports.map(reportCard)
          : empty("Nothing is stored under these identifiers.", "Reports are stored when they come with the option to store, or as HL7 messages."),
      );
      heading.focus({ preventScroll: true });
    } catch (error) {
      if (!signal.aborted) fill(outcome, failed(error));
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  fill(body, form, outcome);
}

function reportCard(report) {
  const shown = h("div");
  const choose = (button, labels) => {
    for (const other of versions) other.setAttribute("aria-pressed", String(other === button));
    fill(shown, labeledReport(labels, report.text, { level: 4, of: ` of ${report.report_id}` }));
  };
  const versions = report.labels.map((labels) => {
    const { name, version, digest } = labels.model;
    const button = h(
      "button",
      { type: "button", class: "version", "aria-pressed": "false" },
      h("span", {}, `${name} ${version}`),
      h("span", { class: "quiet" }, `${Object.keys(labels.labels).join(", ")}, model `, h("code", {}, digest.slice(0, 8)), ", ", when(labels.labeled_at)),
    );
    button.addEventListener("click", () => choose(button, labels));
    return button;
  });
  const card = h(
    "article",
    { class: "study" },
    h(
      "section",
      { class: "card", "aria-label": `Study of ${report.report_id}` },
      h("h3", {}, `Report ${report.report_id}`),
      facts([
        ["Accession number", report.accession_number],
        ["Issuer", report.accession_number_issuer],
        ["Study Instance UID", report.study_instance_uid],
        ["Patient id", report.patient_id],
        ["Study date", report.study_date],
        ["Modality", report.modality],
        ["Result status", report.result_status],
        ["Came by", { api: "API", job: "job", hl7: "HL7 message", fhir: "FHIR", sr: "DICOM SR" }[report.door] ?? report.door],
        ["Received", when(report.received_at)],
      ]),
      report.is_waiting && h("p", { class: "banner" }, "It waits to be labeled."),
      versions.length > 0 && h("p", { class: "quiet" }, versions.length > 1 ? `Labels of ${versions.length} versions, the newest first:` : "Labels of one version:"),
      h("div", { class: "actions" }, versions),
    ),
    shown,
  );
  if (versions.length) choose(versions[0], report.labels[0]);
  else if (!report.is_waiting) fill(shown, empty("It has no labels."));
  return card;
}
