"""The table of DICOM PS3.15 Annex E (Table E.1-1) as the package dicom-anonymizer carries it.

The table alone is taken from there (edition 2026c, 655 attributes). Its functions are not: they work on the top level
of a data set alone, give UIDs at random, and turn a date that should go into a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import import_module

from corpora.deidentification.errors import DicomAnonymizerMissing

EDITION = "2026c"


class Action(StrEnum):
    """What Table E.1-1 asks for. Of alternatives the one that keeps an object valid is taken, as PS3.15 E.2 allows."""

    DUMMY = "D"  # a value of the same kind that means nothing
    EMPTY = "Z"  # no value
    REMOVE = "X"
    NEW_UID = "U"


# Which attributes an object must have depends on its class (type 1, 2 or 3): an empty or dummy value is right for all.
_GROUPS: Mapping[str, Action] = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.NEW_UID,
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "X_Z_U_STAR_TAGS": Action.NEW_UID,
}


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """Actions by tag, and those of repeating groups as (value, mask, action)."""

    single: Mapping[int, Action]
    repeating: tuple[tuple[int, int, Action], ...]

    def action(self, tag: int) -> Action | None:
        """Return what is to be done with an attribute, or ``None`` for one that the table does not name."""
        found = self.single.get(tag)
        if found is not None:
            return found
        return next((action for value, mask, action in self.repeating if tag & mask == value & mask), None)


@lru_cache(maxsize=1)
def profile_table() -> ProfileTable:
    """Return the table of the Basic Application Level Confidentiality Profile.

    Raises
    ------
    DicomAnonymizerMissing
        The package is not installed; the message names the extra.
    """
    try:
        module = import_module(f"dicomanonymizer.dicom_anonymization_databases.dicomfields_{EDITION}")
    except ImportError:
        raise DicomAnonymizerMissing(
            "de-identifying DICOM headers needs dicom-anonymizer 2.1 or later: pip install 'radlabel[images]'"
        ) from None
    single: dict[int, Action] = {}
    repeating: list[tuple[int, int, Action]] = []
    for name, action in _GROUPS.items():
        for tag in getattr(module, name):
            if len(tag) == 2:
                single[tag[0] << 16 | tag[1]] = action
            else:
                repeating.append((tag[0] << 16 | tag[1], tag[2] << 16 | tag[3], action))
    return ProfileTable(single, tuple(repeating))
