"""What the encoder's numbers mean: the closed sets it tells apart and where each stands in its output.

The token head gives one row of numbers a token. A finding is read at its *start token*, the token where its span
begins: concept, assertion and attributes are all predicted there, and the span's end by comparing the start token's
vector with those of the tokens after it. So findings may overlap ("heart size and mediastinal contours are normal"
denies two things in overlapping spans), which tags in the form of begin-inside-outside cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from corpora.findings import Assertion, Hedge
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import LabelSet

# "History of pneumonia": named and not observed. A later "it" can mean it.
NOT_OBSERVED = "not_observed"
ASSERTIONS: tuple[str, ...] = (*(value.value for value in Assertion), NOT_OBSERVED)
HEDGES: tuple[str, ...] = ("", *(value.value for value in Hedge))
FLAGS = ("is_restricted", "persists", "in_chest", "is_measured")
# The pseudo-concept of "it" and "this", which stand for what an earlier sentence named.
PRONOUN = "<pronoun>"
SPAN_SIZE = 64


class StudyLabelName(BaseModel):
    """One label that the encoder reads out for the study as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_set: str
    label: str


class Layout(BaseModel):
    """The closed sets of one model. ``concepts``, ``places``, ``severities``, ``temporalities`` are vocabulary ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    concepts: tuple[str, ...]
    places: tuple[str, ...]
    lateralities: tuple[str, ...]
    severities: tuple[str, ...]
    temporalities: tuple[str, ...]
    labels: tuple[StudyLabelName, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary, label_sets: Sequence[LabelSet]) -> Layout:
        """Return the layout for a vocabulary, with read-outs for the labels of ``label_sets`` that no rule derives."""
        attributes = vocabulary.attributes
        return cls(
            concepts=tuple(sorted(vocabulary.findings)),
            places=tuple(sorted(vocabulary.anatomy)),
            lateralities=tuple(sorted({value.id for value in attributes.laterality})),
            severities=tuple(sorted({value.id for value in attributes.severity})),
            temporalities=tuple(sorted({value.id for value in attributes.temporality})),
            labels=tuple(
                StudyLabelName(label_set=label_set.id, label=label.name)
                for label_set in label_sets
                for label in label_set.labels
                if label.rule is None
            ),
        )

    @cached_property
    def heads(self) -> Mapping[str, slice]:
        """Return the columns of each head in a token's row. Attributes have ``none`` at index 0."""
        widths = {
            "concept": len(self.concepts) + 1,  # the last is the pronoun
            "assertion": len(ASSERTIONS),
            "hedge": len(HEDGES),
            "laterality": len(self.lateralities) + 1,
            "severity": len(self.severities) + 1,
            "temporality": len(self.temporalities) + 1,
            "flag": len(FLAGS),
            "place": len(self.places),
            "span_start": SPAN_SIZE,
            "span_end": SPAN_SIZE,
        }
        slices: dict[str, slice] = {}
        start = 0
        for name, width in widths.items():
            slices[name] = slice(start, start + width)
            start += width
        return slices

    @property
    def width(self) -> int:
        """Return the number of columns of a token's row."""
        width: int = max(columns.stop for columns in self.heads.values())
        return width

    @cached_property
    def concept_index(self) -> Mapping[str, int]:
        """Return the column of each concept within its head; the pronoun comes after the last."""
        return {name: i for i, name in enumerate((*self.concepts, PRONOUN))}

    @cached_property
    def place_index(self) -> Mapping[str, int]:
        """Return the column of each place within its head."""
        return {name: i for i, name in enumerate(self.places)}

    @cached_property
    def label_index(self) -> Mapping[tuple[str, str], int]:
        """Return the row of each study label, by label set and label."""
        return {(name.label_set, name.label): i for i, name in enumerate(self.labels)}
