"""The vocabulary read from YAML, checked as a whole, and asked for what hangs together.

The packaged files and a user's own (``--vocabulary``) have one form (`corpora.vocabulary.schema`). Whatever breaks a
rule is an error that names file and entry; nothing of a vocabulary is used unless all of it is valid.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from corpora.errors import LabelSetUnknown, VocabularyInvalid
from corpora.vocabulary.schema import AnatomyEntry, Attributes, FindingEntry, LabelSet, VocabularyFile
from corpora.vocabulary.words import fold_words

# The C parser is about ten times as fast; it is missing only where PyYAML was built without libyaml.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_RESPIRATORY = frozenset({"lung", "pleura"})


@dataclass(frozen=True)
class Vocabulary:
    """Findings, places, attributes and label sets, valid as a whole. Mappings are by id and read-only."""

    findings: Mapping[str, FindingEntry]
    anatomy: Mapping[str, AnatomyEntry]
    attributes: Attributes
    label_sets: Mapping[str, LabelSet]
    digest: str

    @cached_property
    def _children(self) -> Mapping[str, tuple[str, ...]]:
        children: defaultdict[str, list[str]] = defaultdict(list)
        for entry in self.findings.values():
            for parent in entry.parents:
                children[parent].append(entry.id)
        return {parent: tuple(ids) for parent, ids in children.items()}

    def descendants(self, concept_id: str) -> frozenset[str]:
        """Return a concept and all that are more specific."""
        return frozenset(_closure(concept_id, lambda c: self._children.get(c, ())))

    def ancestors(self, concept_id: str) -> tuple[str, ...]:
        """Return all concepts more general than one, the nearest first."""
        return _closure(concept_id, lambda c: self.findings[c].parents)[1:]

    def anatomy_ancestors(self, place: str) -> tuple[str, ...]:
        """Return all places that contain one, the nearest first."""
        return _closure(place, lambda p: self.anatomy[p].parents)[1:]

    @cached_property
    def pulmonary(self) -> frozenset[str]:
        """Return the concepts of lung and pleura."""
        return frozenset(
            entry.id
            for entry in self.findings.values()
            if entry.anatomy and _RESPIRATORY & {entry.anatomy, *self.anatomy_ancestors(entry.anatomy)}
        )

    def refined(self, concept_id: str, places: Sequence[str]) -> str:
        """Return the concept that is meant where a mention lies: a mass in the breast is a breast mass."""
        concept = self.findings[concept_id]
        refine = concept.refine
        if not refine:
            return concept_id
        for place in places:
            above = self.anatomy_ancestors(place)
            if concept.anatomy in places and concept.anatomy not in above:
                continue  # "pleural or pericardial effusion" is a pleural one as well
            for candidate in (place, *above):
                if candidate in refine:
                    return refine[candidate]
        return concept_id

    def organ_and_location(self, concept_id: str, places: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
        """Return the organ that a mention lies in, from its places or else its concept, and the places within it."""
        location = tuple(place for place in places if not self.anatomy[place].organ)
        organ = next((place for place in places if self.anatomy[place].organ), None)
        if organ is None:
            above = (up for place in location for up in self.anatomy_ancestors(place))
            organ = next((up for up in above if self.anatomy[up].organ), None)
        return organ or self.findings[concept_id].anatomy, location

    def label_set(self, label_set_id: str) -> LabelSet:
        """Return a label set.

        Raises:
            LabelSetUnknown: nobody defined it; the message lists those that are.
        """
        try:
            return self.label_sets[label_set_id]
        except KeyError:
            known = ", ".join(sorted(self.label_sets))
            raise LabelSetUnknown(f"label set {label_set_id!r} is not defined; defined are {known}") from None


def _closure(start: str, neighbours: Any) -> tuple[str, ...]:
    """Return ``start`` and everything reachable, breadth first."""
    seen = {start: None}
    queue = [start]
    for item in queue:
        for following in neighbours(item):
            if following not in seen:
                seen[following] = None
                queue.append(following)
    return tuple(seen)


@dataclass
class _Draft:
    """A vocabulary being put together; ``homes`` remembers the file of every id, for messages."""

    findings: dict[str, FindingEntry] = field(default_factory=dict)
    anatomy: dict[str, AnatomyEntry] = field(default_factory=dict)
    label_sets: dict[str, LabelSet] = field(default_factory=dict)
    attributes: Attributes = field(default_factory=Attributes)
    homes: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, file: VocabularyFile) -> None:
        for kind, target, entries in (
            ("finding", self.findings, file.findings),
            ("anatomy", self.anatomy, file.anatomy),
            ("label set", self.label_sets, file.label_sets),
        ):
            entry: Any
            for entry in entries:
                home = self.homes.get((kind, entry.id))
                if home is not None:
                    raise VocabularyInvalid(f"{name}: {kind} {entry.id!r} is already defined in {home}")
                self.homes[kind, entry.id] = name
                target[entry.id] = entry
        self.attributes = Attributes(
            laterality=self.attributes.laterality + file.attributes.laterality,
            severity=self.attributes.severity + file.attributes.severity,
            temporality=self.attributes.temporality + file.attributes.temporality,
        )

    def home(self, kind: str, entry_id: str) -> str:
        return self.homes[kind, entry_id]


def load_vocabulary(extra: Sequence[Path] = ()) -> Vocabulary:
    """Return the packaged vocabulary together with a user's files, the paths in ``extra``.

    A user's file adds findings, places and label sets; it
    cannot change those that exist.

    Raises:
        VocabularyInvalid: a file cannot be read or breaks a rule; the message names file and entry.
    """
    return _load(extra) if extra else _load_packaged()


@lru_cache(maxsize=1)
def _load_packaged() -> Vocabulary:
    return _load(())


def _load(extra: Sequence[Path]) -> Vocabulary:
    draft = _Draft()
    digest = hashlib.sha256()
    for name, text in [*_packaged_files(), *_user_files(extra)]:
        digest.update(text.encode())
        draft.add(name, _parse(name, text))
    _check(draft)
    return Vocabulary(
        MappingProxyType(draft.findings),
        MappingProxyType(draft.anatomy),
        draft.attributes,
        MappingProxyType(draft.label_sets),
        digest.hexdigest(),
    )


def _packaged_files() -> Iterator[tuple[str, str]]:
    def walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
        for item in sorted(folder.iterdir(), key=lambda item: item.name):
            if item.is_dir():
                yield from walk(item, f"{prefix}{item.name}/")
            elif item.name.endswith(".yaml"):
                yield f"{prefix}{item.name}", item.read_text("utf-8")

    yield from walk(resources.files(__package__).joinpath("data"), "")


def _user_files(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            yield path.name, path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise VocabularyInvalid(f"{path.name}: a vocabulary file must be UTF-8 text") from None
        except OSError as error:
            raise VocabularyInvalid(
                f"{path.name}: cannot be read ({error.strerror or type(error).__name__})"
            ) from error


def _parse(name: str, text: str) -> VocabularyFile:
    try:
        raw = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise VocabularyInvalid(f"{name}{line}: no valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise VocabularyInvalid(f"{name}: no valid YAML ({type(error).__name__})") from None
    if raw is None:
        return VocabularyFile()
    if not isinstance(raw, dict):
        raise VocabularyInvalid(f"{name}: expected a mapping with keys such as findings, not a {type(raw).__name__}")
    try:
        return VocabularyFile.model_validate(raw)
    except ValidationError as error:
        raise VocabularyInvalid(f"{name}: {_first_problem(raw, error)}") from None


def _first_problem(raw: Mapping[str, Any], error: ValidationError) -> str:
    """Return the first problem of a file in words that point at the entry rather than at its number."""
    problem = error.errors(include_url=False)[0]
    entry: Any = raw
    path: list[str] = []
    for step in problem["loc"]:
        entry = _step_into(entry, step)
        known = entry.get("id", entry.get("name")) if isinstance(entry, dict) else None
        path.append(repr(known) if isinstance(step, int) and known else str(step))
    return f"{' > '.join(path)}: {problem['msg']}"


def _step_into(container: Any, step: int | str) -> Any:
    """Return what a step of an error's location leads to, or ``None`` where there is nothing."""
    if isinstance(container, dict):
        return container.get(step)
    if isinstance(container, list) and isinstance(step, int) and step < len(container):
        return container[step]
    return None


