"""What can go wrong with linking as a whole, as a branch of the tree in `corpora.errors`.

RadlabelError
+-- ImageIndexInvalid   the image index lacks what linking needs, or is none        (also ValueError)
+-- LinkOutputUnusable  the output folder is there already, or cannot be written    (also OSError)
+-- LinkSettingsInvalid a setting has no meaning                                    (also ValueError)
+-- ImagesExtraMissing  the packages of the extra named images are not installed    (also ImportError)

No message holds an identifier.
"""

from __future__ import annotations

from importlib.util import find_spec

from corpora.errors import RadlabelError


class ImageIndexInvalid(RadlabelError, ValueError):
    """The image index lacks a column that linking needs, or is no Parquet file; the message names it."""


class LabelRowsInvalid(RadlabelError, ValueError):
    """The label rows to join are no Parquet file of `radlabel label`, or have several rows for one report id."""


class LinkOutputUnusable(RadlabelError, OSError):
    """The output folder holds something already, or cannot be written."""


class LinkSettingsInvalid(RadlabelError, ValueError):
    """A setting of linking has no meaning; the message names it."""


class LinkingFailed(RadlabelError, RuntimeError):
    """The database gave up on a statement: a value of the index that is not of its column's kind, or a fault."""


class ImagesExtraMissing(RadlabelError, ImportError):
    """Linking needs a package of the extra named images that is not installed."""


def require_duckdb() -> None:
    """Raise `ImagesExtraMissing` unless DuckDB is installed."""
    if find_spec("duckdb") is None:
        raise ImagesExtraMissing("linking reports and images needs duckdb: pip install 'radlabel[images]'")
