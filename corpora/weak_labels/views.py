"""How a radiograph lies in its pixels: which view it is, and on which side of the picture the patient's left is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

#: View Position (0018,5101) of DICOM PS3.3 C.8.7.1.1.1 and C.8.11.1, and words that tables use in its place.
_FRONTAL = frozenset("pa ap antero_posterior postero_anterior frontal apsupine apsemierect aperect".split())
_LATERAL = frozenset("ll rl lateral lat left_lateral right_lateral l".split())
_OTHER = frozenset("lld rld lao rao lpo rpo oblique ldo rdo decubitus lordotic".split())


class ViewKind(StrEnum):
    """What a chest radiograph shows."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    OTHER = "other"  # decubitus, oblique, lordotic: the two lungs are there, not where a frontal view has them
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lie:
    """How a frontal picture departs from the usual one, where the patient's left is on the picture's right.

    ``is_mirrored``: the patient's left is on the picture's left. ``is_upside_down``: the head is at the bottom.
    """

    is_mirrored: bool = False
    is_upside_down: bool = False


def view_kind(view: str | None, patient_orientation: str | None = None) -> ViewKind:
    r"""Return what a picture shows, from its view or else from Patient Orientation (DICOM PS3.3 C.7.6.1.1.1).

    >>> view_kind("AP Supine").value, view_kind(None, "A\\F").value, view_kind("LL").value
    ('frontal', 'lateral', 'lateral')
    """
    word = re.sub(r"[\s.-]+", "", (view or "").lower())
    spaced = re.sub(r"[\s.-]+", "_", (view or "").strip().lower())
    for kind, words in ((ViewKind.FRONTAL, _FRONTAL), (ViewKind.LATERAL, _LATERAL), (ViewKind.OTHER, _OTHER)):
        if word in words or spaced in words:
            return kind
    if word.startswith(("ap", "pa")) and len(word) <= 12:
        return ViewKind.FRONTAL
    if word:
        return ViewKind.UNKNOWN
    axes = _axes(patient_orientation)
    if axes is None:
        return ViewKind.UNKNOWN
    across, down = axes
    if down not in "FH":
        return ViewKind.UNKNOWN
    return ViewKind.FRONTAL if across in "LR" else ViewKind.LATERAL if across in "AP" else ViewKind.UNKNOWN


def lie_of(patient_orientation: str | None) -> Lie | None:
    r"""Return how a frontal picture lies; ``None`` where the header says that it is none, or lies on its side.

    Patient Orientation names the direction of the rows, then of the columns: ``L\F`` is the usual frontal view, the
    patient's left on the right and the feet at the bottom. Nothing given is taken as that, as the standard display is.

    >>> lie_of("R\\F"), lie_of("A\\F") is None
    (Lie(is_mirrored=True, is_upside_down=False), True)
    """
    axes = _axes(patient_orientation)
    if axes is None:
        return Lie()
    across, down = axes
    if across not in "LR" or down not in "FH":
        return None
    return Lie(is_mirrored=across == "R", is_upside_down=down == "H")


def _axes(patient_orientation: str | None) -> tuple[str, str] | None:
    """Return the main direction of rows and columns, or ``None`` where they are not given or are no directions."""
    parts = [part.strip().upper() for part in re.split(r"[\\/|,]", patient_orientation or "")]
    if len(parts) != 2 or not all(re.fullmatch(r"[LRAPHF]{1,3}", part) for part in parts):
        return None
    return parts[0][0], parts[1][0]
