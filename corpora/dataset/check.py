"""Whether a data set is whole and does not leak, told from its folder alone: `check_dataset`.

Nothing of what the build promised is believed: digests are computed again, pictures are read and hashed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora.dataset.columns import EXCLUDED, IMAGES, MASKS
from corpora.dataset.errors import DatasetInvalid
from corpora.dataset.folder import DatasetFolder, file_digest
from corpora.dataset.identity import Identity, named
from corpora.dataset.placing import without_ignored
from corpora.dataset.recipe import SPLITS
from corpora.dataset.rows import iter_csv
from corpora.deidentification import IdentifierKind, Pseudonymiser
from corpora.weak_labels.duplicates import perceptual_hash, pixel_digest
from corpora.weak_labels.leaks import Leak, SplitCheckRow, find_leaks, public_test_ids
from corpora.weak_labels.splits import Grouping

_VALUES = frozenset({None, "positive", "negative", "uncertain"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: its kind, and where, by row number from 1 or file of our own naming."""

    kind: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. ``is_public_test_checked`` is false where ids are pseudonyms and no key was given."""

    rows: int
    faults: tuple[Fault, ...]
    is_text_checked: bool
    is_public_test_checked: bool

    @property
    def is_good(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.faults

    def counts(self) -> dict[str, int]:
        """Return kind to number."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))


@dataclass(slots=True)
class _Check:
    folder: DatasetFolder
    faults: list[Fault] = field(default_factory=list)

    def add(self, kind: str, where: str, detail: str) -> None:
        self.faults.append(Fault(kind, where, detail))


def check_dataset(
    folder: DatasetFolder,
    *,
    pseudonymiser: Pseudonymiser | None = None,
    on_row: Callable[[int], None] = lambda number: None,
) -> CheckResult:
    """Return all that is wrong with a data set; nothing for a good one.

    Files are there and as they were written; pictures have the size and pixels of their rows; values are those of the
    format; the counts add up; and no patient, text, picture or near-identical picture is in two splits, no test id of a
    public list outside test. Texts and pictures that the recipe lets repeat may.

    Parameters
    ----------
    pseudonymiser
        The key of the data set: with it the names of public test lists can be compared.

    Raises
    ------
    DatasetInvalid
        The key is another one.
    """
    info = folder.info
    if pseudonymiser is not None and pseudonymiser.key_id != info.key_id:
        raise DatasetInvalid("the key is not the one that the pseudonyms of this data set were made with")
    check = _Check(folder)
    for name, digest in info.digests.items():
        path = folder.path / name
        if not path.is_file():
            check.add("file missing", name, "is not there")
        elif file_digest(path) != digest:
            check.add("file changed", name, "is not as it was written")
    placed: list[SplitCheckRow] = []
    splits: Counter[str] = Counter()
    before, known_files = "", set[str]()
    has_text = False
    for number, row in enumerate(folder.iter_rows(), start=1):
        if row["image_id"] <= before:
            check.add("order", f"row {number}", "rows are not in the order of image_id, or one is there twice")
        before = row["image_id"]
        splits[row["split"]] += 1
        _check_values(check, number, row)
        known_files.update(file for file in (row["file"], row["mask_file"]) if file)
        placed.append(_checked_picture(check, number, row))
        has_text = has_text or row["text_digest"] is not None
        if number % 64 == 0:
            on_row(number)
    on_row(len(placed))
    if sum(splits.values()) != info.rows or any(splits[name] != info.splits.get(name, 0) for name in SPLITS):
        check.add("counts", "rows.parquet", "the rows of the splits are not those of dataset.json")
    _check_counts(check)
    _check_strays(check, known_files)
    public = _public_names(info.deidentified, pseudonymiser)
    recipe = info.recipe["splits"]
    leaks = find_leaks(
        placed,
        distance=int(recipe["distance"]),
        public_tests=public if recipe["public_tests"] != "ignore" else {},
        check_text=recipe["text"] != Grouping.IGNORE.value,
    )
    check.faults += [_as_fault(leak) for leak in without_ignored(leaks, Grouping(recipe["picture"]))]
    return CheckResult(len(placed), tuple(check.faults), has_text, not info.deidentified or pseudonymiser is not None)


