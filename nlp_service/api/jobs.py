"""`/v1/jobs`: files of any length, labeled in the background, and their results."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from corpora.sources import SOURCES
from nlp_service.api.context import MayRunJobs, Ready, check_label_sets, waited
from nlp_service.api.models import JobOut, JobPathRequest, JobsAnswer, ResultsPage
from nlp_service.api.problems import FieldProblem, Problem, responses
from nlp_service.api.unpacked import check_unpacked
from nlp_service.jobs import table
from nlp_service.jobs.results import MEDIA_TYPES, write_results
from nlp_service.jobs.table import Job, JobUnknown, State
from nlp_service.labeler import ModelInfo
from nlp_service.rows import RowForm
from nlp_service.service import Service
from nlp_service.store.keys import Deed

T = TypeVar("T")
router = APIRouter(tags=["jobs"])
JobId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{32}$", description="as the job's creation answered")]
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}\Z")
_FIELDS = ("file", "label_sets", "format", "columns", "encoding", "store")
_EVENTS_S = 0.5
_KEEP_ALIVE_S = 15.0  # proxies close a connection that says nothing for a minute, some earlier

_EVENT = {
    "type": "object",
    "properties": {
        "event": {"const": "job"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "the job, as GET answers"},
    },
    "required": ["event", "data"],
}
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "CSV, JSON Lines, Parquet, ..."},
                        "label_sets": {"type": "string", "description": "ids with commas between"},
                        "format": {"type": "string", "enum": sorted(SOURCES)},
                        "columns": {"type": "string", "description": 'JSON, such as {"text": "REPORT_BODY"}'},
                        "encoding": {"type": "string"},
                        "store": {
                            "type": "string",
                            "enum": ["true", "false"],
                            "description": "keep the labels for look-up by study",
                        },
                    },
                },
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/JobPathRequest"}},
        },
    }
}


@router.post(
    "/v1/jobs",
    status_code=201,
    summary="Start a job",
    response_model=JobOut,
    responses=responses(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=_UPLOAD,
)
async def create_job(request: Request, response: Response, service: Ready, key_id: MayRunJobs) -> dict[str, Any]:
    """Label a file in the background: one that is uploaded, or one that lies under a job folder of the server."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        job_id = await _from_upload(request, service, key_id)
    elif kind == "application/json":
        job_id = await _from_path(request, service, key_id)
    else:
        raise Problem(
            415,
            "unsupported-media-type",
            "This kind of body is not read",
            "Send multipart/form-data, or application/json.",
        )
    assert service.jobs is not None
    await run_in_threadpool(service.jobs.start, job_id)
    await waited(service.write_down(Deed("job", "api", 0, key_id)), service)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return (await _read(service, lambda connection: table.find_job(connection, job_id))).as_dict()


@router.get("/v1/jobs", summary="List jobs", responses=responses(401, 403, 422, 503))
async def list_jobs(service: Ready, key_id: MayRunJobs, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> JobsAnswer:
    """Return the last jobs, the newest first."""
    jobs = await _read(service, lambda connection: table.list_jobs(connection, limit))
    return JobsAnswer(jobs=[JobOut(**job.as_dict()) for job in jobs])


@router.get("/v1/jobs/{job_id}", summary="How far a job is", responses=responses(401, 403, 404, 422, 503))
async def get_job(job_id: JobId, service: Ready, key_id: MayRunJobs) -> JobOut:
    """Return a job with its counts."""
    return JobOut(**(await _job(service, job_id)).as_dict())


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": _EVENT}}, "description": "Server-sent events"},
        **responses(401, 403, 404, 422, 503),
    },
)
async def follow_job(job_id: JobId, service: Ready, key_id: MayRunJobs) -> StreamingResponse:
    """Send the job as a server-sent event whenever it changes, until it ends or the service stops.

    A comment comes every 15 seconds while nothing changes.
    """
    await _job(service, job_id)

    async def events() -> AsyncIterator[str]:
        sent, sent_at = None, time.monotonic()
        while not service.is_stopping:
            try:
                job = await _job(service, job_id)
            except Problem:
                return  # deleted in the meantime
            shown = job.as_dict()
            if shown != sent:
                sent, sent_at = shown, time.monotonic()
                yield f"event: job\ndata: {json.dumps(shown)}\n\n"
            elif time.monotonic() - sent_at >= _KEEP_ALIVE_S:
                sent_at = time.monotonic()
                yield ": nothing new\n\n"
            if job.state in table.ENDED:
                return
            await asyncio.sleep(_EVENTS_S)

    return StreamingResponse(events(), media_type="text/event-stream")


