"""What slots are filled with: every phrase of every concept, in singular and plural, with what it says by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corpora.grammar.english import English, WordClass
from corpora.grammar.holdout import held_out_synonyms
from corpora.grammar.inner import Inner, InnerReader
from corpora.grammar.load import GrammarData
from corpora.grammar.places import Place, Places
from corpora.grammar.template import phrases_of
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import FindingEntry
from corpora.vocabulary.words import fold_words

# Words inside a name that put it in doubt ("borderline heart size", "upper limits of normal").
_BORDERLINE = "borderline"
_NORMAL = frozenset({"normal", "limit"})
# Concepts of the label sets are what chest reports are about: they come up more often.
_COMMON_WEIGHT = 6.0
_PLURAL_WEIGHT = 0.3
_PREFERRED_WEIGHT = 3.0

Conflicts = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Filler:
    """A phrase that names a concept, in the form in which it is written.

    ``conflicts`` are words before and behind it with which it would be another, longer phrase of the vocabulary
    ("small" before "bowel obstruction"). ``hedge`` is ``borderline`` or ``modal`` where the name itself is in doubt.
    """

    concept: FindingEntry
    text: str
    words: tuple[str, ...]
    form: str  # noun, adjective, clause, fragment or denial
    is_plural: bool
    is_countable: bool
    inner: Inner
    places: tuple[Place, ...]
    has_sides: bool
    is_measurable: bool
    is_held_out: bool
    conflicts: Conflicts
    hedge: str | None
    weight: float
    modifiers: tuple[tuple[str, Inner], ...] = ()  # of a combination, whose head the phrase is


class FillerIndex:
    """All fillers of a vocabulary."""

    def __init__(self, vocabulary: Vocabulary, data: GrammarData, english: English, inner: InnerReader) -> None:
        self._vocabulary = vocabulary
        self._data = data
        self._english = english
        self._inner = inner
        self._places = Places(vocabulary, data.places, english, inner)
        self._common = {
            concept
            for label_set in vocabulary.label_sets.values()
            for label in label_set.labels
            for concept in label.concepts
        }
        phrases = {entry.id: _phrases(entry) for entry in vocabulary.findings.values()}
        owners = Counter(phrase for own in phrases.values() for phrase in dict.fromkeys(own))
        self._phrases = {
            concept: tuple(p for p in dict.fromkeys(own) if owners[p] == 1) for concept, own in phrases.items()
        }
        self._surroundings = _surroundings(
            {fold_words(phrase) for own in phrases.values() for phrase in own}
            | {fold_words(phrase) for entry in vocabulary.findings.values() for phrase in entry.normal}
        )
        self._named = {fold_words(phrase) for own in phrases.values() for phrase in own}
        self.held_out: Mapping[str, frozenset[tuple[str, ...]]] = {
            concept: held_out_synonyms(concept, own) for concept, own in self._phrases.items()
        }
        self.all = tuple(self._iter_all())

    @property
    def synonyms(self) -> Mapping[str, frozenset[tuple[str, ...]]]:
        """Return the folded synonyms of every concept, of which `held_out` is a part."""
        return {c: frozenset(fold_words(p) for p in own) for c, own in self._phrases.items()}

    def _iter_all(self) -> Iterator[Filler]:
        for entry in self._vocabulary.findings.values():
            common = _COMMON_WEIGHT if entry.id in self._common else 1.0
            fillers = [*self._names(entry), *self._abbreviations(entry)]
            total = sum(filler.weight for filler in fillers) or 1.0
            for filler in (*fillers, *self._denials(entry), *self._heads(entry)):
                object.__setattr__(filler, "weight", common * filler.weight / total)
                yield filler

    def _names(self, entry: FindingEntry) -> Iterator[Filler]:
        for number, phrase in enumerate(self._phrases[entry.id]):
            weight = _PREFERRED_WEIGHT if number == 0 else 1.0
            word_class = self._english.classify(phrase)
            is_held_out = fold_words(phrase) in self.held_out[entry.id]
            if word_class is WordClass.COUNT:
                yield self._filler(entry, phrase, "noun", weight, is_countable=True, is_held_out=is_held_out)
                plural = self._english.pluralize(phrase)
                if not self._english.is_known_plural(phrase, plural):
                    continue
                yield self._filler(
                    entry,
                    plural,
                    "noun",
                    weight * _PLURAL_WEIGHT,
                    is_plural=True,
                    is_countable=True,
                    is_held_out=is_held_out,
                )
            else:
                is_noun = word_class in (WordClass.MASS, WordClass.PLURAL)
                is_plural = word_class is WordClass.PLURAL
                form = "noun" if is_noun else word_class.value
                yield self._filler(entry, phrase, form, weight, is_plural=is_plural, is_held_out=is_held_out)

    def _abbreviations(self, entry: FindingEntry) -> Iterator[Filler]:
        for abbreviation in entry.abbreviations:
            yield self._filler(entry, abbreviation, "noun", 0.5)

    def _denials(self, entry: FindingEntry) -> Iterator[Filler]:
        for phrase in entry.normal:
            yield self._filler(entry, phrase, "denial", 1.0)

    def _heads(self, entry: FindingEntry) -> Iterator[Filler]:
        """Yield the heads of combinations that can be a subject, each with what can be said of it."""
        words = self._data.words
        for combination in entry.combinations:
            modifiers = tuple(
                (phrase, self._inner.read(phrase))
                for pattern in combination.modifier
                for phrase in phrases_of(pattern)
                if self._can_be_said(phrase)
            )
            for head in combination.head:
                is_name = fold_words(head) in self._named
                if is_name or head in words.head_adjectives or "xxxx" in head or not modifiers:
                    continue
                is_plural = head in words.plural_heads
                text = self._english.pluralize(head) if is_plural else head
                yield self._filler(entry, text, "head", 1.0, is_plural=is_plural, modifiers=modifiers)

    def _can_be_said(self, modifier: str) -> bool:
        """Whether a modifier stands behind a verb and does not hedge: "enlarged", neither "enlargement" nor "full"."""
        is_noun = modifier.endswith(("ment", "tion", "ence", "ing", "ness", "osity", "sion", "ia", "sis", "change"))
        if fold_words(modifier) in self._named:
            return False  # "calcified" names a finding by itself
        hedges = {_BORDERLINE, "normal", "upper", "limit"} & set(fold_words(modifier))
        return not is_noun and not hedges and modifier not in self._data.words.unsaid_modifiers

    def _filler(
        self,
        entry: FindingEntry,
        phrase: str,
        form: str,
        weight: float,
        *,
        is_plural: bool = False,
        is_countable: bool = False,
        is_held_out: bool = False,
        modifiers: tuple[tuple[str, Inner], ...] = (),
    ) -> Filler:
        words = fold_words(phrase)
        inner = self._inner.read(phrase)
        hedge = None if form == "denial" else "borderline" if _BORDERLINE in words else None
        if hedge is None and form != "denial" and _NORMAL & set(words):
            hedge = "modal"
        head = self._english.head(phrase)
        return Filler(
            concept=entry,
            text=self._english.spell(phrase) if phrase not in entry.abbreviations else phrase,
            words=words,
            form=form,
            is_plural=is_plural,
            is_countable=is_countable,
            inner=inner,
            places=self._places.suiting(entry, inner.places),
            has_sides=self._places.has_sides(entry) and not inner.sides,
            is_measurable=is_countable and fold_words(head)[-1] in self._data.words.measurable,
            is_held_out=is_held_out,
            conflicts=self._surroundings.get(words, ()),
            hedge=hedge,
            weight=weight,
            modifiers=modifiers,
        )


def _phrases(entry: FindingEntry) -> tuple[str, ...]:
    return tuple(phrase for pattern in entry.synonyms for phrase in phrases_of(pattern))


def _surroundings(names: set[tuple[str, ...]]) -> dict[tuple[str, ...], Conflicts]:
    """Return, for every name, what around it makes another one: longer names that hold it, or that it runs into.

    "Small" before "bowel obstruction" makes a longer name; behind "acute fracture" a gap makes "fracture XXXX", which
    is as long and begins inside.
    """
    found: defaultdict[tuple[str, ...], list[tuple[tuple[str, ...], tuple[str, ...]]]] = defaultdict(list)
    beginnings: defaultdict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    endings: defaultdict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for name in sorted(names):
        for start in range(len(name)):
            for end in range(start + 1, len(name) + 1):
                if end - start < len(name):
                    found[name[start:end]].append((name[:start], name[end:]))
        for cut in range(1, len(name)):
            beginnings[name[:cut]].append(name[cut:])
            endings[name[cut:]].append(name[:cut])
    for name in sorted(names):
        for cut in range(1, len(name)):
            head, tail = name[:cut], name[cut:]
            found[name] += [(before, ()) for before in endings.get(head, ()) if len(before) >= len(tail)]
            found[name] += [((), after) for after in beginnings.get(tail, ()) if len(after) >= len(head)]
    return {name: tuple(dict.fromkeys(around)) for name, around in found.items() if name in names}
