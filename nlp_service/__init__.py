"""Everything that runs: the labeler, the batch run over files, the command line.

    >>> from nlp_service import Labeler

What is exported here is what users call; the rest is reached by its module. The names are loaded when they are first
asked for, so that `radlabel --help` does not wait for a reader of reports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nlp_service._version import __version__

if TYPE_CHECKING:
    from nlp_service.batch import RunSummary, label_files
    from nlp_service.labeler import Labeler, ModelInfo

__all__ = ["Labeler", "ModelInfo", "RunSummary", "__version__", "label_files"]

_MODULES = {
    "Labeler": "nlp_service.labeler",
    "ModelInfo": "nlp_service.labeler",
    "RunSummary": "nlp_service.batch",
    "label_files": "nlp_service.batch",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
