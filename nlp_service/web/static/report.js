// A report with what was read in it: the text with its findings, the labels, and the way from each to the other.

import { facts, freshId, h, words } from "./dom.js";

export const ASSERTIONS = {
  positive: { sign: "+", word: "positive" },
  negative: { sign: "−", word: "negative" },
  uncertain: { sign: "?", word: "uncertain" },
};
const RANK = ["positive", "uncertain", "negative"];

/** Returns the sign of a value and its word; the sign tells values apart where colours do not. */
export function valueMark(value) {
  const { sign, word } = ASSERTIONS[value] ?? { sign: "·", word: "not mentioned" };
  return h("span", { class: ["value", `is-${value ?? "none"}`] }, h("span", { class: "sign", "aria-hidden": "true" }, sign), word);
}

/** Returns a probability in percent; neither certainty nor its opposite is ever claimed. */
export function percent(probability) {
  if (probability > 0.995) return "> 99 %";
  if (probability < 0.005) return "< 1 %";
  return `${Math.round(100 * probability)} %`;
}

/** Returns the probability that belongs to the value of a label, or null. */
export function probabilityOf(label) {
  if (!label.probability) return null;
  return label.probability[label.value ?? "positive"] ?? null;
}

/**
 * Returns a text cut where findings begin and end, each piece with the findings it belongs to. Offsets count characters
 * as Python does: a character beyond the first plane is one, where a string of JavaScript has two.
 */
export function pieces(text, findings) {
  const characters = Array.from(text);
  const edges = new Set([0, characters.length]);
  for (const { start, end } of findings) edges.add(start).add(end);
  const sorted = [...edges].filter((edge) => edge <= characters.length).sort((a, b) => a - b);
  return sorted.slice(0, -1).map((start, i) => ({
    text: characters.slice(start, sorted[i + 1]).join(""),
    findings: findings.flatMap((finding, index) => (finding.start <= start && finding.end >= sorted[i + 1] ? [index] : [])),
  }));
}

/** Returns what is known of a finding. */
function details(finding) {
  const { measurement } = finding;
  const size = measurement && `${measurement.values.join(" × ")} ${measurement.unit}`;
  const inMillimetres = measurement && measurement.unit !== "mm" && ` (${measurement.size_mm.join(" × ")} mm)`;
  return h(
    "div",
    { class: "detail-part" },
    h("p", { class: "detail-title" }, valueMark(finding.assertion), h("strong", {}, finding.concept.name)),
    facts([
      ["Place", [finding.anatomy, ...finding.location].filter(Boolean).map(words).join(", ")],
      ["Side", finding.laterality],
      ["Size", size && `${size}${inMillimetres || ""}`],
      ["Severity", words(finding.severity)],
      ["Change", words(finding.temporality)],
      ["Section", words(finding.section)],
      ["Probability", finding.probability === null ? null : percent(finding.probability)],
      ["Code", finding.concept.cui && `${finding.concept.id}, UMLS ${finding.concept.cui}`],
    ]),
  );
}

/**
 * Returns the view of a report: `element` to show, and `mark(indices)`, which marks findings and goes to one of them.
 * `onChosen` is told of a finding that was clicked. Without a text the words of the findings are shown.
 */
export function reportText(text, findings, onChosen = () => null) {
  const card = h("div", { class: "detail", role: "tooltip", id: freshId("detail"), hidden: true });
  const marks = [];
  const found = new Map(findings.map((_, index) => [index, []]));
  let hiding = null;

  function reveal(mark, indices) {
    window.clearTimeout(hiding);
    card.replaceChildren(...indices.map((index) => details(findings[index])));
    card.hidden = false;
    const around = box.getBoundingClientRect();
    const lines = mark.getClientRects();
    const { left, bottom } = lines[lines.length - 1] ?? mark.getBoundingClientRect();
    const room = Math.max(0, around.width - card.offsetWidth);
    card.style.left = `${Math.min(Math.max(0, left - around.left), room)}px`;
    card.style.top = `${bottom - around.top + 6}px`;
  }
  const hide = () => (card.hidden = true);
  const hideSoon = () => (hiding = window.setTimeout(hide, 200));

  function marked(content, indices) {
    const first = RANK.find((assertion) => indices.some((index) => findings[index].assertion === assertion));
    const told = indices.map((index) => `${findings[index].concept.name}, ${findings[index].assertion}`).join("; ");
    const mark = h(
      "span",
      {
        class: ["finding", `is-${first}`],
        role: "button",
        tabindex: marks.length ? "-1" : "0",
        "aria-label": `${content}: ${told}`,
        "aria-describedby": card.id,
        on: {
          mouseenter: () => reveal(mark, indices),
          mouseleave: hideSoon,
          focus: () => {
            for (const other of marks) other.tabIndex = other === mark ? 0 : -1;
            reveal(mark, indices);
          },
          blur: hideSoon,
          click: () => onChosen(indices),
          keydown: (event) => onKey(event, mark, indices),
        },
      },
      content,
    );
    marks.push(mark);
    for (const index of indices) found.get(index).push(mark);
    return mark;
  }

  function onKey(event, mark, indices) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      event.preventDefault();
      marks[(marks.indexOf(mark) + step + marks.length) % marks.length].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onChosen(indices);
    }
  }

  const parts =
    text === null || text === undefined
      ? findings.map((finding, index) => h("li", {}, marked(finding.text, [index]), ` ${words(finding.section)}`))
      : pieces(text, findings).map((piece) => (piece.findings.length ? marked(piece.text, piece.findings) : piece.text));
  const content = text === null || text === undefined ? h("ul", { class: "report-words" }, parts) : h("div", { class: "report-text" }, parts);
  const box = h(
    "div",
    {
      class: "report",
      role: "group",
      "aria-label": "Report with its findings; the arrow keys go from finding to finding",
      on: { keydown: (event) => event.key === "Escape" && hide() },
    },
    content,
    card,
  );
  card.addEventListener("mouseenter", () => window.clearTimeout(hiding));
  card.addEventListener("mouseleave", hideSoon);

  return {
    element: box,
    mark(indices, chosen = 0) {
      for (const mark of marks) mark.classList.remove("is-marked");
      for (const index of indices) for (const mark of found.get(index) ?? []) mark.classList.add("is-marked");
      const target = found.get(indices[chosen % Math.max(indices.length, 1)])?.[0];
      target?.scrollIntoView({ block: "center", behavior: prefersLessMotion() ? "auto" : "smooth" });
      target?.focus({ preventScroll: true });
    },
  };
}

