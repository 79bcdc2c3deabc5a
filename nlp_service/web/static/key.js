// The question for a key: one dialog, whoever asks.

import { h, field } from "./dom.js";
import { key } from "./api.js";

let asking = null;

/** Resolves once a key was given; throws the problem where the user would rather not. */
export function askForKey(problem) {
  asking ??= open(problem).finally(() => (asking = null));
  return asking;
}

function open(problem) {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, name: "key" });
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "key-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, problem.title),
      h(
        "p",
        {},
        "Whoever runs the service makes keys with ",
        h("code", {}, "radlabel keys create"),
        ". The key stays in this tab, and is forgotten with it.",
      ),
      field("Key", input),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "primary" }, "Use this key"),
        h("button", { type: "button", on: { click: () => dialog.close() } }, "Not now"),
      ),
    ),
  );
  document.body.append(dialog);
  return new Promise((resolve, reject) => {
    let isGiven = false;
    dialog.addEventListener("submit", () => {
      isGiven = true;
      key.set(input.value.trim());
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (isGiven) resolve();
      else reject(problem);
    });
    dialog.showModal();
    input.focus();
  });
}
