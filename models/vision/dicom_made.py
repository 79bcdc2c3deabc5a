"""DICOM objects made from an image and a model: the same of both give the same bytes."""

from __future__ import annotations

import hashlib
import uuid
from datetime import date, time
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

if TYPE_CHECKING:
    from pydicom.uid import UID

MAKER = "radlabel"
#: SNOMED CT, as of the context group of anatomic structures (PS3.16 CID 4030).
LUNGS = {"Right Lung": "3341006", "Left Lung": "44029006"}
#: A document needs a date, and an image may have none.
_NO_DATE, _MIDNIGHT = date(1900, 1, 1), time()


def made_uid(made_from: hashlib._Hash, what: str) -> UID:
    """Return a UID made from a digest (PS3.5 B.2, a UUID of version 5)."""
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{made_from.hexdigest()} {what}').int}")


def moment_of(source: Dataset) -> dict[str, Any]:
    """Return ``content_date`` and ``content_time``: when the image was made, as far as it says so."""
    from pydicom.valuerep import DA, TM

    for kind in ("Content", "Acquisition", "Series", "Study"):
        given = source.get(f"{kind}Date")
        if not given:
            continue
        try:
            return {"content_date": DA(given), "content_time": TM(source.get(f"{kind}Time") or "000000")}
        except (ValueError, TypeError):
            continue
    return {"content_date": _NO_DATE, "content_time": _MIDNIGHT}


def without_run_time(made: Dataset) -> None:
    """Take out when an object of highdicom was made, which may be absent."""
    del made.InstanceCreationDate, made.InstanceCreationTime
    del made.ContributingEquipmentSequence[-1].ContributionDateTime
