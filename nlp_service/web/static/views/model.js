// The model: what reads the reports, and its card.

import { facts, fill, h } from "../dom.js";
import { ask } from "../api.js";
import { markdown } from "../markdown.js";
import { empty } from "../states.js";

/** Shows the view. */
export async function render({ body, signal }) {
  const { model, reader, radlabel, card } = await ask("v1/model", { signal });
  fill(
    body,
    h(
      "section",
      { class: "card" },
      h("h2", {}, "What reads the reports"),
      facts([
        ["Model", `${model.name} ${model.version}`],
        ["Reader", reader],
        ["Digest", h("code", {}, model.digest)],
        ["radlabel", radlabel],
      ]),
      h("p", { class: "quiet" }, "The digest changes with anything the answers depend on; every row of labels has it."),
    ),
    card
      ? h("section", { class: "card prose", "aria-label": "Model card" }, markdown(card))
      : empty("There is no model card.", "The rules read the reports: what they know is in the vocabulary, under Labels."),
  );
}
