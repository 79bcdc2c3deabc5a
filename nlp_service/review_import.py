"""Labels that images speak against, as `radlabel concordance` lists them, read for the review queue."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corpora.deidentification import Pseudonymiser, PseudonymMap
from corpora.deidentification.pseudonyms import IdentifierKind
from corpora.errors import SourceUnreadable
from corpora.sources.encoding import encoding_of, open_text

_COLUMNS = ("label", "report_id", "report_says", "image_probability", "suspected")


@dataclass(frozen=True, slots=True, repr=False)
class SpokenAgainst:
    """A row of the list: ``given`` is what the report says, ``probability`` that of the finding by the images."""

    number: int
    report_id: str
    label: str
    given: str
    probability: float


def read_disagreements(path: Path, *, only_suspected: bool = True) -> list[SpokenAgainst]:
    """Return the rows of a ``disagreements.csv``.

    Raises
    ------
    SourceUnreadable
        The file cannot be read or lacks a column, or a row (named) has a value that cannot be.
    """
    found = []
    with open_text(path, encoding_of(path, None)) as stream:
        rows = csv.DictReader(stream)
        missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise SourceUnreadable(f"{path.name}: has no column {missing[0]}: is it of radlabel concordance?")
        for number, row in enumerate(rows, start=2):  # the header is the first
            try:
                probability = float(row["image_probability"])
            except (TypeError, ValueError):
                raise SourceUnreadable(f"{path.name}, row {number}: image_probability is no number") from None
            if not 0 <= probability <= 1:
                raise SourceUnreadable(f"{path.name}, row {number}: image_probability is not between 0 and 1")
            if row["report_says"] not in ("positive", "negative"):
                raise SourceUnreadable(f"{path.name}, row {number}: report_says is neither positive nor negative")
            if row["suspected"] == "1" or not only_suspected:
                found.append(SpokenAgainst(number, row["report_id"], row["label"], row["report_says"], probability))
    return found


def original_ids(map_file: Path, key_file: Path) -> Mapping[str, str]:
    """Return the report ids behind pseudonyms; raises what `PseudonymMap.read` and `Pseudonymiser` raise."""
    originals = PseudonymMap.read(map_file, Pseudonymiser.from_file(key_file)).originals()
    return {
        pseudonym: original for (kind, pseudonym), original in originals.items() if kind is IdentifierKind.REPORT_ID
    }
