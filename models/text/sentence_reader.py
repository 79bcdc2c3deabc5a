"""One sentence read: a pure function of the sentence and what it needs from around it, so that it can be cached."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion, Hedge, Measurement
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.folding import fold_word
from corpora.vocabulary.schema import FindingKind
from models.text.assertion import assert_mentions
from models.text.attributes import attach_attributes
from models.text.clauses import clause_numbers
from models.text.lexicon import Layers, Lexicon, Match
from models.text.mentions import Mention, collect_mentions


@dataclass(frozen=True, slots=True, repr=False)
class Sentence:
    """A sentence and its context: the sub-heading it stands under, what "it" in it can mean (concept ids), and the
    kind of its section (`corpora.reports.SectionKind`), which rules do not look at and a learned reader does.
    """

    text: str
    heading: str = ""
    antecedents: tuple[str, ...] = ()
    section: str = ""


@dataclass(frozen=True, slots=True)
class SentenceFinding:
    """A finding of one sentence; ``start``/``end`` are character offsets into the sentence."""

    concept_id: str
    start: int
    end: int
    assertion: Assertion
    hedge: Hedge | None = None
    anatomy: str | None = None
    laterality: str | None = None
    location: tuple[str, ...] = ()
    severity: str | None = None
    temporality: str | None = None
    measurement: Measurement | None = None
    is_pronoun: bool = False
    is_restricted: bool = False
    persists: bool = False
    in_chest: bool = False  # said to lie in the chest, by its own name or by a place
    probability: float | None = None  # of being there and asserted so; rules have none


@dataclass(frozen=True, slots=True)
class SentenceReading:
    """The findings of a sentence and the signs in it of what kind of text it comes from.

    ``spoken_of`` are concepts named without being observed (earlier, hypothetical): a later "it" can mean them;
    ``spoken_at`` are their offsets. ``subject`` is the organ the sentence speaks of, in its own words; ``exam_organ``
    the organ an examination's name gives.
    """

    findings: tuple[SentenceFinding, ...]
    spoken_of: tuple[str, ...] = ()
    spoken_at: tuple[tuple[int, int], ...] = ()
    subject: str = ""
    exam_organ: str | None = None
    chest: int = 0  # words for places and findings of the chest
    elsewhere: int = 0  # the same for the rest of the body
    exam_chest: int = 0  # names of chest studies
    exam_other: int = 0
    report_words: int = 0
    other_words: int = 0  # words of letters, bills, laboratory lists
    known_words: int = 0  # words that some phrase of the vocabulary or the cues has
    n_words: int = 0
    scores: npt.NDArray[np.float32] | None = None  # a learned reader's for the study labels: (labels, 2)


# Readings kept: about 1 KB each. Frequent sentences come back within a few thousand others; a larger cache gains
# little.
CACHE_SIZE = 4096
_REPORT_CUES = frozenset({"report_word", "exam_chest", "exam_other", "normal"})


class SentenceReader:
    """Reads sentences with a vocabulary's phrases and the rules of this package.

    ``cache_size`` bounds the number of readings kept; keys are digests, so that no sentence stays in memory with them.
    Radiology text repeats itself: about two thirds of Open-i's sentences have been seen before in the same corpus.
    """

    def __init__(self, vocabulary: Vocabulary, *, cache_size: int = CACHE_SIZE) -> None:
        self.vocabulary = vocabulary
        self._lexicon = Lexicon(vocabulary)
        self._cache: OrderedDict[bytes, SentenceReading] = OrderedDict()
        self._cache_size = cache_size
        self.hits = 0
        self.misses = 0

    def read(self, sentence: Sentence) -> SentenceReading:
        """Return the reading of a sentence, from the cache where it was read before."""
        key = blake2b(
            "\x1f".join((sentence.text, sentence.heading, *sentence.antecedents)).encode("utf-8", "surrogatepass"),
            digest_size=16,
        ).digest()
        reading = self._cache.get(key)
        if reading is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            return reading
        self.misses += 1
        reading = self._read(sentence)
        if self._cache_size:
            self._cache[key] = reading
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return reading

    def _read(self, sentence: Sentence) -> SentenceReading:
        prefix = f"{sentence.heading}: " if sentence.heading else ""
        words = self._lexicon.split(prefix + sentence.text)
        layers = self._lexicon.match(words)
        n_prefix = sum(1 for start in words.starts if start < len(prefix))
        mentions = collect_mentions(self._lexicon, layers)
        mentions += self._denials(layers, mentions)
        mentions += _pronouns(layers, sentence.antecedents, mentions, n_prefix)
        mentions.sort(key=lambda m: (m.anchor_start, m.anchor_end))
        # A mention that lies wholly in the heading is no statement of this sentence, unless the sentence is about it.
        clauses = clause_numbers(layers)
        observed = assert_mentions(layers, clauses, mentions)
        attach_attributes(layers, clauses, observed, self.vocabulary.pulmonary)
        observed = self._without_explained(layers, observed)
        findings = []
        for mention in observed:
            if mention.end <= n_prefix and not self._speaks_of_heading(layers, mention, observed, n_prefix):
                continue
            findings.append(self._finding(layers, mention, n_prefix, len(prefix)))
        spoken_of = [m for m in mentions if m.assertion is None and not m.is_pronoun]
        return replace(
            self._signs(layers, mentions, n_prefix),
            findings=tuple(findings),
            spoken_of=tuple(m.concept_id for m in spoken_of),
            spoken_at=tuple(
                (max(words.starts[m.start] - len(prefix), 0), max(words.ends[m.end - 1] - len(prefix), 0))
                for m in spoken_of
            ),
        )

    def read_signs(self, sentence: Sentence) -> tuple[SentenceReading, frozenset[str]]:
        """Return what a sentence says of the kind of text it comes from, without reading its findings, and the concepts
        that its own words name, whatever is said of them.
        """
        prefix = f"{sentence.heading}: " if sentence.heading else ""
        words = self._lexicon.split(prefix + sentence.text)
        layers = self._lexicon.match(words)
        n_prefix = sum(1 for start in words.starts if start < len(prefix))
        mentions = collect_mentions(self._lexicon, layers)
        named = frozenset(m.concept_id for m in mentions if m.anchor_start >= n_prefix)
        return self._signs(layers, mentions, n_prefix), named

    def _without_explained(self, layers: Layers, mentions: list[Mention]) -> list[Mention]:
        """Drop what the sentence explains away: "the nodule described above was a nipple shadow"."""
        explained = set()
        for earlier, later in itertools.pairwise(mentions):
            kind = self.vocabulary.findings[later.concept_id].kind
            is_benign = kind is FindingKind.VARIANT or later.concept_id == "artifact"
            gap = layers.words.words[earlier.end : later.start]
            is_equated = any(c.value == "verb" and earlier.end <= c.start and c.end <= later.start for c in layers.cues)
            if is_benign and later.assertion is Assertion.POSITIVE and is_equated and not _APART & set(gap):
                explained.add(id(earlier))
        return [mention for mention in mentions if id(mention) not in explained]

    def _speaks_of_heading(self, layers: Layers, mention: Mention, observed: list[Mention], n_prefix: int) -> bool:
        """Whether the sentence asserts the finding its heading names: "Effusion: small", "Right PICC: tip in the
        SVC".
        """
        if mention.assertion is not Assertion.POSITIVE:
            return True
        is_device = self.vocabulary.findings[mention.concept_id].kind is FindingKind.DEVICE
        if is_device and all(other.end <= n_prefix for other in observed):
            return True
        if layers.words.words[n_prefix : n_prefix + 1] in (("yes",), ("positive",)):  # a field that is filled in
            return True
        attributes = (*layers.severity, *layers.temporality, *layers.laterality)
        return any(m.start >= n_prefix for m in attributes) or any(
            c.value == "existential" and c.start >= n_prefix for c in layers.cues
        )

    def _denials(self, layers: Layers, mentions: list[Mention]) -> list[Mention]:
        """Return what statements of normality deny: "the lungs are clear" denies lung opacity."""
        denials: list[Mention] = []
        for cue in layers.cues:
            if cue.value != "normal":
                continue
            for place in _places_called_normal(layers, cue):
                start, end = min(place.start, cue.start), max(place.end, cue.end)
                if any(m.start < place.end and place.start < m.end for m in mentions):
                    continue  # "sternal wires are intact" says nothing of the sternum
                entry = self.vocabulary.anatomy[str(place.value)]
                is_intact = "intact" in layers.words.words[cue.start : cue.end]
                for concept_id in entry.normal_denies + (entry.intact_denies if is_intact else ()):
                    if any(
                        m.concept_id == concept_id and m.start < end and start < m.end for m in (*mentions, *denials)
                    ):
                        continue
                    denials.append(Mention(concept_id, start, end, start, end, is_denial=True))
        return denials

    def _finding(self, layers: Layers, mention: Mention, n_prefix: int, shift: int) -> SentenceFinding:
        words = layers.words
        first = max(mention.start, n_prefix)
        last = max(mention.end, first + 1) - 1
        if first >= len(words):  # all of it stands in the heading
            first = last = len(words) - 1
        places = mention.anatomy
        concept_id = self.vocabulary.refined(mention.concept_id, places)
        laterality = self._laterality(layers, mention, concept_id)
        organ, location = self.vocabulary.organ_and_location(concept_id, places)
        assert mention.assertion is not None
        return SentenceFinding(
            concept_id=concept_id,
            start=max(words.starts[first] - shift, 0),
            end=max(words.ends[last] - shift, 0),
            assertion=mention.assertion,
            hedge=mention.hedge,
            anatomy=organ,
            laterality=laterality,
            location=location,
            severity=mention.severity[0] if mention.severity else None,
            temporality=_temporality(mention),
            measurement=mention.measurement,
            is_pronoun=mention.is_pronoun,
            is_restricted=mention.is_restricted,
            persists=mention.persists,
            in_chest=any(self.vocabulary.anatomy[place].chest for place in places),
        )

    def _laterality(self, layers: Layers, mention: Mention, concept_id: str) -> str | None:
        sides = set(mention.laterality)
        for place in mention.anatomy:
            side = self.vocabulary.anatomy[place].laterality
            if side:
                sides.add(side)
        if not sides:
            return "bilateral" if self._is_plural_of_a_pair(layers, mention, concept_id) else None
        return next(iter(sides)) if len(sides) == 1 else "bilateral"

    def _is_plural_of_a_pair(self, layers: Layers, mention: Mention, concept_id: str) -> bool:
        """Whether a plural without a side means both: "the lung bases", "pleural effusions", but not "no effusions"."""
        if mention.assertion is Assertion.NEGATIVE:
            return False
        if self.vocabulary.findings[concept_id].is_paired and _is_plural(layers, mention.end - 1):
            return True
        return any(
            self.vocabulary.anatomy[str(match.value)].is_paired
            and str(match.value) in mention.anatomy
            and _is_plural(layers, match.end - 1)
            for match in layers.anatomy
        )

    def _signs(self, layers: Layers, mentions: list[Mention], n_prefix: int) -> SentenceReading:
        chest = elsewhere = 0
        anatomy = self.vocabulary.anatomy
        for match in layers.anatomy:
            chest += anatomy[str(match.value)].chest is True
            elsewhere += anatomy[str(match.value)].chest is False
        for mention in mentions:
            if mention.is_denial or mention.is_pronoun:
                continue
            concept = self.vocabulary.findings[self.vocabulary.refined(mention.concept_id, mention.anatomy)]
            if concept.anatomy is None:
                chest += concept.kind is FindingKind.DEVICE  # lines and tubes are what chest films are taken for
            else:
                chest += anatomy[concept.anatomy].chest is True
                elsewhere += anatomy[concept.anatomy].chest is False
        kinds = [str(cue.value) for cue in layers.cues]
        organs = [m for m in layers.anatomy if anatomy[str(m.value)].organ]
        words = layers.words
        spoken = [word for word in words.words[n_prefix:] if word[0].isalpha() or (word[0] == "@" and len(word) > 1)]
        first = next((m for m in organs if m.start >= n_prefix), None)
        elsewhere_organs = [str(m.value) for m in organs if anatomy[str(m.value)].chest is False]
        return SentenceReading(
            findings=(),
            subject=words.text[words.starts[first.start] : words.ends[first.end - 1]] if first else "",
            exam_organ=elsewhere_organs[0] if elsewhere_organs and "exam_other" in kinds else None,
            chest=chest,
            elsewhere=elsewhere,
            exam_chest=kinds.count("exam_chest"),
            exam_other=kinds.count("exam_other"),
            report_words=sum(kind in _REPORT_CUES for kind in kinds),
            other_words=kinds.count("not_report"),
            known_words=sum(word in self._lexicon.words for word in spoken),
            n_words=len(spoken),
        )


# Between two mentions, what makes them two statements: "a nodule is seen; there is an azygos lobe".
_APART = frozenset({",", ";", "or", "and", "there"})


def _temporality(mention: Mention) -> str | None:
    """Return the change said of a mention; what is "nearly resolved" is still there, and improved."""
    first = mention.temporality[0] if mention.temporality else None
    return "improved" if first == "resolved" and mention.assertion is not Assertion.NEGATIVE else first


def _is_plural(layers: Layers, word: int) -> bool:
    words = layers.words
    raw = words.text[words.starts[word] : words.ends[word]].lower()
    return raw in {"apices", "hila", "bases"} or (raw.endswith("s") and raw != words.words[word])


# What may stand between a place and the word that calls it normal.
_NORMAL_FILLERS = frozenset(
    fold_word(word)
    for word in (
        "is are was were be been appear appears appeared remain remains has have both the a an of in and or , "
        ": also otherwise grossly essentially entirely bilaterally bilateral left right xxxx again stable "
        "overall still size sizes contour contours silhouette silhouettes appearance appearances "
        "configuration structures field fields zone zones parenchyma caliber region regions shadow shadows "
        "outline outlines space spaces surface surfaces border borders margins appearing looks look seem "
        "seems well & / - visualized visible demonstrated within normal side sides morphology position for "
        "age patient his her their this all upper lower mid now currently | expanded inflated aerated "
        "hyperexpanded imaged included demonstrate "
    ).split()
)


def _places_called_normal(layers: Layers, cue: Match) -> list[Match]:
    """Return the places that one statement of normality is about."""
    words = layers.words.words
    fillers = _NORMAL_FILLERS
    covered = {i for m in layers.anatomy for i in range(m.start, m.end)}
    places: list[Match] = []
    # "normal heart size", "clear lungs"
    i = cue.end
    while i < len(words) and (i in covered or words[i] in fillers - {"is", "are", ",", ":"}):
        i += 1
    places += [
        m for m in layers.anatomy if cue.end <= m.start < i and words[cue.start] not in {"within", "no", "without"}
    ]
    if places and not any(
        w in {"is", "are", "appear", "appears", "remain", "remains"} for w in words[max(cue.start - 1, 0) : cue.start]
    ):
        return places
    # "the lungs are clear", "heart, mediastinum and hila are normal"
    i = cue.start - 1
    while i >= 0 and (i in covered or words[i] in fillers):
        if words[i] in {":", "|"} and any(i < m.start and m.end <= cue.start for m in layers.anatomy):
            break  # the heading is wider than what the sentence speaks of: "Heart and mediastinum: The heart is normal"
        i -= 1
    return [m for m in layers.anatomy if i < m.start and m.end <= cue.start]


def _pronouns(layers: Layers, antecedents: tuple[str, ...], mentions: list[Mention], n_prefix: int) -> list[Mention]:
    """Return a mention of each antecedent where the sentence begins with a word that stands for it."""
    if not antecedents:
        return []
    for cue in layers.cues:
        if cue.value == "pronoun" and cue.start <= n_prefix + 1:
            if any(m.start < cue.end and cue.start < m.end for m in mentions):
                continue
            return [Mention(c, cue.start, cue.end, cue.start, cue.end, is_pronoun=True) for c in antecedents]
    return []