@router.get(
    "/v1/jobs/{job_id}/results",
    summary="The results of a job",
    response_class=Response,
    responses={
        200: {
            "description": "The file; with offset or limit, a page of rows",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ResultsPage"}},
                **{kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
            },
        },
        **responses(401, 403, 404, 409, 422, 503),
    },
)
async def job_results(
    job_id: JobId,
    service: Ready,
    key_id: MayRunJobs,
    format: Annotated[Literal["jsonl", "csv", "parquet"], Query(description="of the file")] = "jsonl",
    offset: Annotated[int | None, Query(ge=0, le=2**53, description="first row of a page")] = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="rows of a page, by default 100")] = None,
) -> Response:
    """Return the rows of a job that is done: as a file, or some of them as JSON."""
    job = await _job(service, job_id)
    if job.state is not State.DONE:
        raise Problem(409, "job-not-done", "The job is not done", f"It is {job.state.value}.")
    await waited(service.write_down(Deed("results", "api", job.counts.read, key_id)), service)
    if offset is not None or limit is not None:
        first, number = offset or 0, limit or 100
        rows = await _read(service, lambda connection: table.page_of(connection, job_id, first, number))
        is_more = first + len(rows) < job.counts.read - job.counts.rejected
        page = {"results": rows, "next_offset": first + len(rows) if is_more and rows else None}
        return Response(json.dumps(page, ensure_ascii=False).encode(), media_type="application/json")
    form = _form_of(service, job)

    def write(stream: IO[bytes]) -> None:
        with service.engine.connect() as connection:
            write_results(table.iter_outputs(connection, job_id), form, format, stream)

    return await _as_file(write, MEDIA_TYPES[format], f"{_stem(job)}-labels.{format}")


@router.get(
    "/v1/jobs/{job_id}/rejects",
    summary="The rows of a job that got no labels",
    response_class=Response,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "description": "JSON Lines"},
        **responses(401, 403, 404, 409, 422, 503),
    },
)
async def job_rejects(job_id: JobId, service: Ready, key_id: MayRunJobs) -> Response:
    """Return the reject file of a job that is done: source, row, report id, field and reason, one row a line."""
    job = await _job(service, job_id)
    if job.state is not State.DONE:
        raise Problem(409, "job-not-done", "The job is not done", f"It is {job.state.value}.")
    await waited(service.write_down(Deed("rejects", "api", job.counts.rejected, key_id)), service)

    def write(stream: IO[bytes]) -> None:
        with service.engine.connect() as connection:
            stream.writelines(table.iter_rejects(connection, job_id))

    return await _as_file(write, MEDIA_TYPES["jsonl"], f"{_stem(job)}-rejects.jsonl")


@router.post("/v1/jobs/{job_id}/cancel", summary="Stop a job", responses=responses(401, 403, 404, 422, 503))
async def cancel_job(job_id: JobId, service: Ready, key_id: MayRunJobs) -> JobOut:
    """Stop a job that has not ended; one that has stays as it is."""
    await _job(service, job_id)
    assert service.jobs is not None
    await run_in_threadpool(service.jobs.cancel, job_id)
    await waited(service.write_down(Deed("cancel job", "api", 0, key_id)), service)
    return JobOut(**(await _job(service, job_id)).as_dict())


@router.delete(
    "/v1/jobs/{job_id}", status_code=204, summary="Delete a job", responses=responses(401, 403, 404, 422, 503)
)
async def delete_job(job_id: JobId, service: Ready, key_id: MayRunJobs) -> None:
    """Delete a job and its results; one that is under way is stopped first."""
    assert service.jobs is not None
    if not await run_in_threadpool(service.jobs.delete, job_id):
        raise _unknown()
    await waited(service.write_down(Deed("delete job", "api", 0, key_id)), service)


async def _from_path(request: Request, service: Service, key_id: str | None) -> str:
    try:
        body = JobPathRequest.model_validate(json.loads(await request.body()))
    except ValidationError as error:
        raise RequestValidationError(
            [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_input=False, include_url=False)]
        ) from None
    except ValueError:
        raise Problem(
            422,
            "invalid-request",
            "The request is not valid",
            errors=[FieldProblem(field="body", reason="is not valid JSON")],
        ) from None
    path = confined(body.path, service.settings.job_roots)
    options = _options(service, body.label_sets, body.format, body.columns, None, body.store)
    return await waited(
        service.writer.submit(
            lambda connection: table.add_job(connection, path.name, options, key_id=key_id, path=str(path))
        ),
        service,
    )


def confined(given: str, roots: tuple[Path, ...], field: str = "path") -> Path:
    """Return the file a request names, if it lies under a job folder, links followed; say nothing of any other."""
    refused = Problem(
        422,
        "path-not-served",
        "This path is not served",
        "It must be a file or folder under one of the folders in job_roots.",
        errors=[FieldProblem(field=field, reason="is not under a job folder, or is not there")],
    )
    for root in roots:
        try:
            base = root.resolve(strict=True)
            path = (base / given).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue  # not there, or a folder that is not to be had: the next may have it
        if path.is_relative_to(base):
            return path
    raise refused


