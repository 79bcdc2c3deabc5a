"""The networks: dense finding maps, boxes, masks. All take (batch, 1, side, side) in [0, 1] and give named tensors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.vision.recipe import Classification, Detection, Segmentation
from models.vision.training.backbone import Backbone, make_backbone

#: Probability that a new head gives to everything: rare things are then not learned against a flood of false alarms.
_PRIOR = 0.1


class Dense(nn.Module):
    """A backbone and what stands on it. ``trunk`` is the frozen part, whose features may be kept."""

    #: Names of what `head` gives, in the order in which the exported graph has them.
    outputs: tuple[str, ...]

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def head(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs from the backbone's maps, finest first."""
        raise NotImplementedError

    def forward(self, x: Tensor, is_features: bool = False) -> tuple[Tensor, ...]:
        """Return the outputs of pictures, or of what the backbone's trunk gave for them."""
        return self.head(self.backbone.tail(x if is_features else self.backbone.trunk(x)))

    def groups(self, rate: float, backbone_rate: float) -> list[dict[str, Any]]:
        """Return the parameters that learn, with their rates."""
        learning = self.backbone.tail_parameters()
        known = {id(parameter) for parameter in self.backbone.parameters()}
        new = [parameter for parameter in self.parameters() if id(parameter) not in known]
        groups: list[dict[str, Any]] = [{"params": new, "lr": rate}]
        if backbone_rate > 0:
            groups.append({"params": learning, "lr": backbone_rate})
        return groups


