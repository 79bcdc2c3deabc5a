"""Examples as tensors: sentences of like length together, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.text.training.examples import ReportExample, SentenceExample

# A batch is cut where padding would cost more than another pass through the network.
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class SentenceBatch:
    """Sentences padded to one length. ``ids``, ``mask``, ``is_text`` are (batch, tokens); the rest says what the start
    tokens should give: ``row`` and ``token`` (starts,) place them, ``end`` (starts,) is where the span ends, ``values``
    (starts, 5), ``flags`` (starts, 4), ``concepts`` and ``places`` (pairs, 2) as in `Targets`, with rows of starts.
    """

    ids: Tensor
    mask: Tensor
    is_text: Tensor
    row: Tensor
    token: Tensor
    end: Tensor
    values: Tensor
    flags: Tensor
    concepts: Tensor
    places: Tensor

    def to(self, device: torch.device) -> SentenceBatch:
        """Return the batch on a device."""
        return SentenceBatch(*(getattr(self, name).to(device) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training: groups of sentences, and which of the sentences, in their order, each report holds.

    ``sentence`` and ``report`` (links,) are pairs of rows; ``labels`` and ``known`` (reports, labels).
    """

    groups: tuple[SentenceBatch, ...]
    sentence: Tensor
    report: Tensor
    labels: Tensor
    known: Tensor


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Return indices in groups of like length, every group sorted, the shortest first."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    groups: list[list[int]] = []
    shortest = 0
    for i in order:
        if not groups or lengths[i] > max(shortest * _GROWTH, shortest + 5):
            groups.append([])
            shortest = lengths[i]
        groups[-1].append(i)
    return groups


def collate(examples: Sequence[SentenceExample], pad_id: int) -> SentenceBatch:
    """Return sentences as one padded batch."""
    width = max(len(e.pieces.ids) for e in examples)
    ids = np.full((len(examples), width), pad_id, dtype=np.int64)
    is_text = np.zeros((len(examples), width), dtype=bool)
    mask = np.zeros((len(examples), width), dtype=np.int64)
    n_starts = 0
    rows, concepts, places = [], [], []
    for i, example in enumerate(examples):
        n = len(example.pieces.ids)
        ids[i, :n] = example.pieces.ids
        mask[i, :n] = 1
        is_text[i, example.pieces.first : n - 1] = True
        targets = example.targets
        rows += [i] * len(targets.starts)
        shift = np.array([n_starts, 0], dtype=np.int64)
        concepts.append(targets.concepts + shift)
        places.append(targets.places + shift)
        n_starts += len(targets.starts)
    all_targets = [e.targets for e in examples]
    return SentenceBatch(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(is_text),
        torch.tensor(rows, dtype=torch.int64),
        _joined([t.starts for t in all_targets]),
        _joined([t.ends for t in all_targets]),
        _joined([t.values for t in all_targets]),
        _joined([t.flags for t in all_targets]),
        _joined(concepts),
        _joined(places),
    )


def _joined(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.int64))


def make_step(
    sentences: Sequence[SentenceExample],
    reports: Sequence[ReportExample],
    extra: Sequence[SentenceExample],
    pad_id: int,
) -> Step:
    """Return the step over ``reports``, whose indices point into ``sentences``, and ``extra`` sentences without labels.

    A sentence that several reports hold is encoded once.
    """
    wanted = list(dict.fromkeys(int(i) for report in reports for i in report.sentences))
    chosen = [sentences[i] for i in wanted] + list(extra)
    groups = group_by_length([len(e.pieces.ids) for e in chosen])
    place = {chosen_index: row for row, chosen_index in enumerate(i for group in groups for i in group)}
    row_of = {sentence: place[i] for i, sentence in enumerate(wanted)}
    links = [(row_of[int(i)], n) for n, report in enumerate(reports) for i in report.sentences]
    pairs = torch.tensor(links, dtype=torch.int64).reshape(-1, 2)
    return Step(
        tuple(collate([chosen[i] for i in group], pad_id) for group in groups),
        pairs[:, 0],
        pairs[:, 1],
        torch.from_numpy(np.stack([r.labels for r in reports])),
        torch.from_numpy(np.stack([r.known for r in reports])),
    )
