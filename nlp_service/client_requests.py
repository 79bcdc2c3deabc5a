"""What the two clients of the service have in common: the requests there are, and what answers to them mean."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import httpx

from corpora.errors import RadlabelError
from corpora.reports import Report
from nlp_service._version import __version__

ENDED = frozenset({"done", "failed", "cancelled"})
BATCH = 200  # reports a request: a request of 1,000 would make others wait
_TRIES = 8
_LONGEST_WAIT_S = 30.0
AGAIN = frozenset({429, 503})
_POLL_S = (0.1, 2.0)

Row = dict[str, Any]
Job = dict[str, Any]
ResultFormat = Literal["jsonl", "csv", "parquet"]


class ServiceProblem(RadlabelError, RuntimeError):
    """The service refused a request, or could not be reached.

    ``status`` is that of HTTP, 0 if there was no answer; ``kind`` ends the type of the problem (``queue-full``);
    ``fields`` are the fields at fault, each with its reason.
    """

    def __init__(self, title: str, *, status: int = 0, kind: str = "", fields: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.kind = kind
        self.fields = dict(fields or {})
        told = "".join(f"; {name}: {reason}" for name, reason in self.fields.items())
        super().__init__(f"{title}{f' ({status})' if status else ''}{told}")


@dataclass(frozen=True, slots=True, repr=False)
class Ask:
    """A request."""

    method: str
    path: str
    json: object = None
    data: Mapping[str, str] | None = None
    file: tuple[str, IO[bytes]] | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what httpx is called with, beside method and path."""
        if self.file is None:
            return {"json": self.json} if self.json is not None else {}
        name, stream = self.file
        stream.seek(0)  # it may be sent for the second time
        return {"data": dict(self.data or {}), "files": {"file": (name, stream, "application/octet-stream")}}


class Requests:
    """What the two clients have in common: which requests there are, and what answers mean."""

    def __init__(self, url: str, key: str | None, timeout_s: float) -> None:
        self._options: dict[str, Any] = {
            "base_url": url.rstrip("/"),
            "timeout": timeout_s,
            "headers": {"User-Agent": f"radlabel/{__version__}", **({"Authorization": f"Bearer {key}"} if key else {})},
        }

    @staticmethod
    def _label(reports: Sequence[Report], label_sets: Sequence[str] | None, store: bool) -> Ask:
        items = [
            {
                "report_id": report.report_id,
                "text": report.text,
                "accession_number": report.accession_number,
                "accession_number_issuer": report.accession_number_issuer,
                "study_instance_uid": report.study_instance_uid,
                "patient_id": report.patient_id,
                "study_date": report.study_date.isoformat() if report.study_date else None,
                "modality": report.modality,
            }
            for report in reports
        ]
        body: dict[str, object] = {"reports": items, "store": store}
        if label_sets is not None:
            body["label_sets"] = list(label_sets)
        return Ask("POST", "/v1/label", json=body)

    @staticmethod
    def _upload(
        name: str,
        stream: IO[bytes],
        label_sets: Sequence[str] | None,
        columns: Mapping[str, str] | None,
        format: str | None,
        store: bool,
    ) -> Ask:
        data = {"store": "true" if store else "false"}
        if label_sets is not None:
            data["label_sets"] = ",".join(label_sets)
        if columns:
            data["columns"] = json.dumps(dict(columns))
        if format:
            data["format"] = format
        return Ask("POST", "/v1/jobs", data=data, file=(name, stream))

    @staticmethod
    def _search(accession_number: str | None, issuer: str | None, study_instance_uid: str | None) -> Ask:
        wanted = {
            "accession_number": accession_number,
            "accession_number_issuer": issuer,
            "study_instance_uid": study_instance_uid,
        }
        return Ask("POST", "/v1/studies/search", json=wanted)

    @staticmethod
    def _image_scores(model: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> Ask:
        return Ask("POST", "/v1/studies/image-scores", json={"model": dict(model), "images": list(images)})

    @staticmethod
    def _path(
        path: str,
        label_sets: Sequence[str] | None,
        columns: Mapping[str, str] | None,
        format: str | None,
        store: bool,
    ) -> Ask:
        body: dict[str, object] = {"path": path, "store": store}
        if label_sets is not None:
            body["label_sets"] = list(label_sets)
        if columns:
            body["columns"] = dict(columns)
        if format:
            body["format"] = format
        return Ask("POST", "/v1/jobs", json=body)


class _Lines:
    r"""Cuts bytes that arrive in pieces into lines, at ``\n`` alone: other line ends may stand within a JSON string."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in ``data``."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._rest, whole[0]))
            self._rest = []
        self._rest.append(rest)
        return whole

    def end(self) -> list[bytes]:
        """Return the last line, where it does not end in a line end."""
        rest = b"".join(self._rest)
        return [rest] if rest else []


def rows(pieces: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of JSON Lines that arrive in pieces."""
    lines = _Lines()
    for data in pieces:
        yield from map(json.loads, lines.feed(data))
    yield from map(json.loads, lines.end())


async def rows_async(pieces: AsyncIterator[bytes]) -> AsyncIterator[Row]:
    """Yield the rows of JSON Lines that arrive in pieces."""
    lines = _Lines()
    async for data in pieces:
        for line in lines.feed(data):
            yield json.loads(line)
    for line in lines.end():
        yield json.loads(line)


def batches(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """Yield reports by `BATCH`."""
    batch: list[Report] = []
    for report in reports:
        batch.append(report)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def tries() -> Iterator[float | None]:
    """Yield the pause after each try, and ``None`` for the last."""
    for n in range(_TRIES - 1):
        # Many clients that were refused together must not come again together.
        yield min(0.5 * 2**n, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
    yield None


def asked_pause(answer: httpx.Response, pause: float) -> float:
    """Return how long the answer asks to wait, or about ``pause``, in seconds."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdecimal() else pause, _LONGEST_WAIT_S) * random.uniform(1.0, 1.2)


def pauses() -> Iterator[float]:
    """Yield the pauses between looks at a job, in seconds."""
    pause, longest = _POLL_S
    while True:
        yield pause
        pause = min(1.5 * pause, longest)


def format_of(path: Path) -> str:
    """Return the format that the suffix of a file names; raise `ValueError` where it names none."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("jsonl", "csv", "parquet"):
        raise ValueError(f"{path.name}: the suffix must be .jsonl, .csv or .parquet")
    return suffix


def check(answer: httpx.Response) -> None:
    """Raise the `ServiceProblem` of an answer that is one."""
    if not answer.is_error:
        return
    try:
        problem = answer.json()
        fields = {str(error["field"]): str(error["reason"]) for error in problem.get("errors") or ()}
        title = str(problem["title"]) + (f": {problem['detail']}" if problem.get("detail") else "")
        kind = str(problem["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError, AttributeError):
        # Something else answered: a proxy, another service. What it says is not repeated.
        raise ServiceProblem("the answer is none of radlabel's", status=answer.status_code) from None
    raise ServiceProblem(title, status=answer.status_code, kind=kind, fields=fields)


def unreachable(error: httpx.HTTPError) -> ServiceProblem:
    """Return the problem of a service that does not answer."""
    return ServiceProblem(f"the service cannot be reached ({type(error).__name__})")
