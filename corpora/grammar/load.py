"""The packaged YAML of the grammar, read and checked once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeVar

import yaml
from pydantic import BaseModel

from corpora.grammar.schema import AttributeWords, Family, FamilyFile, PlaceWords, Words

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class GrammarData:
    """All that the grammar knows beyond the vocabulary. ``families`` are by category, ``category`` by family id."""

    words: Words
    places: PlaceWords
    attributes: AttributeWords
    families: dict[str, tuple[Family, ...]]

    @property
    def category(self) -> dict[str, str]:
        """Return the category of every family."""
        return {family.id: name for name, families in self.families.items() for family in families}


@lru_cache(maxsize=1)
def load_data() -> GrammarData:
    """Return the packaged data.

    Raises:
        ValueError: a file breaks its form, or two families have one id.
    """
    folder = resources.files(__package__).joinpath("data")
    files = [_read(item, FamilyFile) for item in _yaml_files(folder.joinpath("families"))]
    families = {file.category: file.families for file in files}
    ids = [family.id for group in families.values() for family in group]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice or len(families) != len(files):
        raise ValueError(f"families with the same id: {', '.join(twice) or 'a category stands in two files'}")
    return GrammarData(
        words=_read(folder.joinpath("words.yaml"), Words),
        places=_read(folder.joinpath("places.yaml"), PlaceWords),
        attributes=_read(folder.joinpath("attributes.yaml"), AttributeWords),
        families=families,
    )


def _yaml_files(folder: Traversable) -> Iterator[Traversable]:
    yield from sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)


def _read(item: Traversable, model: type[_Model]) -> _Model:
    return model.model_validate(yaml.load(item.read_text("utf-8"), Loader=_Loader))
