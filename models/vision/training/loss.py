"""What each task learns from: masked study labels, region hints, boxes, masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.vision.training.network import log_mean_exp

#: Towards the maximum: one bright place outside a hint is one too many.
_HINT_SHARPNESS = 5.0


def study_label_loss(logits: Tensor, targets: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the labels that are known; 0 where none is.

    ``logits``, ``targets`` (in [0, 1]) and ``known`` have the shape (batch, labels). An unknown label costs nothing,
    whatever its target holds. ``weights`` (labels) is how much a positive row weighs against a negative one.
    """
    filled = torch.where(known, targets, torch.zeros_like(targets))
    each = functional.binary_cross_entropy_with_logits(logits, filled, pos_weight=weights, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def region_hint_loss(maps: Tensor, inside: Tensor, hinted: Tensor) -> Tensor:
    """Return how far maps are from lighting up where reports say, and only there; 0 without a hint.

    ``maps`` are logits (batch, labels, h, w), ``inside`` is true within the hinted region (same shape), ``hinted``
    (batch, labels) says where there is a hint. The soft maximum inside should be high, that outside low: multiple
    instance learning with the region as the bag.
    """
    if not bool(hinted.any()):
        return maps.sum() * 0
    flat, within = maps[hinted].flatten(1), inside[hinted].flatten(1)  # (hints, h * w)
    has_outside = ~within.all(1)
    loss = functional.softplus(-log_mean_exp(flat, _HINT_SHARPNESS, within)).mean()
    if bool(has_outside.any()):
        loss = loss + functional.softplus(log_mean_exp(flat[has_outside], _HINT_SHARPNESS, ~within[has_outside])).mean()
    return loss


def box_loss(centres: Tensor, sides: Tensor, boxes: Tensor, given: Tensor) -> Tensor:
    """Return the loss of centre logits and distances against one box at most for each picture and label.

    ``centres`` (batch, labels, h, w), ``sides`` (batch, labels, 4, h, w), ``boxes`` (batch, labels, 4) as x0, y0, x1,
    y1 in fractions, ``given`` (batch, labels). The places in the middle half of a box are its middle; there the
    distances are learned by generalised IoU (Rezatofighi et al. 2019, arXiv:1902.09630).
    """
    height, width = centres.shape[-2:]
    across = ((torch.arange(width, device=centres.device) + 0.5) / width).view(1, 1, 1, width)
    down = ((torch.arange(height, device=centres.device) + 0.5) / height).view(1, 1, height, 1)
    x0, y0, x1, y1 = (boxes[..., index, None, None] for index in range(4))  # (batch, labels, 1, 1)
    quarter_x, quarter_y = (x1 - x0) / 4, (y1 - y0) / 4
    middle = (
        (across >= x0 + quarter_x) & (across <= x1 - quarter_x) & (down >= y0 + quarter_y) & (down <= y1 - quarter_y)
    )
    middle = middle & given[..., None, None]
    loss = functional.binary_cross_entropy_with_logits(centres, middle.to(centres))
    if not bool(middle.any()):
        return loss
    left, top, right, bottom = sides.unbind(2)
    found = torch.stack([across - left, down - top, across + right, down + bottom], -1)[middle]  # (places, 4)
    wanted = boxes[:, :, None, None, :].expand(*middle.shape, 4)[middle]
    return loss + (1 - generalised_iou(found, wanted)).mean()


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU in [-1, 1] of boxes (n, 4) with boxes (n, 4)."""
    area = (first[:, 2:] - first[:, :2]).clamp(min=0).prod(1), (second[:, 2:] - second[:, :2]).prod(1)
    shared = (
        (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0).prod(1)
    )
    around = (torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])).prod(1)
    union = area[0] + area[1] - shared
    return shared / union.clamp(min=1e-9) - (around - union) / around.clamp(min=1e-9)


def mask_loss(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return cross entropy plus the soft Dice loss (Milletari et al. 2016, arXiv:1606.04797) of mask logits.

    ``logits`` and ``masks`` (0 or 1) have the shape (batch, classes, height, width); ``weights`` (the same shape)
    leaves out pixels of which nothing is known.
    """
    weights = torch.ones_like(masks) if weights is None else weights
    entropy = functional.binary_cross_entropy_with_logits(logits, masks, weight=weights, reduction="sum")
    found = logits.sigmoid() * weights
    truth = masks * weights
    shared = (found * truth).sum((2, 3))
    dice = (2 * shared + 1) / (found.sum((2, 3)) + truth.sum((2, 3)) + 1)
    return entropy / weights.sum().clamp(min=1) + (1 - dice).mean()