def _check(draft: _Draft) -> None:
    _check_references(draft)
    _check_cycles(draft)
    _check_phrases(draft)
    _check_label_sets(draft)


def _check_references(draft: _Draft) -> None:
    findings, anatomy = draft.findings, draft.anatomy
    for entry in findings.values():
        used: list[tuple[str, str, Mapping[str, Any]]] = [("parent", p, findings) for p in entry.parents]
        used += [("anatomy", entry.anatomy, anatomy)] if entry.anatomy else []
        used += [("refine place", place, anatomy) for place in entry.refine]
        used += [("refine concept", concept, findings) for concept in entry.refine.values()]
        _require(draft, "finding", entry.id, used)
    for place in anatomy.values():
        used = [("parent", p, anatomy) for p in place.parents]
        used += [("denied concept", c, findings) for c in (*place.normal_denies, *place.intact_denies)]
        _require(draft, "anatomy", place.id, used)
    for label_set in draft.label_sets.values():
        for label in label_set.labels:
            concepts = [("concept", c, findings) for c in (*label.concepts, *label.exclude)]
            _require(draft, "label set", label_set.id, concepts, label.name)


def _require(
    draft: _Draft, kind: str, entry_id: str, used: Iterable[tuple[str, str, Mapping[str, Any]]], label: str = ""
) -> None:
    for what, reference, known in used:
        if reference not in known:
            where = f"{draft.home(kind, entry_id)}: {kind} {entry_id!r}" + (f", label {label!r}" if label else "")
            raise VocabularyInvalid(f"{where}: {what} {reference!r} is not defined")


