"""The recipe of a data set: everything a build can be told, as a YAML file. Same inputs and recipe, same bytes.

Every key has a default but ``reports`` and ``images``; docs/datasets.md lists them. A path is relative to the recipe's
folder. What a command is told by an option takes the place of what the recipe says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from corpora.linking.outcomes import SeveralStudies, Versions
from corpora.linking.settings import DEFAULT_MAX_DAYS_APART, LinkSettings
from corpora.sources import SOURCES
from corpora.weak_labels.duplicates import NEAR_DISTANCE
from corpora.weak_labels.filters import ImageFilter, PixelFilter
from corpora.weak_labels.policies import LabelPolicy, Treatment, WeakLabelPolicy
from corpora.weak_labels.splits import Grouping
from corpora.weak_labels.views import ViewKind

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
#: Other words for the splits, in fixed lists and manifests.
SPLIT_WORDS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
MAX_IMAGE_SIZE = 8192
#: Without a word of the recipe: what nobody mentions counts as absent, as those do who train on CheXpert's labels; with
#: nothing but what reports deny as negatives, most labels would have hardly any.
USUAL_POLICY = LabelPolicy(not_mentioned=Treatment.ZEROS)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Reading(_Part):
    """How reports are read: `corpora.iter_records`."""

    format: str | None = None
    columns: Mapping[str, str] = {}
    encoding: str | None = None

    @field_validator("format")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in SOURCES:
            raise ValueError(f"is none of {', '.join(sorted(SOURCES))}")
        return value


class Labelling(_Part):
    """Where labels come from: rows that were made before (``rows``), a CSV in CheXpert's form (``chexpert``, which
    names the images too), or the reader of reports.

    ``abstain`` is a band of probability: labels within it are masked under every policy. ``corrections`` are values
    that people gave in place of those that were read (`radlabel review export`).
    """

    label_set: str = "chexpert14"
    rows: Path | None = None
    chexpert: Path | None = None
    corrections: Path | None = None
    vocabulary: tuple[Path, ...] = ()
    reader: Literal["encoder", "rules"] = "encoder"
    model: Path | None = None
    abstain: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Labelling:
        if self.abstain is not None and not 0 <= self.abstain[0] < self.abstain[1] <= 1:
            raise ValueError("abstain needs two probabilities, the lower one first")
        if self.model is not None and self.reader == "rules":
            raise ValueError("the rules read without a model")
        if self.rows is not None and self.chexpert is not None:
            raise ValueError("labels come from rows or from a CheXpert CSV, not from both")
        if self.corrections is not None and self.chexpert is not None:
            raise ValueError("corrections are of reports, and a CheXpert CSV has none")
        return self


class Linking(_Part):
    """The rules of linking: `corpora.linking.LinkSettings`; ``max_days_apart: null`` ignores dates."""

    ignore_leading_zeros: bool = False
    ignore_patient_leading_zeros: bool = False
    use_study_instance_uid: bool = True
    patient_date_window_days: int | None = Field(default=None, ge=0, le=31)
    max_days_apart: int | None = Field(default=DEFAULT_MAX_DAYS_APART, ge=0)
    require_patient: bool = False
    versions: Versions = Versions.LATEST_FINAL
    several_studies: SeveralStudies = SeveralStudies.REPORT

    def settings(self) -> LinkSettings:
        """Return them as linking takes them."""
        return LinkSettings(**self.model_dump())


class Filter(_Part):
    """Which images go in: `corpora.weak_labels.filters`. An empty list asks nothing."""

    views: tuple[ViewKind, ...] = (ViewKind.FRONTAL,)
    keep_unknown_view: bool = False
    modalities: tuple[str, ...] = tuple(sorted(ImageFilter().modalities))
    body_parts: tuple[str, ...] = tuple(sorted(ImageFilter().body_parts))
    min_side: int | None = Field(default=ImageFilter().min_side, ge=1)
    max_aspect: float | None = Field(default=ImageFilter().max_aspect, ge=1)
    keep_multiple_frames: bool = False
    keep_burned_in: bool = True
    min_spread: float = Field(default=PixelFilter().min_spread, ge=0, le=1)
    max_saturated: float = Field(default=PixelFilter().max_saturated, ge=0, le=1)

    def of_header(self) -> ImageFilter:
        """Return what an image's row of the index must be."""
        return ImageFilter(
            views=frozenset(self.views),
            keep_unknown_view=self.keep_unknown_view,
            modalities=frozenset(name.upper() for name in self.modalities),
            body_parts=frozenset(name.upper() for name in self.body_parts),
            min_side=self.min_side,
            max_aspect=self.max_aspect,
            keep_multiple_frames=self.keep_multiple_frames,
            keep_burned_in=self.keep_burned_in,
        )

    def of_pixels(self) -> PixelFilter:
        """Return what an image's pixels must be like."""
        return PixelFilter(min_spread=self.min_spread, max_saturated=self.max_saturated)


