"""A data set in one go: index the images, label the reports, link, build. For the command line and for jobs.

What is done is kept beside the output until the build ends (`corpora.dataset.work_folder`), so that a build that was
stopped goes on with the step, the reports or the pictures at which it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from corpora.dataset.builder import BuildInputs, OnProgress, Stage, build_dataset, silent, versions
from corpora.dataset.errors import RecipeInvalid
from corpora.dataset.export.target import Sources
from corpora.dataset.folder import DatasetFolder, DatasetInfo, file_digest
from corpora.dataset.identity import Identity, check_known, key_in
from corpora.dataset.recipe import Recipe, is_url
from corpora.dataset.work_folder import MADE, begin, work_folder
from corpora.deidentification import Pseudonymiser, PseudonymMap
from corpora.errors import SourceUnreadable
from corpora.imaging.index_table import read_info
from corpora.imaging.server import Access
from corpora.linking import LinkSummary, Outcome, link_files
from corpora.linking.report_keys import ReportSource
from corpora.reports import Report
from corpora.sources import iter_records
from corpora.sources.encoding import readable
from nlp_service.engines import EngineOptions

KEY_SUFFIX = ".key"
_TEXTS_PER_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What a build did. ``made_key`` is the key file that it made; ``corrected`` labels have a person's value;
    ``failed`` counts rows and files that could not be read: rows of the reports, files of the images, pictures.
    """

    output: Path
    info: DatasetInfo
    failed: Mapping[str, int]
    made_key: Path | None = None
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a build is run; the result does not depend on it, ``command`` apart, which the card shows.

    ``engine`` is where reports are labelled; images are read by processes of this machine, which has the data set.
    """

    resume: bool = False
    overwrite: bool = False
    processes: int = 1
    engine: EngineOptions | None = None
    command: tuple[str, ...] = ()
    access: Access | None = None
    on_progress: OnProgress = silent
    check: Callable[[], None] = field(default=lambda: None)


def build(recipe: Recipe, output: Path, options: BuildOptions | None = None) -> BuildSummary:
    """Make a data set at ``output`` by a recipe.

    ``BuildOptions.check`` is called between steps and may raise, to stop a build.

    Raises
    ------
    RadlabelError
        One of the errors of `corpora.dataset`, `corpora.linking`, `corpora.imaging`, or of the labelling. No output
        appears; what is done is kept for ``resume``.
    """
    options = options or BuildOptions()
    _check_named(recipe)
    output = output.absolute()
    identity, made_key = _identity(recipe, output)
    with work_folder(output, resume=options.resume, overwrite=options.overwrite) as work:
        run = _Run(recipe, identity, work, options)
        begin(work, run.manifest())
        pairs = PseudonymMap()
        named = identity.recorded_by(pairs) if recipe.deidentify.map_file else identity
        index, labels, rejected = run.chexpert() if recipe.labels.chexpert else (run.index(), *run.labels())
        labels = run.corrected(labels)
        linked = run.link(index, labels)
        run.most = linked.of("images", Outcome.LINKED)
        folder = build_dataset(
            BuildInputs(
                index=index,
                linked=linked.output,
                texts=run.texts(),
                model=_model_of(labels),
                command=options.command,
                access=options.access,
            ),
            recipe,
            named,
            work,
            work / MADE,
            processes=options.processes,
            on_progress=run.show,
        )
        info = folder.info
        if recipe.deidentify.map_file and identity.maker is not None:
            pairs.write(recipe.deidentify.map_file, identity.maker)
    excluded = info.counts["images"]["excluded"]
    failed = {
        "report rows": int(info.counts["reports"]["excluded"].get("link:row_invalid", 0)),
        "reports not labelled": rejected,
        "files": int(info.counts["files"]["unreadable"]),
        "corrections of reports that are not there": run.not_there,
        "pictures": sum(excluded.get(f"pixels:{reason}", 0) for reason in ("unreadable", "mask_unreadable")),
    }
    return BuildSummary(output, info, failed, made_key, run.changed)


def _check_named(recipe: Recipe) -> None:
    if recipe.images is None:
        raise RecipeInvalid("the recipe names no images: give images, or --images")
    if recipe.labels.chexpert is not None:
        if recipe.reports or is_url(recipe.images) or not Path(recipe.images).is_dir():
            raise RecipeInvalid("labels: chexpert: goes with images, the folder that its paths lie in, and no reports")
    elif not recipe.reports and recipe.labels.rows is None:
        raise RecipeInvalid("the recipe names no reports: give reports, or --reports")
    if not recipe.deidentify.enabled and (recipe.deidentify.map_file or recipe.deidentify.known_map):
        raise RecipeInvalid("deidentify: a map goes with pseudonyms, and they are not enabled")


def _identity(recipe: Recipe, output: Path) -> tuple[Identity, Path | None]:
    """Return the names of the data set, and the key file that was made for it, if one was."""
    wanted = recipe.deidentify
    text_key = sha256(b"text:" + recipe.splits.key.encode()).digest()
    if not wanted.enabled:
        return Identity(None, text_key), None
    path = wanted.key_file or output.with_name(output.name + KEY_SUFFIX)
    if wanted.key_file is not None and not path.exists():
        raise SourceUnreadable(f"{path.name}: there is no such key file; make one with `openssl rand -hex 32`")
    path.parent.mkdir(parents=True, exist_ok=True)
    maker, is_new = key_in(path)
    identity = Identity(maker, text_key)
    check_known(identity, wanted.known_map)
    return identity, path if is_new else None


@dataclass(slots=True)
class _Run:
    recipe: Recipe
    identity: Identity
    work: Path
    options: BuildOptions
    most: int | None = None  # images to draw, at most: filters leave some out
    not_there: int = 0  # corrections of reports that are not there
    changed: int = 0  # labels that have another value by corrections

    def inputs(self) -> Iterator[Path]:
        """Yield the files that the result depends on, the images apart."""
        recipe = self.recipe
        given = (
            *(recipe.labels.rows, recipe.labels.chexpert, recipe.labels.corrections),
            *(recipe.boxes, recipe.regions.table, recipe.splits.fixed),
        )
        yield from ReportSource(recipe.reports).files()
        yield from (path for path in (*given, *recipe.labels.vocabulary) if path is not None)

    def show(self, stage: Stage, done: int, total: int | None) -> None:
        self.options.check()
        self.options.on_progress(stage, done, self.most if stage is Stage.DRAWING else total)

    def manifest(self) -> dict[str, Any]:
        """Return what the result depends on; what it is called and where it lies is no part of it."""
        maker = self.identity.maker
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": [_digest(path) for path in self.inputs()],
            "key": maker.key_id if maker else None,
            "versions": versions(),
        }

    def index(self) -> Path:
        """Return the image index: the one that is given, or one made here, once."""
        images = self.recipe.images
        assert images is not None
        path = Path(images)
        if not is_url(images) and path.suffix.lower() == ".parquet":
            return path
        output = self.work / "index.parquet"
        if output.exists():
            return output
        self.show(Stage.INDEXING, 0, None)

        def on_scan(progress: Any) -> None:
            self.show(Stage.INDEXING, progress.seen, None)

        if is_url(images):
            from corpora.imaging.dicomweb import index_dicomweb

            index_dicomweb(images, output, access=self.options.access, resume=self.options.resume, on_progress=on_scan)
        elif path.is_dir():
            from corpora.imaging.dicom_folder import index_folder

            index_folder(path, output, processes=self.options.processes, on_progress=on_scan)
        else:
            from corpora.imaging.manifest import index_manifest

            if not path.exists():
                raise SourceUnreadable(f"{path.name}: there is no such file or folder")
            index_manifest(path, output, boxes=self.recipe.boxes, masks=self.recipe.masks, on_progress=on_scan)
        return output

    def chexpert(self) -> tuple[Path, Path, int]:
        """Return index and label rows of a CheXpert CSV, and how many of its rows are none."""
        from corpora.vocabulary.load import load_vocabulary
        from nlp_service.chexpert_source import read_chexpert

        wanted = self.recipe.labels
        assert wanted.chexpert is not None
        assert self.recipe.images is not None
        self.show(Stage.INDEXING, 0, None)
        label_set = load_vocabulary(wanted.vocabulary).label_set(wanted.label_set)
        found = read_chexpert(wanted.chexpert, Path(self.recipe.images), label_set, self.work)
        return found.index, found.labels, found.invalid

    def labels(self) -> tuple[Path, int]:
        """Return the label rows, and how many reports could not be labelled."""
        wanted = self.recipe.labels
        if wanted.rows is not None:
            return wanted.rows, 0
        from nlp_service.batch import label_files

        output = self.work / "labels.parquet"
        rejects = self.work / "labels.rejects.jsonl"
        reading, engine = self.recipe.reading, self.options.engine or EngineOptions(workers=self.options.processes)
        self.show(Stage.LABELLING, 0, None)
        label_files(
            self.recipe.reports,
            output,
            label_sets=(wanted.label_set,),
            vocabulary=wanted.vocabulary,
            format=reading.format,
            columns={name: column for name, column in reading.columns.items() if name not in _VERSION_FIELDS},
            encoding=reading.encoding,
            jobs=engine.workers,
            engine=engine.name,
            ray_address=engine.ray_address,
            gpus_per_worker=engine.gpus_per_worker,
            resume=self.options.resume,
            reject_file=rejects,
            reader=wanted.reader,
            model=wanted.model,
            abstain=wanted.abstain,
            review_file=self.work / "labels.review.jsonl" if wanted.abstain else None,
            on_progress=lambda progress: self.show(Stage.LABELLING, progress.counts.read, None),
        )
        return output, sum(1 for line in rejects.read_text("utf-8").splitlines() if _is_own_fault(line))

    def corrected(self, labels: Path) -> Path:
        """Return the label rows with the values that people gave, where the recipe names some."""
        wanted = self.recipe.labels
        if wanted.corrections is None:
            return labels
        from corpora.vocabulary.load import load_vocabulary
        from nlp_service.corrections import correct_labels, read_corrections

        names = tuple(entry.name for entry in load_vocabulary(wanted.vocabulary).label_set(wanted.label_set).labels)
        corrections = read_corrections(wanted.corrections, wanted.label_set, names)
        output = self.work / "labels.corrected.parquet"
        done = correct_labels(labels, corrections, wanted.label_set, output)
        self.not_there, self.changed = done.not_there, done.labels
        return output

    def texts(self) -> Path | None:
        """Return a table of report ids and keyed digests of their texts, or ``None`` where no text is given."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.recipe.reports:
            return None
        output = self.work / "texts.parquet"
        self.show(Stage.READING_TEXTS, 0, None)
        schema = pa.schema([("report_id", pa.string()), ("text", pa.string())])
        count = 0
        with pq.ParquetWriter(output, schema) as writer:
            for batch in _batched(self._digests(), _TEXTS_PER_BATCH):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
                self.show(Stage.READING_TEXTS, count, None)
        return output

    def _digests(self) -> Iterator[dict[str, str | None]]:
        reading = self.recipe.reading
        columns = {name: column for name, column in reading.columns.items() if name not in _VERSION_FIELDS}
        seen: set[bytes] = set()
        records = iter_records(self.recipe.reports, format=reading.format, columns=columns, encoding=reading.encoding)
        for record in records:
            if isinstance(record, Report):
                name = sha256(record.report_id.encode("utf-8", "surrogatepass")).digest()[:16]
                if name not in seen:  # of a repeated id the first counts, as for labels
                    seen.add(name)
                    yield {"report_id": record.report_id, "text": self.identity.text(record.text)}

    def link(self, index: Path, labels: Path) -> LinkSummary:
        reading = self.recipe.reading
        self.show(Stage.LINKING, 0, None)
        return link_files(
            self.recipe.reports or (labels,),
            index,
            self.work / "linked",
            labels=labels,
            settings=self.recipe.link.settings(),
            format=reading.format if self.recipe.reports else None,
            columns=reading.columns,
            encoding=reading.encoding,
            overwrite=True,
            on_progress=lambda stage, count: self.show(Stage.LINKING, count, None),
        )


