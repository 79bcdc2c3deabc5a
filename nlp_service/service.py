"""A running service: the labeler behind its queue, the store behind its writer, and the jobs, started and stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from corpora.errors import RadlabelError
from corpora.findings import LabeledReport, Status
from corpora.reports import Report
from nlp_service.errors import describe
from nlp_service.heap import freeze_heap
from nlp_service.label_queue import LabelQueue
from nlp_service.metrics import Metrics
from nlp_service.readers import ReaderKind
from nlp_service.settings import ServiceSettings
from nlp_service.store.database import check_revision, open_database
from nlp_service.store.group_writer import GroupWriter
from nlp_service.store.keys import ApiKey, Deed, key_of_token, record
from nlp_service.store.review import keep_disagreements, rules_say, unchecked_labels
from nlp_service.store.stored import (
    Arrival,
    add_labels,
    add_reports,
    drop_old_texts,
    mark_labeled,
    waiting_reports,
)

if TYPE_CHECKING:
    from nlp_service.jobs.dataset_runner import DatasetRunner
    from nlp_service.jobs.runner import JobRunner

log = logging.getLogger(__name__)
_KEY_MEMORY_S = 5.0  # how long a revoked key can go on working
_WAITING_BATCH = 64
_HOUSEKEEPING_S = 3600.0
_COMPARE_EVERY_S = 2.0
_COMPARE_BATCH = 16  # reports that the rules read in one go: some 20 ms


class Service:
    """All that answers requests, apart from HTTP. `start` takes seconds: the model is loaded and tested."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.state = "starting"
        self.is_stopping = False  # from the signal on; `state` says so when requests under way are done
        self.fault: str | None = None
        self.jobs: JobRunner | None = None
        self.datasets: DatasetRunner | None = None
        self._keys: dict[str, tuple[float, ApiKey | None]] = {}
        self._stop = threading.Event()
        self._arrived = threading.Event()
        self._threads: list[threading.Thread] = []

    def open_store(self) -> None:
        """Open the database; raise `StoreUnusable` at once where it cannot be used."""
        self.engine = open_database(self.settings.store_url)
        check_revision(self.engine)
        self.writer = GroupWriter(self.engine)

    def start(self) -> None:
        """Load the model, and start what works in the background. What goes wrong is kept in ``fault``."""
        try:
            from nlp_service.labeler import Labeler

            settings = self.settings
            labeler = Labeler(
                label_sets=settings.label_sets,
                vocabulary=settings.vocabulary,
                reader=settings.reader,
                model=settings.model,
                threads=settings.threads,
                cache_size=settings.cache_size,
                cache_file=settings.cache_file,
                device=settings.device,
            )
            self.vocabulary = labeler.vocabulary
            self.queue = LabelQueue(labeler, max_waiting=settings.max_waiting_reports, on_window=self.metrics.on_window)
            self.metrics.watch("waiting_reports", "Reports that wait to be read", lambda: self.queue.waiting)
            self.metrics.watch("cache_hits", "Sentences found in the cache", lambda: self.queue.cache_counts[0])
            self.metrics.watch("cache_misses", "Sentences read", lambda: self.queue.cache_counts[1])
            from nlp_service.jobs.runner import JobRunner

            works = settings.job_workers > 0
            runner = JobRunner(settings, self.engine, self.queue, self.writer, self.metrics, works=works)
            # Its workflows are known before the engine starts, or those that were broken off would be lost.
            from nlp_service.jobs.dataset_runner import DatasetRunner

            datasets = DatasetRunner(settings, self.engine, self.queue, self.writer)
            runner.launch()
            datasets.launch(works=works)
            self.jobs, self.datasets = runner, datasets
            for work in (self._label_waiting, self._keep_house, self._compare_with_rules):
                thread = threading.Thread(target=work, name=f"radlabel{work.__name__}", daemon=True)
                thread.start()
                self._threads.append(thread)
            freeze_heap()
            self.state = "ok"
            log.info("ready", extra={"model": labeler.model.digest})
        except Exception as error:
            # Errors of radlabel are made to be read; of others only the kind is told.
            self.fault = str(error) if isinstance(error, RadlabelError) else describe(error)
            self.state = "unready"
            log.error("the service cannot start", exc_info=error)

    def close(self) -> None:
        """Finish what is under way, and stop."""
        self.state = "stopping"
        self.is_stopping = True
        self._stop.set()
        self._arrived.set()
        for thread in self._threads:
            thread.join()
        if self.datasets is not None:
            self.datasets.close()
        if self.jobs is not None:
            self.jobs.close(self.settings.shutdown_timeout_s)
        if hasattr(self, "queue"):
            self.queue.close()
        self.writer.close()
        self.engine.dispose()

    def key_of(self, token: str) -> ApiKey | None:
        """Return the key of a token; what was looked up is remembered for a few seconds."""
        now = time.monotonic()
        known = self._keys.get(token)
        if known is not None and now - known[0] < _KEY_MEMORY_S:
            return known[1]
        with self.engine.connect() as connection:
            key = key_of_token(connection, token)
        if len(self._keys) > 1000:  # somebody guesses
            self._keys.clear()
        self._keys[token] = (now, key)
        return key

    def label(self, reports: Sequence[Report], label_sets: Sequence[str]) -> Future[list[LabeledReport]]:
        """Have reports labeled; see `LabelQueue.submit`."""
        return self.queue.submit(reports, label_sets)

    def write_down(
        self,
        deed: Deed,
        arrivals: Sequence[Arrival] = (),
        labeled: Sequence[LabeledReport] = (),
        label_sets: Sequence[str] = (),
        contents: Sequence[str] | None = None,
    ) -> Future[None]:
        """Store labeled reports, if there are any, and the deed in the audit trail, in one transaction.

        ``contents`` are the rows' `RowForm.json_content`, where they were made already.
        """
        keep_texts = self.settings.keep_texts_days > 0

        def write(connection: sa.Connection) -> None:
            good = [i for i, row in enumerate(labeled) if row.status is not Status.ERROR]
            if good:
                ids = add_reports(connection, [arrivals[i] for i in good], keep_texts=keep_texts)
                made = [contents[i] for i in good] if contents is not None else None
                add_labels(connection, ids, [labeled[i] for i in good], self.queue.form(label_sets), made)
            record(connection, [deed])

        return self.writer.submit(write)

    def take_in(self, arrivals: Sequence[Arrival], deed: Deed, *, withdrawn: Sequence[Arrival] = ()) -> Future[None]:
        """Store reports to be labeled later, by this process or the next: done once they are on the disk.

        Of those ``withdrawn`` is stored that they were, without text and labels.
        """

        def write(connection: sa.Connection) -> None:
            if arrivals:
                add_reports(connection, arrivals, keep_texts=self.settings.keep_texts_days > 0, is_waiting=True)
            if withdrawn:
                add_reports(connection, withdrawn, keep_texts=False)
            record(connection, [deed])

        future = self.writer.submit(write)
        future.add_done_callback(lambda _: self._arrived.set())
        return future

    def _label_waiting(self) -> None:
        """Label reports that were stored first, such as those of HL7 messages."""
        while not self._stop.is_set():
            try:
                with self.engine.connect() as connection:
                    waiting = waiting_reports(connection, _WAITING_BATCH)
                if not waiting:
                    self._arrived.wait(5.0)
                    self._arrived.clear()
                    continue
                self._label_stored(waiting)
            except Exception as error:
                log.error("reports that wait could not be labeled", exc_info=error)
                self._stop.wait(5.0)

    def _label_stored(self, waiting: Sequence[tuple[int, Report]]) -> None:
        label_sets = self.settings.label_sets
        labeled = self.queue.submit([report for _, report in waiting], label_sets, in_background=True).result()
        ids = [report_id for report_id, _ in waiting]
        self.metrics.on_labeled(labeled, "waiting")

        def write(connection: sa.Connection) -> None:
            add_labels(connection, ids, labeled, self.queue.form(label_sets))
            mark_labeled(connection, ids, keep_texts=self.settings.keep_texts_days > 0)

        self.writer.submit(write).result()

    def _compare_with_rules(self) -> None:
        """Note with stored labels on which of them the rules say something else, for those who review them.

        It takes a few reports at a time, and only while nobody waits for labels: no request is slowed by it.
        """
        settings = self.settings
        if settings.keep_texts_days == 0 or settings.reader is ReaderKind.RULES:
            return
        from nlp_service.labeler import Labeler

        rules: Labeler | None = None
        after, started = 0, time.monotonic()
        while not self._stop.wait(_COMPARE_EVERY_S):
            try:
                while not self._stop.is_set() and self.queue.waiting == 0:
                    with self.engine.connect() as connection:
                        unchecked = unchecked_labels(connection, after, _COMPARE_BATCH)
                    if not unchecked:
                        break
                    rules = rules or Labeler(
                        label_sets=settings.label_sets, vocabulary=settings.vocabulary, reader=ReaderKind.RULES
                    )
                    found = {item.labels_id: told for item in unchecked if (told := rules_say(item, rules)) is not None}
                    self.writer.submit(partial(keep_disagreements, found=found)).result()
                    after = unchecked[-1].labels_id
            except Exception as error:
                log.error("labels could not be held against the rules", exc_info=error)
                self._stop.wait(_COMPARE_EVERY_S)
            if time.monotonic() - started > _HOUSEKEEPING_S:  # ids need not become visible in their order
                after, started = 0, time.monotonic()

    def _keep_house(self) -> None:
        """Drop texts that were kept long enough, and uploads that broke off."""
        from nlp_service.jobs import table

        def work(connection: sa.Connection) -> int:
            for job_id in table.unfinished_uploads(connection, 86_400):
                table.delete_job(connection, job_id)
            return drop_old_texts(connection, self.settings.keep_texts_days)

        while not self._stop.is_set():
            try:
                dropped = self.writer.submit(work).result()
                if dropped:
                    log.info("dropped texts that were kept long enough", extra={"count": dropped})
            except Exception as error:
                log.error("housekeeping failed", exc_info=error)
            self._stop.wait(_HOUSEKEEPING_S)
