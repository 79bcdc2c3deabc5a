"""The packages of the extra ``images``, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from corpora.errors import RadlabelError


class ImagingExtraMissing(RadlabelError, ImportError):
    """A package of the extra ``images`` is not installed."""


def need(module: str, package: str, feature: str) -> Any:
    """Return an optional module; raise `ImagingExtraMissing` that names the feature, the package and the extra."""
    try:
        return import_module(module)
    except ImportError:
        raise ImagingExtraMissing(f"{feature} needs {package}: pip install 'radlabel[images]'") from None
