"""Look-up of what is stored: studies by their identifiers, the audit trail, and how values change by week."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from nlp_service.api.context import MayAdminister, MayRunJobs, Ready, waited
from nlp_service.api.models import DeletedAnswer, StudiesAnswer, StudySearch
from nlp_service.api.problems import responses
from nlp_service.store.images import delete_study, find_image_scores
from nlp_service.store.keys import Deed, audit_trail, record
from nlp_service.store.stored import find_studies, label_rates

router = APIRouter(tags=["store"])
#: Reports, and images, in an answer.
_MOST = 100


@router.post(
    "/v1/studies/search", summary="Find studies", response_model=StudiesAnswer, responses=responses(401, 403, 422, 503)
)
async def search_studies(body: StudySearch, service: Ready, key_id: MayRunJobs) -> dict[str, Any]:
    """Return the stored reports of a study by accession number, with issuer if wanted, or by Study Instance UID.

    Matches are exact. An accession number is not unique, so the answer is a list, the newest report first, each with
    the labels that every version of the model gave. Beside them stands what models of images said of the same study.
    Of more than 100 reports or images the newest 100 are in the answer, and `is_complete` is false.
    """

    def search() -> dict[str, Any]:
        with service.engine.connect() as connection:
            reports = find_studies(connection, **_named(body), limit=_MOST + 1)
            images = find_image_scores(connection, **_named(body), limit=_MOST + 1)
        is_complete = max(len(reports), len(images)) <= _MOST
        return {"reports": reports[:_MOST], "images": images[:_MOST], "is_complete": is_complete}

    found = await run_in_threadpool(search)
    await waited(
        service.write_down(Deed("search", "api", len(found["reports"]) + len(found["images"]), key_id)), service
    )
    return found


@router.post("/v1/studies/delete", summary="Delete what is stored of a study", responses=responses(401, 403, 422, 503))
async def remove_studies(body: StudySearch, service: Ready, key_id: MayAdminister) -> DeletedAnswer:
    """Delete the stored reports that the same search finds, with their labels and reviews. It cannot be undone."""

    def delete(connection: sa.Connection) -> DeletedAnswer:
        reports, images = delete_study(connection, **_named(body))
        record(connection, [Deed("delete study", "api", reports + images, key_id)])
        return DeletedAnswer(reports=reports, images=images)

    return await waited(service.writer.submit(delete), service)


@router.get("/v1/audit", summary="The audit trail", responses=responses(401, 403, 422, 503))
async def read_audit(
    service: Ready,
    key_id: MayAdminister,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="go on behind this entry")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, list[dict[str, Any]]]:
    """Return who (key id) did what, when, and with how many reports; the newest entries first. It holds no text."""

    def read() -> list[dict[str, Any]]:
        with service.engine.connect() as connection:
            return audit_trail(connection, before=before, limit=limit)

    return {"entries": await run_in_threadpool(read)}


@router.get("/v1/drift", summary="Values of labels by week", responses=responses(401, 403, 422, 503))
async def read_drift(
    service: Ready, key_id: MayRunJobs, weeks: Annotated[int, Query(ge=1, le=520)] = 12
) -> dict[str, list[dict[str, Any]]]:
    """Return how often each label had which value, by week and model: a rate that moves tells of new scanners, new
    habits, or a new model.
    """

    def read() -> list[dict[str, Any]]:
        with service.engine.connect() as connection:
            return [dict(row) for row in label_rates(connection, weeks)]

    return {"counts": await run_in_threadpool(read)}


def _named(body: StudySearch) -> dict[str, Any]:
    return {
        "accession_number": body.accession_number,
        "issuer": body.accession_number_issuer,
        "study_instance_uid": body.study_instance_uid,
    }