def _check_values(check: _Check, number: int, row: Mapping[str, Any]) -> None:
    where = f"row {number}"
    if row["split"] not in SPLITS:
        check.add("value", where, "split is none of train, validation, test")
    for label in check.folder.labels:
        if row[f"label:{label}"] not in _VALUES:
            check.add("value", where, f"label:{label} is no value of a label")
        if row[f"mask:{label}"] != (row[f"target:{label}"] is not None):
            check.add("value", where, f"target:{label} and mask:{label} do not go together")
    for cell in (*(row["regions"] or ()), *(row["boxes"] or ())):
        x_min, y_min, x_max, y_max = cell["box"]
        if not (0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1):
            check.add("value", where, "a box is not within the picture")


def _checked_picture(check: _Check, number: int, row: Mapping[str, Any]) -> SplitCheckRow:
    """Return what the search for leaks needs of a row, its picture read again."""
    text = row["text_digest"].encode() if row["text_digest"] else None
    ids = (row["image_id"], row["report_id"])
    near = pixels_digest = None
    try:
        pixels = check.folder.read_image(row["file"])
    except DatasetInvalid as error:
        check.add("picture", f"row {number}", str(error))
    else:
        near, pixels_digest = perceptual_hash(pixels), pixel_digest(pixels)
        if pixels.shape != (row["height"], row["width"]):
            check.add("picture size", f"row {number}", "the picture is not of the size that the row says")
        if max(pixels.shape) > check.folder.info.image["size"]:
            check.add("picture size", f"row {number}", "the picture is larger than the recipe says")
        if pixels_digest.hex() != row["picture_digest"]:
            check.add("picture changed", f"row {number}", "the pixels are not those that were written")
    if row["mask_file"]:
        try:
            mask = check.folder.read_image(row["mask_file"])
        except DatasetInvalid as error:
            check.add("mask", f"row {number}", str(error))
        else:
            if mask.shape != (row["height"], row["width"]):
                check.add("mask", f"row {number}", "the mask is not of the size of its picture")
    return SplitCheckRow(row["split"], row["patient_id"], text, near, pixels_digest, ids)


def _check_counts(check: _Check) -> None:
    """Hold that rows and what is excluded are what was there."""
    info = check.folder.info
    listed: Counter[str] = Counter(row["kind"] for row in iter_csv(check.folder.path / EXCLUDED))
    images = info.counts["images"]
    if images["indexed"] != info.rows + listed["image"]:
        check.add("counts", EXCLUDED, "rows and excluded images do not add up to the images of the index")
    if info.counts["files"]["unreadable"] != listed["file"]:
        check.add("counts", EXCLUDED, "the unreadable files are not those of dataset.json")
    reports = info.counts["reports"]
    if sum(reports["excluded"].values()) != listed["report"]:
        check.add("counts", EXCLUDED, "the excluded reports are not those of dataset.json")


def _check_strays(check: _Check, known: set[str]) -> None:
    for folder in (IMAGES, MASKS):
        for path in _files(check.folder.path / folder):
            if path.relative_to(check.folder.path).as_posix() not in known:
                check.add("stray file", folder, "a file belongs to no row")


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()


def _public_names(deidentified: bool, maker: Pseudonymiser | None) -> dict[str, frozenset[str]]:
    if not deidentified:
        return {name: frozenset(ids) for name, ids in public_test_ids().items()}
    if maker is None:
        return {}
    identity = Identity(maker)
    kinds = (IdentifierKind.REPORT_ID, IdentifierKind.IMAGE_ID)
    return {
        name: frozenset().union(*(named(identity, kind, ids) for kind in kinds))
        for name, ids in public_test_ids().items()
    }


def _as_fault(leak: Leak) -> Fault:
    rows = ", ".join(str(row + 1) for row in leak.rows[:5])
    return Fault(f"leak: {leak.kind}", f"rows {rows}", f"in {' and '.join(leak.splits)}")


def in_words(faults: Iterable[Fault]) -> Iterator[str]:
    """Yield a line for each fault."""
    for fault in faults:
        yield f"{fault.kind}: {fault.where}: {fault.detail}"
