"""The engine of the jobs: DBOS workflows over the chunks of `nlp_service.jobs.table`.

A job is two kinds of workflow. The first cuts the input into chunks and puts one workflow a chunk into a queue that
all worker processes share; each of those labels its chunk. DBOS keeps which of them are under way, and a process that
comes back goes on with its own. Its tables keep the arguments and results of steps, so these are ids and numbers, never
a report; and what a step raises has no content either.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from corpora.errors import RadlabelError
from corpora.findings import LabeledReport, Status
from nlp_service.chunks import Reject, iter_chunks, plan_inputs, within
from nlp_service.errors import describe
from nlp_service.jobs import table
from nlp_service.jobs.table import Job, State
from nlp_service.label_queue import LabelQueue
from nlp_service.logs import take_over_logger
from nlp_service.metrics import Metrics
from nlp_service.settings import ServiceSettings
from nlp_service.store import schema
from nlp_service.store.dialect import insert
from nlp_service.store.group_writer import GroupWriter, is_out_of_reach
from nlp_service.store.stored import Arrival, add_labels, add_reports
from nlp_service.work import Counts
from nlp_service.writers import JsonLinesWriter

CHUNK_RECORDS = 250  # a chunk is what a kill can cost, one or two seconds of work
_JOBS, _CHUNKS = "radlabel-jobs", "radlabel-chunks"
_POLL_S = 0.25
_AHEAD = 2  # chunks a process has under way: one is read while the next is fetched from the database
_HEARTBEAT_S = 5.0
_LOST_AFTER_S = 60.0
_RETRY_S = (0.5, 30.0)  # first and longest wait for a database that is away
T = TypeVar("T")
log = logging.getLogger(__name__)


class StepFailed(RadlabelError, RuntimeError):
    """A step of a job failed; the message has the kind of the fault and the place, nothing of a report."""


class JobRunner:
    """Works on jobs in this process. There is one in a process, as there is one DBOS.

    ``works`` says whether this process takes work from the queue, or only puts jobs there.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        engine: sa.Engine,
        queue: LabelQueue,
        writer: GroupWriter,
        metrics: Metrics,
        *,
        works: bool = True,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._writing = engine.execution_options(radlabel_writes=True)
        self._queue = queue
        self._writer = writer
        self._metrics = metrics
        self._works = works
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="radlabel-heartbeat", daemon=True)

    def launch(self) -> None:
        """Start, and go on with what a process of this name left behind."""
        global _runner
        _runner = self
        shutil.rmtree(self._uploads, ignore_errors=True)  # what a process of this name was reading when it was killed
        # A version that a release changes on purpose: by default it is a digest of the source, and an upgrade would
        # orphan the jobs that are under way.
        DBOS(
            config={
                "name": "radlabel",
                "system_database_url": self._settings.jobs_url,
                "application_version": "1",
                "executor_id": self._settings.executor,
                "enable_otlp": False,
                "log_level": "WARNING",
            }
        )
        if not self._works:
            DBOS.listen_queues([])
        DBOS.launch()
        take_over_logger("dbos")  # the library gives it a handler of its own, which would write messages as they are
        DBOS.register_queue(_JOBS, worker_concurrency=1, polling_interval_sec=_POLL_S, on_conflict="always_update")
        DBOS.register_queue(
            _CHUNKS, worker_concurrency=_AHEAD, polling_interval_sec=_POLL_S, on_conflict="always_update"
        )
        with self._engine.connect() as connection:
            waiting = table.waiting_jobs(connection)
        for job_id in waiting:  # of which a kill may have come between the store and the queue
            self._enqueue(job_id)
        self._heart.start()

    def close(self, timeout_s: float) -> None:
        """Take no more chunks, and wait for those under way; what is left goes on in another process, or later."""
        global _runner
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=int(timeout_s))
        _runner = None

    def start(self, job_id: str) -> None:
        """Put a job whose input is complete into the queue."""
        with self._writing.begin() as connection:
            table.change_state(connection, job_id, State.WAITING)
        self._enqueue(job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a job; chunks that are done keep their results until the job is deleted."""
        with self._writing.begin() as connection:
            table.change_state(connection, job_id, State.CANCELLED)
        self._clear_queue(job_id)

    def delete(self, job_id: str) -> bool:
        """Delete a job with its results, and tell whether there was one; one that is under way is stopped."""
        with self._writing.begin() as connection:
            deleted = table.delete_job(connection, job_id)
        if deleted:
            self._clear_queue(job_id)
        return deleted

    def _enqueue(self, job_id: str) -> None:
        # The same id is put there once, however often this is called.
        with SetWorkflowID(f"job-{job_id}"):
            DBOS.enqueue_workflow(_JOBS, run_job, job_id)

    def _clear_queue(self, job_id: str) -> None:
        """Take the chunks of a job out of the queue, so that the next job need not wait until all have come up."""
        left = DBOS.list_workflows(
            workflow_id_prefix=f"chunk-{job_id}-", status="ENQUEUED", load_input=False, load_output=False
        )
        if left:
            DBOS.cancel_workflows([workflow.workflow_id for workflow in left])

    def through_outages(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, tried again for as long as the database cannot be reached.

        An outage is no fault of a job: it waits. When this process stops meanwhile, the workflow stays pending, and
        goes on at the next start.
        """
        wait, longest = _RETRY_S
        while True:
            try:
                return work()
            except Exception as error:
                if not is_out_of_reach(error):
                    raise
                log.warning("the database cannot be reached: a job waits", extra={"fault": describe(error)})
            self._stop.wait(wait)
            if self._stop.is_set():
                time.sleep(wait)  # the stop ends the process; an answer would end the job
            wait = min(2 * wait, longest)

    @property
    def _uploads(self) -> Path:
        """Return where uploads are put together: by process, so that the next of this name can clear it."""
        return self._settings.data_dir / "tmp" / f"uploads-{self._settings.executor}"

    def split(self, job_id: str) -> int:
        """Cut a job's input into chunks, and return how many; 0 if there is nothing to do."""
        with self._engine.connect() as connection:
            job = table.find_job(connection, job_id)
        if job.state in table.ENDED:
            return 0
        with self._writing.begin() as connection:
            table.clear_chunks(connection, job_id)
            table.change_state(connection, job_id, State.RUNNING)
        number = records = 0
        path = Path(job.name)
        try:
            with self._input_of(job) as path:
                inputs = plan_inputs([path], job.options.get("format"))
                named = [type(source)(source.path, job.name, source.format) for source in inputs]
                chunks = iter_chunks(
                    named,
                    columns=job.options.get("columns"),
                    encoding=job.options.get("encoding"),
                    chunk_records=CHUNK_RECORDS,
                )
                # A file of the server's own is as large as whoever put it there wants it.
                for chunk in chunks if job.path else within(chunks, self._settings.max_unpacked_bytes, job.name):
                    with self._writing.begin() as connection:
                        table.add_chunk(connection, job_id, chunk)
                    number += 1
                    records += len(chunk.items)
        except RadlabelError as error:
            # These are made for the owner to read, who knows the file by the name it was sent with.
            self.fail(job_id, str(error).replace(str(path), job.name).replace(path.name, job.name))
            return 0
        with self._writing.begin() as connection:
            table.set_chunks(connection, job_id, number, records)
            if not number:
                table.finish_job_if_done(connection, job_id, self._model())
        return number

    def label_chunk(self, job_id: str, number: int) -> None:
        """Label a chunk and keep its results, all in one transaction; a chunk that is done is left as it is."""
        with self._engine.connect() as connection:
            try:
                job = table.find_job(connection, job_id)
            except table.JobUnknown:
                return  # deleted in the meantime
            chunk = None if job.state in table.ENDED else table.load_chunk(connection, job_id, number)
        if chunk is None:
            return
        reports = [item[1] for item in chunk.items if not isinstance(item, Reject)]
        label_sets = tuple(job.options["label_sets"])
        labeled = self._queue.submit(reports, label_sets, in_background=True).result()
        form = self._queue.form(label_sets)
        rejects = [item for item in chunk.items if isinstance(item, Reject)]
        good: list[LabeledReport] = []
        numbers = dict.fromkeys(Status, 0)
        origins = iter(item[0] for item in chunk.items if not isinstance(item, Reject))
        for row in labeled:
            origin = next(origins)
            numbers[row.status] += 1
            if row.status is Status.ERROR:
                rejects.append(Reject(origin, row.reason or "could not be labeled", report_id=row.report_id))
            else:
                good.append(row)
        rejects.sort(key=lambda reject: reject.origin.row)
        counts = Counts(numbers[Status.OK], numbers[Status.NO_TEXT], numbers[Status.NOT_APPLICABLE], len(rejects))
        output = JsonLinesWriter(form).encode(good)
        kept = [report for report, row in zip(reports, labeled, strict=True) if row.status is not Status.ERROR]

        def write(connection: sa.Connection) -> bool:
            if not table.finish_chunk(connection, job_id, number, output, rejects, counts):
                return False
            if job.options.get("store") and good:
                arrivals = [Arrival(report, "job") for report in kept]
                ids = add_reports(connection, arrivals, keep_texts=self._settings.keep_texts_days > 0)
                add_labels(connection, ids, good, form)
            table.finish_job_if_done(connection, job_id, self._model())
            return True

        if self._writer.submit(write).result():
            self._metrics.on_labeled(good, "job")
            self._metrics.rejects.inc(len(rejects))

    def fail(self, job_id: str, reason: str) -> None:
        """End a job that cannot go on."""

        def write() -> None:
            with self._writing.begin() as connection:
                table.change_state(connection, job_id, State.FAILED, error=reason)

        self.through_outages(write)
        self._clear_queue(job_id)

    def _model(self) -> dict[str, str]:
        model = self._queue.model
        return {"name": model.name, "version": model.version, "digest": model.digest}

    @contextmanager
    def _input_of(self, job: Job) -> Iterator[Path]:
        """Give the file of a job: the server's own, or the upload put together for as long as it is read."""
        if job.path is not None:
            yield Path(job.path)
            return
        self._uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="upload-", dir=self._uploads) as folder:
            path = Path(folder) / f"upload{job.options.get('suffix', '')}"
            with path.open("wb") as stream, self._engine.connect() as connection:
                stream.writelines(table.upload_parts(connection, job.id))
            yield path

    def _beat(self) -> None:
        """Say that this process is alive, and take over what processes that are not have left."""
        while not self._stop.wait(_HEARTBEAT_S):
            try:
                with self._writing.begin() as connection:
                    now = time.time()
                    executors = schema.executors
                    statement = insert(connection.dialect.name, executors).values(
                        id=self._settings.executor, seen_at=now
                    )
                    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))
                    lost = list(
                        connection.execute(
                            sa.select(executors.c.id).where(executors.c.seen_at < now - _LOST_AFTER_S)
                        ).scalars()
                    )
                if lost:
                    # Adopted first: were it the other way round, a fault in between would leave their work to nobody.
                    self._adopt(lost)
                    with self._writing.begin() as connection:
                        connection.execute(sa.delete(executors).where(executors.c.id.in_(lost)))
            except Exception as error:  # the next beat tries again; what it was, the log says
                log.warning("heartbeat failed", extra={"fault": describe(error)})

    def _adopt(self, executors: list[str]) -> None:
        left = DBOS.list_workflows(status="PENDING", executor_id=executors, load_input=False, load_output=False)
        if left:
            DBOS.resume_workflows([workflow.workflow_id for workflow in left])
        log.warning("took over the work of processes that are gone", extra={"workflows": len(left)})


