"""What models of images say: stored beside the reports of the same studies, with pictures drawn over the images."""

from __future__ import annotations

import base64
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from nlp_service.api.context import MayRunJobs, Ready, waited
from nlp_service.api.models import LabelSetId, Name, RequestModel
from nlp_service.api.problems import FieldProblem, Problem, responses
from nlp_service.png import PngInvalid, bare_png
from nlp_service.store.images import ImageScores, add_image_scores, overlay_png
from nlp_service.store.keys import Deed, record

router = APIRouter(tags=["store"])
_MAX_LABELS, _MAX_IMAGES = 64, 100
Probability = Annotated[float, Field(ge=0, le=1)]


class ImageModelIn(RequestModel):
    """Which model says it."""

    name: Annotated[Name, Field(min_length=1)]
    version: Annotated[Name, Field(min_length=1)]
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
    label_set: Annotated[LabelSetId | None, Field(description="the set whose labels the scores are of")] = None
    thresholds: Annotated[
        dict[Name, Probability],
        Field(
            default_factory=dict,
            max_length=_MAX_LABELS,
            description="from which score on a label is called present; 0.5 where there is none",
        ),
    ]


class ImageScoresIn(RequestModel):
    """What a model says of one image, with the study it is of."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "anyOf": [
                {"required": ["accession_number"], "properties": {"accession_number": {"type": "string"}}},
                {"required": ["study_instance_uid"], "properties": {"study_instance_uid": {"type": "string"}}},
            ]
        },
    )

    image_id: Annotated[Name, Field(min_length=1)]
    accession_number: Annotated[Name | None, Field(min_length=1)] = None
    accession_number_issuer: Annotated[Name | None, Field(min_length=1)] = None
    study_instance_uid: Annotated[str | None, StringConstraints(pattern=r"^[0-9.]{1,64}$")] = None
    sop_instance_uid: Annotated[str | None, StringConstraints(pattern=r"^[0-9.]{1,64}$")] = None
    patient_id: Annotated[Name | None, Field(min_length=1)] = None
    scores: Annotated[dict[Name, Probability], Field(max_length=_MAX_LABELS)]
    overlays: Annotated[
        dict[Name, str],
        Field(default_factory=dict, max_length=_MAX_LABELS, description="drawn over the image: PNG in Base64"),
    ]

    @model_validator(mode="after")
    def _names_a_study(self) -> ImageScoresIn:
        if self.accession_number is None and self.study_instance_uid is None:
            raise PydanticCustomError("names_a_study", "give accession_number or study_instance_uid")
        return self

    def __repr__(self) -> str:
        return "ImageScoresIn(...)"

    __str__ = __repr__


class ImageScoresRequest(RequestModel):
    """What a model says of some images."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "model": {
                        "name": "chest-model",
                        "version": "0.1.0",
                        "digest": "3f" * 32,
                        "label_set": "chexpert14",
                        "thresholds": {"Pneumonia": 0.41},
                    },
                    "images": [{"image_id": "1.2.3.4", "accession_number": "A-1001", "scores": {"Pneumonia": 0.93}}],
                }
            ]
        },
    )

    model: ImageModelIn
    images: Annotated[list[ImageScoresIn], Field(min_length=1, max_length=_MAX_IMAGES)]

    def __repr__(self) -> str:
        return f"ImageScoresRequest(<{len(self.images)} images>)"

    __str__ = __repr__


class ImageScoresAnswer(BaseModel):
    """What was stored."""

    images: int = Field(examples=[1])


@router.post(
    "/v1/studies/image-scores",
    status_code=201,
    summary="Store what a model says of images",
    responses=responses(401, 403, 413, 422, 503),
)
async def store_image_scores(body: ImageScoresRequest, service: Ready, key_id: MayRunJobs) -> ImageScoresAnswer:
    """Store scores of images, and pictures drawn over them (PNG), to be shown beside the labels of the study's reports.

    What the same model says of the same image again takes the place of what it said before. `radlabel vision push`
    sends what `radlabel vision predict` wrote.
    """
    images = await run_in_threadpool(_image_scores, body)

    def write(connection: sa.Connection) -> int:
        stored = add_image_scores(connection, images)
        record(connection, [Deed("image scores", "api", stored, key_id)])
        return stored

    return ImageScoresAnswer(images=await waited(service.writer.submit(write), service))


@router.get(
    "/v1/overlays/{overlay_id}",
    summary="A picture drawn over an image",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "description": "The PNG"},
        **responses(401, 403, 404, 422, 503),
    },
)
async def read_overlay(
    overlay_id: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="as the search answers")],
    service: Ready,
    key_id: MayRunJobs,
) -> Response:
    """Return an overlay of a stored image."""

    def read() -> bytes | None:
        with service.engine.connect() as connection:
            return overlay_png(connection, overlay_id)

    png = await run_in_threadpool(read)
    if png is None:
        raise Problem(404, "overlay-unknown", "There is no such overlay")
    await waited(service.write_down(Deed("overlay", "api", 1, key_id)), service)
    return Response(png, media_type="image/png")


def _image_scores(body: ImageScoresRequest) -> list[ImageScores]:
    """Return the images of a request; raise a problem that names the overlay that is no picture."""
    found, wrong = [], []
    for number, image in enumerate(body.images):
        overlays = {}
        for name, encoded in image.overlays.items():
            try:
                overlays[name] = bare_png(base64.b64decode(encoded, validate=True))
            except ValueError as error:
                reason = str(error) if isinstance(error, PngInvalid) else "must be Base64"
                wrong.append(FieldProblem(field=f"images[{number}].overlays", reason=f"one of them {reason}"))
        found.append(
            ImageScores(
                **image.model_dump(exclude={"overlays"}),
                overlays=overlays,
                model_name=body.model.name,
                model_version=body.model.version,
                model_digest=body.model.digest,
                label_set=body.model.label_set,
                thresholds=body.model.thresholds,
            )
        )
    if wrong:
        raise Problem(422, "invalid-request", "The request is not valid", errors=wrong[:20])
    return found
