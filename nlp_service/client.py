"""A client of the service, for programs in Python: typed, blocking or not.

    RadlabelError
    +-- ServiceProblem    the service refused a request, or could not be reached (also RuntimeError)

What is sent and what comes back has the form of the API ([the service](docs/service.md)); an error names fields and has
nothing of a report.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import httpx

from corpora.errors import RadlabelError
from corpora.reports import Report
from nlp_service._version import __version__

ENDED = frozenset({"done", "failed", "cancelled"})
BATCH = 200  # reports a request: a request of 1,000 would make others wait
_TRIES = 8
_LONGEST_WAIT_S = 30.0
_AGAIN = frozenset({429, 503})
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
class _Ask:
    """A request, and how long it may be tried again."""

    method: str
    path: str
    json: object = None
    data: Mapping[str, str] | None = None
    file: tuple[str, IO[bytes]] | None = None

    def arguments(self) -> dict[str, Any]:
        if self.file is None:
            return {"json": self.json} if self.json is not None else {}
        name, stream = self.file
        stream.seek(0)  # it may be sent for the second time
        return {"data": dict(self.data or {}), "files": {"file": (name, stream, "application/octet-stream")}}


class _Requests:
    """What the two clients have in common: which requests there are, and what answers mean."""

    def __init__(self, url: str, key: str | None, timeout_s: float) -> None:
        self._options: dict[str, Any] = {
            "base_url": url.rstrip("/"),
            "timeout": timeout_s,
            "headers": {"User-Agent": f"radlabel/{__version__}", **({"Authorization": f"Bearer {key}"} if key else {})},
        }

    @staticmethod
    def _label(reports: Sequence[Report], label_sets: Sequence[str] | None, store: bool) -> _Ask:
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
        return _Ask("POST", "/v1/label", json=body)

    @staticmethod
    def _upload(
        name: str,
        stream: IO[bytes],
        label_sets: Sequence[str] | None,
        columns: Mapping[str, str] | None,
        format: str | None,
        store: bool,
    ) -> _Ask:
        data = {"store": "true" if store else "false"}
        if label_sets is not None:
            data["label_sets"] = ",".join(label_sets)
        if columns:
            data["columns"] = json.dumps(dict(columns))
        if format:
            data["format"] = format
        return _Ask("POST", "/v1/jobs", data=data, file=(name, stream))

    @staticmethod
    def _search(accession_number: str | None, issuer: str | None, study_instance_uid: str | None) -> _Ask:
        wanted = {
            "accession_number": accession_number,
            "accession_number_issuer": issuer,
            "study_instance_uid": study_instance_uid,
        }
        return _Ask("POST", "/v1/studies/search", json=wanted)

    @staticmethod
    def _image_scores(model: Mapping[str, str], images: Sequence[Mapping[str, Any]]) -> _Ask:
        return _Ask("POST", "/v1/studies/image-scores", json={"model": dict(model), "images": list(images)})


class Client(_Requests):
    """A client that waits for its answers.

    Busy services are asked again, as their ``Retry-After`` says, for some minutes at most.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     rows = client.label([Report("r1", "Small left pleural effusion.")])
    ...     job = client.wait(client.submit_job("reports.csv")["id"])
    ...     client.save_results(job["id"], "labels.csv")
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, key: str | None = None, timeout_s: float = 120.0) -> None:
        super().__init__(url, key, timeout_s)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def label(
        self, reports: Iterable[Report], label_sets: Sequence[str] | None = None, *, store: bool = False
    ) -> Iterator[Row]:
        """Yield a row for each report, in order; any number of reports, a few hundred a request."""
        for batch in _batches(reports):
            yield from self._ask(self._label(batch, label_sets, store))["results"]

    def submit_job(
        self,
        path: str | Path,
        label_sets: Sequence[str] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        store: bool = False,
    ) -> Job:
        """Upload a file and start a job over it."""
        with Path(path).open("rb") as stream:
            return self._object(self._upload(Path(path).name, stream, label_sets, columns, format, store))

    def jobs(self) -> list[Job]:
        """Return the last jobs, the newest first."""
        found: list[Job] = self._ask(_Ask("GET", "/v1/jobs"))["jobs"]
        return found

    def job(self, job_id: str) -> Job:
        """Return a job, and how far it is."""
        return self._object(_Ask("GET", f"/v1/jobs/{job_id}"))

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until a job has ended, and return it; raise `TimeoutError` if it takes longer than ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for pause in _pauses():
            job = self.job(job_id)
            if job["state"] in ENDED:
                return job
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError("the job has not ended in time")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def results(self, job_id: str) -> Iterator[Row]:
        """Yield the rows of a job that is done, as they arrive."""
        with self._stream(f"/v1/jobs/{job_id}/results?format=jsonl") as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def save_results(self, job_id: str, path: str | Path, format: ResultFormat | None = None) -> None:
        """Write the results of a job to a file, in the format that its suffix names."""
        target = Path(path)
        source = f"/v1/jobs/{job_id}/results?format={format or _format_of(target)}"
        with self._stream(source) as answer, target.open("wb") as stream:
            for data in answer.iter_bytes():
                stream.write(data)

    def rejects(self, job_id: str) -> Iterator[Row]:
        """Yield what is told of the rows that got no labels."""
        with self._stream(f"/v1/jobs/{job_id}/rejects") as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return self._object(_Ask("POST", f"/v1/jobs/{job_id}/cancel"))

    def delete(self, job_id: str) -> None:
        """Delete a job with its results."""
        self._answer(_Ask("DELETE", f"/v1/jobs/{job_id}"))

    def search(
        self,
        accession_number: str | None = None,
        *,
        accession_number_issuer: str | None = None,
        study_instance_uid: str | None = None,
    ) -> list[Row]:
        """Return the stored reports of a study with their labels, the newest first."""
        ask = self._search(accession_number, accession_number_issuer, study_instance_uid)
        found: list[Row] = self._ask(ask)["reports"]
        return found

    def add_image_scores(self, model: Mapping[str, str], images: Sequence[Mapping[str, Any]]) -> int:
        """Store what a model (name, version, digest) says of images, and return how many; at most 100 a call.

        An image has an ``image_id``, an ``accession_number`` or ``study_instance_uid``, ``scores`` by label, and may
        have ``overlays`` by name (PNG in Base64).
        """
        return int(self._ask(self._image_scores(model, images))["images"])

    def labels(self) -> Row:
        """Return the label sets with their labels."""
        return self._object(_Ask("GET", "/v1/labels"))

    def vocabulary(self) -> list[Row]:
        """Return the findings that are looked for."""
        found: list[Row] = self._ask(_Ask("GET", "/v1/vocabulary"))["findings"]
        return found

    def model(self) -> Row:
        """Return which model reads, with its card."""
        return self._object(_Ask("GET", "/v1/model"))

    def _object(self, ask: _Ask) -> Row:
        found: Row = self._ask(ask)
        return found

    def _ask(self, ask: _Ask) -> Any:
        return self._answer(ask).json()

    def _answer(self, ask: _Ask) -> httpx.Response:
        for pause in _tries():
            try:
                answer = self._http.request(ask.method, ask.path, **ask.arguments())
            except httpx.HTTPError as error:
                raise _unreachable(error) from None
            if answer.status_code not in _AGAIN or pause is None:
                break
            time.sleep(_asked_pause(answer, pause))
        _check(answer)
        return answer

    @contextmanager
    def _stream(self, path: str) -> Generator[httpx.Response]:
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    _check(answer)
                yield answer
        except httpx.HTTPError as error:
            raise _unreachable(error) from None


