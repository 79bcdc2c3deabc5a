"""`/v1/review`: stored labels that a person should look at, and what the person says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from nlp_service.api.context import MayRunJobs, Ready, waited
from nlp_service.api.models import FindingOut, LabelOut, LabelSetId, ModelInfoOut, Name, RequestModel
from nlp_service.api.problems import FieldProblem, Problem, responses
from nlp_service.store.group_writer import StoreFailed
from nlp_service.store.keys import Deed, record
from nlp_service.store.review import LabelNotGiven, LabelsUnknown, Reviewed, add_review, open_reviews, review_queue
from nlp_service.store.stored import time_text

router = APIRouter(tags=["review"])
_MAX_OFFSET = 1_000_000
_MAX_CORRECTIONS = 1000
Value = Literal["positive", "negative", "uncertain"]


class LabelNameOut(BaseModel):
    """A label of a label set."""

    label_set: str = Field(examples=["chexpert14"])
    label: str = Field(examples=["Pneumonia"])


class RulesSayOut(LabelNameOut):
    """A label on which the rules say something else than the encoder, with what they say."""

    value: Value | None


class ImagesSayOut(LabelNameOut):
    """A label that the images of the study speak against, with their probability of the finding."""

    probability: float


class ReviewItemOut(BaseModel):
    """Stored labels that wait for a review; ``id`` is what the review is sent to."""

    id: int
    report_id: str
    accession_number: str | None
    accession_number_issuer: str | None
    study_instance_uid: str | None
    modality: str | None
    study_date: str | None
    text: str | None = Field(description="as long as the retention setting keeps it")
    model: ModelInfoOut
    labeled_at: str
    doubt: float | None = Field(description="of the least certain label: 1 at a probability of 0.5, 0 at certainty")
    doubtful: LabelNameOut | None = Field(description="the least certain label")
    disagreement: int | None = Field(description="on how many labels the rules say something else; null: not compared")
    rules_say: list[RulesSayOut]
    images_say: list[ImagesSayOut] = Field(description="labels that images speak against (radlabel review import)")
    labels: dict[str, dict[str, LabelOut]]
    findings: list[FindingOut]


class ReviewQueueAnswer(BaseModel):
    """Stored labels in the order in which to look at them."""

    reports: list[ReviewItemOut]
    open: int = Field(description="how many wait, this page included; 1,000 stands for that many or more")
    keep_texts_days: int = Field(description="how long this service keeps texts; 0: a review has none to show")


class CorrectionIn(RequestModel):
    """A label that has another value than the one stored."""

    label_set: LabelSetId
    label: Annotated[Name, Field(min_length=1)]
    value: Annotated[Value | None, Field(description="null: the report does not speak of it")]

    def __repr__(self) -> str:
        return "CorrectionIn(...)"

    __str__ = __repr__


class ReviewRequest(RequestModel):
    """What a person says of the labels: those that are wrong. All others are accepted as they are."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "reviewer": "reader 1",
                    "corrections": [{"label_set": "chexpert14", "label": "Pneumonia", "value": "uncertain"}],
                }
            ]
        },
    )

    corrections: Annotated[list[CorrectionIn], Field(default_factory=list, max_length=_MAX_CORRECTIONS)]
    reviewer: Annotated[Name | None, Field(min_length=1, description="who, where a key is shared")] = None

    def __repr__(self) -> str:
        return f"ReviewRequest(<{len(self.corrections)} corrections>)"

    __str__ = __repr__


class ReviewAnswer(BaseModel):
    """What was stored."""

    id: int
    labels: int = Field(description="how many labels were reviewed")
    corrected: int = Field(description="on how many of them another value was given")
    reviewed_at: str


LabelsId = Annotated[int, Path(ge=1, le=2**62, description="as the queue names it")]


@router.get(
    "/v1/review", summary="What to review", response_model=ReviewQueueAnswer, responses=responses(401, 403, 422, 503)
)
async def read_queue(
    service: Ready,
    key_id: MayRunJobs,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=_MAX_OFFSET)] = 0,
) -> dict[str, Any]:
    """Return stored labels that nobody has reviewed: the least certain first, and those where the rules disagree.

    The order is by the doubt of the least certain label (0 to 1), plus 1 for each label on which the rules say
    something else than the encoder; reports whose images speak against a label come before all others. What is reviewed
    leaves the queue.
    """

    def read() -> dict[str, Any]:
        with service.engine.connect() as connection:
            return {
                "reports": review_queue(connection, limit, offset),
                "open": open_reviews(connection),
                "keep_texts_days": service.settings.keep_texts_days,
            }

    answer = await run_in_threadpool(read)
    await waited(service.write_down(Deed("review queue", "api", len(answer["reports"]), key_id)), service)
    return answer


@router.post("/v1/review/{labels_id}", summary="Review labels", responses=responses(401, 403, 404, 422, 503))
async def review_labels(body: ReviewRequest, labels_id: LabelsId, service: Ready, key_id: MayRunJobs) -> ReviewAnswer:
    """Store what a person says of a report's labels, with who and when. Corrections may come again: the last counts."""
    corrections = [((item.label_set, item.label), item.value) for item in body.corrections]

    def write(connection: sa.Connection) -> Reviewed | LabelsUnknown | LabelNotGiven:
        # What cannot be is returned rather than raised: an error would undo the writes of others in the same group.
        try:
            done = add_review(connection, labels_id, corrections, key_id=key_id, reviewer=body.reviewer)
        except (LabelsUnknown, LabelNotGiven) as error:
            return error
        record(connection, [Deed("review", "api", 1, key_id)])
        return done

    try:
        future = service.writer.submit(write)
    except StoreFailed as error:
        raise Problem(503, "store-failed", "The store could not be written", str(error)) from None
    done = await waited(future, service)
    if isinstance(done, LabelsUnknown):
        raise Problem(
            404, "labels-unknown", "There are no such labels", "They may have been deleted: load the queue again."
        )
    if isinstance(done, LabelNotGiven):
        field = f"corrections[{done.position}].label"
        raise Problem(
            422,
            "invalid-request",
            "The request is not valid",
            errors=[FieldProblem(field=field, reason="is none of the labels that are stored")],
        )
    return ReviewAnswer(
        id=labels_id, labels=done.labels, corrected=done.corrected, reviewed_at=time_text(done.reviewed_at) or ""
    )
