"""The encoder at work, without torch: sentences in, readings out, each distinct sentence encoded once."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol

import numpy as np
import numpy.typing as npt

from corpora.vocabulary import Vocabulary
from models.text.encoder.decode import Decoder
from models.text.encoder.layout import Layout
from models.text.encoder.tokens import Pieces, SentenceTokenizer
from models.text.report_reader import SILENT
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReader, SentenceReading

Floats = npt.NDArray[np.float32]
# Readings kept, about 2 KB each. Open-i's 24,396 sentences are 8,610 distinct ones.
CACHE_SIZE = 32_768
# Word pieces encoded at once: large enough to keep the kernels busy, small enough for the processor's caches.
TOKEN_BUDGET = 1024
# Below it the rules are asked.
MIN_PROBABILITY = 0.8
_SILENT = frozenset(kind.value for kind in SILENT)


class Network(Protocol):
    """What runs the encoder: an ONNX session when serving, torch while training."""

    def run(self, ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return rows (batch, tokens, `Layout.width`) and scores (batch, labels, 2) of sentences of one length."""
        ...


class ReadingStore(Protocol):
    """Readings that were made before (`models.text.encoder.cache_file.CacheFile`)."""

    def get(self, key: bytes) -> SentenceReading | None:
        """Return the reading of a sentence by its key (`sentence_key`), ``None`` if there is none."""
        ...