class AsyncClient(_Requests):
    """A client for asyncio; its methods are those of `Client`, to be awaited.

    >>> async def label() -> None:  # doctest: +SKIP
    ...     async with AsyncClient("http://127.0.0.1:8000", key="rl_...") as client:
    ...         rows = await client.label([Report("r1", "Small left pleural effusion.")])
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, key: str | None = None, timeout_s: float = 120.0) -> None:
        super().__init__(url, key, timeout_s)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def label(
        self, reports: Iterable[Report], label_sets: Sequence[str] | None = None, *, store: bool = False
    ) -> list[Row]:
        """Return a row for each report, in order."""
        rows: list[Row] = []
        for batch in _batches(reports):
            rows += (await self._ask(self._label(batch, label_sets, store)))["results"]
        return rows

    async def submit_job(
        self,
        path: str | Path,
        label_sets: Sequence[str] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        store: bool = False,
    ) -> Job:
        """Upload a file and start a job over it."""
        source = Path(path)
        with await asyncio.to_thread(source.open, "rb") as stream:
            return await self._object(self._upload(source.name, stream, label_sets, columns, format, store))

    async def jobs(self) -> list[Job]:
        """Return the last jobs, the newest first."""
        found: list[Job] = (await self._ask(_Ask("GET", "/v1/jobs")))["jobs"]
        return found

    async def job(self, job_id: str) -> Job:
        """Return a job, and how far it is."""
        return await self._object(_Ask("GET", f"/v1/jobs/{job_id}"))

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until a job has ended, and return it; raise `TimeoutError` if it takes longer than ``timeout_s``."""
        async with asyncio.timeout(timeout_s):
            for pause in _pauses():
                job = await self.job(job_id)
                if job["state"] in ENDED:
                    return job
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def results(self, job_id: str) -> AsyncIterator[Row]:
        """Yield the rows of a job that is done, as they arrive."""
        try:
            async with self._http.stream("GET", f"/v1/jobs/{job_id}/results?format=jsonl") as answer:
                if answer.is_error:
                    await answer.aread()
                    _check(answer)
                async for line in answer.aiter_lines():
                    yield json.loads(line)
        except httpx.HTTPError as error:
            raise _unreachable(error) from None

    async def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return await self._object(_Ask("POST", f"/v1/jobs/{job_id}/cancel"))

    async def delete(self, job_id: str) -> None:
        """Delete a job with its results."""
        await self._answer(_Ask("DELETE", f"/v1/jobs/{job_id}"))

    async def search(
        self,
        accession_number: str | None = None,
        *,
        accession_number_issuer: str | None = None,
        study_instance_uid: str | None = None,
    ) -> list[Row]:
        """Return the stored reports of a study with their labels, the newest first."""
        ask = self._search(accession_number, accession_number_issuer, study_instance_uid)
        found: list[Row] = (await self._ask(ask))["reports"]
        return found

    async def add_image_scores(self, model: Mapping[str, str], images: Sequence[Mapping[str, Any]]) -> int:
        """Store what a model says of images; see `Client.add_image_scores`."""
        return int((await self._ask(self._image_scores(model, images)))["images"])

    async def labels(self) -> Row:
        """Return the label sets with their labels."""
        return await self._object(_Ask("GET", "/v1/labels"))

    async def model(self) -> Row:
        """Return which model reads, with its card."""
        return await self._object(_Ask("GET", "/v1/model"))

    async def _object(self, ask: _Ask) -> Row:
        found: Row = await self._ask(ask)
        return found

    async def _ask(self, ask: _Ask) -> Any:
        return (await self._answer(ask)).json()

    async def _answer(self, ask: _Ask) -> httpx.Response:
        for pause in _tries():
            try:
                answer = await self._http.request(ask.method, ask.path, **ask.arguments())
            except httpx.HTTPError as error:
                raise _unreachable(error) from None
            if answer.status_code not in _AGAIN or pause is None:
                break
            await asyncio.sleep(_asked_pause(answer, pause))
        _check(answer)
        return answer


def _batches(reports: Iterable[Report]) -> Iterator[list[Report]]:
    batch: list[Report] = []
    for report in reports:
        batch.append(report)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tries() -> Iterator[float | None]:
    """Yield the pause after each try, and ``None`` for the last."""
    for n in range(_TRIES - 1):
        # Many clients that were refused together must not come again together.
        yield min(0.5 * 2**n, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
    yield None


def _asked_pause(answer: httpx.Response, pause: float) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdecimal() else pause, _LONGEST_WAIT_S) * random.uniform(1.0, 1.2)


def _pauses() -> Iterator[float]:
    pause, longest = _POLL_S
    while True:
        yield pause
        pause = min(1.5 * pause, longest)


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("jsonl", "csv", "parquet"):
        raise ValueError(f"{path.name}: the suffix must be .jsonl, .csv or .parquet")
    return suffix


def _check(answer: httpx.Response) -> None:
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


def _unreachable(error: httpx.HTTPError) -> ServiceProblem:
    return ServiceProblem(f"the service cannot be reached ({type(error).__name__})")