class FindingMaps(Dense):
    """A logit for every finding at every place, pooled to one logit for the picture.

    Gives ``logits`` (batch, labels) and ``maps`` (batch, labels, h, w), before the sigmoid. The features are scaled
    by their ``center`` and ``spread`` (channels), over the mean features of training pictures: `standardise` sets them.
    """

    center: Tensor
    spread: Tensor

    outputs = ("logits", "maps")

    def __init__(self, backbone: Backbone, labels: int, recipe: Classification) -> None:
        super().__init__(backbone)
        self.pooling, self.sharpness = recipe.pooling, recipe.sharpness
        self.dropout = nn.Dropout(recipe.dropout)
        self.scales = len(backbone.channels) if recipe.all_scales else 1
        width = sum(backbone.channels[-self.scales :])
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.to_maps = nn.Conv2d(width, labels, 1)
        nn.init.zeros_(self.to_maps.weight)
        nn.init.zeros_(self.to_maps.bias)  # type: ignore[arg-type]  # it has one
        self.to_attention = nn.Conv2d(width, labels, 1) if recipe.pooling == "attention" else None

    def head(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Return pooled logits and the maps they come from."""
        features = (self.features(maps) - self.center[:, None, None]) / self.spread[:, None, None]
        features = self.dropout(features)
        found = self.to_maps(features)  # (batch, labels, h, w)
        flat = found.flatten(2)
        if self.to_attention is not None:
            pooled = (self.to_attention(features).flatten(2).softmax(-1) * flat).sum(-1)
        elif self.pooling == "mean":
            pooled = flat.mean(-1)
        else:
            pooled = log_mean_exp(flat, self.sharpness)
        return pooled, found

    def features(self, maps: list[Tensor]) -> Tensor:
        """Return the maps as one (batch, channels, h, w), the finer ones averaged down to the coarsest."""
        used = maps[-self.scales :]
        side = int(used[-1].shape[-1])
        windows = [round(int(found.shape[-1]) / side) for found in used]
        return torch.cat(
            [
                functional.avg_pool2d(found, window) if window > 1 else found
                for found, window in zip(used, windows, strict=True)
            ],
            1,
        )

    @torch.no_grad()
    def standardise(self, means: Tensor) -> None:
        """Set centre and spread from the mean features of training pictures (pictures, channels)."""
        self.center.copy_(means.mean(0))
        self.spread.copy_(means.std(0).clamp(min=1e-3))

    def penalty(self) -> Tensor:
        """Return the sum of the squares of the weights of the maps."""
        return self.to_maps.weight.square().sum()


def log_mean_exp(values: Tensor, sharpness: float, inside: Tensor | None = None) -> Tensor:
    """Return the soft maximum over the last axis (Pinheiro & Collobert 2015, arXiv:1411.6228, equation 4).

    ``inside`` (true where a value counts; of the same shape) leaves the others out; a row without any gives -inf.
    """
    scaled = values * sharpness
    if inside is None:
        return (torch.logsumexp(scaled, -1) - math.log(values.shape[-1])) / sharpness
    scaled = scaled.masked_fill(~inside, -math.inf)
    return (torch.logsumexp(scaled, -1) - inside.sum(-1).clamp(min=1).log()) / sharpness


class _Fused(nn.Module):
    """The maps of a backbone brought to the finest one (a feature pyramid, Lin et al. 2017, arXiv:1612.03144)."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.sideways = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for _ in channels
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor = self.smooth[-1](self.sideways[-1](maps[-1]))
        for index in range(len(maps) - 2, -1, -1):
            finer = self.sideways[index](maps[index])
            x = functional.interpolate(x, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[index](x + finer)
        return x


class BoxMaps(Dense):
    """Boxes as a dense map: at every place whether it is the middle of a box, and how far the box's sides are.

    The form of FCOS (Tian et al. 2019, arXiv:1904.01355) with one level. Gives ``centres`` (batch, labels, h, w; before
    the sigmoid) and ``sides`` (batch, labels, 4, h, w): distances left, top, right, bottom in fractions of the picture.
    """

    outputs = ("centres", "sides")

    def __init__(self, backbone: Backbone, labels: int, recipe: Detection) -> None:
        super().__init__(backbone)
        self.labels = labels
        self.fused = _Fused(backbone.channels, recipe.width)
        self.to_centres = nn.Conv2d(recipe.width, labels, 3, padding=1)
        self.to_sides = nn.Conv2d(recipe.width, labels * 4, 3, padding=1)
        nn.init.constant_(self.to_centres.bias, math.log(_PRIOR / (1 - _PRIOR)))  # type: ignore[arg-type]
        nn.init.constant_(self.to_sides.bias, math.log(0.2))  # type: ignore[arg-type]

    def head(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Return centre logits and distances."""
        x = self.fused(maps)
        centres = self.to_centres(x)
        sides = self.to_sides(x).clamp(-8, 1).exp()
        return centres, sides.unflatten(1, (self.labels, 4))


class MaskMaps(Dense):
    """Masks: a logit for each class at every pixel of the picture. Gives ``masks`` (batch, classes, side, side)."""

    outputs = ("masks",)

    def __init__(self, backbone: Backbone, classes: int, recipe: Segmentation) -> None:
        super().__init__(backbone)
        self.fused = _Fused(backbone.channels, recipe.width)
        self.to_masks = nn.Conv2d(recipe.width, classes, 1)
        self.side = recipe.image_size

    def head(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the mask logits at the size of the picture."""
        coarse = self.to_masks(self.fused(maps))
        size = (self.side, self.side)
        return (functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False),)


def make_network(recipe: Classification | Detection | Segmentation, labels: int, *, pretrained: bool = True) -> Dense:
    """Return the network of a recipe with a backbone."""
    backbone = make_backbone(
        recipe.backbone,
        blocks=recipe.blocks,
        frozen=recipe.frozen,
        pooled=not isinstance(recipe, Segmentation),  # findings and boxes need no fine maps
        pretrained=pretrained,
    )
    if isinstance(recipe, Classification):
        return FindingMaps(backbone, labels, recipe)
    if isinstance(recipe, Detection):
        return BoxMaps(backbone, labels, recipe)
    return MaskMaps(backbone, labels, recipe)
