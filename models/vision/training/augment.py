"""Pictures altered at random, and masks altered with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.vision.recipe import Augmentation


def draw_moves(count: int, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return so many random moves (count, 2, 3), as `torch.nn.functional.affine_grid` takes them."""

    def either_way(largest: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * largest

    angle, scale = either_way(math.radians(how.rotation)), 1 + either_way(how.scale)
    right, down = either_way(2 * how.shift), either_way(2 * how.shift)  # the grid runs from -1 to 1
    mirror = torch.ones(count)
    if how.flip:
        mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    first = torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), right], 1)
    second = torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), down], 1)
    return torch.stack([first, second], 1)


def unmoved(count: int, *, mirrored: bool = False) -> Tensor:
    """Return moves (count, 2, 3) that leave pictures as they are, or only mirror them."""
    one = torch.tensor([[-1.0 if mirrored else 1.0, 0, 0], [0, 1.0, 0]])
    return one.expand(count, 2, 3).clone()


def move(planes: Tensor, moves: Tensor) -> Tensor:
    """Return planes (batch, channels, height, width) moved; what comes in from outside is 0."""
    grid = functional.affine_grid(moves.to(planes), list(planes.shape), align_corners=False)
    return functional.grid_sample(planes, grid, align_corners=False, padding_mode="zeros")


def shade(pictures: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return pictures in [0, 1] with another gamma and contrast each."""
    count = len(pictures)
    gamma = torch.exp((torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1) * how.gamma).to(pictures)
    contrast = 1 + ((torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1) * how.contrast).to(pictures)
    return ((pictures.clamp(1e-4, 1) ** gamma - 0.5) * contrast + 0.5).clamp(0, 1)
