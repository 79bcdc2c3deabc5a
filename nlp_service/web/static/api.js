// The way to the service: the key, problems as errors, and a service that is still starting.

import { askForKey } from "./key.js";
import { h } from "./dom.js";

const KEY = "radlabel-key";
const START_WAIT_MS = 1500;

/** What the service, or the way to it, has against a request; in the words of its problem details (RFC 9457). */
export class ProblemError extends Error {
  constructor({ title, detail, errors, type, status }) {
    super(title);
    this.title = title;
    this.detail = detail ?? null;
    this.errors = errors ?? [];
    this.kind = (type ?? "").split(":").pop();
    this.status = status ?? 0;
  }
}

/** The key that this tab was given: it goes with the tab, and nothing sends it by itself, as it would a cookie. */
export const key = {
  get: () => window.sessionStorage.getItem(KEY),
  set: (value) => {
    window.sessionStorage.setItem(KEY, value);
    changed();
  },
  forget: () => {
    window.sessionStorage.removeItem(KEY);
    changed();
  },
};

function changed() {
  window.dispatchEvent(new Event("keychange"));
}

function headers() {
  const value = key.get();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

async function problemOf(response) {
  let details = {};
  try {
    details = await response.json();
  } catch {
    // Not ours: a proxy in between, say.
  }
  return new ProblemError({ title: response.statusText || "The request failed", ...details, status: response.status });
}

function unreachable(error) {
  if (error.name === "AbortError") return error;
  return new ProblemError({
    title: "The service cannot be reached",
    detail: "Is it running? What is under way there goes on without this page.",
  });
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = window.setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      window.clearTimeout(timer);
      reject(signal.reason);
    });
  });

function showStarting(isStarting) {
  const there = document.getElementById("starting");
  if (!isStarting) there?.remove();
  else if (!there)
    document
      .querySelector("header")
      .after(h("p", { id: "starting", class: "banner", role: "status" }, "The service is starting: its model is loaded and tested."));
}

/** Returns the answer to a request; asks for a key where one is needed, and waits for a service that is starting. */
export async function send(path, { method = "GET", json, signal } = {}) {
  for (;;) {
    let response;
    const sent = key.get();
    try {
      response = await fetch(path, {
        method,
        headers: { ...headers(), ...(json === undefined ? {} : { "Content-Type": "application/json" }) },
        body: json === undefined ? undefined : JSON.stringify(json),
        signal,
        credentials: "omit",
      });
    } catch (error) {
      throw unreachable(error);
    }
    if (response.ok) {
      showStarting(false);
      return response;
    }
    const problem = await problemOf(response);
    if (problem.kind === "starting") {
      showStarting(true);
      await pause(START_WAIT_MS, signal);
    } else if (response.status === 401) {
      // Another request may have been given a key in the meantime.
      if (key.get() === sent) await askForKey(problem);
    } else {
      throw problem;
    }
  }
}

/** Returns the JSON that a request is answered with. */
export async function ask(path, options) {
  return (await send(path, options)).json();
}

/** Sends a form with a file; `onProgress` is told which share of it has gone out. `fetch` cannot tell that. */
export async function upload(path, form, onProgress) {
  for (;;) {
    const sent = key.get();
    const { status, text } = await new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", path);
      for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
      request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
      request.addEventListener("error", () => reject(unreachable(new Error())));
      request.send(form);
    });
    if (status < 300) return JSON.parse(text);
    const problem = await problemOf(new Response(text, { status: Math.max(status, 400) }));
    if (status !== 401) throw problem;
    if (key.get() === sent) await askForKey(problem);
  }
}

/** Saves what a path answers with as a file. */
export async function save(path, name) {
  const link = h("a", { download: name });
  if (!key.get()) {
    // None was needed to come here: the browser writes the file to the disk as it comes.
    link.href = path;
    link.click();
    return;
  }
  // A link cannot carry a key.
  const content = await (await send(path)).blob();
  link.href = URL.createObjectURL(content);
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Yields the data of server-sent events. Read with `fetch`, since `EventSource` could not send the key. */
export async function* events(path, signal) {
  const response = await send(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const data = buffer
          .slice(0, end)
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trim())
          .join("\n");
        buffer = buffer.slice(end + 2);
        if (data) yield JSON.parse(data);
      }
    }
  } catch (error) {
    throw unreachable(error);
  } finally {
    reader.cancel().catch(() => null);
  }
}

export { pause };
