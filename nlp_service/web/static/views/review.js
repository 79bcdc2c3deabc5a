// The review queue: what most needs a look comes first; a key accepts, a key corrects.

import { facts, field, fill, h, number, say, when } from "../dom.js";
import { ask } from "../api.js";
import { ASSERTIONS, bar, legend, percent, probabilityOf, reportText, valueMark } from "../report.js";
import { empty, failed, loading } from "../states.js";

const PAGE = 20;
const REVIEWER = "radlabel-reviewer";
const VALUES = { p: "positive", n: "negative", u: "uncertain", m: null };
const KEYS = [
  ["A", "accept, with the corrections made"],
  ["P N U M", "positive, negative, uncertain, not mentioned"],
  ["J K", "next label, label before"],
  ["E", "its evidence"],
  ["S B", "skip to the next report, back to the last"],
];
const name = ({ label_set: set, label }) => `${set}:${label}`;

/** Shows the view. */
export async function render({ body, signal }) {
  const queue = { items: [], at: 0, open: 0, keepsTexts: true, stored: new Map(), drafts: new Map() };
  const reviewer = h("input", { type: "text", maxlength: 256, autocomplete: "name", value: window.sessionStorage.getItem(REVIEWER) ?? "" });
  reviewer.addEventListener("input", () => window.sessionStorage.setItem(REVIEWER, reviewer.value));
  const useKeys = h("input", { type: "checkbox", checked: true });
  const stage = h("div", { class: "view review-stage" }, loading());
  let shown = null;

  async function more() {
    const skipped = queue.items.filter((item) => !queue.stored.has(item.id)).length;
    const answer = await ask(`v1/review?limit=${PAGE}&offset=${skipped}`, { signal });
    const known = new Set(queue.items.map((item) => item.id));
    queue.items.push(...answer.reports.filter((item) => !known.has(item.id)));
    queue.open = answer.open;
    queue.keepsTexts = answer.keep_texts_days > 0;
  }

  async function go(to, message = "") {
    try {
      if (to >= queue.items.length) {
        if (queue.items.length) fill(stage, loading());
        await more();
      }
    } catch (error) {
      if (!signal.aborted) fill(stage, failed(error, () => go(to)));
      return;
    }
    queue.at = Math.max(0, Math.min(to, queue.items.length));
    const item = queue.items[queue.at];
    shown = item ? reviewed(item, queue, accept, move) : null;
    if (shown) fill(stage, shown.element);
    else fill(stage, nothing());
    if (message) say(message);
    if (shown && queue.isUsed) shown.focus();
  }

  function nothing() {
    if (queue.items.length) {
      return h(
        "div",
        { class: "state" },
        h("p", { class: "state-title", tabindex: "-1" }, "That was the last one."),
        h("p", {}, `${queue.stored.size} reviewed since this page was opened.`),
        h("button", { type: "button", on: { click: () => go(queue.at - 1) } }, "Back"),
      );
    }
    return empty(
      "Nothing waits for a review.",
      "Labels wait here once they are stored: by a job or a request with the option to store, or as HL7 messages.",
      !queue.keepsTexts && h("span", {}, "This service keeps no texts. To see reports here, serve with ", h("code", {}, "--keep-texts-days"), "."),
    );
  }

  async function accept() {
    if (queue.isBusy) return;
    queue.isBusy = true;
    const item = queue.items[queue.at];
    const corrections = shown.corrections();
    shown.wait(true);
    try {
      const json = { corrections, reviewer: reviewer.value.trim() || null };
      queue.stored.set(item.id, await ask(`v1/review/${item.id}`, { method: "POST", json, signal }));
      queue.open = Math.max(0, queue.open - 1);
      queue.isUsed = true;
      await go(queue.at + 1, corrections.length ? `Stored with ${corrections.length} corrected.` : "Accepted.");
    } catch (error) {
      if (!signal.aborted) shown.problem(failed(error));
    } finally {
      queue.isBusy = false;
      shown?.wait(false);
    }
  }

  function move(step) {
    queue.isUsed = true;
    go(queue.at + step);
  }

  function onKey(event) {
    if (!shown || !useKeys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("textarea, select, dialog, input:not([type=radio], [type=checkbox])")) return;
    const pressed = event.key.toLowerCase();
    const work = {
      a: accept,
      s: () => move(1),
      b: () => queue.at > 0 && move(-1),
      j: () => shown.step(1),
      k: () => shown.step(-1),
      e: () => shown.evidence(),
    }[pressed];
    if (pressed in VALUES) shown.set(VALUES[pressed]);
    else if (work) work();
    else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", onKey, { signal });
  fill(
    body,
    h(
      "section",
      { class: "card", "aria-label": "How to review" },
      h(
        "div",
        { class: "view" },
        h(
          "dl",
          { class: "keys" },
          KEYS.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, text))),
        ),
        h(
          "div",
          { class: "review-who" },
          field("Your name, stored with what you decide", reviewer),
          h("label", { class: "check" }, useKeys, h("span", {}, "Single keys work")),
        ),
      ),
    ),
    stage,
  );
  await go(0);
}

