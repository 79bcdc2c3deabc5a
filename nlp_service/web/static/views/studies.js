// Studies: looked up by their identifiers, with every version of their labels.

import { facts, field, fill, h, number, when, words } from "../dom.js";
import { ask, send } from "../api.js";
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
      const { reports, images, is_complete: isComplete } = await ask("v1/studies/search", { method: "POST", json: wanted, signal });
      const heading = h("h2", { tabindex: "-1" }, [counted(reports.length, "report"), images.length && counted(images.length, "scored image")].filter(Boolean).join(", "));
      fill(
        outcome,
        heading,
        !isComplete && h("p", { class: "quiet" }, "There are more: the oldest are not shown. Name the issuer or the Study Instance UID."),
        reports.length || images.length
          ? [reports.map((report) => reportCard(report, imagesOf(report, reports, images), signal)), strayImages(reports, images, signal)]
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

function counted(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Returns the images of a report's study. A Study Instance UID decides where both have one. An accession number does only
 * where all that was found is of one patient, one issuer and one study: it is not unique, and two must not become one.
 */
function imagesOf(report, reports, images) {
  const all = [...reports, ...images];
  const isOne = (name) => new Set(all.map((found) => found[name]).filter(Boolean)).size <= 1;
  const isOneStudy = ["patient_id", "accession_number_issuer", "study_instance_uid"].every(isOne);
  return images.filter((image) => {
    if (report.study_instance_uid && image.study_instance_uid) return report.study_instance_uid === image.study_instance_uid;
    return isOneStudy && report.accession_number !== null && report.accession_number === image.accession_number;
  });
}

/** Returns a card for the images that are of none of the reports found, or cannot be said to be. */
function strayImages(reports, images, signal) {
  const shown = new Set(reports.flatMap((report) => imagesOf(report, reports, images)));
  const stray = images.filter((image) => !shown.has(image));
  if (!stray.length) return null;
  return h(
    "article",
    { class: "study" },
    h(
      "section",
      { class: "card", "aria-label": "Images without a report" },
      h("h3", {}, "Images without a report"),
      h("p", { class: "quiet" }, "No report is surely of the same study: compare the identifiers before you compare the findings."),
      stray.map((image) => imageScores(image, {}, signal)),
    ),
  );
}

const VALUES = { positive: "+ present", negative: "\u2212 absent", uncertain: "? uncertain" };

/** Returns what a model said of an image beside what the report says: a table, and the pictures drawn over the image. */
function imageScores(image, labels, signal) {
  const said = {};
  // A model names the label set that its labels are of; of another set, a label of the same name may mean something else.
  const sets = image.model.label_set in labels ? [labels[image.model.label_set]] : Object.values(labels);
  for (const ofSet of sets) for (const [name, label] of Object.entries(ofSet)) said[name] ??= label.value;
  const rows = Object.entries(image.scores)
    .sort(([, one], [, other]) => other - one)
    .map(([name, score]) => {
      const value = said[name] ?? null;
      const speaks = value === "positive" || value === "negative";
      const threshold = image.model.thresholds[name] ?? 0.5;
      const agrees = speaks ? (score >= threshold) === (value === "positive") : null;
      return h(
        "tr",
        { class: agrees === false && "disagrees" },
        h("th", { scope: "row" }, words(name)),
        h("td", {}, VALUES[value] ?? "not mentioned"),
        h("td", { class: "score" }, h("meter", { min: 0, max: 1, value: score, "aria-hidden": "true" }), ` ${score.toFixed(2)}`),
        h("td", { class: "score" }, threshold.toFixed(2)),
        h("td", {}, agrees === null ? "" : agrees ? "agree" : "disagree"),
      );
    });
  return h(
    "section",
    { class: "image-scores" },
    h("h4", {}, "Image ", h("code", {}, image.image_id)),
    facts([
      ["Study Instance UID", image.study_instance_uid],
      ["Accession number", image.accession_number],
      ["Issuer", image.accession_number_issuer],
      ["Patient id", image.patient_id],
      ["Model", `${image.model.name} ${image.model.version}, ${image.model.digest.slice(0, 8)}`],
      ["Scored", when(image.scored_at)],
    ]),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `Scores of image ${image.image_id}` },
      h(
        "table",
        {},
        h("caption", {}, "What the report says, and what the image does"),
        h("thead", {}, h("tr", {}, ["Label", "Report", "Image", "Present from", ""].map((name) => h("th", { scope: "col" }, name || h("span", { class: "visually-hidden" }, "Agreement"))))),
        h("tbody", {}, rows),
      ),
    ),
    image.overlays.length > 0 && overlays(image, signal),
  );
}

/** Returns buttons for the overlays of an image, and the one that was chosen. */
function overlays(image, signal) {
  const shown = h("figure", { class: "overlay" });
  let url = null;
  const choose = async (button, overlay) => {
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    fill(shown, loading("Loading the picture ..."));
    try {
      // A picture's address cannot carry a key: it is fetched, and shown from memory.
      const content = await (await send(`v1/overlays/${overlay.id}`, { signal })).blob();
      if (url) URL.revokeObjectURL(url);
      url = URL.createObjectURL(content);
      const alt = `Where the model sees ${words(overlay.name)} in image ${image.image_id}`;
      fill(shown, h("img", { src: url, alt }), h("figcaption", {}, alt));
    } catch (error) {
      if (!signal.aborted) fill(shown, failed(error));
    }
  };
  const buttons = image.overlays.map((overlay) => {
    const button = h("button", { type: "button", class: "version", "aria-pressed": "false" }, words(overlay.name));
    button.addEventListener("click", () => choose(button, overlay));
    return button;
  });
  return h("div", {}, h("p", { class: "quiet" }, "Pictures drawn over the image:"), h("div", { class: "actions" }, buttons), shown);
}

function reportCard(report, images, signal) {
  const shown = h("div");
  const scored = h("div");
  const choose = (button, labels) => {
    for (const other of versions) other.setAttribute("aria-pressed", String(other === button));
    fill(
      scored,
      images.length > 0 &&
        h("div", { class: "card" }, h("h3", {}, "Images of the study"), images.map((image) => imageScores(image, labels.labels, signal))),
    );
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
    scored,
    shown,
  );
  if (versions.length) choose(versions[0], report.labels[0]);
  else if (!report.is_waiting) fill(shown, empty("It has no labels."));
  return card;
}
