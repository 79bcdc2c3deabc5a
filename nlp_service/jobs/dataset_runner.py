"""Data sets built in the background: one DBOS workflow each, whose step is a build that goes on where it stopped.

The step is handed an id and gives nothing back, so DBOS keeps no path and no name. A process that is killed leaves the
workflow pending and the work folder beside the output; the next one runs the step again, and the build resumes. A stop
that is asked for ends the build between two pictures or chunks and has it wait for the next start.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, SetWorkflowID

from corpora.dataset.builder import Stage
from corpora.dataset.columns import INFO
from corpora.dataset.errors import DatasetInvalid
from corpora.dataset.folder import open_dataset
from corpora.dataset.identity import key_in
from corpora.dataset.recipe import Recipe
from corpora.errors import RadlabelError
from nlp_service.datasets import BuildOptions, build
from nlp_service.errors import describe
from nlp_service.jobs import dataset_table, table
from nlp_service.jobs.dataset_table import DatasetUnknown, StoredDataset
from nlp_service.jobs.results import write_results
from nlp_service.jobs.runner import StepFailed
from nlp_service.jobs.table import ENDED, JobUnknown, State
from nlp_service.label_queue import LabelQueue
from nlp_service.labeler import ModelInfo
from nlp_service.rows import RowForm
from nlp_service.settings import ServiceSettings
from nlp_service.store.group_writer import GroupWriter

_QUEUE = "radlabel-datasets"
_POLL_S = 0.25
_LOOK_S = 0.5  # how often a build looks whether it was cancelled
FOLDER, KEY_FILE = "datasets", "datasets.key"
log = logging.getLogger(__name__)


class _Cancelled(Exception):
    """The data set was cancelled or deleted."""


class _Stopping(Exception):
    """The service is asked to stop."""


class DatasetRunner:
    """Builds data sets in this process, and keeps their folders. There is one in a process."""

    def __init__(self, settings: ServiceSettings, engine: sa.Engine, queue: LabelQueue, writer: GroupWriter) -> None:
        self._settings = settings
        self._engine = engine
        self._queue = queue
        self._writer = writer
        self._stop = threading.Event()

    def launch(self, *, works: bool) -> None:
        """Start; call it when DBOS runs. What a stop left waiting is put into the queue again."""
        global _runner
        _runner = self
        DBOS.register_queue(_QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S, on_conflict="always_update")
        if works:
            with self._engine.connect() as connection:
                waiting = dataset_table.waiting_datasets(connection)
            for dataset_id, attempt in waiting:
                self._enqueue(dataset_id, attempt)

    def close(self) -> None:
        """Have a build that is under way stop at its next step; call it before DBOS is closed."""
        self._stop.set()

    def start(self, dataset_id: str) -> None:
        """Put a data set that waits into the queue."""
        self._enqueue(dataset_id, 0)

    def folder(self, dataset_id: str) -> Path:
        """Return where a data set lies, or will lie."""
        return self._settings.data_dir / FOLDER / dataset_id

    def remove(self, dataset_id: str) -> None:
        """Remove the folder of a data set that was deleted, and what a build has left beside it."""
        folder = self.folder(dataset_id)
        for path in (folder, folder.with_name(f"{folder.name}.part")):
            shutil.rmtree(path, ignore_errors=True)
        self._labels_file(dataset_id).unlink(missing_ok=True)

    def build(self, dataset_id: str) -> None:
        """Build a data set, or go on; one whose build has ended is left as it is."""
        try:
            with self._engine.connect() as connection:
                stored = dataset_table.find_dataset(connection, dataset_id)
        except DatasetUnknown:
            return  # deleted in the meantime
        if stored.state in ENDED:
            return
        self._write(dataset_table.change_dataset, dataset_id, State.RUNNING)
        try:
            summary = self._build(stored)
        except _Cancelled:
            self.remove(dataset_id)
        except _Stopping:
            self._write(dataset_table.put_back, dataset_id)
        except RadlabelError as error:
            # These are made for the owner to read, who knows the files by the names under the job folders.
            self.remove(dataset_id)
            self._write(dataset_table.change_dataset, dataset_id, State.FAILED, error=self._without_folders(str(error)))
        else:
            self._labels_file(dataset_id).unlink(missing_ok=True)
            if not self._write(dataset_table.change_dataset, dataset_id, State.DONE, summary=summary):
                self.remove(dataset_id)  # cancelled while the last bytes were written

    def fail(self, dataset_id: str, reason: str) -> None:
        """End a build that cannot go on."""
        self._write(dataset_table.change_dataset, dataset_id, State.FAILED, error=reason)

    def _enqueue(self, dataset_id: str, attempt: int) -> None:
        # The same id is put there once, however often this is called.
        with SetWorkflowID(f"dataset-{dataset_id}-{attempt}"):
            DBOS.enqueue_workflow(_QUEUE, run_dataset, dataset_id)

    def _build(self, stored: StoredDataset) -> dict[str, Any]:
        folder = self.folder(stored.id)
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        raw = {**stored.recipe}
        if stored.labels_job is not None:
            raw["labels"] = {**raw["labels"], "rows": str(self._labels_of(stored))}
        if raw["deidentify"]["enabled"]:
            key_file = str(self._settings.data_dir / KEY_FILE)
            key_in(Path(key_file))
            raw["deidentify"] = {**raw["deidentify"], "key_file": key_file}
        watch = _Watch(self, stored.id)
        failed: dict[str, int] = {}
        if not (folder / INFO).is_file():
            options = BuildOptions(
                resume=True, command=("POST", "/v1/datasets"), on_progress=watch.show, check=watch.check
            )
            failed = dict(build(Recipe.model_validate(raw), folder, options).failed)
        try:
            found = open_dataset(folder)
        except DatasetInvalid:
            raise StepFailed("the folder of the data set was changed by something else") from None
        info = found.info
        return {
            "rows": info.rows,
            "splits": dict(info.splits),
            "counts": dict(info.counts),
            "failed": failed,
            "digest": found.digest,
        }

    def _labels_of(self, stored: StoredDataset) -> Path:
        """Return the results of the job that a data set takes its labels from, as a file."""
        path = self._labels_file(stored.id)
        if path.exists():
            return path
        assert stored.labels_job is not None
        with self._engine.connect() as connection:
            try:
                job = table.find_job(connection, stored.labels_job)
            except JobUnknown:
                raise StepFailed("the job with the labels was deleted") from None
            form = RowForm(self._queue.form(job.options["label_sets"]).label_sets, ModelInfo(**(job.model or {})))
            unfinished = path.with_suffix(".partial")
            with unfinished.open("wb") as stream:
                write_results(table.iter_outputs(connection, job.id), form, "parquet", stream)
        unfinished.replace(path)
        return path

    def _labels_file(self, dataset_id: str) -> Path:
        folder = self.folder(dataset_id)
        return folder.with_name(f"{folder.name}.labels.parquet")

    def _without_folders(self, message: str) -> str:
        for root in (*self._settings.job_roots, self._settings.data_dir):
            for form in {str(root), str(root.absolute()), str(root.resolve())}:
                message = message.replace(f"{form}/", "")
        return message

    def _write(self, work: Any, *arguments: Any, **values: Any) -> Any:
        return self._writer.submit(lambda connection: work(connection, *arguments, **values)).result()


class _Watch:
    """What a build tells and asks while it works, a few times a second at most."""

    def __init__(self, runner: DatasetRunner, dataset_id: str) -> None:
        self._runner = runner
        self._id = dataset_id
        self._looked = 0.0
        self._told: tuple[Stage | None, float] = (None, 0.0)

    def check(self) -> None:
        """Raise where the build is to end."""
        if self._runner._stop.is_set():
            raise _Stopping
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        with self._runner._engine.connect() as connection:
            state = dataset_table.state_of(connection, self._id)
        if state is not State.RUNNING:
            raise _Cancelled

    def show(self, stage: Stage, done: int, total: int | None) -> None:
        """Write down how far the build is."""
        now = time.monotonic()
        if stage is not self._told[0] or now - self._told[1] >= _LOOK_S:
            self._told = (stage, now)
            self._runner._write(dataset_table.note_progress, self._id, stage.value, done)


_runner: DatasetRunner | None = None


@DBOS.step(name="build_dataset", retries_allowed=True, max_attempts=3)
def build_step(dataset_id: str) -> None:
    """Build one data set."""
    if _runner is None:
        raise StepFailed("no worker is running")
    try:
        _runner.build(dataset_id)
        return
    except Exception as error:  # DBOS stores and logs what a step raises: a kind and a place, nothing else
        reason = describe(error)
    raise StepFailed(reason)


@DBOS.workflow(name="radlabel_dataset")
def run_dataset(dataset_id: str) -> None:
    """Build a data set; one that cannot be built is marked so."""
    try:
        build_step(dataset_id)
    except Exception as error:
        if _runner is not None:
            _runner.fail(dataset_id, f"the data set could not be built ({error})")
