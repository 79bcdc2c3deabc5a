"""Data sets: reports and images become a folder that a vision model can be trained on (docs/datasets.md)."""

from corpora.dataset.builder import BuildInputs, Stage, build_dataset
from corpora.dataset.errors import (
    BuildMismatch,
    DatasetExists,
    DatasetInvalid,
    DatasetUnwritable,
    NothingToBuild,
    RecipeInvalid,
    SourcesMissing,
)
from corpora.dataset.folder import DatasetFolder, DatasetInfo, open_dataset
from corpora.dataset.recipe import Recipe
from corpora.dataset.recipe_file import load_recipe, recipe_from

__all__ = [
    "BuildInputs",
    "BuildMismatch",
    "DatasetExists",
    "DatasetFolder",
    "DatasetInfo",
    "DatasetInvalid",
    "DatasetUnwritable",
    "NothingToBuild",
    "Recipe",
    "RecipeInvalid",
    "SourcesMissing",
    "Stage",
    "build_dataset",
    "load_recipe",
    "open_dataset",
    "recipe_from",
]
