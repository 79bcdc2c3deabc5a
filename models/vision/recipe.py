"""What decides a training besides its data, as one typed value for each task, read from YAML.

Unknown keys are errors. The recipes that come with radlabel are in ``recipes/``, one for each task; a recipe of one's
own needs ``task`` and what differs from the defaults below.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.vision.errors import RecipeInvalid


class Task(StrEnum):
    """What a model of images does."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"
    DENOISING = "denoising"
    SUPER_RESOLUTION = "super_resolution"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Augmentation(_Strict):
    """How far a picture is changed at random before it is learned; 0 changes nothing."""

    rotation: float = Field(default=10, ge=0, le=45, description="degrees, either way")
    scale: float = Field(default=0.1, ge=0, lt=1, description="share, either way")
    shift: float = Field(default=0.03, ge=0, lt=0.5, description="share of the picture, either way")
    gamma: float = Field(default=0.3, ge=0, le=2, description="exponent between exp(-gamma) and exp(gamma)")
    contrast: float = Field(default=0.15, ge=0, lt=1)
    flip: bool = Field(default=True, description="mirror half of the pictures, region hints with them")


class _Trained(_Strict):
    """What every recipe has."""

    seed: int = Field(default=1, ge=0)
    epochs: int = Field(default=10, ge=1)
    batch: int = Field(default=32, ge=1)
    rate: float = Field(default=1e-3, gt=0, description="highest learning rate of the new layers")
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rates rise")
    average: float = Field(default=0.98, ge=0, lt=1, description="decay of the moving average of the weights")
    validation: float = Field(
        default=0.0, ge=0, lt=1, description="share of the training patients kept apart where no row is of validation"
    )


class _Dense(_Trained):
    """What recipes with a backbone have."""

    backbone: str = Field(default="efficientnet_lite0", description="or tiny, or a folder for AutoBackbone")
    backbone_rate: float = Field(default=1e-4, ge=0, description="highest learning rate of the backbone")
    blocks: int = Field(default=16, ge=1, le=16, description="blocks of efficientnet_lite0 that are used")
    frozen: int = Field(default=0, ge=0, description="first blocks of the backbone that stay as they are")
    image_size: int = Field(default=320, ge=32, le=2048, description="pictures are squeezed to this square")
    stretch: float = Field(
        default=0.0, ge=0, lt=0.2, description="share of pixels at either end of the greys that become black or white"
    )
    augmentation: Augmentation = Augmentation()
    keep_features: bool = Field(
        default=True, description="compute what frozen blocks give once, and keep it on the disk while training"
    )
    variants: int = Field(
        default=0, ge=0, le=64, description="altered forms of which features are kept, besides the mirrored one"
    )


class Classification(_Dense):
    """Findings from study labels and, where reports say where, region hints."""

    task: Literal[Task.CLASSIFICATION] = Task.CLASSIFICATION
    labels: tuple[str, ...] | None = Field(default=None, description="labels to learn; all that have both values")
    pooling: Literal["mean", "log_sum_exp", "attention"] = "log_sum_exp"
    sharpness: float = Field(default=2.0, gt=0, description="of log_sum_exp: towards 0 the mean, large the maximum")
    dropout: float = Field(default=0.3, ge=0, lt=1)
    all_scales: bool = Field(default=False, description="look at all maps of the backbone, not at the coarsest alone")
    standardised: bool = Field(default=False, description="scale features by their spread over training pictures")
    ridge: float = Field(default=0.0, ge=0, description="penalty on the squared weights of the maps, for each label")
    smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="targets are moved by this much from 0 and 1")
    hint_weight: float = Field(default=0.0, ge=0, description="weight of the region hints; 0 leaves them off")
    class_weights: Literal["none", "square_root", "balanced"] = "none"
    flips_in_use: bool = Field(default=True, description="average over the picture and its mirror image when used")


class Detection(_Dense):
    """Boxes given with the pictures, or pseudo-boxes: where reports say that findings are."""

    task: Literal[Task.DETECTION] = Task.DETECTION
    source: Literal["boxes", "hints"] = Field(
        default="boxes", description="boxes given with the pictures, or those of the region hints, a side each"
    )
    labels: tuple[str, ...] | None = Field(default=None, description="boxes to learn; all that the data set has")
    width: int = Field(default=64, ge=8, description="channels of the head")


class Segmentation(_Dense):
    """Lungs from given masks, or from none: dark fields, the shape of lungs around them, self-training."""

    task: Literal[Task.SEGMENTATION] = Task.SEGMENTATION
    supervision: Literal["masks", "none"] = "masks"
    width: int = Field(default=48, ge=8, description="channels of the decoder")
    rounds: int = Field(
        default=3, ge=1, le=10, description="where supervision is none: of dark fields, whole lungs, itself"
    )


class _Restoration(_Trained):
    width: int = Field(default=32, ge=4, description="channels")
    depth: int = Field(default=6, ge=1, description="residual blocks")
    patch: int = Field(default=64, ge=16, multiple_of=2, description="side of the pieces that are learned from, pixels")
    steps: int = Field(default=200, ge=1, description="steps an epoch")
    pictures: int = Field(default=400, ge=1, description="pictures that are learned from at most; they lie in memory")
    batch: int = Field(default=16, ge=1)
    average: float = Field(default=0.995, ge=0, lt=1)


class Denoising(_Restoration):
    """Low dose made good: noise is added to the user's own pictures, the clean ones are what is learned."""

    task: Literal[Task.DENOISING] = Task.DENOISING
    photons: float = Field(default=60.0, gt=0, description="quanta at full white (Poisson part)")
    electronic: float = Field(default=0.02, ge=0, description="standard deviation of the Gaussian part, of full white")


class SuperResolution(_Restoration):
    """Pictures of twice the size: the user's own, halved, are what is learned from."""

    task: Literal[Task.SUPER_RESOLUTION] = Task.SUPER_RESOLUTION
    factor: Literal[2] = 2


Recipe = Classification | Detection | Segmentation | Denoising | SuperResolution
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="task")])


def load_recipe(path: Path, task: Task | None = None) -> Recipe:
    """Return the recipe in a YAML file.

    Raises
    ------
    RecipeInvalid
        The file cannot be read, a key is unknown or out of range, or it is for another task.
    """
    try:
        given = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path.name}: cannot be read ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise RecipeInvalid(f"{path.name}: is no valid YAML") from error
    recipe = parse_recipe(given, path.name)
    if task is not None and recipe.task is not task:
        raise RecipeInvalid(f"{path.name}: is a recipe for {recipe.task}, not for {task}")
    return recipe


def parse_recipe(given: object, name: str = "recipe") -> Recipe:
    """Return the recipe that plain values state; raises `RecipeInvalid` with the key at fault."""
    try:
        return _ADAPTER.validate_python(given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise RecipeInvalid(f"{name}: {where or 'task'}: {first['msg']}") from None


def shipped_recipe(task: Task) -> Recipe:
    """Return the recipe that comes with radlabel for a task."""
    return load_recipe(Path(str(resources.files("models.vision").joinpath("recipes", f"{task}.yaml"))), task)
