"""What Prometheus may know: how much, how fast, how full; values of labels in total, never of whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from corpora.findings import LabeledReport
from nlp_service.errors import PortTaken
from nlp_service.label_queue import Window

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_REPORTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by route and status", "route", "status")
        self.seconds = Histogram(
            "radlabel_request_seconds", "Time to answer, by route", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.reports = self._counter("reports", "Reports by door and status", "door", "status")
        self.values = self._counter("label_values", "Labels by value", "label_set", "label", "value")
        self.windows = Histogram(
            "radlabel_batch_reports", "Reports read together", buckets=_REPORTS, registry=self.registry
        )
        self.window_callers = Histogram(
            "radlabel_batch_callers", "Requests read together", buckets=_REPORTS, registry=self.registry
        )
        self.reading = self._counter("reading_seconds", "Time spent reading reports")
        self.refused = self._counter("refused", "Requests refused, by reason", "reason")
        self.acknowledgments = self._counter("hl7_acknowledgments", "HL7 messages by their acknowledgment", "code")
        self.rejects = self._counter("rejects", "Rows of jobs that got no labels")

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is looked up when asked for."""
        Gauge(f"radlabel_{name}", text, registry=self.registry).set_function(value)

    def on_window(self, window: Window) -> None:
        """Count reports that were read together."""
        self.windows.observe(window.reports)
        self.window_callers.observe(window.callers)
        self.reading.inc(window.seconds)

    def on_labeled(self, labeled: Iterable[LabeledReport], door: str) -> None:
        """Count reports and the values of their labels."""
        values: dict[tuple[str, str, str], int] = {}
        for report in labeled:
            self.reports.labels(door, report.status.value).inc()
            for label_set, labels in report.labels.items():
                for name, label in labels.items():
                    if label.value is not None:
                        key = (label_set, name, label.value.value)
                        values[key] = values.get(key, 0) + 1
        for key, number in values.items():
            self.values.labels(*key).inc(number)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def serve(self, host: str, port: int) -> None:
        """Answer Prometheus on a port of their own, for a process that answers nothing else; raises `PortTaken`."""
        try:
            start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise PortTaken(f"{host}:{port} cannot be listened on for metrics ({type(error).__name__})") from None

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"radlabel_{name}", text, labels, registry=self.registry)
