"""Backbones: what gives dense maps of a picture. EfficientNet-Lite0, those of transformers, and a tiny one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.vision.errors import BackboneUnavailable

EFFICIENTNET, TINY = "efficientnet_lite0", "tiny"


class Backbone(nn.Module):
    """What gives dense maps, in two halves: a trunk that may stay as it is, and a tail that learns.

    ``channels`` and ``strides`` are those of the maps, finest first. The trunk's features can be kept and used again;
    without anything frozen it hands its input on.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    is_frozen = False

    def trunk(self, x: Tensor) -> Tensor:
        """Return what the tail needs of pictures (batch, 1, height, width) in [0, 1]."""
        return x

    def tail(self, x: Tensor) -> list[Tensor]:
        """Return the maps (batch, channels, h, w) from what the trunk gave."""
        raise NotImplementedError

    def tail_parameters(self) -> list[nn.Parameter]:
        """Return what learns."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of pictures (batch, 1, height, width) in [0, 1], each (batch, channels, h, w)."""
        return self.tail(self.trunk(x))


class TinyBackbone(Backbone):
    """A few plain convolutions: for tests, phantoms, and tasks with little in them (strides 2, 4, 8)."""

    channels = (16, 24, 32)
    strides = (2, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *self.channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after in zip(inputs, self.channels, strict=True)
        )

    def tail(self, x: Tensor) -> list[Tensor]:
        """Return the maps."""
        maps = []
        x = (x - 0.5) * 2
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class HuggingFaceBackbone(Backbone):
    """A backbone of transformers from a folder: ConvNeXt V2, ResNet, or what else `AutoBackbone` knows."""

    #: Means and deviations of ImageNet, to which these models were trained.
    _MEAN = (0.485, 0.456, 0.406)
    _DEVIATION = (0.229, 0.224, 0.225)

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Any, *, folder: Path | None = None) -> None:
        super().__init__()
        from transformers import AutoBackbone

        stages = len(config.stage_names) - 1
        config.out_indices = list(range(max(1, stages - 3), stages + 1))
        self.config = config
        auto: Any = AutoBackbone
        self.model = auto.from_config(config)
        if folder is not None:
            # The class itself reads the folder: `AutoBackbone.from_pretrained` would ask the hub for it first.
            self.model = type(self.model).from_pretrained(str(folder), config=config, local_files_only=True)
        self.channels = tuple(int(width) for width in self.model.channels)
        self.register_buffer("mean", torch.tensor(self._MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(self._DEVIATION).view(1, 3, 1, 1), persistent=False)
        with torch.no_grad():
            side = 128
            was_training = self.model.training
            self.model.eval()
            maps = self.model(torch.zeros(1, 3, side, side)).feature_maps
            self.model.train(was_training)
        self.strides = tuple(side // int(found.shape[-1]) for found in maps)

    def tail(self, x: Tensor) -> list[Tensor]:
        """Return the maps."""
        return list(self.model((x - self.mean) / self.deviation).feature_maps)


def make_backbone(
    name: str,
    *,
    blocks: int = 16,
    frozen: int = 0,
    pooled: bool = False,
    pretrained: bool = True,
    config: dict[str, Any] | None = None,
) -> Backbone:
    """Return a backbone.

    Parameters
    ----------
    name
        ``efficientnet_lite0``, ``tiny``, or the folder of a model that transformers' `AutoBackbone` reads.
    blocks, frozen, pooled
        Of ``efficientnet_lite0`` alone: see there.
    pretrained
        Whether to start from given weights; without, the weights are random (they are loaded from elsewhere).
    config
        The configuration of a transformers model, as a model folder keeps it; then no folder is read.

    Raises
    ------
    BackboneUnavailable
        The weights' package is not installed, the folder holds no backbone, or it has no blocks to freeze.
    """
    if name == EFFICIENTNET:
        from models.vision.training.efficientnet import EfficientNetLite0

        make = EfficientNetLite0.pretrained if pretrained else EfficientNetLite0
        return make(blocks, frozen, pooled=pooled)
    if frozen:
        raise BackboneUnavailable(f"frozen: only {EFFICIENTNET} has blocks to freeze")
    if name == TINY:
        return TinyBackbone()
    from transformers import AutoConfig

    if config is not None:
        given = dict(config)
        return HuggingFaceBackbone(AutoConfig.for_model(given.pop("model_type"), **given))
    folder = Path(name)
    if not folder.is_dir():
        raise BackboneUnavailable(f"backbone {name!r}: neither {EFFICIENTNET}, {TINY} nor a folder on this machine")
    try:
        loaded = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        return HuggingFaceBackbone(loaded, folder=folder if pretrained else None)
    except (OSError, ValueError, AttributeError) as error:
        raise BackboneUnavailable(f"{folder.name}: holds no backbone that transformers can read") from error
