"""A client of the service, for programs in Python: typed, blocking or not.

    RadlabelError
    +-- ServiceProblem    the service refused a request, or could not be reached (also RuntimeError)

What is sent and what comes back has the form of the API ([the service](docs/service.md)); an error names fields and has
nothing of a report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from corpora.reports import Report
from nlp_service.client_requests import (
    AGAIN,
    BATCH,
    ENDED,
    Ask,
    Job,
    Requests,
    ResultFormat,
    Row,
    ServiceProblem,
    asked_pause,
    batches,
    check,
    format_of,
    pauses,
    rows,
    rows_async,
    tries,
    unreachable,
)
from nlp_service.part_folder import written_whole

__all__ = ["BATCH", "ENDED", "AsyncClient", "Client", "Job", "ResultFormat", "Row", "ServiceProblem"]


class Client(Requests):
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
        for batch in batches(reports):
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

    def submit_path(
        self,
        path: str,
        label_sets: Sequence[str] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        store: bool = False,
    ) -> Job:
        """Start a job over a file or folder that lies on the server, under one of its job folders."""
        return self._object(self._path(path, label_sets, columns, format, store))

    def jobs(self) -> list[Job]:
        """Return the last jobs, the newest first."""
        found: list[Job] = self._ask(Ask("GET", "/v1/jobs"))["jobs"]
        return found

    def job(self, job_id: str) -> Job:
        """Return a job, and how far it is."""
        return self._object(Ask("GET", f"/v1/jobs/{job_id}"))

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until a job has ended, and return it; raise `TimeoutError` if it takes longer than ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for pause in pauses():
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
            yield from rows(answer.iter_bytes())

    def save_results(self, job_id: str, path: str | Path, format: ResultFormat | None = None) -> None:
        """Write the results of a job to a file, in the format that its suffix names."""
        target = Path(path)
        source = f"/v1/jobs/{job_id}/results?format={format or format_of(target)}"
        with self._stream(source) as answer, written_whole(target) as stream:
            for data in answer.iter_bytes():
                stream.write(data)

    def rejects(self, job_id: str) -> Iterator[Row]:
        """Yield what is told of the rows that got no labels."""
        with self._stream(f"/v1/jobs/{job_id}/rejects") as answer:
            yield from rows(answer.iter_bytes())

    def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return self._object(Ask("POST", f"/v1/jobs/{job_id}/cancel"))

    def delete(self, job_id: str) -> None:
        """Delete a job with its results."""
        self._answer(Ask("DELETE", f"/v1/jobs/{job_id}"))

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

    def image_scores(
        self,
        accession_number: str | None = None,
        *,
        accession_number_issuer: str | None = None,
        study_instance_uid: str | None = None,
    ) -> list[Row]:
        """Return what models said of the images of a study, the newest first."""
        ask = self._search(accession_number, accession_number_issuer, study_instance_uid)
        found: list[Row] = self._ask(ask)["images"]
        return found

    def add_image_scores(self, model: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> int:
        """Store what a model says of images, and return how many; at most 100 a call.

        A model has ``name``, ``version``, ``digest``, and may have ``label_set`` and ``thresholds`` by label.
        An image has an ``image_id``, an ``accession_number`` or ``study_instance_uid``, ``scores`` by label, and may
        have ``overlays`` by name (PNG in Base64).
        """
        return int(self._ask(self._image_scores(model, images))["images"])

    def labels(self) -> Row:
        """Return the label sets with their labels."""
        return self._object(Ask("GET", "/v1/labels"))

    def vocabulary(self) -> list[Row]:
        """Return the findings that are looked for."""
        found: list[Row] = self._ask(Ask("GET", "/v1/vocabulary"))["findings"]
        return found

    def model(self) -> Row:
        """Return which model reads, with its card."""
        return self._object(Ask("GET", "/v1/model"))

    def _object(self, ask: Ask) -> Row:
        found: Row = self._ask(ask)
        return found

    def _ask(self, ask: Ask) -> Any:
        return self._answer(ask).json()

    def _answer(self, ask: Ask) -> httpx.Response:
        for pause in tries():
            try:
                answer = self._http.request(ask.method, ask.path, **ask.arguments())
            except httpx.HTTPError as error:
                raise unreachable(error) from None
            if answer.status_code not in AGAIN or pause is None:
                break
            time.sleep(asked_pause(answer, pause))
        check(answer)
        return answer

    @contextmanager
    def _stream(self, path: str) -> Generator[httpx.Response]:
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    check(answer)
                yield answer
        except httpx.HTTPError as error:
            raise unreachable(error) from None


class AsyncClient(Requests):
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
        answered: list[Row] = []
        for batch in batches(reports):
            answered += (await self._ask(self._label(batch, label_sets, store)))["results"]
        return answered

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

    async def submit_path(
        self,
        path: str,
        label_sets: Sequence[str] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        store: bool = False,
    ) -> Job:
        """Start a job over a file or folder that lies on the server, under one of its job folders."""
        return await self._object(self._path(path, label_sets, columns, format, store))

    async def jobs(self) -> list[Job]:
        """Return the last jobs, the newest first."""
        found: list[Job] = (await self._ask(Ask("GET", "/v1/jobs")))["jobs"]
        return found

    async def job(self, job_id: str) -> Job:
        """Return a job, and how far it is."""
        return await self._object(Ask("GET", f"/v1/jobs/{job_id}"))

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until a job has ended, and return it; raise `TimeoutError` if it takes longer than ``timeout_s``."""
        async with asyncio.timeout(timeout_s):
            for pause in pauses():
                job = await self.job(job_id)
                if job["state"] in ENDED:
                    return job
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def results(self, job_id: str) -> AsyncIterator[Row]:
        """Yield the rows of a job that is done, as they arrive."""
        async with self._stream(f"/v1/jobs/{job_id}/results?format=jsonl") as answer:
            async for row in rows_async(answer.aiter_bytes()):
                yield row

    async def save_results(self, job_id: str, path: str | Path, format: ResultFormat | None = None) -> None:
        """Write the results of a job to a file, in the format that its suffix names."""
        target = Path(path)
        source = f"/v1/jobs/{job_id}/results?format={format or format_of(target)}"
        async with self._stream(source) as answer:
            with written_whole(target) as stream:
                async for data in answer.aiter_bytes():
                    await asyncio.to_thread(stream.write, data)

    async def rejects(self, job_id: str) -> AsyncIterator[Row]:
        """Yield what is told of the rows that got no labels."""
        async with self._stream(f"/v1/jobs/{job_id}/rejects") as answer:
            async for row in rows_async(answer.aiter_bytes()):
                yield row

    async def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return await self._object(Ask("POST", f"/v1/jobs/{job_id}/cancel"))

    async def delete(self, job_id: str) -> None:
        """Delete a job with its results."""
        await self._answer(Ask("DELETE", f"/v1/jobs/{job_id}"))

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

    async def image_scores(
        self,
        accession_number: str | None = None,
        *,
        accession_number_issuer: str | None = None,
        study_instance_uid: str | None = None,
    ) -> list[Row]:
        """Return what models said of the images of a study, the newest first."""
        ask = self._search(accession_number, accession_number_issuer, study_instance_uid)
        found: list[Row] = (await self._ask(ask))["images"]
        return found

    async def add_image_scores(self, model: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> int:
        """Store what a model says of images; see `Client.add_image_scores`."""
        return int((await self._ask(self._image_scores(model, images)))["images"])

    async def labels(self) -> Row:
        """Return the label sets with their labels."""
        return await self._object(Ask("GET", "/v1/labels"))

    async def vocabulary(self) -> list[Row]:
        """Return the findings that are looked for."""
        found: list[Row] = (await self._ask(Ask("GET", "/v1/vocabulary")))["findings"]
        return found

    async def model(self) -> Row:
        """Return which model reads, with its card."""
        return await self._object(Ask("GET", "/v1/model"))

    async def _object(self, ask: Ask) -> Row:
        found: Row = await self._ask(ask)
        return found

    async def _ask(self, ask: Ask) -> Any:
        return (await self._answer(ask)).json()

    async def _answer(self, ask: Ask) -> httpx.Response:
        for pause in tries():
            try:
                answer = await self._http.request(ask.method, ask.path, **ask.arguments())
            except httpx.HTTPError as error:
                raise unreachable(error) from None
            if answer.status_code not in AGAIN or pause is None:
                break
            await asyncio.sleep(asked_pause(answer, pause))
        check(answer)
        return answer

    @asynccontextmanager
    async def _stream(self, path: str) -> AsyncGenerator[httpx.Response]:
        try:
            async with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    await answer.aread()
                    check(answer)
                yield answer
        except httpx.HTTPError as error:
            raise unreachable(error) from None
