// What the labels mean, and the vocabulary of findings behind them.

import { facts, field, fill, freshId, h, number, words } from "../dom.js";
import { ask } from "../api.js";
import { empty } from "../states.js";

const AT_MOST = 60;
const TYPING_MS = 150;

/** Shows the view; `#/labels/<finding>` shows one finding. */
export async function render({ body, signal, path }) {
  const [{ label_sets: sets }, { findings }] = await Promise.all([ask("v1/labels", { signal }), ask("v1/vocabulary", { signal })]);
  const byId = new Map(findings.map((finding) => [finding.id, finding]));
  fill(
    body,
    h("div", { class: "card" }, h("h2", {}, "Label sets"), sets.map((set, index) => labelSet(set, byId, index === 0 && !path[0]))),
    vocabulary(findings, byId, path[0] ?? ""),
  );
}

function labelSet(set, byId, isOpen) {
  return h(
    "details",
    { open: isOpen },
    h("summary", {}, `${set.name}: `, h("code", {}, set.id), `, ${set.labels.length} labels`),
    set.description && h("p", { class: "quiet" }, set.description),
    h(
      "dl",
      { class: "definitions" },
      set.labels.map((label) => [
        h("dt", {}, label.name.replaceAll("_", " ")),
        h(
          "dd",
          {},
          label.description && h("p", {}, label.description),
          label.rule && h("p", { class: "quiet" }, "Derived from the other labels."),
          label.concepts.length > 0 && h("p", { class: "quiet" }, "From ", joined(label.concepts.map((id) => link(id, byId))), "."),
        ),
      ]),
    ),
  );
}

const link = (id, byId) => (byId.has(id) ? h("a", { href: `#/labels/${id}` }, byId.get(id).name.toLowerCase()) : words(id));
const joined = (items) => items.flatMap((item, index) => (index ? [", ", item] : [item]));

function vocabulary(findings, byId, wanted) {
  const input = h("input", { type: "search", autocomplete: "off", spellcheck: "false", value: byId.get(wanted)?.name ?? "" });
  const count = h("p", { class: "quiet", role: "status" });
  const list = h("ul", { class: "rows" });
  const children = new Map(findings.map((finding) => [finding.id, []]));
  for (const finding of findings) for (const parent of finding.parents) children.get(parent)?.push(finding.id);

  function draw() {
    const text = input.value.trim().toLowerCase();
    const found = findings.filter((finding) => !text || [finding.name, finding.id, finding.cui ?? "", ...finding.synonyms].some((name) => name.toLowerCase().includes(text)));
    // What is called so comes before what only has such a synonym.
    const rank = (finding) => (finding.id === wanted ? 0 : finding.name.toLowerCase().startsWith(text) ? 1 : 2);
    found.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
    count.textContent = `${number(found.length)} of ${number(findings.length)} findings${found.length > AT_MOST ? `, the first ${AT_MOST} shown` : ""}`;
    fill(list, found.slice(0, AT_MOST).map((finding) => entry(finding, finding.id === wanted)));
    if (!found.length) fill(list, h("li", {}, empty("No finding has such a name.", "Synonyms are searched too; try a part of the word.")));
  }

  function entry(finding, isOpen) {
    const below = children.get(finding.id);
    return h(
      "li",
      {},
      h(
        "details",
        { open: isOpen },
        h("summary", {}, finding.name, " ", h("span", { class: "quiet" }, `${finding.kind}${finding.anatomy ? `, ${words(finding.anatomy)}` : ""}`)),
        finding.definition && h("p", {}, finding.definition),
        facts([
          ["Id", h("code", {}, finding.id)],
          ["UMLS concept", finding.cui],
          ["A kind of", finding.parents.length ? h("span", {}, joined(finding.parents.map((id) => link(id, byId)))) : null],
          ["Kinds of it", below.length ? h("span", {}, joined(below.map((id) => link(id, byId)))) : null],
          ["Also called", finding.synonyms.join("; ")],
        ]),
      ),
    );
  }

  let timer = null;
  input.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(draw, TYPING_MS);
  });
  draw();
  const id = freshId("vocabulary");
  const card = h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("h2", { id }, "Findings"),
    field("Search names and synonyms", input, "What is looked for in a report. A synonym can hold choices, as (or|and)."),
    count,
    list,
  );
  if (wanted) window.setTimeout(() => card.scrollIntoView({ block: "start" }));
  return card;
}
