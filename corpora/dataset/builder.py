"""A data set, from an image index, linked reports and their labels: `build_dataset`.

    linked + labels + index -> candidates -> pictures -> splits -> rows -> card
                       plan.py        drawing.py   placing.py  rows.py    card/

Candidates are gone over twice, once to draw and once to write, so that memory holds a few hundred bytes for each image.
Nothing in the folder depends on the clock, the machine or the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpora.dataset.columns import EXCLUDED, FORMAT_VERSION, INFO, LINK_REPORT, ROWS
from corpora.dataset.drawing import Drawing, Drawn, Task, iter_drawn
from corpora.dataset.errors import NothingToBuild
from corpora.dataset.folder import DatasetFolder, DatasetInfo, file_digest, open_dataset
from corpora.dataset.hints import Hinter
from corpora.dataset.identity import Identity
from corpora.dataset.placing import Placeable, place
from corpora.dataset.plan import Candidate, Excluded, Plan
from corpora.dataset.recipe import SPLITS, Recipe
from corpora.dataset.rows import ExcludedWriter, RowsWriter, iter_csv, policy_phrases
from corpora.deidentification import IdentifierKind
from corpora.imaging.index_table import read_info, unreadable_path
from corpora.imaging.server import Access
from corpora.linking.link import LINK_REPORT as LINK_ACCOUNT
from corpora.linking.link import LINKED, UNLINKED_REPORTS
from corpora.vocabulary.load import load_vocabulary
from corpora.weak_labels.hierarchy import resolve_hierarchy

_DRAWN = "drawn"


class Stage(StrEnum):
    """What a build is doing."""

    INDEXING = "indexing images"
    READING_TEXTS = "reading texts"
    LABELLING = "labelling reports"
    LINKING = "linking"
    DRAWING = "drawing pictures"
    PLACING = "splitting"
    WRITING = "writing rows"
    CARD = "writing the card"


OnProgress = Callable[[Stage, int, int | None], None]


def silent(stage: Stage, done: int, total: int | None) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """What a build is made from: the image index, the folder that linking made (with ``labels.parquet``), digests of
    the report texts (Parquet with ``report_id`` and ``text``) if there are any, and what the card is to say of it all.
    """

    index: Path
    linked: Path
    texts: Path | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    access: Access | None = None


def build_dataset(
    inputs: BuildInputs,
    recipe: Recipe,
    identity: Identity,
    work: Path,
    made: Path,
    *,
    processes: int = 1,
    on_progress: OnProgress = silent,
) -> DatasetFolder:
    """Make the data set in the folder ``made`` and return it.

    ``work`` keeps what a build that is resumed need not do again.

    Raises
    ------
    NothingToBuild
        No image is left.
    SplitsInvalid, SplitLeak, PolicyInvalid, RegionsInvalid, LabelSetUnknown
        The recipe and the data do not go together.
    """
    return _Build(inputs, recipe, identity, work, made, processes, on_progress).run()


@dataclass(slots=True)
class _Build:
    inputs: BuildInputs
    recipe: Recipe
    identity: Identity
    work: Path
    made: Path
    processes: int
    on_progress: OnProgress

    def run(self) -> DatasetFolder:
        recipe = self.recipe
        vocabulary = load_vocabulary(recipe.labels.vocabulary)
        label_set = vocabulary.label_set(recipe.labels.label_set)
        recipe.policy.check_against(label_set)
        labels = tuple(entry.name for entry in label_set.labels)
        hierarchy = resolve_hierarchy(recipe.policy, label_set, vocabulary)
        hinter = Hinter.of(recipe.regions, vocabulary, label_set)
        plan = Plan(
            index=self.inputs.index,
            linked=self.inputs.linked,
            texts=self.inputs.texts,
            label_set=label_set.id,
            labels=labels,
            filter=recipe.filter.of_header(),
            identity=self.identity,
            abstain=recipe.labels.abstain,
            keep_sex_and_age=recipe.deidentify.keep_sex_and_age or not self.identity.is_deidentified,
            keep_manufacturer=recipe.deidentify.keep_manufacturer or not self.identity.is_deidentified,
        )
        self.made.mkdir(exist_ok=True)
        self._draw(plan)
        self.on_progress(Stage.PLACING, 0, None)
        placeable = [
            Placeable.of(candidate, drawn, labels) for candidate, drawn in self._drawn(plan) if drawn.reason is None
        ]
        splits = place(placeable, recipe.splits, self.identity)
        places = {row.row_id: row for row in splits.rows}
        del placeable
        policy_digest = _digest_of(recipe.policy.model_dump(mode="json"))
        with (
            ExcludedWriter(self.made) as excluded,
            RowsWriter(
                self.made, labels, recipe.policy, policy_digest, hierarchy, recipe.splits.key.encode(), hinter
            ) as rows,
        ):
            indexed, used = 0, set[str]()
            pictures = iter_drawn(self.work / _DRAWN)
            for item in plan.pass_over(self.work):
                indexed += 1
                if isinstance(item, Excluded):
                    excluded.add(item)
                    continue
                drawn = next(pictures)
                where = places.get(item.name)
                if drawn.reason is not None:
                    excluded.add(Excluded("image", item.name, "pixels", "left_out", drawn.reason))
                elif where is None or where.split is None:
                    reason = "no_patient" if where is None or where.reason is None else where.reason.value
                    excluded.add(Excluded("image", item.name, "split", "set_aside", reason))
                    self._remove(item, drawn)
                else:
                    used.update(item.reports)
                    rows.add(item, drawn, where.split)
                if indexed % 256 == 0:
                    self.on_progress(Stage.WRITING, indexed, None)
            unreadable = 0
            for line in iter_csv(unreadable_path(self.inputs.index)):
                unreadable += 1
                excluded.add(Excluded("file", self._other(line["file"]), "index", "unreadable", "unreadable"))
            for one in self._reports_left(used):
                excluded.add(one)
        if not rows.written:
            reasons = ", ".join(f"{reason} {number}" for reason, number in excluded.of_kind("image").items())
            raise NothingToBuild(f"no image is left of {indexed} that are indexed: {reasons or 'the index is empty'}")
        counts = self._counts(indexed, unreadable, rows.written, used, excluded)
        split_counts: dict[str, int] = {name: sum(row.split == name for row in splits.rows) for name in SPLITS}
        shutil.copyfile(self.inputs.linked / LINK_ACCOUNT, self.made / LINK_REPORT)
        info = self._info(labels, rows, counts, split_counts, policy_digest)
        (self.made / INFO).write_text(info.as_json(), encoding="utf-8")
        self.on_progress(Stage.CARD, 0, None)
        from corpora.dataset.card import write_card

        folder = open_dataset(self.made)
        write_card(folder, self.made, with_plots=recipe.card.plots)
        return folder

    def _draw(self, plan: Plan) -> None:
        drawing = Drawing(
            info=read_info(self.inputs.index),
            folder=self.made,
            size=self.recipe.image.size,
            filter=self.recipe.filter.of_pixels(),
            access=self.inputs.access,
        )
        self.on_progress(Stage.DRAWING, 0, None)
        tasks = (Task(item.name, item.header) for item in plan.pass_over(self.work) if isinstance(item, Candidate))
        drawing.draw_all(
            tasks,
            self.work / _DRAWN,
            processes=self.processes,
            on_drawn=lambda number: self.on_progress(Stage.DRAWING, number, None),
        )

    def _drawn(self, plan: Plan) -> Iterator[tuple[Candidate, Drawn]]:
        pictures = iter_drawn(self.work / _DRAWN)
        for item in plan.pass_over(self.work):
            if isinstance(item, Candidate):
                drawn = next(pictures)
                assert drawn.name == item.name  # both passes are in the order of the names
                yield item, drawn

    def _remove(self, candidate: Candidate, drawn: Drawn) -> None:
        """Take away the picture of a row that was set aside."""
        for file in (candidate.file, candidate.mask_file if drawn.has_mask else None):
            if file is not None:
                (self.made / file).unlink(missing_ok=True)

    def _other(self, text: str) -> str:
        return self.identity.name(IdentifierKind.OTHER, text) or ""

    def _reports_left(self, used: set[str]) -> Iterator[Excluded]:
        """Yield the reports that are about no row: not linked, or linked to images that are left out, or unreadable."""
        import pyarrow.parquet as pq

        identity = self.identity
        for line in iter_csv(self.inputs.linked / UNLINKED_REPORTS):
            name = identity.name(IdentifierKind.REPORT_ID, line["report_id"]) or ""
            yield Excluded("report", name, "link", line["outcome"], line["reason"])
        linked = pq.read_table(self.inputs.linked / LINKED, columns=["report_id"])["report_id"].unique().to_pylist()
        for report_id in sorted(set(linked) - used):
            name = identity.name(IdentifierKind.REPORT_ID, report_id) or ""
            yield Excluded("report", name, "images", "linked", "no_row")

    def _counts(
        self, indexed: int, unreadable: int, rows: int, used: set[str], excluded: ExcludedWriter
    ) -> dict[str, Any]:
        account = json.loads((self.inputs.linked / LINK_ACCOUNT).read_text("utf-8"))
        of_images = excluded.of_kind("image")
        assert indexed == rows + sum(of_images.values())
        return {
            "images": {"indexed": indexed, "rows": rows, "excluded": of_images},
            "files": {"unreadable": unreadable},
            "reports": {
                "rows": account["totals"]["report_rows"],
                "linked_rows": account["reports"].get("linked", {}).get("count", 0),
                "used": len(used),
                "excluded": excluded.of_kind("report"),
            },
        }

    def _info(
        self,
        labels: tuple[str, ...],
        rows: RowsWriter,
        counts: Mapping[str, Any],
        splits: Mapping[str, int],
        policy_digest: str,
    ) -> DatasetInfo:
        recipe = self.recipe
        account = json.loads((self.made / LINK_REPORT).read_text("utf-8"))
        return DatasetInfo(
            format_version=FORMAT_VERSION,
            name=recipe.name,
            label_set=recipe.labels.label_set,
            labels=labels,
            splits=splits,
            rows=rows.written,
            counts=counts,
            policies=policy_phrases(recipe.policy, labels),
            class_weights={label: round(weight, 6) for label, weight in rows.counts.weights(recipe.policy).items()},
            policy_digest=policy_digest,
            model=dict(self.inputs.model),
            sources={
                "reports": account["inputs"]["reports"],
                "labels": account["inputs"]["labels"],
                # Over names and stored pixels: the same for a folder and for a server that holds it.
                "pixels": _digest_of([[d.name, d.source_digest] for d in iter_drawn(self.work / _DRAWN)]),
            },
            deidentified=self.identity.is_deidentified,
            key_id=self.identity.maker.key_id if self.identity.maker else None,
            image={"size": recipe.image.size, "bits": 8},
            regions=recipe.regions.enabled,
            recipe=recipe.as_used(),
            command=self.inputs.command,
            versions=versions(),
            digests={name: file_digest(self.made / name) for name in (ROWS, EXCLUDED, LINK_REPORT)},
        )


def versions() -> dict[str, str]:
    """Return the versions of what the bytes of a data set depend on."""
    names = ("numpy", "pillow", "pyarrow", "pydicom", "duckdb", "matplotlib")
    return {"radlabel": _own_version(), **{name: version(name) for name in names}}


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return version("radlabel")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
