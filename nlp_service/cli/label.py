"""`radlabel label`: files of reports in, a file of labels out."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from nlp_service.cli.errors import EXIT_ROWS_FAILED, discard_stdout, exit_on_error, stop_on_sigterm
from nlp_service.cli.progress import progress_as_json, shown_progress
from nlp_service.engines import EngineName
from nlp_service.readers import DEFAULT_READER, Device, ReaderKind

if TYPE_CHECKING:
    from nlp_service.batch import RunSummary

STDOUT = "-"
DEFAULT_LABEL_SET = "chexpert14"


def label(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN",
            help="Files or folders of reports: CSV, JSON Lines, Parquet, text files, Open-i XML, PadChest's table.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where labels go. The suffix chooses the form: .csv (one column a label), .jsonl (everything, with "
            "evidence), .parquet (both), .csv.gz, .jsonl.gz. `-` writes JSON Lines to stdout.",
            show_default=False,
        ),
    ],
    label_set: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Labels to give: chexpert14, nih14, openi or a set of your own (default: {DEFAULT_LABEL_SET}); may "
            "be given again.",
            show_default=False,
        ),
    ] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="YAML file that adds findings or label sets; may be given again. See: radlabel vocabulary check.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of the inputs: csv, jsonl, parquet, text, openi, padchest, hl7, fhir, dicom-sr (default: by "
            "suffix or content).",
            show_default=False,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Column that holds a field of the report, as text=REPORT_BODY; may be given again. Usual names are "
            "found by themselves.",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of text inputs (default: detected per file).", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            "--workers",
            min=1,
            help="Number of processes (default: one a core, at most 8), or of workers on the Ray cluster (default: as "
            "many as it has room for).",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Read so many reports at most.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it is there, and forget a run that was stopped.")
    ] = False,
    reject_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rows that fail are listed, as JSON Lines with source, row, report id, field and reason "
            "(default: OUT.rejects.jsonl, if there are any).",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Where the work is done: processes of this machine, or a Ray cluster. The output has the same bytes.",
        ),
    ] = EngineName.LOCAL.value,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the Ray cluster, or `auto` for one that runs here (default: Ray is started for this run, "
            "on this machine).",
            show_default=False,
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float,
        typer.Option(
            min=0.0, help="Share of a GPU for each worker of the engine ray: with 0.25, four have one together."
        ),
    ] = 0.0,
    shard_records: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Make OUT a folder of shards of N records, rounded up to 500, that other programs read as one table; "
            "with --resume, whole shards are kept.",
            show_default=False,
        ),
    ] = None,
    reader: Annotated[
        ReaderKind,
        typer.Option(help="What reads the sentences: the transformer encoder, or the rules it learned from."),
    ] = DEFAULT_READER,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of an encoder of your own (radlabel text train); by default the one that comes with radlabel.",
            show_default=False,
        ),
    ] = None,
    abstain: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Give no value to labels whose probability lies between LOW and HIGH; they are listed for review.",
            show_default=False,
        ),
    ] = None,
    review_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where labels that were too close to call are listed, as JSON Lines with report id, label and "
            "probability (default: OUT.review.jsonl, with --abstain).",
            show_default=False,
        ),
    ] = None,
    cache_size: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Sentences whose reading each process keeps (default: 32,768 for the encoder, some 2 KB each; 0 for "
            "none). The labels do not depend on it.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option(
            help="What the encoder runs on: a GPU where one can be used, the CPU, or a GPU (without one it is the CPU, "
            "with a warning)."
        ),
    ] = Device.AUTO,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Readings of frequent sentences (radlabel cache build). The labels do not depend on it.",
            show_default=False,
        ),
    ] = None,
    keep_errors: Annotated[
        bool, typer.Option("--keep-errors", help="Give rows that fail a row of status `error` in OUT, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress as JSON lines on stderr, the summary as JSON on stdout.")
    ] = False,
) -> None:
    """Label files of radiology reports.

    Every report becomes a row with its id and accession number, its status, and a value for each label: positive,
    negative, uncertain, or nothing where the report does not speak of it. Reports stay on this machine.

    A run that was stopped goes on with --resume and gives the same bytes. Exit codes: 0 all rows were read, 1 some
    failed and are in the reject file, 2 nothing was done.

    For example:

        radlabel label reports.csv -o labels.csv
        radlabel label 2023.csv 2024.csv -o labels.parquet --label-set chexpert14 --label-set nih14
        radlabel label export.csv -o labels.jsonl --column text=REPORT_BODY --column report_id=EXAM --jobs 4
        radlabel label reports/ -o - | head -n 1
        radlabel label reports.csv -o labels.csv --label-set nih14 --abstain 0.3 0.7
        radlabel label reports.csv -o labels.csv --reader rules
        radlabel label archive/ -o labels.parquet --shard-records 100000 --engine ray --ray-address head:6379
    """
    if resume and overwrite:
        raise typer.BadParameter("go on with the run, or start over: not both", param_hint="--resume, --overwrite")
    if resume and output == STDOUT:
        raise typer.BadParameter("what went to stdout cannot be resumed", param_hint="--resume")
    reader, engine_name = _reader_and_engine(reader, engine)
    if engine_name is not EngineName.RAY and (ray_address is not None or gpus_per_worker):
        raise typer.BadParameter(
            "these are for --engine ray", param_hint="--ray-address" if ray_address else "--gpus-per-worker"
        )
    if gpus_per_worker > 1 and gpus_per_worker % 1:
        raise typer.BadParameter("a part of one GPU, or whole ones", param_hint="--gpus-per-worker")
    if shard_records is not None and output == STDOUT:
        raise typer.BadParameter("stdout cannot be a folder", param_hint="--shard-records")
    if model is not None and reader is ReaderKind.RULES:
        raise typer.BadParameter("the rules read without a model", param_hint="--model")
    if cache is not None and reader is ReaderKind.RULES:
        raise typer.BadParameter("the rules read without a cache file", param_hint="--cache")
    if abstain is not None and not 0 <= abstain[0] < abstain[1] <= 1:
        raise typer.BadParameter("two probabilities are wanted, the lower one first", param_hint="--abstain")
    if review_file is not None and abstain is None:
        raise typer.BadParameter("nothing is reviewed without --abstain", param_hint="--review-file")
    columns = _column_mapping(column or [])
    with exit_on_error(), stop_on_sigterm(), ExitStack() as stack:
        from nlp_service.batch import label_files

        show = stack.enter_context(shown_progress(as_json, limit))
        try:
            summary = label_files(
                inputs,
                _stdout() if output == STDOUT else output,
                label_sets=label_set or (DEFAULT_LABEL_SET,),
                vocabulary=vocabulary or (),
                format=format,
                columns=columns,
                encoding=encoding,
                limit=limit,
                jobs=jobs,
                engine=engine_name,
                ray_address=ray_address,
                gpus_per_worker=gpus_per_worker,
                shard_records=shard_records,
                resume=resume,
                overwrite=overwrite,
                reject_file=reject_file,
                keep_errors=keep_errors,
                reader=reader,
                model=model,
                abstain=abstain,
                review_file=review_file,
                cache_size=cache_size,
                cache_file=cache,
                device=device,
                on_progress=show,
            )
        except BaseException:
            if output == STDOUT:
                discard_stdout()
            raise
    _report(summary, as_json)
    if summary.counts.rejected:
        raise typer.Exit(EXIT_ROWS_FAILED)


def _reader_and_engine(reader: ReaderKind, engine: str) -> tuple[ReaderKind, EngineName]:
    """Return what reads, and where. ``--engine`` once chose the reader: what it took then still means that."""
    if engine in {*ReaderKind}:
        typer.echo(f"note: --engine {engine} is called --reader {engine} now", err=True)
        return ReaderKind(engine), EngineName.LOCAL
    if engine not in {*EngineName}:
        raise typer.BadParameter(f"{engine!r} is neither local nor ray", param_hint="--engine")
    return reader, EngineName(engine)


def _column_mapping(pairs: list[str]) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        field, equals, name = pair.partition("=")
        if not equals or not field:
            raise typer.BadParameter(f"{pair!r} is not of the form FIELD=COLUMN", param_hint="--column")
        if field in columns:
            raise typer.BadParameter(f"{field!r} is given twice", param_hint="--column")
        columns[field.strip()] = name.strip()
    return columns


def _stdout() -> IO[bytes]:
    sys.stdout.flush()
    return sys.stdout.buffer


def _report(summary: RunSummary, as_json: bool) -> None:
    """Tell what was done: in words on standard error, or as JSON on stdout, unless the rows went there."""
    if as_json:
        typer.echo(json.dumps(_summary_as_json(summary)), err=summary.output is None)
        return
    name = str(summary.output or "stdout")
    if summary.was_complete:
        typer.echo(f"{name}: is complete, nothing to resume", err=True)
        return
    for remark in summary.remarks:
        typer.echo(f"warning: {remark}", err=True)
    counts, progress = summary.counts, summary.progress
    resumed = f", {progress.resumed:,} of them before" if progress.resumed else ""
    typer.echo(
        f"{name}: {counts.read:,} read{resumed} = {counts.ok:,} ok + {counts.no_text:,} no_text + "
        f"{counts.not_applicable:,} not_applicable + {counts.rejected:,} rejected "
        f"({progress.elapsed_s:.1f} s, {progress.reports_per_s:,.0f} reports/s)",
        err=True,
    )
    if summary.review_file:
        typer.echo(f"labels that were too close to call are listed in {summary.review_file}", err=True)
    if counts.rejected and summary.reject_file:
        typer.echo(f"rejected rows are listed in {summary.reject_file}", err=True)
    elif counts.rejected:
        for reject in summary.rejects:
            typer.echo(f"rejected: {reject}", err=True)
        more = counts.rejected - len(summary.rejects)
        if more:
            typer.echo(f"and {more:,} more; --reject-file lists them all", err=True)


def _summary_as_json(summary: RunSummary) -> dict[str, object]:
    model = summary.model
    return {
        "event": "summary",
        "output": None if summary.output is None else str(summary.output),
        "reject_file": None if summary.reject_file is None else str(summary.reject_file),
        "review_file": None if summary.review_file is None else str(summary.review_file),
        "was_complete": summary.was_complete,
        "remarks": list(summary.remarks),
        **progress_as_json(summary.progress),
        "model": model and {"name": model.name, "version": model.version, "digest": model.digest},
    }
