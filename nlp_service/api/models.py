"""What requests and answers look like. Unknown fields are refused: a misspelt name must not pass for a missing one."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _without_nul(value: str) -> str:
    # PostgreSQL cannot keep it, and no report has a use for it.
    if "\x00" in value:
        raise PydanticCustomError("nul", "must not hold the character NUL")
    return value


def _no_number(value: object) -> object:
    # A date in JSON is text; a number would be taken for seconds since 1970.
    if value is not None and not isinstance(value, str):
        raise PydanticCustomError("date_type", "must be a date, as 2026-02-28")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[str, StringConstraints(max_length=256), AfterValidator(_without_nul)]
LabelSetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

EXAMPLE_REPORT: dict[str, JsonValue] = {
    "report_id": "r-001",
    "accession_number": "A-1001",
    "text": "FINDINGS: Small left pleural effusion, unchanged. No pneumothorax.\nIMPRESSION: Small left effusion.",
}


class RequestModel(BaseModel):
    """The base of what is sent: strict about types and names."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ReportIn(RequestModel):
    """A report to be labeled."""

    report_id: Annotated[Name, Field(min_length=1, description="comes back with the labels")]
    text: Annotated[Text, Field(description="the report as it is; offsets in the answer point into it")]
    accession_number: Name | None = None
    accession_number_issuer: Annotated[Name | None, Field(description="who gave the accession number")] = None
    study_instance_uid: Annotated[
        str | None, StringConstraints(pattern=r"^[0-9.]{1,64}$"), Field(description="DICOM (0020,000D)")
    ] = None
    patient_id: Name | None = None
    study_date: Annotated[dt.date | None, Field(strict=False), BeforeValidator(_no_number)] = None
    modality: Name | None = None

    def __repr__(self) -> str:
        return f"ReportIn(<{len(self.text)} characters>)"

    __str__ = __repr__


class LabelRequest(RequestModel):
    """Reports to be labeled together."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"reports": [EXAMPLE_REPORT], "label_sets": ["chexpert14"]}]},
    )

    reports: Annotated[list[ReportIn], Field(min_length=1, description="1 to 1,000 reports")]
    label_sets: Annotated[
        list[LabelSetId] | None, Field(min_length=1, max_length=16, description="by default, those of the service")
    ] = None
    store: Annotated[bool, Field(description="keep the labels for look-up by accession number or study")] = False

    def __repr__(self) -> str:
        return f"LabelRequest(<{len(self.reports)} reports>)"

    __str__ = __repr__


class ModelInfoOut(BaseModel):
    """Which reader made a row; the digest changes with anything its answers depend on."""

    name: str = Field(examples=["radlabel-encoder"])
    version: str = Field(examples=["2"])
    digest: str


class LabelOut(BaseModel):
    """A label of a study; ``null`` as value says that the report does not speak of it."""

    value: Literal["positive", "negative", "uncertain"] | None
    probability: dict[str, float] | None
    basis: str = Field(description="span: the findings listed; attention: a sentence; rule: derived")
    evidence: list[int] = Field(description="indices into findings")


class ConceptOut(BaseModel):
    """What was found."""

    id: str
    name: str
    cui: str | None = Field(description="UMLS concept, where the vocabulary has one")


class MeasurementOut(BaseModel):
    """A size as the report gives it, and in millimetres."""

    values: list[float]
    unit: str
    size_mm: list[float]


class FindingOut(BaseModel):
    """A mention of a finding; ``start`` and ``end`` are character offsets into the report's text."""

    text: str
    start: int
    end: int
    section: str
    sentence: int
    concept: ConceptOut
    assertion: Literal["positive", "negative", "uncertain"]
    probability: float | None
    anatomy: str | None
    laterality: str | None
    location: list[str]
    severity: str | None
    temporality: str | None
    measurement: MeasurementOut | None


class RowOut(BaseModel):
    """A labeled report, in the form of the batch command's JSON Lines."""

    report_id: str | None
    accession_number: str | None
    status: Literal["ok", "no_text", "not_applicable", "error"]
    model: ModelInfoOut
    labels: dict[str, dict[str, LabelOut]]
    findings: list[FindingOut]


class LabelAnswer(BaseModel):
    """A row for each report, in the order of the request."""

    results: list[RowOut]


