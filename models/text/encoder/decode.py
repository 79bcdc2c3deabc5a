"""From the encoder's numbers to the findings of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion, Hedge, Measurement
from corpora.vocabulary import Vocabulary
from models.text.attributes import parse_measurements
from models.text.encoder.layout import ASSERTIONS, FLAGS, HEDGES, NOT_OBSERVED, PRONOUN, Layout
from models.text.encoder.tokens import Pieces
from models.text.sentence_reader import Sentence, SentenceFinding

Floats = npt.NDArray[np.float32]
_UNOBSERVED = ASSERTIONS.index(NOT_OBSERVED)
_MEASURED = FLAGS.index("is_measured")


class Decoder:
    """Reads findings out of token rows; what it decides depends on the layout and the vocabulary alone."""

    def __init__(self, layout: Layout, vocabulary: Vocabulary) -> None:
        self._layout = layout
        self._vocabulary = vocabulary

    def findings(
        self, rows: Floats, pieces: Pieces, sentence: Sentence
    ) -> tuple[list[SentenceFinding], list[tuple[str, tuple[int, int]]]]:
        """Return the findings of one window, and what it names without observing it, with character offsets.

        ``rows`` is (tokens, `Layout.width`), the prefix and the end token among them. A concept is read where its
        logit is above zero.
        """
        heads = self._layout.heads
        first = pieces.first
        text = rows[first : first + len(pieces.starts)]  # (pieces, width)
        concept = text[:, heads["concept"]]
        hits = np.argwhere(concept > 0)
        found: list[SentenceFinding] = []
        spoken: list[tuple[str, tuple[int, int]]] = []
        for token, index in hits.tolist():
            row = text[token]
            last = token + int(np.argmax(text[token:, heads["span_end"]] @ row[heads["span_start"]]))
            start, end = int(pieces.starts[token]), int(pieces.ends[last])
            chances = _softmax(row[heads["assertion"]])
            choice = int(np.argmax(chances))
            name = PRONOUN if index == len(self._layout.concepts) else self._layout.concepts[index]
            if choice == _UNOBSERVED:
                if name != PRONOUN:
                    spoken.append((name, (start, end)))
                continue
            chance = float(chances[choice] / (1 + np.exp(-float(concept[token, index]))))
            for concept_id in sentence.antecedents if name == PRONOUN else (name,):
                found.append(self._finding(concept_id, row, start, end, choice, chance, sentence, name == PRONOUN))
        return found, spoken

    def _finding(
        self,
        concept_id: str,
        row: Floats,
        start: int,
        end: int,
        assertion: int,
        probability: float,
        sentence: Sentence,
        is_pronoun: bool,
    ) -> SentenceFinding:
        layout, heads = self._layout, self._layout.heads
        places = [layout.places[i] for i in np.flatnonzero(row[heads["place"]] > 0)]
        organ, location = self._vocabulary.organ_and_location(concept_id, places)
        flags = row[heads["flag"]] > 0
        value = Assertion(ASSERTIONS[assertion])
        hedge = HEDGES[int(np.argmax(row[heads["hedge"]]))] if value is Assertion.UNCERTAIN else ""
        measurement = _nearest_measurement(sentence.text, start, end) if flags[_MEASURED] else None
        return SentenceFinding(
            concept_id=concept_id,
            start=start,
            end=end,
            assertion=value,
            hedge=Hedge(hedge) if hedge else None,
            anatomy=organ,
            laterality=_chosen(layout.lateralities, row[heads["laterality"]]),
            location=location,
            severity=_chosen(layout.severities, row[heads["severity"]]),
            temporality=_chosen(layout.temporalities, row[heads["temporality"]]),
            measurement=measurement,
            is_pronoun=is_pronoun,
            is_restricted=bool(flags[FLAGS.index("is_restricted")]),
            persists=bool(flags[FLAGS.index("persists")]),
            in_chest=bool(flags[FLAGS.index("in_chest")]),
            probability=round(probability, 4),
        )


def _chosen(names: Sequence[str], row: Floats) -> str | None:
    """Return the name of the highest number; index 0 stands for none."""
    index = int(np.argmax(row))
    return names[index - 1] if index else None


def _softmax(row: Floats) -> Floats:
    weights = np.exp(row - row.max())
    chances: Floats = weights / weights.sum()
    return chances


def _nearest_measurement(text: str, start: int, end: int) -> Measurement | None:
    """Return the size in a sentence that is nearest to a span."""
    best: tuple[int, Measurement] | None = None
    for low, high, measurement in parse_measurements(text):
        distance = max(low - end, start - high, 0)
        if best is None or distance < best[0]:
            best = (distance, measurement)
    return best[1] if best else None
