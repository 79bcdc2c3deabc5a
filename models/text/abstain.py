"""Labels that are too close to call get no value and are listed for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from corpora.findings import LabeledReport, StudyLabel

Labels = Mapping[str, Mapping[str, StudyLabel]]


@dataclass(frozen=True, slots=True)
class Abstention:
    """A label without a value because its probability lay in the band."""

    label_set: str
    label: str
    probability: Mapping[str, float]


def abstain_within(labels: Labels, band: tuple[float, float]) -> dict[str, dict[str, StudyLabel]]:
    """Return labels, those without a value whose probability lies in the band, its ends among it.

    Only labels with a probability can be too close to call: the rules have none, and a label that is derived from
    others neither.
    """
    low, high = band
    return {
        name: {
            label: replace(value, value=None, abstained=True)
            if value.probability and any(low <= p <= high for p in value.probability.values())
            else value
            for label, value in of_set.items()
        }
        for name, of_set in labels.items()
    }


def abstentions(labeled: LabeledReport) -> Iterator[Abstention]:
    """Yield the labels of a report that were too close to call."""
    for name, of_set in labeled.labels.items():
        for label, value in of_set.items():
            if value.abstained and value.probability:
                yield Abstention(name, label, value.probability)
