"""How good probabilities are: calibration error and Brier skill, label by label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion, LabeledReport

Floats = npt.NDArray[np.float64]
_MIN_PROBABILITY = 0.05
_BIN_CELLS = 25
_MAX_BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationScore:
    """How good one label's probabilities are.

    ``ece`` is the expected calibration error over bins of equal counts (Nixon et al. 2019, "Measuring calibration in
    deep learning"); ``brier_skill`` the share by which the Brier score over all reports is better than that of the base
    rate. ``cells`` are the reports that ``ece`` is taken over. Both are ``None`` where there is nothing to score.
    """

    label: str
    positives: int
    cells: int
    ece: float | None
    brier_skill: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def score_calibration(label: str, chances: Floats, gold: npt.NDArray[np.bool_]) -> CalibrationScore:
    """Return the scores of one label; ``chances`` and ``gold`` are (reports,).

    The calibration error is taken over the reports with a probability of 0.05 or more, or with the label: among
    thousands of reports without the finding any probabilities look calibrated.
    """
    chosen = (chances >= _MIN_PROBABILITY) | gold
    p, y = chances[chosen], gold[chosen].astype(np.float64)
    rate = float(gold.mean()) if len(gold) else 0.0
    base = float(((rate - gold) ** 2).mean()) if len(gold) else 0.0
    skill = 1 - float(((chances - gold) ** 2).mean()) / base if base else None
    if not len(p):
        return CalibrationScore(label, int(gold.sum()), 0, None, skill)
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, max(min(len(p) // _BIN_CELLS, _MAX_BINS), 1))
    error = sum(len(b) * abs(float(p[b].mean() - y[b].mean())) for b in bins) / len(p)
    return CalibrationScore(label, int(gold.sum()), len(p), error, skill)


def calibration_of(
    labeled: Iterable[LabeledReport], gold: Mapping[str, Collection[str]], label_set: str, labels: Sequence[str]
) -> list[CalibrationScore]:
    """Return the scores of the labels for which a reader gives probabilities; ``gold`` is by report id."""
    by_id = {report.report_id: report for report in labeled}
    scores = []
    for label in labels:
        values = [
            (by_id[i].labels.get(label_set, {}).get(label), label in of_report)
            for i, of_report in gold.items()
            if i in by_id
        ]
        if not any(
            value and value.probability and Assertion.POSITIVE.value in value.probability for value, _ in values
        ):
            continue
        chances = [
            (value.probability or {}).get(Assertion.POSITIVE.value, 0.0) if value else 0.0 for value, _ in values
        ]
        scores.append(score_calibration(label, np.array(chances), np.array([there for _, there in values])))
    return scores
