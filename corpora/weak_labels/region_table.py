"""The table of regions, read from YAML and checked: shapes of places and of findings, and the default thorax."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from corpora.vocabulary.load import Vocabulary
from corpora.weak_labels.errors import RegionsInvalid
from corpora.weak_labels.shapes import Box, Point

Quad = tuple[float, float, float, float]


def _points_of(raw: object) -> object:
    """Return a box on paper as its four corners; whatever else comes is left to the type to refuse."""
    if isinstance(raw, list | tuple) and len(raw) == 4 and all(isinstance(number, float | int) for number in raw):
        u_min, v_min, u_max, v_max = (float(number) for number in raw)
        if not (u_min < u_max and v_min < v_max):
            raise ValueError("a box needs u_min < u_max and v_min < v_max")
        return ((u_min, v_min), (u_max, v_min), (u_max, v_max), (u_min, v_max))
    return raw


def _checked(points: tuple[Point, ...]) -> tuple[Point, ...]:
    if len(points) < 3:
        raise ValueError("a polygon needs at least three points")
    if not all(0 <= number <= 1 for point in points for number in point):
        raise ValueError("every number of a shape lies in [0, 1]")
    return points


#: Four numbers or a list of points on paper, points in memory.
Shape = Annotated[tuple[Point, ...], BeforeValidator(_points_of), AfterValidator(_checked)]


class Region(BaseModel):
    """Where to look: a shape in a frame, the side where the name implies one, other shapes by severity."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    frame: Literal["lung", "thorax"]
    shape: Shape
    side: Literal["left", "right"] | None = None
    by_severity: Mapping[str, Shape] = {}

    def points(self, severity: str | None) -> tuple[Point, ...]:
        """Return the polygon for a severity, in the region's frame."""
        return self.by_severity.get(severity or "", self.shape)


class _ThoraxDefault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    right: Quad
    left: Quad
    lateral: Quad


class RegionTable(BaseModel):
    """The regions of places and of concepts, by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    thorax_default: _ThoraxDefault
    places: Mapping[str, Region]
    concepts: Mapping[str, Region] = {}

    def default_box(self, which: Literal["right", "left", "lateral"]) -> Box:
        """Return a box of the default thorax, in the usual orientation."""
        return Box(*getattr(self.thorax_default, which))


def load_regions(vocabulary: Vocabulary, path: Path | None = None) -> RegionTable:
    """Return the packaged table of regions, or the one in a file, checked against the vocabulary.

    Raises
    ------
    RegionsInvalid
        The file cannot be read, breaks a rule, or names a place, concept or severity the vocabulary does not have.
    """
    if path is None:
        table = _packaged()
        name = "regions.yaml"
    else:
        name = path.name
        try:
            table = _parse(path.read_text("utf-8-sig"), name)
        except UnicodeDecodeError:
            raise RegionsInvalid(f"{name}: a table of regions must be UTF-8 text") from None
        except OSError as error:
            raise RegionsInvalid(f"{name}: cannot be read ({error.strerror or type(error).__name__})") from None
    severities = {value.id for value in vocabulary.attributes.severity}
    for kind, entries, known in (
        ("place", table.places, vocabulary.anatomy),
        ("concept", table.concepts, vocabulary.findings),
    ):
        for entry_id, region in entries.items():
            if entry_id not in known:
                raise RegionsInvalid(f"{name}: {kind} {entry_id!r} is not in the vocabulary")
            for severity in region.by_severity:
                if severity not in severities:
                    raise RegionsInvalid(f"{name}: {kind} {entry_id!r}: severity {severity!r} is not in the vocabulary")
    return table


@lru_cache(maxsize=1)
def _packaged() -> RegionTable:
    text = (files("corpora.weak_labels") / "data" / "regions.yaml").read_text("utf-8")
    return _parse(text, "regions.yaml")


def _parse(text: str, name: str) -> RegionTable:
    try:
        table = RegionTable.model_validate(yaml.safe_load(text))
        for which in ("right", "left", "lateral"):
            Box(*getattr(table.thorax_default, which))
    except yaml.YAMLError as error:
        raise RegionsInvalid(f"{name}: no valid YAML ({type(error).__name__})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = " > ".join(str(step) for step in problem["loc"])
        raise RegionsInvalid(f"{name}: {where}: {problem['msg'].removeprefix('Value error, ')}") from None
    except RegionsInvalid as error:
        raise RegionsInvalid(f"{name}: thorax_default: {error}") from None
    return table
