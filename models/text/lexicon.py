"""The vocabulary and the cues compiled into one automaton, and what it finds in a sentence sorted by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

from corpora.vocabulary import Vocabulary
from corpora.vocabulary.words import Words, fold_words, split_words
from models.text.patterns import PhraseAutomaton
from models.text.spelling import Speller


class Layer(Enum):
    """What a phrase is to the reader. Within a layer the longest phrase wins; layers do not compete."""

    FINDING = "finding"  # names a concept
    DENIAL = "denial"  # a phrase that denies a concept by itself
    HEAD = "head"  # first part of a combination
    MODIFIER = "modifier"  # second part of a combination
    ANATOMY = "anatomy"
    LATERALITY = "laterality"
    SEVERITY = "severity"
    TEMPORALITY = "temporality"
    CUE = "cue"


class Role(NamedTuple):
    """A layer and the value within it: a concept id, an anatomy id, a cue kind, the number of a combination."""

    layer: Layer
    value: str | int


class Match(NamedTuple):
    """An occurrence of a phrase: its value and the half-open range of words it covers."""

    value: str | int
    start: int
    end: int


class CompiledCombination(NamedTuple):
    """A combination of the vocabulary with the concept it names."""

    concept_id: str
    within: int


@dataclass(slots=True)
class Layers:
    """All matches of a sentence. Findings with denials, anatomy, each attribute and the cues are free of overlaps."""

    words: Words
    findings: list[Match] = field(default_factory=list)
    denials: list[Match] = field(default_factory=list)
    heads: dict[int, list[Match]] = field(default_factory=dict)
    modifiers: dict[int, list[Match]] = field(default_factory=dict)
    anatomy: list[Match] = field(default_factory=list)
    laterality: list[Match] = field(default_factory=list)
    severity: list[Match] = field(default_factory=list)
    temporality: list[Match] = field(default_factory=list)
    cues: list[Match] = field(default_factory=list)


@lru_cache(maxsize=1)
def load_cues() -> Mapping[str, tuple[str, ...]]:
    """Return the packaged cue patterns by kind; a nested kind is joined by a dot (``hedge_before.modal``)."""
    raw: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("data/cues.yaml").read_text("utf-8"))
    cues: dict[str, tuple[str, ...]] = {}
    for kind, patterns in raw.items():
        if isinstance(patterns, dict):
            cues.update({f"{kind}.{subkind}": tuple(group) for subkind, group in patterns.items()})
        else:
            cues[kind] = tuple(patterns)
    return cues


class Lexicon:
    """Finds the phrases of a vocabulary, and the cues, in sentences.

    Upper-case abbreviations are words of their own (``@PTX``) wherever their lower-case form could be an ordinary word,
    so that *TIPS* is a shunt and *tips* are not.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.combinations: list[CompiledCombination] = []
        self._automaton: PhraseAutomaton[Role] = PhraseAutomaton(fold_words)
        self._abbreviations: dict[str, str] = {}
        self._add_vocabulary()
        for kind, patterns in load_cues().items():
            for pattern in patterns:
                self._automaton.add(pattern, Role(Layer.CUE, kind))
        self._speller = Speller(self._automaton.words)

    def _add_vocabulary(self) -> None:
        for entry in self.vocabulary.findings.values():
            self._add_phrases(entry.synonyms, entry.abbreviations, Role(Layer.FINDING, entry.id))
            self._add_phrases(entry.normal, (), Role(Layer.DENIAL, entry.id))
            for combination in entry.combinations:
                number = len(self.combinations)
                self.combinations.append(CompiledCombination(entry.id, combination.within))
                self._add_phrases(combination.head, (), Role(Layer.HEAD, number))
                self._add_phrases(combination.modifier, (), Role(Layer.MODIFIER, number))
        for place in self.vocabulary.anatomy.values():
            self._add_phrases(place.synonyms, place.abbreviations, Role(Layer.ANATOMY, place.id))
        for layer in (Layer.LATERALITY, Layer.SEVERITY, Layer.TEMPORALITY):
            for value in getattr(self.vocabulary.attributes, layer.value):
                self._add_phrases(value.phrases, value.abbreviations, Role(layer, value.id))

    def _add_phrases(self, phrases: Iterable[str], abbreviations: Iterable[str], role: Role) -> None:
        for phrase in phrases:
            self._automaton.add(phrase, role)
        for abbreviation in abbreviations:
            folded = fold_words(abbreviation)
            if len(folded) != 1:
                self._automaton.add(abbreviation, role)
                continue
            marked = self._abbreviations.setdefault(abbreviation, f"@{abbreviation}")
            self._automaton.add_words((marked,), role)
            if len(abbreviation) >= 3 and folded[0] not in _ORDINARY_WORDS:
                self._automaton.add_words(folded, role)

    @property
    def words(self) -> Set[str]:
        """Return the folded words that some phrase has."""
        return self._automaton.words

    def split(self, text: str) -> Words:
        """Return a text's words, typing errors in known words mended and abbreviations marked."""
        words = split_words(text, self._speller.correct)
        if not self._abbreviations:
            return words
        marked = list(words.words)
        shouting = text.isupper() and len(marked) > 3
        for i, (start, end) in enumerate(zip(words.starts, words.ends, strict=True)):
            mark = self._abbreviations.get(text[start:end])
            # In a text all in capitals an ordinary word looks like an abbreviation: there the word is taken.
            is_vertebra = len(text[start:end]) == 1 and text[end : end + 1].isdigit()  # L4 is no side
            if mark is not None and not is_vertebra and not (shouting and marked[i] in _ORDINARY_WORDS):
                marked[i] = mark
        return Words(tuple(marked), words.starts, words.ends, text)

    def match(self, words: Words) -> Layers:
        """Return every phrase found, by layer, overlaps within a layer resolved for the longest."""
        layers = Layers(words)
        named: list[tuple[Role, int, int]] = []
        cues: list[Match] = []
        plain: dict[Layer, list[Match]] = {
            Layer.ANATOMY: [],
            Layer.LATERALITY: [],
            Layer.SEVERITY: [],
            Layer.TEMPORALITY: [],
        }
        # An abbreviation also stands for its letters in longer phrases ("PICC line"): both forms are tried.
        for role, start, end in self._iter_both(words):
            if role.layer is Layer.CUE:
                cues.append(Match(role.value, start, end))
            elif role.layer in (Layer.FINDING, Layer.DENIAL):
                named.append((role, start, end))
            elif role.layer is Layer.HEAD:
                layers.heads.setdefault(int(role.value), []).append(Match(role.value, start, end))
            elif role.layer is Layer.MODIFIER:
                layers.modifiers.setdefault(int(role.value), []).append(Match(role.value, start, end))
            else:
                plain[role.layer].append(Match(role.value, start, end))
        for role, start, end in _longest(named, lambda item: (item[1], item[2])):
            target = layers.findings if role.layer is Layer.FINDING else layers.denials
            target.append(Match(role.value, start, end))
        layers.anatomy = _longest(plain[Layer.ANATOMY], _span)
        sideless = [m for m in layers.anatomy if self.vocabulary.anatomy[str(m.value)].is_sideless]
        layers.laterality = _outside(_longest(plain[Layer.LATERALITY], _span), sideless)
        # "small bowel" is not small, "right larger than left" no growth.
        layers.cues = _longest(cues, _span)
        earlier = [cue for cue in layers.cues if cue.value == "previously"]
        changes = _outside(_longest(plain[Layer.TEMPORALITY], _span), layers.laterality)
        # The "prior" of "compared to the prior study" is the study's, not the finding's.
        layers.temporality = [m for m in changes if m.value != "old" or _outside([m], earlier)]
        # "less extensive" is a change, not a degree.
        layers.severity = _outside(_longest(plain[Layer.SEVERITY], _span), [*layers.anatomy, *layers.temporality])
        return layers

    def _iter_both(self, words: Words) -> Iterable[tuple[Role, int, int]]:
        yield from self._automaton.iter_matches(words.words)
        if any(len(word) > 1 and word.startswith("@") for word in words.words):
            plain = tuple(
                fold_words(word[1:])[0] if len(word) > 1 and word.startswith("@") else word for word in words.words
            )
            for role, start, end in self._automaton.iter_matches(plain):
                if end - start > 1 and plain[start:end] != words.words[start:end]:
                    yield role, start, end


# Abbreviations that are also words: only their capitals count.
_ORDINARY_WORDS = frozenset(
    fold_words(
        "tips tip aids aid pad pads arm arms has was as is it or an at in on no us map lad pop cap mac dish asd bit"
    )
)


def _span(match: Match) -> tuple[int, int]:
    return match.start, match.end


def _outside(matches: list[Match], others: list[Match]) -> list[Match]:
    """Return the matches that are no part of another layer's phrase."""
    return [m for m in matches if not any(other.start <= m.start and m.end <= other.end for other in others)]


def _longest(items: list[Any], span: Any) -> list[Any]:
    """Return the items that no longer item overlaps, in order; items of the same span are all kept."""
    if len(items) < 2:
        return list(items)
    kept: list[Any] = []
    taken: list[tuple[int, int]] = []
    for item in sorted(items, key=lambda item: (span(item)[0] - span(item)[1], span(item)[0])):
        start, end = span(item)
        if all((start, end) == other or end <= other[0] or other[1] <= start for other in taken):
            kept.append(item)
            taken.append((start, end))
    return sorted(dict.fromkeys(kept), key=span)