_runner: JobRunner | None = None


def _current() -> JobRunner:
    if _runner is None:
        raise StepFailed("no worker is running")
    return _runner


@contextmanager
def _without_content() -> Iterator[None]:
    """Let nothing out of a step but a kind and a place: DBOS stores and logs what a step raises."""
    try:
        yield
    except Exception as error:
        reason = describe(error)
    else:
        return
    raise StepFailed(reason)


@DBOS.step(name="split", retries_allowed=True, max_attempts=3)
def split(job_id: str) -> int:
    """Cut the input of a job into chunks; return how many."""
    with _without_content():
        runner = _current()
        return runner.through_outages(lambda: runner.split(job_id))


@DBOS.step(name="label_chunk", retries_allowed=True, max_attempts=3)
def label_chunk(job_id: str, number: int) -> None:
    """Label one chunk."""
    with _without_content():
        runner = _current()
        runner.through_outages(lambda: runner.label_chunk(job_id, number))


@DBOS.workflow(name="radlabel_job")
def run_job(job_id: str) -> None:
    """Cut a job into chunks, and put them into the queue."""
    try:
        chunks = split(job_id)
    except Exception as error:
        _current().fail(job_id, f"the input could not be cut into chunks ({error})")
        return
    for number in range(chunks):
        # First chunks come first, whosever they are: a small job need not wait for the whole of a large one.
        with SetWorkflowID(f"chunk-{job_id}-{number}"), SetEnqueueOptions(priority=number + 1):
            DBOS.enqueue_workflow(_CHUNKS, run_chunk, job_id, number)


@DBOS.workflow(name="radlabel_chunk")
def run_chunk(job_id: str, number: int) -> None:
    """Label one chunk of a job; a chunk that cannot be labeled ends the job."""
    try:
        label_chunk(job_id, number)
    except Exception as error:
        _current().fail(job_id, f"a part of the input could not be labeled ({error})")
