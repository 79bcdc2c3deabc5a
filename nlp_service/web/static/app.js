// The page: which view the address names, and where the focus goes.

import { fill, h, say } from "./dom.js";
import { key } from "./api.js";
import { failed, loading } from "./states.js";

const VIEWS = {
  label: ["Label a report", () => import("./views/label.js")],
  jobs: ["Jobs", () => import("./views/jobs.js")],
  datasets: ["Data sets", () => import("./views/datasets.js")],
  studies: ["Studies", () => import("./views/studies.js")],
  review: ["Review", () => import("./views/review.js")],
  labels: ["Labels and findings", () => import("./views/labels.js")],
  api: ["API", () => import("./views/api.js")],
  model: ["Model", () => import("./views/model.js")],
};

const main = document.getElementById("main");
let leaving = null;
let isFirst = true;

async function show() {
  const [name, ...rest] = window.location.hash.replace(/^#\/?/, "").split("/");
  const [title, load] = VIEWS[name] ?? VIEWS.label;
  leaving?.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  say("");
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#/${VIEWS[name] ? name : "label"}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = h("h1", { tabindex: "-1" }, title);
  const body = h("div", { class: "view" }, loading());
  fill(main, heading, body);
  document.title = `${title} - radlabel`;
  // Who reads with the ears is told where they are; at the first load, the title has said so.
  if (!isFirst) {
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  isFirst = false;
  try {
    const { render } = await load();
    await render({
      body,
      signal,
      path: rest,
      rename: (text) => {
        heading.textContent = text;
        document.title = `${text} - radlabel`;
      },
    });
  } catch (error) {
    if (signal.aborted) return;
    if (error.title === undefined) console.error(error);
    fill(body, failed(error, show));
  }
}

function showKey() {
  document.getElementById("forget").hidden = !key.get();
}

document.getElementById("skip").addEventListener("click", () => main.querySelector("h1")?.focus());
document.getElementById("forget").addEventListener("click", () => {
  key.forget();
  say("The key is forgotten.");
  show();
});
window.addEventListener("hashchange", show);
window.addEventListener("keychange", showKey);
showKey();
show();
