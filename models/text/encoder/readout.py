"""From the scores of sentences to the probability of each study label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from models.text.encoder.layout import Layout
from models.text.report_reader import SentenceScores

Floats = npt.NDArray[np.float64]


class LabelCalibration(BaseModel):
    """How a label's attended logit becomes a probability, and from which probability on the label is given.

    The probability is the logistic function of ``scale * (logit + bias) + offset`` (Platt 1999). ``bias`` is the
    network's own, ``scale`` and ``offset`` were fitted on the development reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_set: str
    label: str
    bias: float
    scale: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class ReadOut:
    """One label of one study: its probability, whether it is given, and the sentence it attends to most."""

    probability: float
    is_given: bool
    sentence: int | None


class StudyReadout:
    """Gives study labels from the scores of a report's sentences (`models.text.training.network`)."""

    def __init__(self, layout: Layout, calibrations: Sequence[LabelCalibration]) -> None:
        names = [(c.label_set, c.label) for c in calibrations]
        if names != list(layout.label_index):
            raise ValueError("the calibration is for other labels than the model's")
        self._names = names
        self._bias = np.array([c.bias for c in calibrations])
        self._scale = np.array([c.scale for c in calibrations])
        self._offset = np.array([c.offset for c in calibrations])
        self._threshold = np.array([c.threshold for c in calibrations])
        self.label_sets = frozenset(c.label_set for c in calibrations)

    def read(self, sentences: Sequence[SentenceScores]) -> Mapping[tuple[str, str], ReadOut]:
        """Return every label of a report; one without sentences has the probabilities of a report that says nothing."""
        logits, attended = combine([s.values for s in sentences], len(self._names))
        chances = 1 / (1 + np.exp(-(self._scale * (logits + self._bias) + self._offset)))
        return {
            name: ReadOut(
                round(float(chances[i]), 4),
                bool(chances[i] >= self._threshold[i]),
                sentences[int(attended[i])].sentence if sentences else None,
            )
            for i, name in enumerate(self._names)
        }


def combine(scores: Sequence[npt.NDArray[np.float32]], n_labels: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return a report's attended logits (labels,) without bias, and the row of the most attended sentence (labels,).

    ``scores`` are (labels, 2) for each sentence: log-sum-exp of the attention scores, and attended logit.
    """
    if not scores:
        return np.zeros(n_labels), np.zeros(n_labels, dtype=np.int64)
    stacked = np.stack(scores).astype(np.float64)  # (sentences, labels, 2)
    strength = stacked[..., 0] - stacked[..., 0].max(axis=0)
    weights = np.exp(strength)
    weights /= weights.sum(axis=0)
    return (weights * stacked[..., 1]).sum(axis=0), weights.argmax(axis=0)
