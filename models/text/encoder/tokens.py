"""Sentences as word pieces: the tokenizer, and what of its context a sentence carries in front of it.

A sentence becomes ``[CLS] [section] heading [SEP] what "it" can mean [SEP] sentence [SEP]``, the two middle parts only
where there are any. The prefix is part of what the encoder sees, and so of the cache key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from corpora.reports import SectionKind
from corpora.vocabulary import Vocabulary
from models.text.sentence_reader import Sentence

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, BEGIN, END, MASK)
# Longer sentences are read in windows: tables and lists without a full stop.
MAX_TOKENS = 192
_MAX_PREFIX = 48


def section_token(section: str) -> str:
    """Return the token that stands for a kind of section."""
    return f"[{section.upper() or SectionKind.FINDINGS.value.upper()}]"


SECTION_TOKENS = tuple(section_token(kind.value) for kind in SectionKind)


@dataclass(frozen=True, slots=True, repr=False)
class Pieces:
    """A sentence as word pieces. ``ids`` (tokens,); ``first`` is the index of the sentence's first piece, after the
    prefix; ``starts`` and ``ends`` are the character offsets of its pieces in the sentence.
    """

    ids: npt.NDArray[np.int32]
    first: int
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]


class SentenceTokenizer:
    """Cuts sentences into pieces. One instance serves several threads."""

    def __init__(self, tokenizer: Tokenizer, names: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        self._names = names  # concept id -> the name that stands for it in a prefix
        self._id: dict[str, int] = {}
        for token in (*SPECIAL, *SECTION_TOKENS):
            number = tokenizer.token_to_id(token)
            if number is None:
                raise ValueError(f"the tokenizer lacks {token}")
            self._id[token] = number
        self._prefixes: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary) -> SentenceTokenizer:
        """Return the tokenizer of a ``tokenizer.json``."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(path)), {entry.id: entry.name for entry in vocabulary.findings.values()})

    @property
    def pad_id(self) -> int:
        """Return the id that fills rows of a batch."""
        return self._id[PAD]

    @property
    def mask_id(self) -> int:
        """Return the id that hides a piece in training."""
        return self._id[MASK]

    def encode(self, sentences: Sequence[Sentence]) -> list[list[Pieces]]:
        """Return the windows of each sentence, in most cases one; a sentence without a piece has none."""
        encoded = self._tokenizer.encode_batch([s.text for s in sentences], add_special_tokens=False)
        return [
            self._windows(sentence, encoding.ids, encoding.offsets)
            for sentence, encoding in zip(sentences, encoded, strict=True)
        ]

    def _windows(self, sentence: Sentence, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[Pieces]:
        prefix = self._prefix(sentence)
        room = MAX_TOKENS - len(prefix) - 1
        windows = []
        for low in range(0, len(ids), room):
            high = min(low + room, len(ids))
            bounds = np.array(offsets[low:high], dtype=np.int32).reshape(-1, 2)
            windows.append(
                Pieces(
                    np.array([*prefix, *ids[low:high], self._id[END]], dtype=np.int32),
                    len(prefix),
                    bounds[:, 0],
                    bounds[:, 1],
                )
            )
        return windows

    def _prefix(self, sentence: Sentence) -> list[int]:
        key = (sentence.section, sentence.heading, sentence.antecedents)
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = [self._id[BEGIN], self._id[section_token(sentence.section)]]
            for words in (
                sentence.heading,
                ", ".join(self._names.get(concept, concept) for concept in sentence.antecedents),
            ):
                if words:
                    pieces = self._tokenizer.encode(words, add_special_tokens=False).ids[:_MAX_PREFIX]
                    prefix += [*pieces, self._id[END]]
            if len(self._prefixes) < 4096 and not sentence.antecedents:
                self._prefixes[key] = prefix
        return prefix


def trimmed_tokenizer(base: Tokenizer, texts: Iterable[str], size: int) -> tuple[Tokenizer, list[int]]:
    """Return a WordPiece tokenizer with at most ``size`` pieces of ``base``, and the row of each in the base's table.

    Kept are the special tokens, all single characters of the Latin script, the pieces that ``texts`` need by frequency,
    and then the base's own in their order, which in BERT's vocabularies is by frequency. New tokens for the kinds of
    section start from the row of ``[CLS]``.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocabulary = base.get_vocab()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(base.encode(text, add_special_tokens=False).tokens)
    kept = dict.fromkeys(SPECIAL)
    kept.update(dict.fromkeys(SECTION_TOKENS))
    by_row = sorted(vocabulary, key=vocabulary.__getitem__)
    kept.update((token, None) for token in by_row if len(token.removeprefix("##")) == 1 and token.isascii())
    kept.update((token, None) for token, _ in sorted(counts.items(), key=lambda item: (-item[1], vocabulary[item[0]])))
    for token in by_row:
        if len(kept) >= size:
            break
        if token.isascii() and not token.startswith("[unused"):
            kept.setdefault(token)
    tokens = list(kept)[:size]
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN, max_input_chars_per_word=64)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([*SPECIAL, *SECTION_TOKENS])
    return tokenizer, [vocabulary.get(token, vocabulary[BEGIN]) for token in tokens]