def _check_cycles(draft: _Draft) -> None:
    for kind, entries in (("finding", draft.findings), ("anatomy", draft.anatomy)):
        for entry_id in entries:
            above = _closure(entry_id, lambda e, entries=entries: entries[e].parents)[1:]
            if any(entry_id in entries[parent].parents for parent in above) or entry_id in entries[entry_id].parents:
                raise VocabularyInvalid(f"{draft.home(kind, entry_id)}: {kind} {entry_id!r} is its own ancestor")


def _check_phrases(draft: _Draft) -> None:
    """Refuse phrases that fold to nothing, and phrases that name two concepts or two places."""
    for kind, entries in (("finding", draft.findings), ("anatomy", draft.anatomy)):
        owner: dict[tuple[str, ...], str] = {}
        for entry in entries.values():
            for phrase in entry.synonyms:
                folded = fold_words(phrase)
                where = f"{draft.home(kind, entry.id)}: {kind} {entry.id!r}: phrase {phrase!r}"
                if not any(word.isalnum() for word in folded):
                    raise VocabularyInvalid(f"{where} has no word in it")
                # A pattern may stand for the phrases of two concepts on purpose ("pleural or pericardial effusion").
                if owner.setdefault(folded, entry.id) != entry.id and not {"(", "["} & set(phrase):
                    other = owner[folded]
                    raise VocabularyInvalid(f"{where} already names {other!r} in {draft.home(kind, other)}")


def _check_label_sets(draft: _Draft) -> None:
    for label_set in draft.label_sets.values():
        where = f"{draft.home('label set', label_set.id)}: label set {label_set.id!r}"
        names = [label.name for label in label_set.labels]
        if not names:
            raise VocabularyInvalid(f"{where} has no labels")
        for name in names:
            if names.count(name) > 1:
                raise VocabularyInvalid(f"{where}: label {name!r} is there twice")
        for label in label_set.labels:
            if bool(label.concepts) == bool(label.rule):
                raise VocabularyInvalid(f"{where}: label {label.name!r} needs either concepts or a rule")
