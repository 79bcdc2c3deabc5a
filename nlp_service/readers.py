"""What can read sentences, and on what; apart from the readers, so that a command's help does not load them."""

from __future__ import annotations

from enum import StrEnum


class ReaderKind(StrEnum):
    """What reads the sentences."""

    ENCODER = "encoder"  # the transformer encoder: the model that comes with the package, or one of the user's
    RULES = "rules"  # the rule teacher it learned from


class Device(StrEnum):
    """What the encoder runs on."""

    AUTO = "auto"  # a GPU where one can be used
    CPU = "cpu"
    CUDA = "cuda"


DEFAULT_READER = ReaderKind.ENCODER
