"""A process that works on jobs and answers no requests."""

from __future__ import annotations

import logging
import signal
import threading

from corpora.errors import RadlabelError
from nlp_service.process import end_at_last, keep_to_itself
from nlp_service.service import Service
from nlp_service.settings import ServiceSettings

log = logging.getLogger(__name__)


class WorkerUnusable(RadlabelError, RuntimeError):
    """The worker could not start; the message says why."""


def work_on_jobs(settings: ServiceSettings, *, metrics_port: int | None = None) -> None:
    """Work until SIGTERM or Ctrl-C; the chunk under way is finished first. ``metrics_port`` is for Prometheus.

    Raises:
        StoreUnusable: the database cannot be used.
        WorkerUnusable: the model cannot be loaded, or the engine of the jobs not be started.
        PortTaken: the port for the metrics is not free.
    """
    keep_to_itself(settings)
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        log.info("stopping", extra={"signal": signal.Signals(number).name})
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    service = Service(settings)
    service.open_store()
    service.start()
    if service.state != "ok":
        service.close()
        raise WorkerUnusable(service.fault or "the worker could not start")
    if metrics_port is not None:
        service.metrics.serve(settings.host, metrics_port)
    stop.wait()
    end_at_last(settings)
    service.close()
