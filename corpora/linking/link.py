"""Linking of files: reports and an image index in, a folder with the linked table and its accounts out."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from corpora.errors import RadlabelError
from corpora.linking import statements_out
from corpora.linking.errors import ImageIndexInvalid, LinkOutputUnusable, LinkSettingsInvalid, require_duckdb
from corpora.linking.matching import Matcher, open_database
from corpora.linking.outcomes import Outcome
from corpora.linking.report_keys import ReportSource, iter_report_keys, write_report_keys
from corpora.linking.settings import DEFAULT_MEMORY_MIB, MIN_MEMORY_MIB, LinkSettings
from corpora.sources.encoding import readable

FORMAT_VERSION = 1
LINKED = "linked.parquet"
LINK_REPORT = "link_report.json"
LABELED = "labels.parquet"
UNLINKED_REPORTS = "unlinked_reports.csv"
UNLINKED_STUDIES = "unlinked_studies.csv"
UNLINKED_IMAGES = "unlinked_images.csv"
_WRITTEN = {LINKED, LABELED, LINK_REPORT, UNLINKED_REPORTS, UNLINKED_STUDIES, UNLINKED_IMAGES}
_PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000"
_CSV = "FORMAT csv, HEADER"
_BLOCK = 2**20

Counts = Mapping[str, Mapping[str, int]]  # outcome -> reason -> number


class Stage(StrEnum):
    """What linking is doing."""

    READING_REPORTS = "reading reports"
    READING_IMAGES = "reading the image index"
    MATCHING = "matching"
    WRITING = "writing"


OnProgress = Callable[[Stage, int], None]


@dataclass(frozen=True, slots=True)
class LinkSummary:
    """What became of all that was read. The counts of each mapping add up to what went in.

    ``reports`` counts rows of the report sources, ``studies`` studies, ``images`` distinct images by what became of
    their study; ``totals`` has the other sums of the link report.
    """

    output: Path
    reports: Counts
    studies: Counts
    images: Counts
    totals: Mapping[str, int]

    @property
    def report_rows(self) -> int:
        """Return the number of rows that the report sources have."""
        return self.totals["report_rows"]

    def of(self, kind: str, outcome: Outcome) -> int:
        """Return how many ``reports``, ``studies`` or ``images`` had an outcome."""
        counts: Counts = {"reports": self.reports, "studies": self.studies, "images": self.images}[kind]
        return sum(counts.get(outcome.value, {}).values())

    def as_json(self) -> dict[str, object]:
        """Return the counts as they stand in the link report."""
        return {
            "totals": dict(self.totals),
            "reports": _with_sums(self.reports),
            "studies": _with_sums(self.studies),
            "images": _with_sums(self.images),
        }


def link_files(
    reports: Path | Iterable[Path],
    images: Path,
    output: Path,
    *,
    labels: Path | None = None,
    settings: LinkSettings | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    overwrite: bool = False,
    memory_mib: int = DEFAULT_MEMORY_MIB,
    threads: int | None = None,
    on_progress: OnProgress = lambda stage, count: None,
) -> LinkSummary:
    """Link reports to the studies of an image index and return the counts.

    Parameters
    ----------
    reports
        A file or folder that `corpora.read_reports` reads, rows that `radlabel label` wrote, or several of them.
    images
        The image index, as `radlabel images index` writes it.
    output
        A folder, which appears whole or not at all: ``linked.parquet`` with a row for each report and image,
        ``link_report.json``, and what did not link in ``unlinked_reports.csv``, ``unlinked_studies.csv`` and
        ``unlinked_images.csv``.
    labels
        The Parquet output of `radlabel label` over the same reports: ``labels.parquet`` then has a row for each report
        and image with its columns.
    format, columns, encoding
        As in `corpora.iter_records`; ``columns`` may name ``report_status`` and ``report_time`` too.
    memory_mib
        What the database may hold in memory; beyond it, it works on the disk beside ``output``.
    on_progress
        Is called with the stage and, while reports are read, their number.

    Raises
    ------
    LinkOutputUnusable
        The folder is there (and ``overwrite`` is false), or cannot be written.
    ImageIndexInvalid, LabelRowsInvalid, SourceUnreadable, ColumnMissing
        An input cannot be used.
    ImagesExtraMissing
        DuckDB is not installed.
    """
    require_duckdb()
    settings = settings or LinkSettings()
    if memory_mib < MIN_MEMORY_MIB:
        raise LinkSettingsInvalid(f"memory_mib is {memory_mib}: use {MIN_MEMORY_MIB} or more")
    source = ReportSource((reports,) if isinstance(reports, Path) else tuple(reports), format, columns, encoding)
    with readable(images):
        if not images.is_file():
            raise ImageIndexInvalid(f"{images}: there is no such file; it is a Parquet file with a row for each image")
    with (
        _new_folder(output, overwrite) as (made, work),
        open_database(work, memory_mib=memory_mib, threads=threads) as connection,
    ):
        keys = work / "reports.parquet"
        rows = write_report_keys(
            iter_report_keys(source), keys, settings, lambda count: on_progress(Stage.READING_REPORTS, count)
        )
        matcher = Matcher(connection, settings, keys)
        matcher.read_reports()
        on_progress(Stage.READING_IMAGES, rows)
        matcher.read_images(images)
        on_progress(Stage.MATCHING, rows)
        matcher.match()
        on_progress(Stage.WRITING, rows)
        matcher.copy(statements_out.LINKED_TABLE, made / LINKED, _PARQUET)
        if labels is not None:
            matcher.join_labels(labels, made / LINKED)
            matcher.copy(statements_out.LABELED_TABLE, made / LABELED, _PARQUET)
        matcher.copy(statements_out.UNLINKED_REPORTS, made / UNLINKED_REPORTS, _CSV)
        matcher.copy(statements_out.UNLINKED_STUDIES, made / UNLINKED_STUDIES, _CSV)
        matcher.copy(statements_out.UNLINKED_IMAGES, made / UNLINKED_IMAGES, _CSV)
        summary = LinkSummary(
            output=output,
            reports=_nested(matcher.counts("reports")),
            studies=_nested(matcher.counts("studies")),
            images=_nested(matcher.counts("images")),
            totals={
                "report_rows": rows,
                **matcher.totals(),
                **(matcher.label_totals() if labels is not None else {}),
            },
        )
        _check_sums(summary)
        account = {
            "format_version": FORMAT_VERSION,
            "settings": settings.as_json(),
            "inputs": {
                "reports": _digest(source.files()),
                "images": _digest([images]),
                "labels": labels and _digest([labels]),
            },
            **summary.as_json(),
        }
        (made / LINK_REPORT).write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")
    return summary


def _nested(rows: Iterable[tuple[str, str, int]]) -> Counts:
    counts: dict[str, dict[str, int]] = {}
    for outcome, reason, number in rows:
        counts.setdefault(outcome, {})[reason] = number
    return counts


def _with_sums(counts: Counts) -> dict[str, object]:
    return {outcome: {"count": sum(reasons.values()), "reasons": dict(reasons)} for outcome, reasons in counts.items()}


def _check_sums(summary: LinkSummary) -> None:
    """Hold the promise of the link report; if it breaks, no output appears."""
    totals = summary.totals
    for counts, total in (
        (summary.reports, totals["report_rows"]),
        (summary.studies, totals["studies"]),
        (summary.images, totals["distinct_images"]),
    ):
        assert sum(sum(reasons.values()) for reasons in counts.values()) == total
    assert totals.get("label_rows", 0) == sum(
        number for name, number in totals.items() if name.startswith("label_rows_")
    )
    assert totals["distinct_images"] + totals["image_copies"] == totals["image_rows"]


def _digest(files: Iterable[Path]) -> dict[str, object]:
    """Return a SHA-256 over the contents of files, in order; names are left out, they are often accession numbers."""
    digest = hashlib.sha256()
    number = size = 0
    for file in files:
        number += 1
        one = hashlib.sha256()
        with readable(file), file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                one.update(block)
                size += len(block)
        digest.update(one.digest())
    return {"files": number, "bytes": size, "sha256": digest.hexdigest()}


@contextmanager
def _new_folder(output: Path, overwrite: bool) -> Iterator[tuple[Path, Path]]:
    """Give a folder that takes the name ``output`` at the end, and one for work in between; errors remove both."""
    if output.exists() and not output.is_dir():
        raise LinkOutputUnusable(f"{output}: is there already, and is no folder")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise LinkOutputUnusable(f"{output}: is there already; replace what is in it with --overwrite")
    if overwrite and output.is_dir():
        foreign = {entry.name for entry in output.iterdir()} - _WRITTEN
        if foreign:
            raise LinkOutputUnusable(
                f"{output}: holds {len(foreign)} files that linking did not write; remove them first"
            )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        neighbour = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    except OSError as error:
        raise LinkOutputUnusable(f"{output}: cannot be written: {error.strerror or type(error).__name__}") from None
    try:
        made, work = neighbour / "made", neighbour / "work"
        made.mkdir()
        work.mkdir()
        yield made, work
        _replace(made, output, neighbour / "before")
    except OSError as error:
        if isinstance(error, RadlabelError):
            raise
        raise LinkOutputUnusable(f"{output}: cannot be written: {error.strerror or type(error).__name__}") from None
    finally:
        shutil.rmtree(neighbour, ignore_errors=True)


def _replace(made: Path, output: Path, before: Path) -> None:
    if output.exists():
        output.rename(before)
    try:
        made.rename(output)
    except OSError:
        with suppress(OSError):
            before.rename(output)
        raise
