"""One place that says what is missing when a feature needs packages that are not installed."""

from __future__ import annotations

from importlib.util import find_spec

from corpora.errors import RadlabelError

_TRAINING = ("torch", "transformers", "safetensors", "tokenizers", "onnx")


class ExtraMissing(RadlabelError, ImportError):
    """A feature needs packages of an extra that is not installed."""


def require_training(feature: str) -> None:
    """Raise `ExtraMissing` unless what training needs is installed."""
    missing = [name for name in _TRAINING if find_spec(name) is None]
    if missing:
        raise ExtraMissing(f"{feature} needs {', '.join(missing)}: pip install 'radlabel[train]'")