const prefersLessMotion = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Returns how often each assertion was found, which is the legend of the colours too. */
export function legend(findings) {
  const count = (assertion) => findings.filter((finding) => finding.assertion === assertion).length;
  return h(
    "ul",
    { class: "legend", "aria-label": "Findings" },
    RANK.map((assertion) => h("li", {}, valueMark(assertion), h("span", { class: "count" }, ` ${count(assertion)}`))),
  );
}

/** Returns a bar for a probability: for the eye alone, since the number stands beside it. */
export function bar(probability, value) {
  const inside = h("span", { class: `is-${value ?? "none"}` });
  inside.style.inlineSize = `${Math.round(100 * probability)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, inside);
}

function labelRow(name, label, choose) {
  const probability = probabilityOf(label);
  const content = [
    h("span", { class: "label-name" }, name.replaceAll("_", " ")),
    valueMark(label.value),
    probability === null ? h("span", { class: "percent" }) : h("span", { class: "percent" }, bar(probability, label.value), percent(probability)),
  ];
  if (label.evidence.length === 0) {
    const why = { rule: "derived from the other labels", attention: "read from the report as a whole" }[label.basis];
    return h("li", {}, h("div", { class: "label-row" }, content, label.value && why && h("span", { class: "why" }, why)));
  }
  const many = label.evidence.length > 1 && h("span", { class: "why" }, `${label.evidence.length} places in the text`);
  const button = h("button", { type: "button", class: "label-row" }, content, many);
  button.addEventListener("click", () => choose(button, label.evidence));
  return h("li", {}, button);
}

/**
 * Returns a labeled report: text and labels side by side. A label leads to its evidence, again to the next piece of it;
 * a finding leads to the labels that rest on it. Where there are several on a page, `of` tells them apart.
 */
export function labeledReport(row, text, { note, level = 2, of = "" } = {}) {
  const rows = [];
  let last = null;
  let step = 0;
  const shown = reportText(text, row.findings, (indices) => {
    for (const { button, evidence } of rows) {
      button.classList.toggle("is-marked", evidence.some((index) => indices.includes(index)));
    }
    rows.find(({ button }) => button.classList.contains("is-marked"))?.button.scrollIntoView({ block: "nearest" });
  });
  function choose(button, evidence) {
    step = last === button ? step + 1 : 0;
    last = button;
    for (const other of rows) other.button.classList.toggle("is-marked", other.button === button);
    shown.mark(evidence, step);
  }
  const sets = Object.entries(row.labels).map(([name, labels]) => {
    const entries = Object.entries(labels);
    const row_of = ([label, given]) => {
      const item = labelRow(label, given, choose);
      const button = item.querySelector("button");
      if (button) rows.push({ button, evidence: given.evidence });
      return item;
    };
    const told = entries.filter(([, label]) => label.value).sort((a, b) => RANK.indexOf(a[1].value) - RANK.indexOf(b[1].value));
    const rest = entries.filter(([, label]) => !label.value);
    return h(
      "section",
      { class: "label-set" },
      h(`h${level + 1}`, {}, name),
      told.length ? h("ul", { class: "labels" }, told.map(row_of)) : h("p", { class: "quiet" }, "No label of this set is mentioned."),
      rest.length > 0 &&
        h("details", {}, h("summary", {}, `${rest.length} not mentioned`), h("ul", { class: "labels" }, rest.map(row_of))),
    );
  });
  const status = { no_text: "There is no text to read.", not_applicable: "This does not read like a radiology report: no labels were given." }[row.status];
  return h(
    "div",
    { class: "labeled" },
    h(
      "section",
      { class: "card", "aria-label": `Report${of}` },
      h("div", { class: "card-head" }, h(`h${level}`, {}, "Report"), legend(row.findings)),
      status && h("p", { class: "banner" }, status),
      text === null && h("p", { class: "banner" }, "The text of this report was not kept; these are the words of its findings."),
      shown.element,
      note,
    ),
    h("section", { class: "card", "aria-label": `Labels${of}` }, h("div", { class: "card-head" }, h(`h${level}`, {}, "Labels")), sets),
  );
}
