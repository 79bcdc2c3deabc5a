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

from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error
from nlp_service.cli.keys import DataDir

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(
    help="Put labels into the review queue, and export what people said.", no_args_is_help=True, add_completion=False
)

# What `radlabel text train` reads. A label that the report does not speak of is one that it does not have: a blank cell
# would say that nobody knows, and somebody has looked.
_CELLS = {"positive": "1", "uncertain": "-1", "negative": "0", None: "0"}
_FACTS = ("report_id", "accession_number", "accession_number_issuer", "study_instance_uid", "text")
Rows = Iterable[Mapping[str, Any]]


@app.callback()
def review() -> None:
    """Put labels into the review queue, and export what people said."""


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


@app.command("import")
def import_(
    disagreements: Annotated[
        Path,
        typer.Argument(metavar="CSV", help="disagreements.csv of `radlabel concordance`.", show_default=False),
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Take all rows, not only those whose label is suspected to be wrong.")
    ] = False,
    map_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Map from identifiers to pseudonyms (dataset build --map-file), where the data set has pseudonyms.",
            show_default=False,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key of these pseudonyms; goes with --map-file.", show_default=False),
    ] = None,
    reject_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write rows that could not be taken to this file, with the reason.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Put labels that images speak against at the head of the review queue, with what the images say.

    Reports are found in the store by their id. Corrections come back with `radlabel review export`; a data set takes
    them with `radlabel dataset build --corrections`.

    Exit codes: 0 all rows were taken, 1 some were not (--reject-file has them), 2 nothing was done.

    For example:

        radlabel concordance --dataset chest --model chest-model --out audit
        radlabel review import audit/disagreements.csv
    """
    if (map_file is None) != (key_file is None):
        raise typer.BadParameter("a map and its key go together", param_hint="--map-file, --key-file")
    with exit_on_error():
        from nlp_service.cli.keys import store_connection
        from nlp_service.part_folder import written_whole
        from nlp_service.review_import import original_ids, read_disagreements
        from nlp_service.store.keys import Deed, record
        from nlp_service.store.review import keep_images_say

        originals = original_ids(map_file, key_file) if map_file and key_file else None
        rows = read_disagreements(disagreements, only_suspected=not every)
        rejected: list[tuple[int, str]] = []
        with store_connection(data_dir) as connection:
            for row in rows:
                report_id = row.report_id if originals is None else originals.get(row.report_id)
                reason = (
                    "the map has no report of this pseudonym"
                    if report_id is None
                    else keep_images_say(connection, report_id, row.label, row.given, row.probability)
                )
                if reason is not None:
                    rejected.append((row.number, reason))
            taken = len(rows) - len(rejected)
            record(connection, [Deed("review import", "cli", taken)])
        if reject_file is not None:
            with written_whole(reject_file) as stream:
                line = _line_writer(stream)
                line(["row", "reason"])
                for number, reason in rejected:
                    line([str(number), reason])
    typer.echo(f"{taken:,} labels wait for a review because of their images", err=True)
    for reason in sorted({reason for _, reason in rejected}):
        typer.echo(f"{sum(reason == other for _, other in rejected):,} rows: {reason}", err=True)
    if rejected:
        raise typer.Exit(EXIT_ROWS_FAILED)


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
