"""The semantics table: report texts and what they say, written by hand from the label conventions alone.

The table is the specification that every reader of reports is measured against, so it is written without a look at any
reader. A radiologist who finds a wrong value corrects ``cases/<category>.yaml``; nothing else has to change. A case:

    - id: negation_scope_002
      text: "No pneumothorax but a small right pleural effusion."
      labels: {Pneumothorax: negative, Pleural Effusion: positive}
      findings:
        - {concept: pleural_effusion, laterality: right, severity: small}
      why: "What follows the but is not denied."

``labels`` lists every value of `LABELS` that is not null. ``concepts`` lists values of single findings beyond the
labels, ``findings`` the attributes that some mention of a concept must have (attributes that are not listed are not
judged), ``status`` what becomes of the text, ``modality`` and ``body_part`` what is known of the study apart from it.

    >>> cases = load_cases()
    >>> case = next(case for case in cases if case.id == "negation_scope_002")
    >>> case.value("Pneumothorax").value, case.value("Edema")
    ('negative', None)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, field_validator, model_validator

from corpora.errors import VocabularyInvalid
from corpora.findings import Assertion, Status
from corpora.reports import Report

LabelName = Literal[
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]
LABELS: tuple[str, ...] = get_args(LabelName)
"""The labels that the table gives values for, in the order of the CheXpert paper (Irvin et al. 2019, table 1)."""

_ALLOWED_WITH_NO_FINDING = frozenset({"No Finding", "Support Devices"})

CATEGORIES: dict[str, str] = {
    "simple": "One plain statement.",
    "negation_scope": "How far a negation reaches: lists, without, neither and nor, no A but B.",
    "pseudo_negation": "A negation of change or of growth, which leaves the finding in place.",
    "double_negation": "Two negations, and findings that cannot be excluded.",
    "hedges": "What is only possible or likely, and hedges that touch only size, age or cause.",
    "bare_alternatives": "One thing or another: each of them is uncertain.",
    "temporal": "New, stable, improved, resolved, and what belongs to the earlier study.",
    "conditional": "Conditions and recommendations, which are not evidence.",
    "sections": "The part of the report in which a finding stands, and findings against impression and addendum.",
    "cross_sentence": "Statements that need the sentence or the sub-heading before them.",
    "devices": "Devices, what they are called, and their removal.",
    "anatomy_traps": "The same word for a finding elsewhere, and words that only look like a finding.",
    "abbreviations": "Abbreviations and telegraphic style.",
    "noise": "Typing errors, upper case, gaps of de-identification, British spelling, lists and tables.",
    "other_modalities": "Studies other than chest radiographs.",
    "not_reports": "Texts that are no radiology reports, and nothing at all.",
    "long_reports": "Whole reports.",
}
"""The categories in the order in which they are shown, each with what it tests. A category is one file of that name."""

_ConceptId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
_AttributeId = _ConceptId
_CaseId = Annotated[str, StringConstraints(pattern=r"^[a-z_]+_\d{3}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ExpectedFinding(_Strict):
    """Attributes that at least one mention of ``concept`` must have; what is ``None`` is not judged."""

    concept: _ConceptId
    laterality: Literal["left", "right", "bilateral"] | None = None
    severity: _AttributeId | None = None
    temporality: _AttributeId | None = None
    location: tuple[_AttributeId, ...] | None = None
    size_mm: tuple[float, ...] | None = None


class SemanticCase(_Strict):
    """One text and its reading. Labels that are not in ``labels`` are null, and all are where ``status`` is not ok."""

    id: _CaseId
    text: str
    labels: dict[LabelName, Assertion]
    concepts: dict[_ConceptId, Assertion] = {}
    findings: tuple[ExpectedFinding, ...] = ()
    status: Literal[Status.OK, Status.NO_TEXT, Status.NOT_APPLICABLE] = Status.OK
    modality: str | None = None
    body_part: str | None = None
    why: str | None = None

    @property
    def category(self) -> str:
        """The category, which is the id without its number."""
        return self.id.rpartition("_")[0]

    def value(self, label: str) -> Assertion | None:
        """Return the value of one label; ``None`` is not mentioned."""
        return next((value for name, value in self.labels.items() if name == label), None)

    def report(self) -> Report:
        """Return the case as a report, with the case's id for its report id."""
        return Report(report_id=self.id, text=self.text, modality=self.modality, body_part=self.body_part)

    @field_validator("labels")
    @classmethod
    def _no_finding_fits_the_rest(cls, labels: dict[str, Assertion]) -> dict[str, Assertion]:
        # "No Finding" is derived, so a slip here would contradict the other cells of the same case.
        no_finding = labels.get("No Finding")
        if no_finding not in (None, Assertion.POSITIVE):
            raise ValueError("No Finding is positive or not given")
        present = [
            label
            for label, value in labels.items()
            if label not in _ALLOWED_WITH_NO_FINDING and value is not Assertion.NEGATIVE
        ]
        if no_finding is not None and present:
            raise ValueError(f"No Finding cannot be positive together with {', '.join(present)}")
        return labels

    @model_validator(mode="after")
    def _unread_text_has_no_values(self) -> Self:
        if self.status is not Status.OK and (self.labels or self.concepts or self.findings):
            raise ValueError(f"a text with status {self.status.value} has no labels, concepts or findings")
        return self