/** Returns the view of one report of the queue, and what can be done with it. */
function reviewed(item, queue, accept, move) {
  const draft = queue.drafts.get(item.id) ?? new Map();
  queue.drafts.set(item.id, draft);
  const rules = new Map(item.rules_say.map((said) => [name(said), said.value]));
  const images = new Map(item.images_say.map((said) => [name(said), said.probability]));
  const entries = Object.entries(item.labels).flatMap(([label_set, labels]) =>
    Object.entries(labels).map(([label, given]) => ({ label_set, label, given, key: name({ label_set, label }) })),
  );
  const urgency = ({ key, given }) => (images.has(key) ? -1 : item.doubtful && key === name(item.doubtful) ? 0 : rules.has(key) ? 1 : given.value ? 2 : 3);
  entries.sort((a, b) => urgency(a) - urgency(b));
  const hasManySets = Object.keys(item.labels).length > 1;
  const text = reportText(item.text, item.findings, (indices) => {
    const at = entries.findIndex(({ given }) => given.evidence.some((index) => indices.includes(index)));
    if (at >= 0) select(at);
  });
  const rest = h("details", {}, h("summary", {}, `${entries.filter((entry) => urgency(entry) === 3).length} not mentioned`));
  const count = h("p", { class: "quiet", role: "status" });
  const trouble = h("div");
  const button = h("button", { type: "button", class: "primary", on: { click: accept } });
  let current = 0;

  const valueOf = (entry) => (draft.has(entry.key) ? draft.get(entry.key) : entry.given.value);

  function set(entry, value) {
    if (value === entry.given.value) draft.delete(entry.key);
    else draft.set(entry.key, value);
    for (const input of entry.element.querySelectorAll("input")) input.checked = input.value === String(value);
    entry.element.classList.toggle("is-corrected", draft.has(entry.key));
    if (entry.element.contains(document.activeElement)) entry.element.querySelector("input:checked").focus();
    drawButton();
  }

  function drawButton() {
    fill(button, draft.size ? `Store, ${draft.size} corrected ` : "Accept ", h("kbd", { "aria-hidden": "true" }, "A"));
  }

  function select(index, focus = true) {
    current = (index + entries.length) % entries.length;
    entries.forEach((entry, i) => entry.element.classList.toggle("is-current", i === current));
    const { element } = entries[current];
    if (rest.contains(element)) rest.open = true;
    if (focus) (element.querySelector("input:checked") ?? element.querySelector("input")).focus();
  }

  for (const [index, entry] of entries.entries()) {
    entry.element = decision(entry, {
      value: valueOf(entry),
      isDoubtful: urgency(entry) === 0,
      rules: rules.has(entry.key) ? { value: rules.get(entry.key) } : null,
      set: hasManySets ? entry.label_set : null,
      onValue: (value) => set(entry, value),
      onFocus: () => select(index, false),
      onEvidence: () => text.mark(entry.given.evidence),
    });
    entry.element.classList.toggle("is-corrected", draft.has(entry.key));
  }
  const shownRest = entries.filter((entry) => urgency(entry) === 3);
  rest.append(h("div", { class: "decisions" }, shownRest.map((entry) => entry.element)));
  drawButton();
  const position = `Report ${queue.at + 1}, ${queue.open >= 1000 ? "1,000 or more" : number(queue.open)} waiting`;
  count.textContent = position;
  const stored = queue.stored.get(item.id);
  const heading = h("h2", { tabindex: "-1" }, `Report ${item.report_id}`);
  const element = h(
    "div",
    { class: "view" },
    h(
      "section",
      { class: "card", "aria-label": "Why this report" },
      heading,
      stored && h("p", { class: "banner" }, "Stored ", when(stored.reviewed_at), `, ${stored.corrected} corrected. What you store again counts instead.`),
      facts([
        ["Least certain", item.doubtful && doubtText(item)],
        [
          "Images",
          item.images_say.length > 0 &&
            `speak against ${item.images_say.map((said) => `${said.label.replaceAll("_", " ")} (probability of the finding ${said.probability.toFixed(2)})`).join(", ")}`,
        ],
        ["Rules", item.disagreement === null ? null : item.disagreement === 0 ? "agree" : `disagree on ${item.disagreement} label${item.disagreement > 1 ? "s" : ""}`],
        ["Accession number", item.accession_number],
        ["Study date", item.study_date],
        ["Model", `${item.model.name} ${item.model.version}`],
      ]),
    ),
    h(
      "div",
      { class: "labeled" },
      h(
        "section",
        { class: "card", "aria-label": "Report" },
        h("div", { class: "card-head" }, h("h3", {}, "Text"), legend(item.findings)),
        item.text === null && h("p", { class: "banner" }, "The text was not kept; these are the words of its findings. Look the report up before you decide."),
        text.element,
      ),
      h(
        "section",
        { class: "card", "aria-label": "Labels" },
        h("h3", {}, "Labels"),
        h("div", { class: "decisions" }, entries.filter((entry) => urgency(entry) < 3).map((entry) => entry.element)),
        shownRest.length > 0 && rest,
      ),
    ),
    trouble,
    h(
      "div",
      { class: "review-bar", role: "group", "aria-label": "This report" },
      count,
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", on: { click: () => move(-1) }, disabled: queue.at === 0 }, "Back ", h("kbd", { "aria-hidden": "true" }, "B")),
        h("button", { type: "button", on: { click: () => move(1) } }, "Skip ", h("kbd", { "aria-hidden": "true" }, "S")),
        button,
      ),
    ),
  );
  if (entries.length) select(0, false);
  return {
    element,
    focus: () => heading.focus({ preventScroll: false }),
    corrections: () =>
      entries.filter((entry) => draft.has(entry.key)).map(({ label_set, label, key }) => ({ label_set, label, value: draft.get(key) })),
    set: (value) => entries.length && set(entries[current], value),
    step: (by) => entries.length && select(current + by),
    evidence: () => text.mark(entries[current]?.given.evidence ?? []),
    wait: (isWaiting) => (button.disabled = isWaiting),
    problem: (shown) => fill(trouble, shown),
  };
}

