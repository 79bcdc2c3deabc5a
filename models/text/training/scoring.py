"""How a network in training does on the development reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.text.training.batches import make_step
from models.text.training.examples import ReportExample, SentenceExample
from models.text.training.network import ReportEncoder

_REPORTS_AT_ONCE = 64


def report_logits(
    network: ReportEncoder, sentences: Sequence[SentenceExample], reports: Sequence[ReportExample], pad_id: int
) -> npt.NDArray[np.float32]:
    """Return the logits (reports, labels) of reports."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    with torch.no_grad():
        for low in range(0, len(reports), _REPORTS_AT_ONCE):
            step = make_step(sentences, reports[low : low + _REPORTS_AT_ONCE], [], pad_id)
            words = network.embed([g.ids.to(device) for g in step.groups])
            scores = torch.cat([network(w, g.mask.to(device))[1] for w, g in zip(words, step.groups, strict=True)])
            logits = network.combine(scores[step.sentence.to(device)], step.report.to(device), len(step.labels))
            parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class DevScore:
    """Micro-F1 by label set at the threshold that is best for all labels of the set together, and the loss a report."""

    micro_f1: dict[str, float]
    threshold: dict[str, float]
    loss: float

    @property
    def mean(self) -> float:
        """Return the mean over the label sets: what checkpoints are chosen by."""
        return float(np.mean(list(self.micro_f1.values())))


def score_dev(
    logits: npt.NDArray[np.float32], reports: Sequence[ReportExample], columns: dict[str, list[int]]
) -> DevScore:
    """Return the scores of logits (reports, labels); ``columns`` are the labels that count, by label set.

    Labels that are not known are left out of everything: the network may say of them what it likes.
    """
    known = np.stack([r.known for r in reports]) > 0
    gold = (np.stack([r.labels for r in reports]) > 0.5) & known
    micro, thresholds = {}, {}
    for name, chosen in columns.items():
        best = (0.0, 0.0)
        for threshold in np.linspace(-2.0, 2.0, 41):
            said = (logits[:, chosen] > threshold) & known[:, chosen]
            hits = int((said & gold[:, chosen]).sum())
            f1 = 2 * hits / max(int(said.sum() + gold[:, chosen].sum()), 1)
            best = max(best, (f1, -abs(float(threshold))))
            if best[0] == f1 and best[1] == -abs(float(threshold)):
                thresholds[name] = float(threshold)
        micro[name] = best[0]
    losses = np.where(known, np.logaddexp(0.0, np.where(gold, -1.0, 1.0) * logits), 0.0)
    loss = float(losses[:, sorted({i for c in columns.values() for i in c})].sum() / len(reports))
    return DevScore(micro, thresholds, loss)
