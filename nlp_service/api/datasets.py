"""`/v1/datasets`: data sets built in the background from files of the server, and their cards."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from corpora.dataset.card.write import HTML, MARKDOWN
from corpora.dataset.columns import CARD
from corpora.dataset.errors import RecipeInvalid
from corpora.dataset.recipe import Recipe
from corpora.dataset.recipe_file import path_keys, recipe_from
from corpora.errors import LabelSetUnknown, SourceUnreadable
from corpora.imaging.index_table import read_info
from corpora.weak_labels.errors import PolicyInvalid
from nlp_service.api.context import MayRunJobs, Ready, check_label_sets, waited
from nlp_service.api.jobs import confined, invalid
from nlp_service.api.models import CardAnswer, DatasetOut, DatasetRequest, DatasetsAnswer
from nlp_service.api.problems import Problem, responses
from nlp_service.jobs import dataset_table, table
from nlp_service.jobs.dataset_table import DatasetUnknown, StoredDataset
from nlp_service.jobs.table import JobUnknown, State
from nlp_service.service import Service
from nlp_service.store.keys import Deed

T = TypeVar("T")
router = APIRouter(tags=["data sets"])
DatasetId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{32}$", description="as the creation answered")]
_NEEDED = ("duckdb", "PIL", "matplotlib")


@router.post(
    "/v1/datasets",
    status_code=201,
    summary="Build a data set",
    responses=responses(401, 403, 422, 501, 503),
)
async def create_dataset(request: DatasetRequest, response: Response, service: Ready, key_id: MayRunJobs) -> DatasetOut:
    """Build a data set in the background, from reports and images that lie under a job folder of the server.

    In place of reports, or beside them, the results of a job that is done can be the labels. The data set lies in the
    folder `datasets` of the service's data folder; its pseudonyms are made with the key there.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise Problem(501, "not-installed", "This service builds no data sets", "Install radlabel[images].")
    recipe = await run_in_threadpool(_recipe, request, service)
    if request.labels_job is not None:
        await _check_job(service, request.labels_job, recipe.labels.label_set)
    plain = recipe.model_dump(mode="json")
    dataset_id = await waited(
        service.writer.submit(
            lambda connection: dataset_table.add_dataset(
                connection, request.name, plain, labels_job=request.labels_job, key_id=key_id
            )
        ),
        service,
    )
    assert service.datasets is not None
    await run_in_threadpool(service.datasets.start, dataset_id)
    await waited(service.write_down(Deed("data set", "api", 0, key_id)), service)
    response.headers["Location"] = f"/v1/datasets/{dataset_id}"
    return _out(await _dataset(service, dataset_id))


@router.get("/v1/datasets", summary="List data sets", responses=responses(401, 403, 422, 503))
async def list_datasets(
    service: Ready, key_id: MayRunJobs, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> DatasetsAnswer:
    """Return the last data sets, the newest first."""
    found = await _read(service, lambda connection: dataset_table.list_datasets(connection, limit))
    return DatasetsAnswer(datasets=[_out(one) for one in found])


@router.get("/v1/datasets/{dataset_id}", summary="How far a data set is", responses=responses(401, 403, 404, 422, 503))
async def get_dataset(dataset_id: DatasetId, service: Ready, key_id: MayRunJobs) -> DatasetOut:
    """Return a data set with its counts."""
    return _out(await _dataset(service, dataset_id))


@router.get(
    "/v1/datasets/{dataset_id}/card",
    summary="The data card",
    response_class=Response,
    responses={
        200: {
            "description": "The card",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "text/markdown": {"schema": {"type": "string"}},
                "application/json": {"schema": {"$ref": "#/components/schemas/CardAnswer"}},
            },
        },
        **responses(401, 403, 404, 409, 422, 503),
    },
)
async def dataset_card(
    dataset_id: DatasetId,
    service: Ready,
    key_id: MayRunJobs,
    format: Annotated[
        Literal["html", "markdown", "json"], Query(description="json: the Markdown with its plots")
    ] = "html",
) -> Response:
    """Return the card of a data set that is done. It has no identifier and no text of a report."""
    stored = await _dataset(service, dataset_id)
    if stored.state is not State.DONE:
        raise Problem(409, "dataset-not-done", "The data set is not done", f"It is {stored.state.value}.")
    assert service.datasets is not None
    folder = service.datasets.folder(dataset_id)
    await waited(service.write_down(Deed("card", "api", 0, key_id)), service)
    try:
        return await run_in_threadpool(_card, folder, format)
    except OSError:
        raise _unknown() from None  # deleted in the meantime, or built where this process does not see it


