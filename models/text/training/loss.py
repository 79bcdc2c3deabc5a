"""What a step costs: the token head against the readings, the study labels against codes or teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.text.encoder.layout import ASSERTIONS, NOT_OBSERVED, SPAN_SIZE
from models.text.training.batches import SentenceBatch, Step
from models.text.training.network import ReportEncoder

_VALUE_HEADS = ("assertion", "hedge", "laterality", "severity", "temporality")
_UNOBSERVED = ASSERTIONS.index(NOT_OBSERVED)


@dataclass(frozen=True, slots=True)
class Loss:
    """The parts of a step's loss; ``total`` is what is minimised."""

    total: Tensor
    tokens: float
    labels: float


def step_loss(network: ReportEncoder, step: Step, *, token_weight: float, mask_id: int, mask_share: float) -> Loss:
    """Return the loss of one step, per report for the labels and per sentence for the tokens."""
    scores = []
    token_loss = step.labels.new_zeros(())
    n_sentences = 0
    seen = []
    for batch in step.groups:
        hidden = (torch.rand(batch.ids.shape, device=batch.ids.device) < mask_share) & batch.is_text
        seen.append(batch.ids.masked_fill(hidden, mask_id))
    for batch, words in zip(step.groups, network.embed(seen), strict=True):
        states, group_scores = network(words, batch.mask)
        scores.append(group_scores)
        token_loss = token_loss + _token_loss(network, states, batch)
        n_sentences += len(batch.ids)
    token_loss = token_loss / n_sentences
    logits = network.combine(torch.cat(scores)[step.sentence], step.report, len(step.labels))
    losses = functional.binary_cross_entropy_with_logits(logits, step.labels, reduction="none") * step.known
    label_loss = losses.sum() / len(step.labels)
    total = label_loss + token_weight * token_loss
    return Loss(total, float(token_loss.detach()), float(label_loss.detach()))


def _token_loss(network: ReportEncoder, states: Tensor, batch: SentenceBatch) -> Tensor:
    """Return the summed loss of the token head over a batch; ``states`` is (batch, tokens, width)."""
    concept, ends = network.token_rows(states, "concept", "span_end")  # (batch, tokens, concepts), (.., span)
    wanted = torch.zeros_like(concept)
    start = batch.concepts[:, 0]
    wanted[batch.row[start], batch.token[start], batch.concepts[:, 1]] = 1.0
    losses = functional.binary_cross_entropy_with_logits(concept, wanted, reduction="none").sum(dim=2)
    total = (losses * batch.is_text).sum()
    if len(batch.row) == 0:
        return total
    observed = batch.values[:, 0] != _UNOBSERVED
    *values, flags, places, starts = network.token_rows(
        states[batch.row, batch.token], *_VALUE_HEADS, "flag", "place", "span_start"
    )  # (starts, ...)
    for i, rows in enumerate(values):
        each = functional.cross_entropy(rows, batch.values[:, i], reduction="none")
        total = total + (each if i == 0 else each * observed).sum()
    each = functional.binary_cross_entropy_with_logits(flags, batch.flags.float(), reduction="none").sum(dim=1)
    total = total + (each * observed).sum()
    there = torch.zeros_like(places)
    there[batch.places[:, 0], batch.places[:, 1]] = 1.0
    each = functional.binary_cross_entropy_with_logits(places, there, reduction="none").sum(dim=1)
    total = total + (each * observed).sum()
    match = (ends[batch.row] @ starts[:, :, None]).squeeze(2) / SPAN_SIZE**0.5  # (starts, tokens)
    tokens = torch.arange(match.shape[1], device=match.device)
    is_after = (tokens[None] >= batch.token[:, None]) & batch.is_text[batch.row]
    match = match.masked_fill(~is_after, float("-inf"))
    return total + functional.cross_entropy(match, batch.end, reduction="sum")
