"""What a source holds, in numbers: counts that a user compares with the data set's paper, and nothing of its text."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import median

from corpora.errors import RowInvalid
from corpora.sources.records import Record


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """Counts over the records of a source. ``sections`` counts reports by the sections they come in."""

    reports: int = 0
    invalid_rows: int = 0
    with_text: int = 0
    distinct_texts: int = 0
    with_accession_number: int = 0
    characters_median: float = 0
    characters_max: int = 0
    sections: Mapping[str, int] = field(default_factory=dict)


def summarize(records: Iterable[Record]) -> SourceSummary:
    """Return the counts. Lengths and median are over the reports with text.

    Of each report its length and 16 bytes of digest are kept: about 100 bytes, so 10 million reports need 1 GB.
    """
    reports = invalid = with_accession = 0
    lengths = array("L")
    digests: set[bytes] = set()
    sections: Counter[str] = Counter()
    for record in records:
        if isinstance(record, RowInvalid):
            invalid += 1
            continue
        reports += 1
        with_accession += record.accession_number is not None
        sections.update({section.kind.value for section in record.sections})
        if record.text.strip():
            lengths.append(len(record.text))
            digests.add(blake2b(record.text.encode("utf-8"), digest_size=16).digest())
    return SourceSummary(
        reports=reports,
        invalid_rows=invalid,
        with_text=len(lengths),
        distinct_texts=len(digests),
        with_accession_number=with_accession,
        characters_median=median(lengths) if lengths else 0,
        characters_max=max(lengths, default=0),
        sections=dict(sections.most_common()),
    )
