// Markdown as the cards use it, made into elements: headings, paragraphs, lists, tables, code, links, emphasis, plots.

import { h } from "./dom.js";

/**
 * Returns the elements of a text in Markdown; a head of YAML between lines of dashes is left out. A picture that stands
 * alone on its line is shown where `pictures` has its address, by the end of what the text names.
 */
export function markdown(text, pictures = {}) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split("\n");
  const blocks = [];
  const names = new Map();
  let i = 0;
  let title = "";
  const while_ = (test) => {
    const first = i;
    while (i < lines.length && test(lines[i])) i += 1;
    return lines.slice(first, i);
  };
  while (i < lines.length) {
    const line = lines[i];
    const heading = /^(#{1,4})\s+(.*)$/.exec(line);
    const picture = /^!\[([^\]]*)\]\((?:[^)\s]*\/)?([^)\s/]+)\)$/.exec(line);
    if (!line.trim()) i += 1;
    else if (picture) {
      if (pictures[picture[2]]) blocks.push(h("img", { class: "plot", alt: picture[1], src: pictures[picture[2]] }));
      i += 1;
    } else if (heading) {
      // The view has the only h1.
      title = heading[2].replace(/[`*]/g, "");
      blocks.push(h(`h${Math.min(heading[1].length + 1, 5)}`, {}, inline(heading[2])));
      i += 1;
    } else if (line.startsWith("```")) {
      i += 1;
      const code = while_((next) => !next.startsWith("```"));
      i += 1;
      blocks.push(h("pre", { tabindex: "0" }, h("code", {}, code.join("\n"))));
    } else if (line.startsWith("|")) {
      blocks.push(table(while_((next) => next.startsWith("|")), title, names));
    } else if (/^\s*([-*]|\d+\.)\s/.test(line)) {
      const isOrdered = /^\s*\d/.test(line);
      const items = [];
      for (const next of while_((each) => /^\s*([-*]|\d+\.)\s/.test(each) || /^\s+\S/.test(each))) {
        if (/^\s*([-*]|\d+\.)\s/.test(next)) items.push(next.replace(/^\s*([-*]|\d+\.)\s+/, ""));
        else items[items.length - 1] += ` ${next.trim()}`;
      }
      blocks.push(h(isOrdered ? "ol" : "ul", {}, items.map((item) => h("li", {}, inline(item)))));
    } else {
      const paragraph = while_((next) => next.trim() && !/^(#|```|\||!\[|\s*[-*]\s)/.test(next));
      blocks.push(h("p", {}, inline(paragraph.join(" "))));
    }
  }
  return blocks;
}

/** Returns a table; `names` counts how often each name was given, since no two regions may have the same. */
function table(lines, title, names) {
  // The second line is the one of dashes.
  const [head, , ...rows] = lines.map((line) => line.replace(/^\||\|\s*$/g, "").split("|").map((cell) => cell.trim()));
  const isNamed = head.some(Boolean);
  const stem = isNamed ? `Table: ${head.filter(Boolean).join(", ")}` : title ? `Table: ${title}` : "Table";
  names.set(stem, (names.get(stem) ?? 0) + 1);
  const name = names.get(stem) > 1 ? `${stem} (${names.get(stem)})` : stem;
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h(
      "table",
      {},
      isNamed && h("thead", {}, h("tr", {}, head.map((cell) => (cell ? h("th", { scope: "col" }, inline(cell)) : h("td"))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell)))))),
    ),
  );
}

function inline(text) {
  const parts = [];
  const pattern = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)\s]+)\)/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(last, match.index));
    last = match.index + match[0].length;
    const [, code, strong, emphasis, label, target] = match;
    if (code) parts.push(h("code", {}, code));
    else if (strong) parts.push(h("strong", {}, strong));
    else if (emphasis) parts.push(h("em", {}, emphasis));
    // Other addresses are shown and not led to: a card names files beside it, which are not served.
    else if (/^https?:/.test(target)) parts.push(h("a", { href: target, rel: "noreferrer" }, label));
    else parts.push(label);
  }
  parts.push(text.slice(last));
  return parts;
}
