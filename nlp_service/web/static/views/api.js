// The API, as its own OpenAPI document tells it, with requests to copy.

import { fill, h, say, words } from "../dom.js";
import { ask, key } from "../api.js";
import { markdown } from "../markdown.js";

const DEEPEST = 4;

/** Shows the view. */
export async function render({ body, signal }) {
  const api = await ask("openapi.json", { signal });
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), { path, method, operation }]);
    }
  }
  fill(
    body,
    h(
      "section",
      { class: "card prose" },
      h("h2", {}, `${api.info.title} ${api.info.version}`),
      markdown(api.info.description ?? ""),
      h(
        "p",
        {},
        "The document itself, for tools: ",
        h("a", { href: "openapi.json" }, "openapi.json"),
        key.get() ? ". The examples read your key from the variable RADLABEL_KEY." : ".",
      ),
    ),
    [...groups].map(([tag, operations]) =>
      h("section", { class: "card", "aria-label": tag }, h("h2", {}, words(tag)), operations.map((each) => operationDetails(each, api))),
    ),
  );
}

function operationDetails({ path, method, operation }, api) {
  const content = operation.requestBody?.content ?? {};
  const [kind] = Object.keys(content);
  const schema = kind && resolved(content[kind].schema, api);
  return h(
    "details",
    { class: "operation" },
    h("summary", {}, h("code", { class: "method" }, method.toUpperCase()), " ", h("code", {}, path), " ", h("span", { class: "quiet" }, operation.summary ?? "")),
    markdown((operation.description ?? "").replaceAll("``", "`")),
    operation.parameters?.length > 0 && [
      h("h3", {}, "Parameters"),
      h("dl", { class: "schema" }, operation.parameters.map((item) => line(`${item.name}`, item.schema, item.required, item.description, api, 1))),
    ],
    h("h3", {}, "Example"),
    example(curl(method, path, operation, kind, schema, api)),
    schema && [h("h3", {}, `Body, ${kind}`), properties(schema, api, 1)],
    h("h3", {}, "Answers"),
    h(
      "dl",
      { class: "schema" },
      Object.entries(operation.responses).map(([status, response]) => [
        h("dt", {}, h("code", {}, status)),
        h("dd", {}, response.description, Number(status) < 300 && answer(response, api)),
      ]),
    ),
  );
}

function answer(response, api) {
  const kinds = Object.entries(response.content ?? {});
  if (!kinds.length) return null;
  const schema = resolved(kinds[0][1].schema ?? {}, api);
  return [h("span", { class: "quiet" }, ` (${kinds.map(([kind]) => kind).join(", ")})`), schema.properties && properties(schema, api, 1)];
}

/** Returns the schema that a reference stands for, or the part of a choice that is not null. */
function resolved(schema, api) {
  const name = schema.$ref?.split("/").pop();
  if (name) return resolved(api.components.schemas[name] ?? {}, api);
  const choices = (schema.anyOf ?? schema.oneOf)?.filter((each) => each.type !== "null");
  return choices?.length === 1 ? { ...schema, anyOf: undefined, ...resolved(choices[0], api) } : schema;
}

function properties(schema, api, depth) {
  const required = new Set(schema.required ?? []);
  return h(
    "dl",
    { class: "schema" },
    Object.entries(schema.properties ?? {}).map(([name, part]) => line(name, part, required.has(name), part.description, api, depth)),
  );
}

function line(name, given, isRequired, description, api, depth) {
  const schema = resolved(given, api);
  const inner = resolved(schema.items ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : {}), api);
  const nested = [schema, inner].find((each) => each.properties);
  return [
    h("dt", {}, h("code", {}, name), " ", h("span", { class: "quiet" }, typeName(schema, api), isRequired ? ", required" : "")),
    h("dd", {}, description ?? "", nested && depth < DEEPEST && properties(nested, api, depth + 1)),
  ];
}

function typeName(schema, api) {
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.anyOf) return schema.anyOf.map((each) => typeName(resolved(each, api), api)).join(" or ");
  if (schema.type === "array") return `list of ${typeName(resolved(schema.items ?? {}, api), api)}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return `object of ${typeName(resolved(schema.additionalProperties, api), api)}`;
  }
  return { string: schema.format === "binary" ? "file" : "text", integer: "whole number", boolean: "true or false" }[schema.type] ?? schema.type ?? "anything";
}

/** Returns a request as a line of curl. */
function curl(method, path, operation, kind, schema, api) {
  const url = new URL(path.replace(/^\//, "").replaceAll("{", "").replaceAll("}", ""), document.baseURI).href.split("#")[0];
  const parts = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${url}'`];
  if (operation.security && key.get()) parts.push(`-H "Authorization: Bearer $RADLABEL_KEY"`);
  if (kind === "multipart/form-data") parts.push("-F label_sets=chexpert14", "-F file=@reports.csv");
  else if (schema) {
    parts.push(`-H 'Content-Type: ${kind}'`);
    parts.push(`-d '${JSON.stringify(sample(schema, api), null, 2).replaceAll("'", "'\\''")}'`);
  }
  return parts.join(" \\\n  ");
}

/** Returns an example of a schema: its own where it has one. */
function sample(given, api, depth = 0) {
  const schema = resolved(given, api);
  if (schema.examples?.length) return schema.examples[0];
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.type === "array") return depth < DEEPEST ? [sample(schema.items ?? {}, api, depth + 1)] : [];
  if (schema.properties) {
    const wanted = schema.required ?? Object.keys(schema.properties).slice(0, 1);
    return Object.fromEntries(wanted.map((name) => [name, depth < DEEPEST ? sample(schema.properties[name], api, depth + 1) : null]));
  }
  return { string: "text", integer: 1, number: 1, boolean: true }[schema.type] ?? {};
}

function example(text) {
  const copy = async () => {
    await window.navigator.clipboard.writeText(text);
    say("Copied.");
  };
  return h(
    "div",
    { class: "example" },
    h("pre", { tabindex: "0", "aria-label": "Example" }, h("code", {}, text)),
    // Browsers let pages copy over HTTPS and on this machine alone.
    window.navigator.clipboard && h("button", { type: "button", on: { click: copy } }, "Copy"),
  );
}
