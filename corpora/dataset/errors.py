"""What can go wrong with data sets, as a branch of the tree in `corpora.errors`.

RadlabelError
+-- RecipeInvalid        a recipe breaks a rule                                             (also ValueError)
+-- DatasetInvalid       a folder is no data set, or of a version this radlabel does not read (also ValueError)
+-- DatasetExists        an output folder, or an unfinished build of it, is there already   (also FileExistsError)
+-- DatasetUnwritable    an output folder cannot be written                                 (also OSError)
+-- BuildMismatch        what is to be resumed was begun with other inputs or another recipe (also ValueError)
+-- NothingToBuild       no image is left to make a data set of                             (also ValueError)
+-- SourcesMissing       an export needs the source images, and they are not there          (also ValueError)

No message holds an identifier or a report's text.
"""

from __future__ import annotations

from corpora.errors import RadlabelError


class RecipeInvalid(RadlabelError, ValueError):
    """A recipe breaks a rule; the message names the file and the path of the key.

    ``field`` is that path and ``reason`` what is wrong, where neither repeats a word of the recipe; else ``None``.
    """

    def __init__(self, message: str, *, field: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class DatasetInvalid(RadlabelError, ValueError):
    """A folder is no data set, was changed, or is of a version that this radlabel does not read."""


class DatasetExists(RadlabelError, FileExistsError):
    """An output folder, or an unfinished build of it, is there already; the message says which option to give."""


class DatasetUnwritable(RadlabelError, OSError):
    """An output folder cannot be written; what was there before is untouched."""


class BuildMismatch(RadlabelError, ValueError):
    """Inputs, recipe or versions are not those of the build that is to be resumed."""


class NothingToBuild(RadlabelError, ValueError):
    """No image is left to make a data set of; the message counts why."""


class SourcesMissing(RadlabelError, ValueError):
    """An export needs the images that the data set was built from, and they are not there."""
