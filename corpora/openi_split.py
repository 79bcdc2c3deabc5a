"""Which reports of the Indiana University collection (Open-i) measure a reader, and which it may be made from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from importlib.resources import files

from corpora.errors import CorpusUnavailable
from corpora.reports import Report, SectionKind

_WORD = re.compile(r"[a-z0-9]+")
_DEV_SHARE = 10  # one report in so many


class Split(StrEnum):
    """Parts of the collection, by report."""

    TEST = "test"  # the 771 held-out reports
    TRAIN = "train"  # the 3,080 others that have images, as the published labels cover them
    DEV = "dev"  # a fixed tenth of train: what learns, learns from the rest of it
    ALL = "all"  # all 3,955 reports


@lru_cache(maxsize=1)
def openi_test_ids() -> frozenset[str]:
    """Return the ids of the 771 held-out reports (Peng et al., NegBio, AMIA 2018 Informatics Summit).

    >>> ids = openi_test_ids()
    >>> len(ids), "CXR4" in ids
    (771, False)
    """
    text = (files("corpora") / "data" / "openi_test_reports.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(f"CXR{number}" for line in lines for number in line.split())


def is_in_split(report_id: str, split: Split, *, has_images: bool) -> bool:
    """Return whether a report is of ``split``.

    A report without images has no published labels and is in none but ``all``; every held-out report has images.
    """
    if split is Split.ALL:
        return True
    if report_id in openi_test_ids():
        return split is Split.TEST
    if split is Split.TEST or not has_images:
        return False
    return split is Split.TRAIN or is_dev(report_id)


def is_dev(report_id: str) -> bool:
    """Return whether a report of train is also of dev. The answer depends on the id alone, so it never changes."""
    return int.from_bytes(blake2b(report_id.encode(), digest_size=8).digest()) % _DEV_SHARE == 0


def unseen_reports(reports: Iterable[Report], everything: Iterable[Report]) -> list[Report]:
    """Return the reports whose text occurs in no report outside the held-out ones.

    Texts are compared by the words and numbers of findings and impression. Of the 771 held-out reports of Open-i 571
    are left: the others are normal reports in the words of many normal reports.
    """
    held_out = openi_test_ids()
    seen = {_words(report) for report in everything if report.report_id not in held_out}
    return [report for report in reports if _words(report) not in seen]


def _words(report: Report) -> str:
    parts = [s for s in report.sections if s.kind in (SectionKind.FINDINGS, SectionKind.IMPRESSION)]
    text = " ".join(report.text[s.start : s.end] for s in parts) if parts else report.text
    return " ".join(_WORD.findall(text.lower()))


def select_split(reports: list[Report], split: Split) -> list[Report]:
    """Return the reports of ``split``, in their order.

    Only a report with images has an accession number. Raises `CorpusUnavailable` where no report has one, as the table
    of DICOM headers is then missing and train and dev would come out empty.
    """
    if split in (Split.TRAIN, Split.DEV) and reports and not any(report.accession_number for report in reports):
        raise CorpusUnavailable(
            "the table of Open-i's DICOM headers is missing, so the reports that have images are not known; "
            "run: radlabel corpus fetch openi"
        )
    return [r for r in reports if is_in_split(r.report_id, split, has_images=bool(r.accession_number))]
