"""The card itself: what it says, in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from corpora.dataset.card.blocks import Block, Code, Heading, Picture, Table, Text, as_html, as_markdown
from corpora.dataset.card.numbers import GROUPS, VALUES, CardNumbers, count
from corpora.dataset.card.plots import draw_plots
from corpora.dataset.columns import CARD, LINK_REPORT
from corpora.dataset.folder import DatasetFolder, DatasetInfo
from corpora.dataset.recipe import SPLITS

MARKDOWN, HTML = "card.md", "card.html"


def write_card(folder: DatasetFolder, output: Path, *, with_plots: bool = True) -> None:
    """Write ``card.md``, ``card.html`` and the plots of a data set into a folder, its own or another."""
    numbers = count(folder)
    info = folder.info
    account = json.loads((folder.path / LINK_REPORT).read_text("utf-8"))
    pictures = draw_plots(numbers, _funnel(info)) if with_plots else {}
    blocks = [
        block for block in _blocks(info, numbers, account) if not isinstance(block, Picture) or block.file in pictures
    ]
    plots = output / CARD
    plots.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (plots / name).write_bytes(content)
    (output / MARKDOWN).write_text(as_markdown(blocks, CARD), encoding="utf-8")
    (output / HTML).write_text(as_html(blocks, _title(info), pictures), encoding="utf-8")


def _title(info: DatasetInfo) -> str:
    return str(info.recipe["card"]["title"] or info.name)


def _funnel(info: DatasetInfo) -> dict[str, int]:
    excluded = info.counts["images"]["excluded"]

    def without(*stages: str) -> int:
        left: int = sum(number for reason, number in excluded.items() if reason.partition(":")[0] in stages)
        indexed: int = info.counts["images"]["indexed"]
        return indexed - left

    return {
        "report rows": int(info.counts["reports"]["rows"]),
        "reports linked": int(info.counts["reports"]["linked_rows"]),
        "reports used": int(info.counts["reports"]["used"]),
        "images indexed": int(info.counts["images"]["indexed"]),
        "images linked": without("index", "link"),
        "... that pass the filters": without("index", "link", "filter", "labels", "pixels"),
        "rows": info.rows,
    }


def _blocks(info: DatasetInfo, numbers: CardNumbers, account: Mapping[str, Any]) -> Iterator[Block]:
    said = info.recipe["card"]
    yield Heading(_title(info), 1)
    yield Text(
        f"{info.rows:,} images of {sum(numbers.patients.values()):,} patients with the {len(info.labels)} labels of "
        f"{info.label_set}, read from their reports by {info.model.get('name', 'a reader that is not named')}. The "
        "labels are weak: a program read them from text, nobody looked at the images. For research, not for clinical "
        "use."
    )
    yield Heading("Terms")
    names = {
        "licence": "Licence of the data set",
        "images_licence": "Licence of the images",
        "reports_licence": "Licence of the reports",
        "source": "Source",
        "citation": "Citation",
        "contact": "Contact",
        "intended_use": "Intended use",
    }
    yield Table(("field", "as stated by who built it"), [(title, str(said[name])) for name, title in names.items()])
    yield from _composition(info, numbers)
    yield from _labels(info, numbers)
    yield from _shortcuts(numbers)
    yield from _origin(info, account)
    yield from _privacy(info, numbers)
    yield from _made(info)


def _composition(info: DatasetInfo, numbers: CardNumbers) -> Iterator[Block]:
    yield Heading("Splits")
    yield Table(
        ("split", "rows", "patients"),
        [(split, int(info.splits[split]), int(numbers.patients[split])) for split in SPLITS],
    )
    splitting = info.recipe["splits"]
    yield Text(
        f"By patient, by a keyed hash. Shared report texts: {splitting['text']}; near-identical pictures: "
        f"{splitting['picture']}; test ids of public lists: {splitting['public_tests']}. No patient is in two splits."
    )
    yield Heading("From what was there to rows")
    yield Picture("funnel.png", "Bars of reports and images that are left after each step")
    rows = [
        (kind, *reason.split(":", 1), int(number))
        for kind in ("images", "reports")
        for reason, number in info.counts[kind]["excluded"].items()
    ]
    if info.counts["files"]["unreadable"]:
        rows.append(("files", "index", "unreadable", int(info.counts["files"]["unreadable"])))
    yield Text("What is in no row, and why (each one is listed in excluded.csv):")
    yield Table(("of", "step", "reason", "number"), rows)


def _labels(info: DatasetInfo, numbers: CardNumbers) -> Iterator[Block]:
    yield Heading("Labels")
    total = numbers.values.sum(axis=0)
    yield Table(
        ("label", *VALUES, "masked", "class weight", "policy"),
        [
            (
                label,
                *(int(number) for number in total[place]),
                int(numbers.masked[place]),
                float(info.class_weights[label]),
                info.policies[label],
            )
            for place, label in enumerate(numbers.labels)
        ],
    )
    yield Text("Blank: the report does not speak of it. Masked: the policy gives no target, so a loss must skip it.")
    yield Picture("prevalence.png", "Share of positive rows of each label, by split")
    yield Picture("unsaid.png", "Shares of uncertain and of not mentioned, by label")
    yield Picture("together.png", "How often two labels are positive together")
    yield Picture("confidence.png", "Histograms of the probability of positive, by label")
    kinds = ", ".join(f"{number:,} on {kind}" for kind, number in sorted(numbers.hints.items())) or "none"
    yield Text(
        f"Region hints: {kinds}. Boxes given with the images: {numbers.given_boxes:,}. Masks given: "
        f"{numbers.given_masks:,}. A hint says where a report's finding is to be expected; it is no segmentation."
    )


def _shortcuts(numbers: CardNumbers) -> Iterator[Block]:
    yield Heading("What a model could use in place of disease")
    yield Text(
        "Where a label is much more frequent in one group than in another, a model may learn the group. Measure within "
        "groups before you believe a figure."
    )
    for group in GROUPS:
        if set(numbers.groups[group]) <= {"not stated"}:
            yield Text(f"The images do not state the {group}.")
        else:
            yield Picture(f"by_{group}.png", f"Share of positive rows of each label, by {group}")


def _origin(info: DatasetInfo, account: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading("Linking")
    rows = [
        (kind, outcome, reason, int(number))
        for kind in ("reports", "studies", "images")
        for outcome, found in account[kind].items()
        for reason, number in found["reasons"].items()
    ]
    yield Table(("of", "outcome", "reason", "number"), rows)


def _privacy(info: DatasetInfo, numbers: CardNumbers) -> Iterator[Block]:
    yield Heading("Privacy")
    if info.deidentified:
        yield Text(
            f"Patients, reports, accession numbers, images and UIDs have keyed pseudonyms (key {info.key_id}), dates "
            "are shifted for each patient, ages over 89 are 90. File names, descriptions and report texts are left out."
        )
    else:
        yield Text("Identifiers are as in the source. Keep this folder as you keep the source.")
    burned = ", ".join(f"{number:,} {said}" for said, number in sorted(numbers.burned_in.items()))
    yield Text(
        f"Text burned into the pixels, as the headers say: {burned}. It is flagged in the column burned_in_annotation "
        "and not removed: somebody has to look, also where nothing is stated. Pictures of a face or a body may "
        "identify a person in themselves."
    )


def _made(info: DatasetInfo) -> Iterator[Block]:
    yield Heading("How it was made")
    yield Code(" ".join(info.command) or "from Python: corpora.dataset.build_dataset")
    yield Text("The whole recipe is in dataset.json. The same inputs, recipe and versions give the same bytes.")
    model = [(f"model {key}", str(value)) for key, value in info.model.items()]
    sources = [(f"source {key}", _digest_text(value)) for key, value in info.sources.items()]
    files = [(f"file {key}", f"sha256 {value}") for key, value in info.digests.items()]
    packages = [(f"version of {key}", str(value)) for key, value in info.versions.items()]
    pictures = [("pictures", f"PNG, 8 bits, longest side {info.image['size']} pixels at most")]
    policy = [("policy", f"sha256 {info.policy_digest}")]
    yield Table(("what", "value"), [*pictures, *model, *policy, *sources, *files, *packages])


def _digest_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return f"sha256 {value}"
    return f"sha256 {value['sha256']} ({value['files']:,} files, {value['bytes']:,} bytes)"
