"""What a new DICOM document takes over from the object that it is about: whose study it is, and which object it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from corpora.errors import RadlabelError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.3 C.7.1.1 (patient), C.7.2.1 (study).
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_OPTIONAL = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
_SEXES = frozenset({"F", "M", "O"})  # PS3.3 C.7.1.1


class EvidenceMissing(RadlabelError, ValueError):
    """A document cannot be made: the object that it is about does not say which study and series it is of."""


def evidence_of(source: Dataset) -> Dataset:
    """Return the header of an object as a document about it needs it; values that break the standard are left empty.

    Raises
    ------
    EvidenceMissing
        The source lacks a UID of study, series, instance or class, so that nothing can be named as evidence.
    """
    from pydicom.dataset import Dataset

    missing = [name for name in _NEEDED if not source.get(name)]
    if missing:
        raise EvidenceMissing(f"the object lacks {', '.join(missing)}: a structured report has to name its evidence")
    evidence = Dataset()
    for name in _NEEDED:
        setattr(evidence, name, source[name].value)
    for name in _OPTIONAL:
        setattr(evidence, name, _valid(name, source.get(name)))
    return evidence


def _valid(name: str, value: object) -> object:
    """Return a value that is taken over, or an empty one where it breaks the standard, as some that are sent do."""
    if value is None or value == "":
        return ""
    if name == "PatientSex":
        return value if str(value) in _SEXES else ""
    parse = _parsers().get(name)
    if parse is None:
        return value
    try:
        return parse(value)
    except (ValueError, TypeError):  # their messages quote the value
        return ""


def _parsers() -> Mapping[str, Callable[[Any], object]]:
    from pydicom.valuerep import DA, TM

    return MappingProxyType({"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM})