def _digest(path: Path) -> str:
    with readable(path):
        return file_digest(path)


#: Fields that linking reads and the readers of reports do not know.
_VERSION_FIELDS = ("report_status", "report_time")


def _is_own_fault(line: str) -> bool:
    """Tell whether a line of the reject file is about a report that could be read; others linking counts."""
    return bool(json.loads(line).get("report_id"))


def _batched(rows: Iterator[dict[str, str | None]], size: int) -> Iterator[list[dict[str, str | None]]]:
    from itertools import islice

    while batch := list(islice(rows, size)):
        yield batch


def _model_of(labels: Path) -> dict[str, str]:
    """Return name, version and digest of the reader, as the label rows say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("model_name", "model_version", "model_digest")
    try:
        with pq.ParquetFile(labels) as parquet:
            if not set(names) <= set(parquet.schema_arrow.names):
                return {}
            batch = next(parquet.iter_batches(batch_size=1, columns=list(names)), None)
    except (pa.ArrowException, OSError):
        raise SourceUnreadable(f"{labels.name}: cannot be read as Parquet") from None
    if batch is None or not batch.num_rows:
        return {}
    row = batch.to_pylist()[0]
    return {"name": row["model_name"], "version": row["model_version"], "digest": row["model_digest"]}


def sources_of(
    images: str, dataset: DatasetFolder, key_file: Path | None, work: Path, access: Access | None = None
) -> Sources:
    """Return the DICOM objects behind a data set, for an export that is made from them; ``work`` is for an index.

    Without a key file, the one that a build makes beside the data set is used where it is there.
    """
    path = Path(images)
    index = work / "index.parquet"
    if not is_url(images) and path.suffix.lower() == ".parquet":
        index = path
    elif is_url(images):
        from corpora.imaging.dicomweb import index_dicomweb

        index_dicomweb(images, index, access=access)
    elif path.is_dir():
        from corpora.imaging.dicom_folder import index_folder

        index_folder(path, index)
    else:
        raise SourceUnreadable(f"{path.name}: is no folder, server or index of DICOM files")
    return Sources(index, read_info(index), key_of(dataset, key_file), access)


def key_of(dataset: DatasetFolder, key_file: Path | None) -> Pseudonymiser | None:
    """Return the key of a data set: the one in a file, or the one beside it; ``None`` where there is neither."""
    beside = dataset.path.absolute()
    usual = beside.with_name(beside.name + KEY_SUFFIX)
    path = key_file or (usual if dataset.info.deidentified and usual.is_file() else None)
    return None if path is None else Pseudonymiser.from_file(path)
