"""A model of images as a folder that describes itself.

``model.onnx`` (what serves), ``model.safetensors`` (to train on from), ``radlabel_vision.json`` (task, labels, recipe,
calibration, digests of the other files, what it was made from), ``metrics.json``, ``curves.png`` and ``README.md``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpora.fetch import file_sha256
from models.vision.calibration import Calibration
from models.vision.errors import VisionModelInvalid
from models.vision.recipe import Classification, Denoising, Detection, Segmentation, SuperResolution, Task

FORMAT = 1
MANIFEST, GRAPH, WEIGHTS, METRICS, CARD, CURVES = (
    "radlabel_vision.json",
    "model.onnx",
    "model.safetensors",
    "metrics.json",
    "README.md",
    "curves.png",
)


class Manifest(BaseModel):
    """What ``radlabel_vision.json`` holds. ``labels`` are findings, boxes or masks in the order of the outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: int = FORMAT
    version: str
    task: Task
    labels: tuple[str, ...]
    recipe: Classification | Detection | Segmentation | Denoising | SuperResolution = Field(discriminator="task")
    calibration: tuple[Calibration, ...] = ()
    outputs: tuple[str, ...]
    digests: dict[str, str]
    trained_on: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """Return the digest of all that answers depend on."""
        return hashlib.sha256(self.model_dump_json(exclude={"trained_on"}).encode()).hexdigest()

    @property
    def label_set(self) -> str | None:
        """Return the label set that the labels are of, if the data set had one."""
        found: str | None = self.trained_on.get("dataset", {}).get("label_set")
        return found

    @property
    def thresholds(self) -> dict[str, float]:
        """Return from which probability on each label is called present."""
        return {label: fitted.threshold for label, fitted in zip(self.labels, self.calibration, strict=True)}


def read_manifest(folder: Path, *, files: tuple[str, ...] = (GRAPH,)) -> Manifest:
    """Return the manifest of a model folder after checking the digests of ``files``.

    Raises
    ------
    VisionModelInvalid
        The folder is no model of images, is of another format, or a file is not the one that was written.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise VisionModelInvalid(f"{folder.name} is no model of images: it has no {MANIFEST}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VisionModelInvalid(f"{folder.name}/{MANIFEST}: {where}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise VisionModelInvalid(f"{folder.name}/{MANIFEST} cannot be read ({type(error).__name__})") from error
    if manifest.format != FORMAT:
        raise VisionModelInvalid(f"{folder.name}: the model has format {manifest.format}, this version reads {FORMAT}")
    for name in files:
        try:
            found = file_sha256(folder / name)
        except OSError as error:
            raise VisionModelInvalid(f"{folder.name}/{name} cannot be read ({type(error).__name__})") from error
        if found != manifest.digests.get(name):
            raise VisionModelInvalid(f"{folder.name}/{name} is not the file that the model was made with")
    return manifest
