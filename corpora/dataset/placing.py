"""Which split each image goes to: the recipe's wishes, the lists, the earlier data set, and the check at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpora.dataset.drawing import Drawn
from corpora.dataset.errors import RecipeInvalid
from corpora.dataset.folder import open_dataset
from corpora.dataset.identity import Identity
from corpora.dataset.plan import Candidate
from corpora.dataset.recipe import SPLIT_WORDS, Splitting
from corpora.deidentification import IdentifierKind
from corpora.weak_labels.leaks import Leak, LeakKind, SplitCheckRow, find_leaks, public_test_ids
from corpora.weak_labels.splits import Grouping, Placed, SplitPlan, SplitRow, Splits, assign_splits
from corpora.weak_labels.values import POSITIVE


@dataclass(frozen=True, slots=True, repr=False)
class Placeable:
    """What placing needs of an image that was drawn; all that a build keeps in memory of it."""

    row: SplitRow
    ids: tuple[str, ...]
    split_word: str | None
    pixels: bytes

    @classmethod
    def of(cls, candidate: Candidate, drawn: Drawn, labels: Sequence[str]) -> Placeable:
        """Return it for a candidate and its picture."""
        found = tuple(label for label, code in zip(labels, candidate.labels.codes, strict=True) if code == POSITIVE)
        row = SplitRow(
            row_id=candidate.name,
            patient_id=candidate.patient_id,
            text=candidate.text.encode() if candidate.text else None,
            picture=bytes.fromhex(drawn.perceptual_hash) if drawn.perceptual_hash else None,
            labels=found,
        )
        ids = tuple(dict.fromkeys((candidate.image_id, *candidate.reports)))
        return cls(row, ids, candidate.header["split"], bytes.fromhex(drawn.picture_digest))


def place(rows: Sequence[Placeable], options: Splitting, identity: Identity) -> Splits:
    """Return the split of every image, and where the recipe says so look for leaks that should not be.

    Raises
    ------
    SplitsInvalid
        The lists contradict one another, or an earlier data set.
    SplitLeak
        Something stands in two splits, or a public test id in training.
    RecipeInvalid
        The fixed list cannot be read.
    """
    plan = SplitPlan(
        key=options.key.encode(),
        shares=dict(options.shares.items()),
        text=options.text,
        picture=options.picture,
        distance=options.distance,
        stratify=options.stratify,
    )
    fixed = _fixed(rows, options, identity)
    previous = _previous(rows, options.previous, identity) if options.previous else ()
    splits = assign_splits([row.row for row in rows], plan, fixed=fixed, previous=previous)
    _check(rows, splits, options)
    return splits


def read_fixed(path: Path) -> dict[str, str]:
    """Return id to split of a fixed list: a CSV with the columns ``id`` and ``split``."""
    found: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"id", "split"} <= set(reader.fieldnames or ()):
                raise RecipeInvalid(f"{path.name}: a fixed list has the columns id and split")
            for number, row in enumerate(reader, start=1):
                name, word = (row["id"] or "").strip(), (row["split"] or "").strip().lower()
                if not name or word not in SPLIT_WORDS:
                    raise RecipeInvalid(
                        f"{path.name}, row {number}: needs an id, and a split of {', '.join(SPLIT_WORDS)}"
                    )
                if found.setdefault(name, SPLIT_WORDS[word]) != SPLIT_WORDS[word]:
                    raise RecipeInvalid(f"{path.name}, row {number}: the id stands above with another split")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecipeInvalid(f"{path.name}: cannot be read as CSV ({type(error).__name__})") from None
    return found


def _fixed(rows: Sequence[Placeable], options: Splitting, identity: Identity) -> dict[str, str]:
    """Return row or patient to split: first the list, then the index, then public test ids."""
    listed = read_fixed(options.fixed) if options.fixed else {}
    public = frozenset().union(*public_test_ids().values()) if options.public_tests == "test" else frozenset()
    silent = identity if identity.maker is None else Identity(identity.without_recorder())
    fixed: dict[str, str] = {}
    for one in rows:
        row = one.row
        patient = row.patient_id or ""
        # A list may have been made from the hospital's names, or from those of an earlier data set.
        names = (row.row_id, one.ids[0], patient, silent.name(IdentifierKind.PATIENT_ID, patient) or "")
        said = next((listed[name] for name in names if name in listed), None)
        if said is None and options.from_index and one.split_word:
            said = SPLIT_WORDS.get(one.split_word.strip().lower())
        if not public.isdisjoint(one.ids):
            said = "test"
        if said is not None:
            fixed[row.row_id] = said
    return fixed


def _previous(rows: Sequence[Placeable], path: Path, identity: Identity) -> Iterable[Placed]:
    """Return the rows of an earlier data set, its patients under the names that they have here."""
    silent = identity if identity.maker is None else Identity(identity.without_recorder())
    original: dict[str, str] = {}
    for one in rows:
        patient = one.row.patient_id or ""
        original[silent.name(IdentifierKind.PATIENT_ID, patient) or ""] = patient
    for row in open_dataset(path).iter_rows(["image_id", "patient_id", "split"]):
        patient = original.get(row["patient_id"], row["patient_id"])
        yield Placed(row["image_id"], patient, row["split"], row["split"])


def _check(rows: Sequence[Placeable], splits: Splits, options: Splitting) -> None:
    placed = [
        SplitCheckRow(where.split, where.patient_id, one.row.text, one.row.picture, one.pixels, one.ids)
        for one, where in zip(rows, splits.rows, strict=True)
        if where.split is not None
    ]
    leaks = find_leaks(
        placed,
        distance=options.distance,
        public_tests={} if options.public_tests == "ignore" else None,
        check_text=options.text is not Grouping.IGNORE,
    )
    from corpora.weak_labels.leaks import check_splits

    check_splits(without_ignored(leaks, options.picture))


def without_ignored(leaks: Iterable[Leak], picture: Grouping) -> list[Leak]:
    """Return the leaks that count: those of pictures do not where the recipe lets pictures repeat."""
    pictures = (LeakKind.PICTURE, LeakKind.NEAR_PICTURE)
    return [leak for leak in leaks if picture is not Grouping.IGNORE or leak.kind not in pictures]


def counts_of(splits: Splits) -> Mapping[str, int]:
    """Return how many rows each split has."""
    return {split: sum(row.split == split for row in splits.rows) for split in ("train", "validation", "test")}