@router.post("/v1/datasets/{dataset_id}/cancel", summary="Stop a build", responses=responses(401, 403, 404, 422, 503))
async def cancel_dataset(dataset_id: DatasetId, service: Ready, key_id: MayRunJobs) -> DatasetOut:
    """Stop a build that has not ended; one that has stays as it is."""
    await _dataset(service, dataset_id)
    await waited(
        service.writer.submit(lambda connection: dataset_table.change_dataset(connection, dataset_id, State.CANCELLED)),
        service,
    )
    await waited(service.write_down(Deed("cancel data set", "api", 0, key_id)), service)
    return _out(await _dataset(service, dataset_id))


@router.delete(
    "/v1/datasets/{dataset_id}",
    status_code=204,
    summary="Delete a data set",
    responses=responses(401, 403, 404, 422, 503),
)
async def delete_dataset(dataset_id: DatasetId, service: Ready, key_id: MayRunJobs) -> None:
    """Delete a data set with its folder; a build that is under way is stopped first."""
    deleted = await waited(
        service.writer.submit(lambda connection: dataset_table.delete_dataset(connection, dataset_id)), service
    )
    if not deleted:
        raise _unknown()
    assert service.datasets is not None
    await run_in_threadpool(service.datasets.remove, dataset_id)
    await waited(service.write_down(Deed("delete data set", "api", 0, key_id)), service)


def _recipe(request: DatasetRequest, service: Service) -> Recipe:
    """Return the whole recipe of a request, its paths confined to the job folders; raise a problem for a bad one."""
    settings = service.settings
    if named := path_keys(request.recipe):
        raise invalid(f"recipe.{named[0]}", "names a file: the paths of a request stand beside the recipe")
    if request.reports is None and request.labels_job is None:
        raise invalid("reports", "is missing: give reports, or labels_job")
    changes: dict[str, Any] = {"name": request.name}
    for field in ("images", "reports", "boxes", "masks"):
        given = getattr(request, field)
        if given is not None:
            changes[field] = str(confined(given, settings.job_roots, field))
    _check_index(Path(changes["images"]), settings.job_roots)
    try:
        found = recipe_from(request.recipe, "recipe", changes=changes)
    except RecipeInvalid as error:
        if error.field is None or error.reason is None:
            raise invalid("recipe", "breaks a rule of recipes: docs/datasets.md has them") from None
        where = f"recipe.{error.field.replace(' > ', '.')}" if error.field else "recipe"
        raise invalid(where, error.reason) from None
    given_labels = request.recipe.get("labels") or {}
    own = {
        "label_set": settings.label_sets[0],
        "vocabulary": settings.vocabulary,
        "reader": settings.engine.value,
        "model": settings.model,
    }
    labels = found.labels.model_copy(update={key: own[key] for key in own if key not in given_labels})
    check_label_sets(service, (labels.label_set,))
    try:
        found.policy.check_against(service.vocabulary.label_set(labels.label_set))
    except (PolicyInvalid, LabelSetUnknown):
        raise invalid("recipe.policy", "names a label that is not of the label set") from None
    return found.model_copy(update={"labels": labels})


def _check_index(path: Path, roots: tuple[Path, ...]) -> None:
    """Raise a problem for an image index whose images do not lie under a job folder."""
    if path.suffix.lower() != ".parquet":
        return
    try:
        root = Path(read_info(path).root).resolve()
    except (SourceUnreadable, OSError):
        raise invalid("images", "is no image index") from None
    if not any(root.is_relative_to(one.resolve()) for one in roots):
        raise invalid("images", "is an index of images that are not under a job folder")


async def _check_job(service: Service, job_id: str, label_set: str) -> None:
    try:
        job = await _read(service, lambda connection: table.find_job(connection, job_id))
    except JobUnknown:
        raise invalid("labels_job", "is no job") from None
    if job.state is not State.DONE:
        raise invalid("labels_job", "is a job that is not done")
    if label_set not in job.options["label_sets"]:
        raise invalid("labels_job", "is a job that did not give the labels of this label set")


def _card(folder: Path, format: str) -> Response:
    if format == "html":
        return Response((folder / HTML).read_bytes(), media_type="text/html; charset=utf-8")
    text = (folder / MARKDOWN).read_text("utf-8")
    if format == "markdown":
        return Response(text.encode(), media_type="text/markdown; charset=utf-8")
    files = sorted((folder / CARD).glob("*.png"))
    plots = {path.name: b64encode(path.read_bytes()).decode() for path in files}
    return Response(CardAnswer(markdown=text, plots=plots).model_dump_json().encode(), media_type="application/json")


def _out(stored: StoredDataset) -> DatasetOut:
    return DatasetOut(**stored.as_dict())


def _unknown() -> Problem:
    return Problem(404, "dataset-unknown", "There is no such data set")


async def _read(service: Service, work: Callable[[sa.Connection], T]) -> T:
    def run() -> T:
        with service.engine.connect() as connection:
            return work(connection)

    return await run_in_threadpool(run)


async def _dataset(service: Service, dataset_id: str) -> StoredDataset:
    try:
        return await _read(service, lambda connection: dataset_table.find_dataset(connection, dataset_id))
    except DatasetUnknown:
        raise _unknown() from None
