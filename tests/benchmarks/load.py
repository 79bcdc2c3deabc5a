"""The reports that the benchmarks read, written as CSV files as a user would have them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from corpora import Report, read_reports
from corpora.fetch import default_cache_dir, open_corpus
from models.text.sections import split_sections
from models.text.sentences import split_sentences

HEADER = ("report_id", "accession_number", "text")
_HEADING = re.compile(r"^([A-Z]+): ", re.MULTILINE)


def corpus_reports(name: str) -> Iterable[Report]:
    """Return the reports of a fetched corpus."""
    return read_reports(open_corpus(name, default_cache_dir(os.environ)))


def write_csv(reports: Iterable[Report], path: Path) -> int:
    """Write reports as CSV with each heading on a line of its own; return how many there were."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for report in reports:
            writer.writerow((report.report_id, report.accession_number, _HEADING.sub(r"\1:\n", report.text)))
            count += 1
    return count


def distinct_share(path: Path) -> tuple[int, int]:
    """Return how many sentences a CSV file of reports holds, and how many distinct ones."""
    total, distinct = 0, set[int]()
    for report in read_reports(path):
        for section in split_sections(report):
            for span in split_sentences(report.text, section):
                total += 1
                distinct.add(hash(report.text[span.start : span.end]))
    return total, len(distinct)
