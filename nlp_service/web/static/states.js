// What a view shows while it has nothing to show: it is loading, there is nothing, or something went wrong.

import { h } from "./dom.js";

/** Returns the state of a view that waits. */
export function loading(text = "Loading ...") {
  return h("p", { class: "state", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), text);
}

/** Returns the state of a view that has nothing to show, and what could be done about it. */
export function empty(title, ...hints) {
  return h(
    "div",
    { class: "state" },
    h("p", { class: "state-title" }, title),
    hints.map((hint) => h("p", {}, hint)),
  );
}

/** Returns a problem in its own words, with a button to try again where `retry` is given. */
export function failed(problem, retry) {
  return h(
    "div",
    { class: "state problem", role: "alert" },
    h("p", { class: "state-title" }, problem.title ?? "The page has a fault"),
    problem.detail && h("p", {}, problem.detail),
    !problem.title && h("p", {}, "Load it again; if that does not help, its console says more."),
    problem.errors?.length > 0 &&
      h(
        "ul",
        {},
        problem.errors.map((error) => h("li", {}, h("code", {}, error.field), ` ${error.reason}`)),
      ),
    retry && h("p", {}, h("button", { type: "button", on: { click: retry } }, "Try again")),
  );
}
