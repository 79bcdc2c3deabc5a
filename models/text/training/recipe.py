"""A training run as one typed value, read from YAML: unknown keys are errors, and the run's folder keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpora.errors import RadlabelError


class RecipeInvalid(RadlabelError, ValueError):
    """A recipe breaks a rule; the message names the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Base(_Strict):
    """Where the weights start: the first ``layers`` layers of a BERT, with the field's word pieces."""

    layers: int = Field(default=3, ge=1, le=24)
    word_pieces: int = Field(default=10_000, ge=1_000)


class Synthetic(_Strict):
    """How many made-up sentences there are to draw from: of the grammar, of the teacher's cues, and real ones with a
    finding exchanged.
    """

    grammar: int = Field(default=100_000, ge=0)
    cues: int = Field(default=60_000, ge=0)
    substituted: int = Field(default=40_000, ge=0)
    corrupted: float = Field(
        default=0.3, ge=0, le=1, description="share that gets typos, capitals, telegraphic style, ..."
    )


class Stage(_Strict):
    """One stage: whose labels the reports have, and how it is learned."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    labels: Literal["teacher", "given"]
    epochs: float = Field(gt=0, description="passes over the reports")
    reports: int = Field(default=16, ge=1, description="reports a step")
    synthetic: int = Field(default=0, ge=0, description="made-up sentences a step")
    encoder_rate: float = Field(default=1.5e-4, gt=0)
    head_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the rates rise")
    average: float = Field(default=0.995, ge=0, lt=1, description="decay of the moving average of the weights")
    masked: float = Field(default=0.05, ge=0, lt=1, description="share of the pieces hidden")
    token_weight: float = Field(default=1.0, ge=0, description="weight of the token head against the study labels")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    evaluations: int = Field(default=4, ge=1, description="how often the development reports are read")


class Recipe(_Strict):
    """All that decides a training run besides its data."""

    seed: int = Field(default=1, ge=0)
    label_sets: tuple[str, ...] = ("nih14", "openi")
    base: Base = Base()
    synthetic: Synthetic = Synthetic()
    stages: tuple[Stage, ...]


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a YAML file.

    Raises:
        RecipeInvalid: the file cannot be read, or a key is unknown or out of range.
    """
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path.name}: cannot be read ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise RecipeInvalid(f"{path.name}: is no valid YAML") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeInvalid(f"{path.name}: {where or 'recipe'}: {first['msg']}") from None