class _UniqueKeyLoader(yaml.SafeLoader):
    """Reads YAML as `yaml.SafeLoader` does, which lets the last of two equal keys win, but refuses such keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = Counter(str(key.value) for key, _ in node.value)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def load_cases(folder: Traversable | None = None) -> tuple[SemanticCase, ...]:
    """Return the cases of all categories, in the order of `CATEGORIES` and of the files.

    ``folder`` holds one file a category; without it the packaged table is read. Raises `VocabularyInvalid`, which names
    file and case, if a file is missing or of no known category, is not valid YAML, or a case breaks the form above.
    """
    folder = files("corpora.semantics") / "cases" if folder is None else folder
    present = {entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    expected = {f"{category}.yaml" for category in CATEGORIES}
    if present != expected:
        named = ", ".join(sorted(present ^ expected))
        raise VocabularyInvalid(f"the semantics table has one file for each category; missing or unknown: {named}")
    cases: list[SemanticCase] = []
    for category in CATEGORIES:
        cases += _read_category(folder / f"{category}.yaml", category)
    _check_unique_texts(cases)
    return tuple(cases)


def _read_category(file: Traversable, category: str) -> list[SemanticCase]:
    try:
        entries = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise VocabularyInvalid(f"{file.name}: not valid YAML: {error}") from error
    if not isinstance(entries, list):
        raise VocabularyInvalid(f"{file.name}: expected a list of cases, got {type(entries).__name__}")
    cases: list[SemanticCase] = []
    for number, entry in enumerate(entries, start=1):
        case_id = entry.get("id") if isinstance(entry, dict) else None
        where = f"{file.name}, case {case_id or f'number {number}'}"
        try:
            case = SemanticCase.model_validate(entry)
        except ValidationError as error:
            reasons = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc']) or 'case'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            )
            raise VocabularyInvalid(f"{where}: {reasons}") from error
        if case.category != category:
            raise VocabularyInvalid(f"{where}: the id must be {category}_ and three digits, as the file is named")
        if any(case.id == earlier.id for earlier in cases):
            raise VocabularyInvalid(f"{where}: the id occurs twice")
        cases.append(case)
    return cases


def _check_unique_texts(cases: list[SemanticCase]) -> None:
    # A text that stands twice would count twice, or contradict itself.
    first: dict[str, SemanticCase] = {}
    for case in cases:
        earlier = first.setdefault(case.text, case)
        if earlier is not case:
            raise VocabularyInvalid(f"{case.category}.yaml, case {case.id}: the text is that of {earlier.id}")