class StudySearch(RequestModel):
    """Which study to look for; identifiers stand in the body, so that they are in no URL and no log."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"accession_number": "A-1001"}],
            "anyOf": [
                {"required": ["accession_number"], "properties": {"accession_number": {"type": "string"}}},
                {"required": ["study_instance_uid"], "properties": {"study_instance_uid": {"type": "string"}}},
            ],
        },
    )

    accession_number: Annotated[Name | None, Field(min_length=1)] = None
    accession_number_issuer: Annotated[Name | None, Field(min_length=1)] = None
    study_instance_uid: Annotated[str | None, StringConstraints(pattern=r"^[0-9.]{1,64}$")] = None

    @model_validator(mode="after")
    def _names_a_study(self) -> StudySearch:
        if self.accession_number is None and self.study_instance_uid is None:
            raise PydanticCustomError("names_a_study", "give accession_number or study_instance_uid")
        return self

    def __repr__(self) -> str:
        return "StudySearch(...)"

    __str__ = __repr__


class StoredLabelsOut(BaseModel):
    """The labels that one version of a model gave."""

    status: str
    model: ModelInfoOut
    labeled_at: str
    labels: dict[str, dict[str, LabelOut]]
    findings: list[FindingOut]


class StoredReportOut(BaseModel):
    """A stored report with all labels it was given, the newest first."""

    report_id: str
    accession_number: str | None
    accession_number_issuer: str | None
    study_instance_uid: str | None
    patient_id: str | None
    modality: str | None
    study_date: str | None
    result_status: str | None
    door: str = Field(description="how it came: api, job, hl7, fhir, sr")
    received_at: str
    is_waiting: bool = Field(description="stored, and not labeled yet")
    text: str | None = Field(description="as long as the retention setting keeps it")
    labels: list[StoredLabelsOut]


class OverlayOut(BaseModel):
    """A picture drawn over an image: ``GET /v1/overlays/{id}`` has it."""

    id: str = Field(examples=["0f" * 16])
    name: str = Field(description="the label, or what is drawn", examples=["Pneumonia"])


class ImageModelOut(ModelInfoOut):
    """Which model of images made scores."""

    label_set: str | None = Field(description="the set whose labels the scores are of", examples=["chexpert14"])
    thresholds: dict[str, float] = Field(
        description="from which score on a label is called present; 0.5 where there is none",
        examples=[{"Pneumonia": 0.41}],
    )


class ImageScoresOut(BaseModel):
    """What one model said of one image."""

    image_id: str
    accession_number: str | None
    accession_number_issuer: str | None
    study_instance_uid: str | None
    sop_instance_uid: str | None
    patient_id: str | None
    model: ImageModelOut
    scored_at: str
    scores: dict[str, float] = Field(description="probability by label", examples=[{"Pneumonia": 0.93}])
    overlays: list[OverlayOut]


class StudiesAnswer(BaseModel):
    """The reports found, the newest first. An accession number is not unique: there can be several."""

    reports: list[StoredReportOut]
    images: list[ImageScoresOut] = Field(description="what models said of the images found by the same identifiers")
    is_complete: bool = Field(description="false: there are more, and the oldest are left out", examples=[True])


class DeletedAnswer(BaseModel):
    """What was deleted."""

    reports: int = Field(description="stored reports that are gone, with their labels and reviews", examples=[1])
    images: int = Field(description="images whose scores and overlays are gone", examples=[0])


class JobPathRequest(RequestModel):
    """A job over a file that lies on the server, under one of its job folders."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    label_sets: Annotated[list[LabelSetId] | None, Field(min_length=1, max_length=16)] = None
    format: Annotated[str | None, StringConstraints(pattern=r"^[a-z0-9_]{1,20}$")] = None
    columns: Annotated[dict[str, str] | None, Field(max_length=32)] = None
    store: bool = False


class JobCounts(BaseModel):
    """What became of the records that are done."""

    ok: int
    no_text: int
    not_applicable: int
    rejected: int


class JobOut(BaseModel):
    """A job and how far it is."""

    id: str
    state: Literal["uploading", "waiting", "running", "done", "failed", "cancelled"]
    name: str
    label_sets: list[str]
    store: bool
    records: int = Field(description="how many there are, once the input was read through")
    records_done: int
    counts: JobCounts
    progress: float = Field(description="0 to 1")
    error: str | None
    model: ModelInfoOut | None
    created_at: str
    started_at: str | None
    ended_at: str | None


class JobsAnswer(BaseModel):
    """The last jobs, the newest first."""

    jobs: list[JobOut]


class ResultsPage(BaseModel):
    """Some rows of a job's results; ``next_offset`` is where to go on, or ``null``."""

    results: list[RowOut]
    next_offset: int | None


class DatasetRequest(RequestModel):
    """A data set to build. Paths lie under the job folders of the server; the rest of the recipe has no path."""

    images: Annotated[str, Field(min_length=1, max_length=4096, description="folder, manifest (CSV) or image index")]
    reports: Annotated[str | None, Field(min_length=1, max_length=4096)] = None
    labels_job: Annotated[
        str | None,
        StringConstraints(pattern=r"^[0-9a-f]{32}$"),
        Field(description="a job that has the labels"),
    ] = None
    boxes: Annotated[str | None, Field(min_length=1, max_length=4096)] = None
    masks: Annotated[str | None, Field(min_length=1, max_length=4096)] = None
    name: Annotated[str, Field(min_length=1, max_length=100)] = "dataset"
    recipe: dict[str, Any] = Field(default={}, description="the rest of the recipe: docs/datasets.md")


class DatasetOut(BaseModel):
    """A data set and how far its build is; ``counts`` and what follows are there when it is done."""

    id: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    name: str
    label_set: str
    image_size: int
    deidentified: bool
    stage: str | None
    done: int = Field(description="reports or images that are done, within the stage")
    rows: int | None
    splits: dict[str, int] | None
    counts: dict[str, Any] | None
    failed: dict[str, int] | None = Field(description="rows and files that could not be read")
    digest: str | None = Field(description="SHA-256 over dataset.json and rows.parquet")
    error: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None


class DatasetsAnswer(BaseModel):
    """The last data sets, the newest first."""

    datasets: list[DatasetOut]


class CardAnswer(BaseModel):
    """The data card in Markdown, and its plots by file name: PNG as base64."""

    markdown: str
    plots: dict[str, str]


class LabelDefinition(BaseModel):
    """A label of a label set."""

    name: str
    concepts: list[str]
    rule: str | None
    description: str | None


class LabelSetOut(BaseModel):
    """A label set."""

    id: str
    name: str
    description: str | None
    labels: list[LabelDefinition]


class LabelSetsAnswer(BaseModel):
    """The label sets that reports can be labeled with."""

    default: list[str]
    label_sets: list[LabelSetOut]


class ModelAnswer(BaseModel):
    """The reader of this service."""

    model: ModelInfoOut
    reader: str
    radlabel: str
    card: str | None = Field(description="the model card, in Markdown")


class Health(BaseModel):
    """Whether the service runs, or is ready."""

    status: Literal["ok", "starting", "stopping", "unready"]
    checks: dict[str, str] = {}


JsonObject = dict[str, Any]
