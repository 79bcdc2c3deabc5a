"""A model as a folder that describes itself, in the form of a Hugging Face model.

``config.json`` (the BERT's shape), ``tokenizer.json`` and ``tokenizer_config.json`` (for `AutoTokenizer`),
``model.onnx`` (what serves), ``model-0000N-of-0000M.safetensors`` with their index (half precision, to train on from),
``radlabel.json`` (layout, calibration, digests of the other files, how it was made) and ``README.md`` (the card).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from corpora.errors import RadlabelError
from models.text.encoder.layout import Layout
from models.text.encoder.readout import LabelCalibration

FORMAT = 1
MANIFEST = "radlabel.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
CONFORMANCE = "conformance.json"


class ModelUnusable(RadlabelError, ValueError):
    """A model folder is missing, damaged, of another version, or does not read as it did when it was made."""


class Manifest(BaseModel):
    """What ``radlabel.json`` holds. ``digests`` maps the names of the folder's other files to their SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: int = FORMAT
    name: str
    version: str
    layout: Layout
    calibration: tuple[LabelCalibration, ...]
    vocabulary_digest: str
    digests: dict[str, str]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """Return the digest of all that readings depend on."""
        return hashlib.sha256(self.model_dump_json(exclude={"metrics", "training"}).encode()).hexdigest()


def shipped_model() -> Path:
    """Return the folder of the model that comes with the package."""
    return Path(str(resources.files("models").joinpath("weights", "encoder")))


def has_shipped_model() -> bool:
    """Return whether the package has its weights with it."""
    return (shipped_model() / MANIFEST).is_file()


def read_manifest(folder: Path, *, files: Sequence[str] = (GRAPH, TOKENIZER, CONFORMANCE)) -> Manifest:
    """Return the manifest of a model folder after checking the digests of ``files``.

    Raises:
        ModelUnusable: a file is missing or not the one that was written, or the folder has another format.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ModelUnusable(f"{folder} is no model folder: it has no {MANIFEST}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelUnusable(f"{path} cannot be read ({type(error).__name__})") from error
    manifest = _parse(path, text)
    for name in files:
        expected = manifest.digests.get(name)
        if expected is None:
            raise ModelUnusable(f"{folder}: {MANIFEST} lists no {name}")
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise ModelUnusable(f"{folder / name} cannot be read ({type(error).__name__})") from error
        if found != expected:
            raise ModelUnusable(f"{folder / name} is not the file that the model was made with: its digest differs")
    return manifest


def _parse(path: Path, text: str) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise ModelUnusable(f"{path}: is damaged: it is no valid JSON") from None
        if first["loc"] == ("format",) or '"format"' not in text:
            raise ModelUnusable(f"{path}: the model is of another format than {FORMAT}") from None
        where = ".".join(str(part) for part in first["loc"])
        raise ModelUnusable(f"{path}: {where}: {first['msg']}; was the model made by another version?") from None
    if manifest.format != FORMAT:
        raise ModelUnusable(f"{path}: the model has format {manifest.format}, this version reads {FORMAT}")
    return manifest


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