function doubtText({ doubtful, labels }) {
  const probability = probabilityOf(labels[doubtful.label_set][doubtful.label]);
  return [doubtful.label.replaceAll("_", " "), probability === null ? "" : `, ${percent(probability)}`];
}

/** Returns a word with the letter of its key marked. */
function keyed(word, letter) {
  const at = word.indexOf(letter);
  return h("span", { class: "choice-word" }, word.slice(0, at), h("span", { class: "key" }, word[at]), word.slice(at + 1));
}

/** Returns the choice of a value for one label. */
function decision({ label, given, key }, { value, isDoubtful, rules, set, onValue, onFocus, onEvidence }) {
  const probability = probabilityOf(given);
  const title = label.replaceAll("_", " ");
  const choice = ([letter, each]) =>
    h(
      "label",
      { class: ["choice", `is-${each ?? "none"}`] },
      h("input", {
        type: "radio",
        name: key,
        value: String(each),
        checked: each === value,
        on: { change: () => onValue(each), focus: onFocus },
      }),
      h("span", { class: "sign", "aria-hidden": "true" }, ASSERTIONS[each]?.sign ?? "·"),
      keyed(each ?? "not mentioned", letter),
    );
  return h(
    "fieldset",
    { class: "decision" },
    h("legend", {}, title, set && h("span", { class: "quiet" }, ` ${set}`), isDoubtful && h("span", { class: "chip" }, "least certain")),
    h(
      "p",
      { class: "decision-facts" },
      h("span", { class: "quiet" }, "Given: "),
      valueMark(given.value),
      probability !== null && h("span", { class: "percent" }, bar(probability, given.value), percent(probability)),
      rules && h("span", { class: "rules" }, h("span", { class: "quiet" }, "Rules: "), valueMark(rules.value)),
    ),
    given.evidence.length > 0 &&
      h("button", { type: "button", class: "plain", "aria-label": `Evidence of ${title}`, on: { click: onEvidence, focus: onFocus } }, "Evidence"),
    h("div", { class: "choices-row" }, Object.entries(VALUES).map(choice)),
  );
}