class EncoderSentenceReader:
    """Reads sentences with the encoder. One instance serves one thread.

    A reading depends on the sentence and its context alone, bit for bit: batches hold sentences of one length, and the
    network does not look across sentences. With ``rules_check`` the rules read a sentence that the encoder is not sure
    of (`_is_doubtful`); such findings have no probability. ``cache_size`` bounds the readings kept; keys are digests,
    so that no sentence stays in memory with them. ``store`` has readings of an earlier time, for the sentences that are
    not among them. With ``ahead``, so many sentences at a time are cut into word pieces by a thread of their own while
    the network is busy with those before, which is for a network that runs elsewhere than on this processor. What a
    vocabulary adds to the one that the model was trained with is read by the rules.
    """

    def __init__(
        self,
        network: Network,
        layout: Layout,
        tokenizer: SentenceTokenizer,
        vocabulary: Vocabulary,
        *,
        cache_size: int = CACHE_SIZE,
        token_budget: int = TOKEN_BUDGET,
        rules_check: bool = True,
        store: ReadingStore | None = None,
        ahead: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._network = network
        self._tokenizer = tokenizer
        self._decoder = Decoder(layout, vocabulary)
        self._rules = SentenceReader(vocabulary, cache_size=0)
        self._added = frozenset(vocabulary.findings) - frozenset(layout.concepts)
        self._cache: OrderedDict[bytes, SentenceReading] = OrderedDict()
        self._cache_size = cache_size
        self._token_budget = token_budget
        self._rules_check = rules_check
        self._store = store
        self._ahead = ahead
        self._near: dict[str, frozenset[str]] = {}
        self.hits = 0
        self.misses = 0
        self.doubted = 0
        self.stored = 0  # among the hits, those from the store

    def read(self, sentence: Sentence) -> SentenceReading:
        """Return the reading of one sentence."""
        return self.read_many([sentence])[0]

    def read_many(self, sentences: Sequence[Sentence]) -> list[SentenceReading]:
        """Return the readings of sentences, in their order."""
        keys = [sentence_key(sentence) for sentence in sentences]
        found: dict[bytes, SentenceReading] = {}
        wanted: dict[bytes, Sentence] = {}
        for key, sentence in zip(keys, sentences, strict=True):
            reading = self._cache.get(key)
            if reading is not None:
                self._cache.move_to_end(key)
                found[key] = reading
                self.hits += 1
            elif key in wanted or key in found:
                self.hits += 1
            elif self._store is not None and (stored := self._store.get(key)) is not None:
                found[key] = stored
                self._keep(key, stored)
                self.hits += 1
                self.stored += 1
            else:
                wanted[key] = sentence
                self.misses += 1
        for key, reading in zip(wanted, self._encode(list(wanted.values()), self._rules_check), strict=True):
            found[key] = reading
            self._keep(key, reading)
        return [found[key] for key in keys]

    def _keep(self, key: bytes, reading: SentenceReading) -> None:
        if self._cache_size:
            self._cache[key] = reading
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def read_alone(self, sentences: Sequence[Sentence]) -> list[SentenceReading]:
        """Return the readings of sentences by the encoder alone, neither checked nor cached."""
        return list(self._encode(sentences, rules_check=False))

    def _encode(self, sentences: Sequence[Sentence], rules_check: bool) -> Iterator[SentenceReading]:
        spoken = [i for i, sentence in enumerate(sentences) if sentence.section not in _SILENT]
        by_sentence: defaultdict[int, list[tuple[Pieces, Floats, Floats]]] = defaultdict(list)
        for part, windows in self._word_pieces(sentences, spoken):
            flat = [(i, pieces) for i, parts in zip(part, windows, strict=True) for pieces in parts]
            outputs: dict[int, tuple[Floats, Floats]] = {}
            for batch in _batches([len(pieces.ids) for _, pieces in flat], self._token_budget):
                ids = np.stack([flat[i][1].ids for i in batch]).astype(np.int64)
                rows, scores = self._network.run(ids)
                for position, i in enumerate(batch):
                    outputs[i] = rows[position], scores[position]
            for position, (i, pieces) in enumerate(flat):
                by_sentence[i].append((pieces, *outputs[position]))
        for i, sentence in enumerate(sentences):
            yield self._reading(sentence, by_sentence.get(i, []), rules_check)

    def _word_pieces(
        self, sentences: Sequence[Sentence], wanted: Sequence[int]
    ) -> Iterator[tuple[Sequence[int], list[list[Pieces]]]]:
        """Yield indices of sentences with their word pieces, part by part."""
        size = self._ahead or max(len(wanted), 1)
        parts = [wanted[low : low + size] for low in range(0, len(wanted), size)]

        def cut(part: Sequence[int]) -> list[list[Pieces]]:
            return self._tokenizer.encode([sentences[i] for i in part])

        if len(parts) < 2:
            yield from ((part, cut(part)) for part in parts)
            return
        with ThreadPoolExecutor(1) as pool:  # one: the parts come in their order, and the tokenizer serves one thread
            coming = deque(pool.submit(cut, part) for part in parts[:2])
            for number, part in enumerate(parts):
                windows = coming.popleft().result()
                if number + 2 < len(parts):
                    coming.append(pool.submit(cut, parts[number + 2]))
                yield part, windows

    def _is_doubtful(
        self,
        sentence: Sentence,
        findings: Sequence[SentenceFinding],
        spoken: Sequence[str],
        named: Collection[str],
    ) -> bool:
        """Whether the encoder is in two minds about a finding, passed over a concept that the vocabulary names in the
        sentence, or finds nothing where the sense is in what stands before the sentence ("Pneumothorax:" "None.").
        """
        if not findings and (sentence.heading or sentence.antecedents):
            return True
        if any(finding.probability is not None and finding.probability < MIN_PROBABILITY for finding in findings):
            return True
        said = {finding.concept_id for finding in findings}.union(spoken)
        return any(not said & self._nearby(concept) for concept in named)

    def _nearby(self, concept_id: str) -> frozenset[str]:
        """Return the concepts that a mention of one may come out as: itself, what a place makes of it, kin."""
        near = self._near.get(concept_id)
        if near is None:
            vocabulary = self.vocabulary
            refined = vocabulary.findings[concept_id].refine.values()
            near = vocabulary.descendants(concept_id).union(vocabulary.ancestors(concept_id), refined)
            self._near[concept_id] = near
        return near

    def _reading(
        self, sentence: Sentence, parts: Sequence[tuple[Pieces, Floats, Floats]], rules_check: bool
    ) -> SentenceReading:
        signs, named = self._rules.read_signs(sentence)
        findings, spoken, scores = [], [], None
        for pieces, rows, part_scores in parts:
            found, unobserved = self._decoder.findings(rows, pieces, sentence)
            findings += found
            spoken += unobserved
            scores = part_scores.copy() if scores is None else _merged(scores, part_scores)
        if parts and rules_check and self._is_doubtful(sentence, findings, [concept for concept, _ in spoken], named):
            self.doubted += 1
            return replace(self._rules.read(sentence), scores=scores)
        if parts and self._added:
            findings += [f for f in self._rules.read(sentence).findings if f.concept_id in self._added]
        findings.sort(key=lambda f: (f.start, f.end, f.concept_id))
        return replace(
            signs,
            findings=tuple(findings),
            spoken_of=tuple(concept for concept, _ in spoken),
            spoken_at=tuple(place for _, place in spoken),
            scores=scores,
        )


def sentence_key(sentence: Sentence) -> bytes:
    """Return the 16 bytes under which a sentence's reading is kept: a digest of all that the reading depends on."""
    parts = (sentence.section, sentence.text, sentence.heading, *sentence.antecedents)
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield indices of equal length, at most ``budget`` word pieces at a time."""
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for i, length in enumerate(lengths):
        by_length[length].append(i)
    for length, indices in sorted(by_length.items()):
        size = max(budget // length, 1)
        for low in range(0, len(indices), size):
            yield indices[low : low + size]


def _merged(first: Floats, second: Floats) -> Floats:
    """Return the scores of two windows together: attention over both, as one softmax."""
    strength = np.logaddexp(first[:, 0], second[:, 0])
    weights = np.exp(np.stack([first[:, 0], second[:, 0]]) - strength)
    logit = weights[0] * first[:, 1] + weights[1] * second[:, 1]
    return np.stack([strength, logit], axis=1).astype(np.float32)
