"""The join itself: a database of its own in a work folder, which spills to disk where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.linking import statements, statements_out
from corpora.linking.errors import (
    ImageIndexInvalid,
    LabelRowsInvalid,
    LinkingFailed,
    LinkOutputUnusable,
    require_duckdb,
)
from corpora.linking.normalise import normalise_identifier, normalise_uid
from corpora.linking.outcomes import SeveralStudies, Versions
from corpora.linking.settings import LinkSettings

if TYPE_CHECKING:
    import duckdb

# Of the image index, what linking reads. A picture index may lack most of them.
INDEX_COLUMNS = {
    "image_id": "VARCHAR",
    "file": "VARCHAR",
    "patient_id": "VARCHAR",
    "accession_number": "VARCHAR",
    "accession_number_issuer": "VARCHAR",
    "study_instance_uid": "VARCHAR",
    "series_instance_uid": "VARCHAR",
    "sop_instance_uid": "VARCHAR",
    "study_date": "DATE",
    "modality": "VARCHAR",
}
_NEEDED = ("image_id", "file")
_ANY_OF = ("accession_number", "study_instance_uid", "patient_id")


@contextmanager
def open_database(folder: Path, *, memory_mib: int, threads: int | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to a new database that spills into ``folder``; nothing is fetched from anywhere, or kept."""
    require_duckdb()
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mib}MiB",
        "temp_directory": str(folder / "spill"),
        # Rows are ordered where an output is written; keeping their order before costs memory.
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads is not None:
        config["threads"] = threads
    # A database file would be synced after every statement; one in memory spills as well.
    connection = duckdb.connect(":memory:", config=config)
    try:
        yield connection
    finally:
        connection.close()


