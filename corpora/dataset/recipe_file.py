"""Recipes, read from YAML and checked as a whole: what is wrong is named by file and path of the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from corpora.dataset.errors import RecipeInvalid
from corpora.dataset.recipe import USUAL_POLICY, Recipe, is_url
from corpora.weak_labels.errors import PolicyInvalid
from corpora.weak_labels.policies import WeakLabelPolicy, load_policy, policy_from

_PATHS = (
    *(
        ("reports",),
        ("boxes",),
        ("masks",),
        ("labels", "rows"),
        ("labels", "chexpert"),
        ("labels", "vocabulary"),
        ("labels", "model"),
    ),
    *(("regions", "table"), ("splits", "fixed"), ("splits", "previous")),
    *(("deidentify", "key_file"), ("deidentify", "map_file"), ("deidentify", "known_map")),
)


def load_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe in a YAML file; ``changes`` (nested plain data) take the place of what it says.

    Raises
    ------
    RecipeInvalid
        The file cannot be read, is no valid YAML, has an unknown key or a bad value; the message has file and path.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        raise RecipeInvalid(f"{path.name}: a recipe must be UTF-8 text") from None
    except OSError as error:
        raise RecipeInvalid(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeInvalid(f"{path.name}{line}: no valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RecipeInvalid(f"{path.name}: no valid YAML ({type(error).__name__})") from None
    if not isinstance(raw, Mapping | None):
        raise RecipeInvalid(f"{path.name}: expected a mapping with keys such as reports, not a {type(raw).__name__}")
    return recipe_from(raw or {}, path.name, folder=path.absolute().parent, changes=changes)


def recipe_from(
    raw: Mapping[str, Any], name: str, *, folder: Path | None = None, changes: Mapping[str, Any] | None = None
) -> Recipe:
    """Return the recipe that plain data holds; ``name`` stands for it in messages. Raises as `load_recipe`.

    >>> recipe_from({"image": {"size": 512}}, "recipe.yaml").image.size
    512
    """
    data = _settled(raw, name, folder)
    for key, value in (changes or {}).items():
        old = data.get(key)
        data[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    try:
        policy = data.pop("policy", None)
        if isinstance(policy, str | Path):
            data["policy"] = _with_default(load_policy(Path(policy)))
        elif policy is not None:
            data["policy"] = _with_default(policy_from(policy, f"{name}: policy"))
        return Recipe.model_validate(data)
    except PolicyInvalid as error:
        raise RecipeInvalid(str(error)) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = " > ".join(str(step) for step in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        steps = problem["loc"]
        if problem["type"] == "extra_forbidden":
            message = f"there is no such key; {_known_keys(steps[:-1])}"
            steps = steps[:-1]
        field = " > ".join(map(str, steps)) if _is_ours(steps) else None
        raise RecipeInvalid(
            f"{name}: {where}: {message}" if where else f"{name}: {message}", field=field, reason=message
        ) from None


def _is_ours(steps: tuple[int | str, ...]) -> bool:
    """Tell whether a path is made of names of our own, and not of the recipe's (those of labels, say)."""
    models: list[type[BaseModel]] = [Recipe, *_parts()]
    names = {name for model in models for name in model.model_fields}
    return all(isinstance(step, int) or step in names for step in steps)


def _parts() -> list[type[BaseModel]]:
    kinds = [field.annotation for field in Recipe.model_fields.values()]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def path_keys(raw: Mapping[str, Any]) -> list[str]:
    """Return which of the keys that name files or folders a raw recipe has, with dots between."""
    found = []
    for *above, last in (*_PATHS, ("images",)):
        part: Any = raw
        for step in above:
            part = part.get(step) if isinstance(part, Mapping) else None
        if isinstance(part, Mapping) and part.get(last):
            found.append(".".join((*above, last)))
    return [*found, "policy"] if isinstance(raw.get("policy"), str) else found


def _with_default(policy: WeakLabelPolicy) -> WeakLabelPolicy:
    return policy if "default" in policy.model_fields_set else policy.model_copy(update={"default": USUAL_POLICY})


def _known_keys(steps: tuple[int | str, ...]) -> str:
    model: Any = Recipe
    for step in map(str, steps):
        field = model.model_fields.get(step) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = field.annotation if field is not None else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return "see docs/datasets.md"
    return f"known are {', '.join(model.model_fields)}"


def _settled(raw: Mapping[str, Any], name: str, folder: Path | None) -> dict[str, Any]:
    """Return a copy of the raw recipe whose paths do not depend on the working folder."""
    data: dict[str, Any] = {
        str(key): dict(value) if isinstance(value, Mapping) else value for key, value in raw.items()
    }
    if folder is None:
        return data
    for *above, last in _PATHS:
        part: Any = data
        for step in above:
            part = part.get(step) if isinstance(part, dict) else None
        if isinstance(part, dict) and part.get(last) is not None:
            part[last] = _below(part[last], folder)
    images = data.get("images")
    if isinstance(images, str) and not is_url(images):
        data["images"] = str(folder / images)
    if isinstance(data.get("policy"), str):
        data["policy"] = str(folder / data["policy"])
    return data


def _below(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return str(folder / Path(value).expanduser())
    return [_below(one, folder) for one in value] if isinstance(value, list) else value
