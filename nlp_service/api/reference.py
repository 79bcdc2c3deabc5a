"""What the service knows and is: labels, findings, model, and whether it is ready."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from models.text.encoder.folder import shipped_model
from nlp_service._version import __version__
from nlp_service.api.context import MayLabel, Ready
from nlp_service.api.models import (
    Health,
    LabelDefinition,
    LabelSetOut,
    LabelSetsAnswer,
    ModelAnswer,
    ModelInfoOut,
)
from nlp_service.api.problems import responses
from nlp_service.metrics import CONTENT_TYPE
from nlp_service.readers import ReaderKind
from nlp_service.service import Service

router = APIRouter(tags=["reference"])
operations = APIRouter(tags=["operations"])


@router.get("/v1/labels", summary="Label sets", responses=responses(401, 403, 503))
async def list_labels(service: Ready, key_id: MayLabel) -> LabelSetsAnswer:
    """Return every label set with its labels and what they mean."""
    sets = [
        LabelSetOut(
            id=label_set.id,
            name=label_set.name,
            description=label_set.source,
            labels=[
                LabelDefinition(
                    name=entry.name,
                    concepts=list(entry.concepts),
                    rule=entry.rule.value if entry.rule else None,
                    description=entry.definition,
                )
                for entry in label_set.labels
            ],
        )
        for label_set in service.vocabulary.label_sets.values()
    ]
    return LabelSetsAnswer(default=list(service.settings.label_sets), label_sets=sets)


@router.get("/v1/vocabulary", summary="The vocabulary of findings", responses=responses(401, 403, 422, 503))
async def list_vocabulary(
    service: Ready,
    key_id: MayLabel,
    q: Annotated[str | None, Query(max_length=100, description="part of a name or a synonym")] = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return the findings that are looked for: names, synonyms, what each is a kind of, and where it lies."""
    wanted = (q or "").casefold().strip()
    findings = [
        {
            "id": entry.id,
            "name": entry.name,
            "kind": entry.kind.value,
            "cui": entry.cui,
            "parents": list(entry.parents),
            "anatomy": entry.anatomy,
            "definition": entry.definition,
            "synonyms": list(entry.synonyms),
        }
        for entry in service.vocabulary.findings.values()
        if not wanted or any(wanted in name.casefold() for name in (entry.name, *entry.synonyms))
    ]
    return {"findings": findings}


@router.get("/v1/model", summary="The model", responses=responses(401, 403, 503))
async def show_model(service: Ready, key_id: MayLabel) -> ModelAnswer:
    """Return which model reads the reports, with its card."""
    model = service.queue.model
    card = None
    if service.settings.reader is ReaderKind.ENCODER:
        path = (service.settings.model or shipped_model()) / "README.md"
        card = await run_in_threadpool(path.read_text, "utf-8") if path.is_file() else None
    return ModelAnswer(
        model=ModelInfoOut(name=model.name, version=model.version, digest=model.digest),
        reader=service.settings.reader.value,
        radlabel=__version__,
        card=card,
    )


@operations.get("/healthz", summary="Whether the process runs")
async def healthz() -> Health:
    """Answer as long as the process does."""
    return Health(status="ok")


@operations.get(
    "/readyz",
    summary="Whether requests are answered",
    responses={503: {"model": Health, "description": "Starting, stopping, or not able to start"}},
)
async def readyz(request: Request) -> Response:
    """Answer 200 once the model is loaded and has passed its conformance test, and while the database answers."""
    service: Service = request.app.state.service
    checks = {"model": "ok" if service.state == "ok" else service.fault or service.state}
    status = service.state
    try:
        await run_in_threadpool(_ask_database, service)
        checks["database"] = "ok"
    except Exception as error:
        checks["database"] = type(error).__name__
        status = "unready"
    health = Health(status=status, checks=checks)  # type: ignore[arg-type]
    return JSONResponse(health.model_dump(), 200 if status == "ok" else 503)


@operations.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counts and times in the text format of Prometheus."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _ask_database(service: Service) -> None:
    with service.engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