async def _from_upload(request: Request, service: Service, key_id: str | None) -> str:
    try:
        form = await request.form(max_files=1, max_fields=16, max_part_size=64 * 1024)
    except HTTPException:
        raise Problem(400, "malformed-form", "The form is malformed", "Send one file and a few short fields.") from None
    try:
        unknown = [name for name in form if name not in _FIELDS]
        file = form.get("file")
        errors = (
            [FieldProblem(field="(a field that is not known)", reason="is not a field of this form")] if unknown else []
        )
        if not isinstance(file, UploadFile):
            errors.append(FieldProblem(field="file", reason="must be a file"))
        texts = {name: value for name, value in form.items() if name != "file"}
        errors += [FieldProblem(field=n, reason="must be text") for n, v in texts.items() if not isinstance(v, str)]
        if errors:
            raise Problem(422, "invalid-request", "The request is not valid", errors=errors)
        options = _form_options(service, cast(dict[str, str], texts))
        assert isinstance(file, UploadFile)
        name = Path((file.filename or "upload").replace("\\", "/")).name[:200].replace("\x00", "") or "upload"
        suffix = _SUFFIX.search(name)
        options["suffix"] = suffix.group().lower() if suffix else ""
        job_id = await waited(
            service.writer.submit(lambda connection: table.add_job(connection, name, options, key_id=key_id)), service
        )
        try:
            await _keep_upload(file, job_id, service)
        except BaseException:
            service.writer.submit(lambda connection: table.delete_job(connection, job_id))
            raise
        return job_id
    finally:
        await form.close()


async def _keep_upload(file: UploadFile, job_id: str, service: Service) -> None:
    """Put an upload into the store, part by part, and refuse one that unpacks to more than the limit."""
    await run_in_threadpool(check_unpacked, file.file, service.settings.max_unpacked_bytes)
    number = 0
    while data := await file.read(table.PART_BYTES):

        def write(connection: sa.Connection, data: bytes = data, number: int = number) -> None:
            table.add_upload_part(connection, job_id, number, data)

        await waited(service.writer.submit(write), service)
        number += 1
    if not number:
        raise Problem(
            422, "invalid-request", "The request is not valid", errors=[FieldProblem(field="file", reason="is empty")]
        )


def _form_options(service: Service, texts: dict[str, str]) -> dict[str, Any]:
    label_sets = [part.strip() for part in texts.get("label_sets", "").split(",") if part.strip()] or None
    columns: dict[str, str] | None = None
    if texts.get("columns"):
        try:
            columns = TypeAdapter(dict[str, str]).validate_json(texts["columns"], strict=True)
        except ValidationError:
            raise invalid("columns", "must be a JSON object of texts") from None
    store = texts.get("store", "false")
    if store not in ("true", "false"):
        raise invalid("store", "must be true or false")
    return _options(
        service,
        label_sets,
        texts.get("format") or None,
        columns,
        texts.get("encoding") or None,
        store == "true",
    )


def _options(
    service: Service,
    label_sets: list[str] | None,
    format: str | None,
    columns: dict[str, str] | None,
    encoding: str | None,
    store: bool,
) -> dict[str, Any]:
    from corpora.errors import ColumnMissing
    from corpora.sources.columns import check_mapping

    chosen = list(dict.fromkeys(label_sets or service.settings.label_sets))
    check_label_sets(service, chosen)
    if format is not None and format not in SOURCES:
        raise invalid("format", f"must be one of {', '.join(SOURCES)}")
    if encoding is not None:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise invalid("encoding", "is not an encoding that is known") from None
    try:
        check_mapping(columns)
    except ColumnMissing:
        raise invalid("columns", "names a field that reports do not have") from None
    return {"label_sets": chosen, "format": format, "columns": columns, "encoding": encoding, "store": store}


def invalid(field: str, reason: str) -> Problem:
    return Problem(
        422, "invalid-request", "The request is not valid", errors=[FieldProblem(field=field, reason=reason)]
    )


def _unknown() -> Problem:
    return Problem(404, "job-unknown", "There is no such job")


async def _read(service: Service, work: Callable[[sa.Connection], T]) -> T:
    def run() -> T:
        with service.engine.connect() as connection:
            return work(connection)

    return await run_in_threadpool(run)


async def _job(service: Service, job_id: str) -> Job:
    try:
        return await _read(service, lambda connection: table.find_job(connection, job_id))
    except JobUnknown:
        raise _unknown() from None


def _form_of(service: Service, job: Job) -> RowForm:
    model = job.model or {"name": "", "version": "", "digest": ""}
    return RowForm(service.queue.form(job.options["label_sets"]).label_sets, ModelInfo(**model))


def _stem(job: Job) -> str:
    """Return what downloads of a job begin with, as the web page names them too."""
    return _SUFFIX.sub("", job.name) or "job"


async def _as_file(write: Callable[[IO[bytes]], None], media_type: str, name: str) -> Response:
    """Answer with what ``write`` writes, made whole before the first byte goes out: a fault is still an error then."""
    file = tempfile.SpooledTemporaryFile(max_size=8 * 2**20)  # noqa: SIM115 (closed when it was sent)
    try:
        await run_in_threadpool(write, cast(IO[bytes], file))
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(256 * 1024):
                yield piece

    # RFC 6266: a name may hold anything, and a header may not.
    disposition = f"attachment; filename*=utf-8''{quote(name, safe='', errors='replace')}"
    headers = {"Content-Disposition": disposition, "Content-Length": str(size)}
    return StreamingResponse(pieces(), media_type=media_type, headers=headers)


__all__ = ["ResultsPage", "router"]
