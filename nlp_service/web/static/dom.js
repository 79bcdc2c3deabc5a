// Elements are made here and nowhere from text: what a report says can never become part of the page's code.

/**
 * Returns an element. Of the attributes, `on` maps events to listeners, `class` may hold falsy parts in a list, and
 * what is null, undefined or false is left out. Children are elements, texts, lists of them, or nothing.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "class") element.className = [value].flat().filter(Boolean).join(" ");
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let counter = 0;

/** Returns an id that no other element has. */
export function freshId(stem) {
  counter += 1;
  return `${stem}-${counter}`;
}

/** Returns a labelled form field: `control` gets an id, and the hint describes it. */
export function field(label, control, hint) {
  control.id ||= freshId("field");
  const hintId = hint ? `${control.id}-hint` : null;
  if (hintId) control.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("p", { class: "hint", id: hintId }, hint),
  );
}

/** Returns a checkbox with its label. */
export function checkbox(label, attributes) {
  return h("label", { class: "check" }, h("input", { type: "checkbox", ...attributes }), h("span", {}, label));
}

/** Says something to people who cannot see that it happened, and shows it for a moment. */
export function say(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  window.clearTimeout(say.timer);
  // A region that is filled again at once is not read out.
  window.setTimeout(() => (said.textContent = text), 30);
  say.timer = window.setTimeout(() => (said.textContent = ""), 6000);
}

/** Returns pairs of terms and values; those without a value are left out. */
export function facts(pairs, attributes = {}) {
  return h(
    "dl",
    { class: "facts", ...attributes },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Returns a time of the API as an element in the reader's own form. */
export function when(text) {
  return text ? h("time", { datetime: text }, WHEN.format(new Date(text))) : null;
}

/** Returns a number with its thousands set apart. */
export function number(value) {
  return value.toLocaleString();
}

/** Returns an id of the vocabulary as words. */
export function words(id) {
  return id === null || id === undefined ? id : id.replaceAll("_", " ");
}

/** Resolves to whether the user agrees. */
export function confirmed(title, text, yes) {
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "confirm-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "danger", value: "yes" }, yes),
        h("button", { type: "submit", value: "no", autofocus: true }, "Keep it"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    }),
  );
}