class Picture(_Part):
    """The pictures of the data set: 8-bit greyscale PNG, the longest side ``size`` pixels at most, never enlarged."""

    size: int = Field(default=1024, ge=32, le=MAX_IMAGE_SIZE)


class Regions(_Part):
    """Region hints: `corpora.weak_labels.regions`. ``lung_masks``: given masks are masks of the lungs."""

    enabled: bool = True
    include_uncertain: bool = False
    include_lateral: bool = False
    lung_masks: bool = True
    table: Path | None = None


class Splitting(_Part):
    """Who goes where: `corpora.weak_labels.splits`. Keep the key with the recipe: it decides.

    ``fixed`` is a CSV with the columns ``id`` (patient or image) and ``split``; ``from_index`` honours the column
    ``split`` of the image index; ``previous`` is an earlier data set whose rows stay where they are; ``public_tests``
    says what becomes of a report or image on a public test list: its patient goes to test, or the build fails.
    """

    key: str = Field(default="radlabel", min_length=1)
    shares: Mapping[SplitName, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
    text: Grouping = Grouping.SET_ASIDE
    picture: Grouping = Grouping.SET_ASIDE
    distance: int = Field(default=NEAR_DISTANCE, ge=0, le=64)
    stratify: bool = False
    fixed: Path | None = None
    from_index: bool = False
    previous: Path | None = None
    public_tests: Literal["fail", "test", "ignore"] = "fail"

    @field_validator("shares")
    @classmethod
    def _in_order(cls, value: Mapping[SplitName, float]) -> Mapping[SplitName, float]:
        if any(share < 0 for share in value.values()) or abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError("the shares must be 0 or more and add up to 1")
        # The order is that of protection, whatever order the file has.
        return {name: value.get(name, 0.0) for name in SPLITS}


class Deidentification(_Part):
    """Whether identifiers are replaced by keyed pseudonyms, and dates shifted: `corpora.deidentification`.

    ``key_file`` holds the key; where none is named, the file beside the data set, which the first build makes.
    ``map_file`` is where the map from identifiers to pseudonyms is written, for this site's eyes alone; ``known_map``
    is a map that must agree with the key.
    """

    enabled: bool = True
    key_file: Path | None = None
    map_file: Path | None = None
    known_map: Path | None = None
    keep_sex_and_age: bool = True
    keep_manufacturer: bool = True


class Card(_Part):
    """What the card says beyond numbers, and whether it has plots, which take a second or two to draw."""

    title: str | None = None
    licence: str = "not stated"
    images_licence: str = "not stated"
    reports_licence: str = "not stated"
    source: str = "not stated"
    citation: str = "not stated"
    contact: str = "not stated"
    intended_use: str = "research; not for clinical use"
    plots: bool = True


class Recipe(_Part):
    """A whole recipe. Paths are as given, joined to the folder of the recipe's file."""

    name: str = Field(default="dataset", min_length=1, max_length=100)
    reports: tuple[Path, ...] = ()
    images: str | None = None
    boxes: Path | None = None
    masks: Path | None = None
    reading: Reading = Reading()
    labels: Labelling = Labelling()
    link: Linking = Linking()
    policy: WeakLabelPolicy = WeakLabelPolicy(default=USUAL_POLICY)
    filter: Filter = Filter()
    image: Picture = Picture()
    regions: Regions = Regions()
    splits: Splitting = Splitting()
    deidentify: Deidentification = Deidentification()
    card: Card = Card()

    @field_validator("reports", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    def as_used(self) -> dict[str, Any]:
        """Return the recipe as plain data for ``dataset.json``: paths are file names, where they lie is not told."""
        plain: dict[str, Any] = _named(self.model_dump(mode="json"), self.model_dump())
        if self.images is not None:
            plain["images"] = "a DICOMweb server" if is_url(self.images) else Path(self.images).name
        return plain


def is_url(images: str) -> bool:
    """Return whether images lie on a server."""
    return images.lower().startswith(("http://", "https://"))


def _named(plain: Any, typed: Any) -> Any:
    if isinstance(typed, Path):
        return typed.name
    if isinstance(typed, dict):
        return {str(key): _named(plain[key], value) for key, value in typed.items()}
    if isinstance(typed, list | tuple):
        return [_named(one, value) for one, value in zip(plain, typed, strict=True)]
    return plain