class Matcher:
    """The steps of linking over one database. Call them in the order in which they stand here."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: LinkSettings, reports: Path) -> None:
        self._connection = connection
        self._settings = settings
        self._values = {
            "reports": str(reports),
            "max_studies": statements.MAX_STUDIES_PER_ACCESSION_NUMBER,
            "require_patient": settings.require_patient,
            "link_several": settings.several_studies is SeveralStudies.LINK,
            "max_days": settings.max_days_apart,
            "window": settings.patient_date_window_days,
            "keep_all": settings.versions is Versions.ALL,
        }
        self._add_functions()

    def read_reports(self) -> None:
        """Take the file of report keys; what is repeated is told from what counts."""
        self._run(statements.REPORTS)

    def read_images(self, index: Path) -> None:
        """Take the image index and make studies of its rows.

        Raises
        ------
        ImageIndexInvalid
            The index lacks a column, or has rows without an image id.
        """
        self._view_images(index)
        self._run(statements.HEADERS)
        self._run(statements.STUDIES)

    def match(self) -> None:
        """Decide what each report links to."""
        self._run(statements.NUMBERS)
        self._run(statements.CANDIDATES)
        self._run(statements.DECISIONS)
        if self._settings.patient_date_window_days is not None:
            self._run(statements.PATIENT_AND_DATE)
        self._run(statements_out.VERSIONS)
        self._run(statements_out.OUTCOMES)

    def join_labels(self, labels: Path, linked: Path) -> None:
        """Take label rows, and find the report of each; ``linked`` is the linked table as it was written.

        Raises
        ------
        LabelRowsInvalid
            The file is none of `radlabel label`'s Parquet outputs, or has several rows for a report id.
        """
        names = _column_names(labels)
        missing = [name for name in ("report_id", "accession_number") if name not in (names or ())]
        if missing:
            raise LabelRowsInvalid(
                f"{labels}: is no Parquet output of radlabel label: no column {' or '.join(missing)}"
            )
        # Rows without an id are those that could not be read (--keep-errors): there is nothing to join.
        self._connection.execute(
            f"CREATE VIEW label_row AS SELECT * FROM read_parquet({_quoted(labels)}) WHERE report_id IS NOT NULL"
        )
        self._values["linked"] = str(linked)
        self._run(statements_out.LABELED)
        repeated = self._number("SELECT count(*) FROM label_match WHERE label_rows > 1")
        if repeated:
            raise LabelRowsInvalid(f"{labels}: {repeated:,} report ids have several rows; labels cannot be told apart")

    def label_totals(self) -> dict[str, int]:
        """Return what became of the label rows; all but the first add up to the first."""
        return {name: self._number(query) for name, query in statements_out.LABEL_TOTALS.items()}

    def copy(self, query: str, path: Path, options: str) -> None:
        """Write the rows of one of the statements to a file."""
        self._run(f"COPY ({query}) TO {_quoted(path)} ({options})")

    def counts(self, name: str) -> list[tuple[Any, ...]]:
        """Return outcome, reason and number for ``reports``, ``studies`` or ``images``."""
        return self._connection.execute(statements_out.COUNTS[name]).fetchall()

    def totals(self) -> dict[str, int]:
        """Return the sums of the link report that are no outcomes."""
        return {name: self._number(query) for name, query in statements_out.TOTALS.items()}

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def _view_images(self, index: Path) -> None:
        names = _column_names(index)
        if names is None:
            raise ImageIndexInvalid(
                f"{index}: is no Parquet file that can be read; an image index has a row for each image"
            )
        missing = [name for name in _NEEDED if name not in names]
        if missing or not set(_ANY_OF) & set(names):
            needed = ", ".join(missing) or " or ".join(_ANY_OF)
            raise ImageIndexInvalid(f"{index}: is no image index: it has no column {needed}")
        columns = ", ".join(
            f"{name}::{kind} AS {name}" if name in names else f"NULL::{kind} AS {name}"
            for name, kind in INDEX_COLUMNS.items()
        )
        self._connection.execute(f"CREATE VIEW image AS SELECT {columns} FROM read_parquet({_quoted(index)})")
        unnamed = self._number("SELECT count(*) FROM image WHERE image_id IS NULL OR file IS NULL")
        if unnamed:
            raise ImageIndexInvalid(f"{index}: {unnamed:,} rows have no image_id or no file")

    def _run(self, script: str) -> None:
        import duckdb

        for statement in self._connection.extract_statements(script):
            values = {name: self._values[name] for name in statement.named_parameters}
            try:
                self._connection.execute(statement, values or None)
            except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
                kind = type(error).__name__
                raise LinkOutputUnusable(
                    f"linking ran out of room ({kind}): it needs space on the disk of the output, or more memory"
                ) from None
            except duckdb.Error as error:
                # Its message may quote a row.
                raise LinkingFailed(f"linking stopped at a statement ({type(error).__name__})") from None

    def _add_functions(self) -> None:
        from duckdb.func import ARROW, SPECIAL

        settings = self._settings

        def number(text: str | None) -> str | None:
            return normalise_identifier(text, ignore_leading_zeros=settings.ignore_leading_zeros)

        def patient(text: str | None) -> str | None:
            return normalise_identifier(text, ignore_leading_zeros=settings.ignore_patient_leading_zeros)

        functions: dict[str, Callable[[str | None], str | None]] = {
            "accession_key_of": number,
            "issuer_key_of": normalise_identifier,
            "patient_key_of": patient,
            "uid_of": normalise_uid,
        }
        for name, function in functions.items():
            self._connection.create_function(
                name, _on_arrays(function), ["VARCHAR"], "VARCHAR", type=ARROW, null_handling=SPECIAL
            )


def _column_names(path: Path) -> list[str] | None:
    """Return the columns of a Parquet file, or ``None`` if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return None
    return names


def _quoted(path: Path) -> str:
    """Return a path as a string of SQL: COPY and CREATE VIEW take no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def _on_arrays(function: Callable[[str | None], str | None]) -> Callable[[Any], Any]:
    """Return ``function`` over a column: the rules of normalising are written once, in Python."""

    def over(column: Any) -> Any:
        import pyarrow as pa

        return pa.array([function(value) for value in column.to_pylist()], type=pa.string())

    return over
