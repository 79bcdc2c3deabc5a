"""`radlabel review`: what people said of stored labels, as data to learn from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from nlp_service.cli.errors import exit_on_error
from nlp_service.cli.keys import DataDir

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(help="Export what people said of stored labels.", no_args_is_help=True, add_completion=False)

# What `radlabel text train` reads. A label that the report does not speak of is one that it does not have: a blank cell
# would say that nobody knows, and somebody has looked.
_CELLS = {"positive": "1", "uncertain": "-1", "negative": "0", None: "0"}
_FACTS = ("report_id", "accession_number", "accession_number_issuer", "study_instance_uid", "text")
Rows = Iterable[Mapping[str, Any]]


@app.callback()
def review() -> None:
    """Export what people said of stored labels."""


@app.command()
def export(
    output: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="File to write: .csv to train from, or .jsonl.", show_default=False),
    ],
    label_set: Annotated[
        str | None,
        typer.Option(help="Only the labels of this set; its columns then have their plain names.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Write the reports that were reviewed, with the values that people gave: corrections win over the model's.

    The CSV is what `radlabel text train` reads: 1, 0 and -1 (uncertain), one column a label. Both forms hold the text
    of a report as long as the service keeps it (--keep-texts-days).

    For example:

        radlabel review export reviewed.csv --label-set nih14
        radlabel text train --reports reviewed.csv --labels Edema --labels Effusion -o mymodel
    """
    with exit_on_error():
        from nlp_service.errors import OutputExists, OutputUnusable
        from nlp_service.part_folder import written_whole
        from nlp_service.store.review import iter_reviewed

        write = {".csv": _write_csv, ".jsonl": _write_json_lines}.get(output.suffix.lower())
        if write is None:
            raise OutputUnusable(f"{output}: the suffix must be .csv or .jsonl")
        if output.exists() and not overwrite:
            raise OutputExists(f"{output}: is there already; replace it with --overwrite, or name another output")
        counts = {"reports": 0, "without_text": 0, "corrected": 0}
        with _reading(data_dir) as connection:
            columns = _columns(connection, label_set)

            def rows() -> Iterator[Mapping[str, Any]]:
                for row in iter_reviewed(connection, [label_set] if label_set else ()):
                    counts["reports"] += 1
                    counts["without_text"] += row["text"] is None
                    counts["corrected"] += sum(label["value"] != label["given"] for label in row["labels"])
                    yield row

            with written_whole(output) as stream:
                write(rows(), columns, label_set is None, stream)
        typer.echo(
            f"{counts['reports']:,} reviewed reports, {counts['corrected']:,} corrected labels: {output}", err=True
        )
        if counts["without_text"]:
            typer.echo(
                f"{counts['without_text']:,} have no text, since it was not kept: join it by report_id, or serve with "
                "--keep-texts-days",
                err=True,
            )


@contextmanager
def _reading(data_dir: Path | None) -> Iterator[sa.Connection]:
    """Give a connection to the store of the settings that holds up nobody's writing."""
    from nlp_service.settings import ServiceSettings
    from nlp_service.store.database import check_revision, open_database

    engine = open_database(ServiceSettings.load(data_dir=data_dir).store_url)
    check_revision(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _columns(connection: sa.Connection, label_set: str | None) -> list[tuple[str, str]]:
    """Return the labels that were reviewed, by label set in the order of the first review."""
    import sqlalchemy as sa

    from nlp_service.store import schema

    table = schema.reviews
    query = (
        sa.select(table.c.label_set, table.c.label)
        .group_by(table.c.label_set, table.c.label)
        .order_by(sa.func.min(table.c.id))
    )
    found = [(row.label_set, row.label) for row in connection.execute(query)]
    sets = dict.fromkeys(name for name, _ in found)
    return [key for name in sets for key in found if key[0] == name and label_set in (None, name)]


def _write_csv(rows: Rows, columns: list[tuple[str, str]], is_prefixed: bool, stream: IO[bytes]) -> None:
    names = [f"{label_set}:{label}" if is_prefixed else label for label_set, label in columns]
    line = _line_writer(stream)
    line([*_FACTS, *names])
    for row in rows:
        values = {(label["label_set"], label["label"]): _CELLS[label["value"]] for label in row["labels"]}
        line([*(row[name] or "" for name in _FACTS), *(values.get(key, "") for key in columns)])


def _write_json_lines(rows: Rows, _columns: list[tuple[str, str]], _is_prefixed: bool, stream: IO[bytes]) -> None:
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _line_writer(stream: IO[bytes]) -> Callable[[list[str]], None]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)

    def line(cells: list[str]) -> None:
        writer.writerow(cells)
        stream.write(buffer.getvalue().encode())
        buffer.seek(0)
        buffer.truncate()

    return line
