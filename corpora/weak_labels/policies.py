"""What a training target is made of: per label, what becomes of uncertain and of not mentioned.

A report says positive (1) or negative (0) of a label; uncertain and not mentioned are for the user to decide. The
treatments are those of Irvin et al. 2019 (CheXpert, arXiv:1901.07031, section 3: U-Ignore, U-Zeros, U-Ones,
U-MultiClass) and, for ``smoothed``, of Pham et al. 2021 (Interpreting chest X-rays via CNNs that exploit hierarchical
disease dependencies and uncertainty labels, arXiv:1911.06475, label smoothing regularisation: uncertain drawn from
[0.55, 0.85] with U-Ones, from [0, 0.3] with U-Zeros).

A policy file is YAML::

    label_set: chexpert14            # optional: the labels named below must be of this set
    default: {uncertain: ignore, not_mentioned: zeros}
    labels:
      Atelectasis: {uncertain: ones}
      Edema: {uncertain: smoothed, uncertain_range: [0.55, 0.85]}
      Pleural Effusion: {uncertain: multiclass}
    hierarchy: chexpert              # or vocabulary, or a mapping of label to parents; absent: no closure
    class_weights: balanced          # none, balanced, square_root or effective_number
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from corpora.vocabulary.schema import LabelSet
from corpora.weak_labels.errors import PolicyInvalid

#: Ranges of Pham et al. 2021: an uncertain finding leans to present, one that nobody mentions to absent.
UNCERTAIN_RANGE = (0.55, 0.85)
NOT_MENTIONED_RANGE = (0.0, 0.3)


class Treatment(StrEnum):
    """What becomes of a value that is neither positive nor negative."""

    IGNORE = "ignore"  # no target; masked out of the loss
    ZEROS = "zeros"  # counts as negative
    ZEROS_IF_NORMAL = "zeros_if_normal"  # not mentioned, in a report without any finding: negative; otherwise no target
    ONES = "ones"  # counts as positive
    SMOOTHED = "smoothed"  # a number of the range, drawn by a keyed hash of row and label
    PROBABILITY = "probability"  # what the reader's probabilities expect; masked where it gave none
    MULTICLASS = "multiclass"  # a class of its own: 2 for uncertain, 3 for not mentioned


_SOFT = (Treatment.SMOOTHED, Treatment.PROBABILITY)
#: Labels whose being positive makes no report abnormal (`Treatment.ZEROS_IF_NORMAL`).
NO_FINDINGS = frozenset({"No Finding", "Support Devices"})


class ClassWeights(StrEnum):
    """How much a positive row of a label weighs against a negative one."""

    NONE = "none"  # 1
    BALANCED = "balanced"  # negatives / positives
    SQUARE_ROOT = "square_root"  # its square root, for rare labels
    EFFECTIVE_NUMBER = "effective_number"  # Cui et al. 2019, arXiv:1901.05555, with beta 0.9999


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LabelPolicy(_Strict):
    """What becomes of one label. A range is half open: ``low <= target < high``."""

    uncertain: Treatment = Treatment.IGNORE
    not_mentioned: Treatment = Treatment.IGNORE
    uncertain_range: tuple[float, float] = UNCERTAIN_RANGE
    not_mentioned_range: tuple[float, float] = NOT_MENTIONED_RANGE
    weight: float = Field(default=1.0, gt=0, le=1000)

    @model_validator(mode="after")
    def _consistent(self) -> LabelPolicy:
        for name, (low, high) in (
            ("uncertain_range", self.uncertain_range),
            ("not_mentioned_range", self.not_mentioned_range),
        ):
            if not 0 <= low < high <= 1:
                raise ValueError(f"{name} needs two numbers from 0 to 1, the lower first")
        if self.uncertain is Treatment.ZEROS_IF_NORMAL:
            raise ValueError("uncertain: zeros_if_normal is for not_mentioned alone; an uncertain report is not normal")
        if self.is_multiclass and (self.uncertain in _SOFT or self.not_mentioned in _SOFT):
            raise ValueError("a multiclass label has whole classes: smoothed and probability do not go with it")
        if self.not_mentioned is Treatment.MULTICLASS and self.uncertain is not Treatment.MULTICLASS:
            raise ValueError("not_mentioned: multiclass needs uncertain: multiclass, or class 2 would be empty")
        return self

    @property
    def is_multiclass(self) -> bool:
        """Return whether targets are class numbers (0 negative, 1 positive, 2 uncertain, 3 not mentioned)."""
        return Treatment.MULTICLASS in (self.uncertain, self.not_mentioned)

    @property
    def classes(self) -> int:
        """Return the number of classes: 2 unless multiclass."""
        if not self.is_multiclass:
            return 2
        return 4 if self.not_mentioned is Treatment.MULTICLASS else 3


class WeakLabelPolicy(_Strict):
    """The policy of a data set: one for each label, the closure over the hierarchy, the class weights."""

    label_set: str | None = None
    default: LabelPolicy = LabelPolicy()
    labels: Mapping[str, Mapping[str, Any]] = {}
    hierarchy: Literal["chexpert", "vocabulary"] | Mapping[str, tuple[str, ...]] | None = None
    negative_closes_downwards: bool = False
    class_weights: ClassWeights = ClassWeights.NONE

    @model_validator(mode="after")
    def _labels_hold(self) -> WeakLabelPolicy:
        for name in self.labels:
            self.of(name)
        return self

    def of(self, label: str) -> LabelPolicy:
        """Return the policy of a label: the default, with what is said of the label in its place."""
        given = self.labels.get(label)
        if given is None:
            return self.default
        try:
            return LabelPolicy.model_validate({**self.default.model_dump(), **given})
        except ValidationError as error:
            raise ValueError(f"label {label!r}: {_first_problem(error)}") from None

    def check_against(self, label_set: LabelSet) -> None:
        """Raise `PolicyInvalid` unless every label that is named, in policy or hierarchy, is of the label set."""
        known = {label.name for label in label_set.labels}
        named = [("labels", name) for name in self.labels]
        if isinstance(self.hierarchy, Mapping):
            named += [("hierarchy", name) for child, parents in self.hierarchy.items() for name in (child, *parents)]
        if self.label_set is not None and self.label_set != label_set.id:
            raise PolicyInvalid(f"the policy is for the label set {self.label_set!r}, not for {label_set.id!r}")
        for key, name in named:
            if name not in known:
                raise PolicyInvalid(
                    f"{key}: {name!r} is no label of {label_set.id}; its labels are {', '.join(sorted(known))}"
                )


def load_policy(path: Path, label_set: LabelSet | None = None) -> WeakLabelPolicy:
    """Return the policy in a YAML file, checked against ``label_set`` if there is one.

    Raises
    ------
    PolicyInvalid
        The file cannot be read, is no valid YAML or breaks a rule; the message names file, label and key.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyInvalid(f"{path.name}: a policy file must be UTF-8 text") from None
    except OSError as error:
        raise PolicyInvalid(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from None
    return parse_policy(text, path.name, label_set)


def parse_policy(text: str, name: str, label_set: LabelSet | None = None) -> WeakLabelPolicy:
    """Return the policy that a YAML text holds; ``name`` stands for it in messages. Raises as `load_policy`.

    >>> policy = parse_policy("labels: {Edema: {uncertain: ones}}", "policy.yaml")
    >>> policy.of("Edema").uncertain.value, policy.of("Pneumonia").uncertain.value
    ('ones', 'ignore')
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PolicyInvalid(f"{name}{line}: no valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise PolicyInvalid(f"{name}: no valid YAML ({type(error).__name__})") from None
    return policy_from(raw, name, label_set)


def policy_from(raw: object, name: str, label_set: LabelSet | None = None) -> WeakLabelPolicy:
    """Return the policy that plain data holds (part of a recipe, say). Raises as `load_policy`."""
    if not isinstance(raw, Mapping | None):
        raise PolicyInvalid(f"{name}: expected a mapping with keys such as default, not a {type(raw).__name__}")
    try:
        policy = WeakLabelPolicy.model_validate(dict(raw or {}))
        if label_set is not None:
            policy.check_against(label_set)
    except ValidationError as error:
        raise PolicyInvalid(f"{name}: {_first_problem(error)}") from None
    except PolicyInvalid as error:
        raise PolicyInvalid(f"{name}: {error}") from None
    return policy


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = " > ".join(str(step) for step in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
