"""The application: built from settings, with the order of its layers in one place."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from nlp_service._version import __version__
from nlp_service.api import datasets, dicom, fhir, images, jobs, label, reference, review, studies
from nlp_service.api.guard import Guard
from nlp_service.api.models import CardAnswer, JobPathRequest, ResultsPage
from nlp_service.api.problems import (
    Problem,
    ProblemDetails,
    on_http_exception,
    on_invalid_request,
    on_problem,
    on_store_away,
)
from nlp_service.errors import PortTaken
from nlp_service.hospital.door import open_mllp
from nlp_service.service import Service
from nlp_service.settings import ServiceSettings
from nlp_service.web.routes import router as page

DESCRIPTION = """\
Reads radiology reports on your own machine: findings with evidence, and labels for each study.

For research. **Not a medical device.** Errors are problem details (RFC 9457) that name a field and never quote it.
"""


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the application. Its service starts with it, in the background, and `/readyz` tells when it is ready.

    Raises:
        StoreUnusable: the database cannot be used; that is told at once, not request by request.
    """
    service = Service(settings or ServiceSettings.load())
    service.open_store()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        port = service.settings.mllp_port
        try:
            mllp = await open_mllp(service, port) if port is not None else None
        except PortTaken as error:
            app.state.fault = error
            raise
        starting = threading.Thread(target=service.start, name="radlabel-start", daemon=True)
        starting.start()
        yield
        if mllp is not None:
            await mllp.stop(service.settings.shutdown_timeout_s)
        await run_in_threadpool(starting.join)
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="radlabel",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        # The pages of the framework load scripts from elsewhere; the web page shows the document instead.
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: on_problem,
            RequestValidationError: on_invalid_request,
            HTTPException: on_http_exception,
            **dict.fromkeys((OperationalError, InterfaceError, PoolTimeout), on_store_away),
        },
    )
    app.state.service = service
    app.state.fault = None
    for router in (
        *(
            label.router,
            jobs.router,
            datasets.router,
            studies.router,
            images.router,
            review.router,
            fhir.router,
            dicom.router,
        ),
        *(reference.router, reference.operations),
    ):
        app.include_router(router)
    app.include_router(page)
    app.add_middleware(Guard, service=service)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, object]:
    """Return the OpenAPI document, with the forms that routes name but do not declare."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            license_info=app.license_info,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (ProblemDetails, JobPathRequest, ResultsPage, CardAnswer):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, part in schema.pop("$defs", {}).items():
                schemas.setdefault(name, part)
            schemas[model.__name__] = schema
        # The framework's own forms of errors: none is ever sent.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema


def packaged(name: str) -> Path:
    """Return a folder of this package's files."""
    return Path(__file__).parents[1] / name
