"""What can be wrong with image models and what they are made from.

RadlabelError
+-- VisionError
    +-- BackboneUnavailable    the weights that a recipe starts from are not on this machine
    +-- RecipeInvalid          a recipe breaks a rule; the message names the key    (also ValueError)
    +-- DatasetUnfit           a data set lacks what a task learns from             (also ValueError)
    +-- VisionModelInvalid     a folder is no model, or its files are not its own   (also ValueError)
    +-- RunMismatch            a run's folder was begun with other options or data  (also ValueError)
    +-- OutputExists           what is to be written is there already               (also FileExistsError)
"""

from __future__ import annotations

from corpora.errors import RadlabelError


class VisionError(RadlabelError):
    """The root of the errors of image models."""


class BackboneUnavailable(VisionError):
    """The weights that a recipe starts from are not on this machine."""


class RecipeInvalid(VisionError, ValueError):
    """A recipe breaks a rule; the message names the key."""


class DatasetUnfit(VisionError, ValueError):
    """A data set lacks what a task learns from; the message says what."""


class VisionModelInvalid(VisionError, ValueError):
    """A folder holds no model of images, or a file in it is not the one it was made with."""


class RunMismatch(VisionError, ValueError):
    """A run's folder was begun with other options, another recipe or other data."""


class OutputExists(VisionError, FileExistsError):
    """What is to be written is there already, and nothing is written over."""


class SegmentationImpossible(VisionError, ValueError):
    """A DICOM image lacks what a segmentation of it needs."""
