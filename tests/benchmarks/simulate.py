"""How the distinct sentences of an archive grow, and streams of reports that grow alike, as long as wanted.

Heaps' law: among the first n sentences there are about ``k * n ** beta`` distinct ones. A simulated report has the
sections of a real training report. Each sentence in it is new with the probability that the law's slope has at its
place: a training sentence that has not been used yet, and when these are used up, one with the number of an image
added. If it is not new, it is one that stood before in such a section, drawn by how often it stood (Simon's process,
whose frequencies follow Zipf's law as those of real sentences do).
"""

from __future__ import annotations

import random
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from corpora import Report
from corpora.openi_split import openi_test_ids
from models.text.sections import split_sections
from models.text.sentences import split_sentences
from tests.benchmarks.load import corpus_reports

# Sentences that stood before are drawn among so many of the last ones of a section.
MEMORY = 2_000_000
Skeleton = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Heaps:
    """The law that was fitted, and where: the last counts it has seen, and how far it is off there (as a share)."""

    k: float
    beta: float
    sentences: int
    distinct: int
    worst_error: float

    def expected(self, sentences: float) -> float:
        """Return how many distinct ones there are among so many sentences."""
        return float(self.k * sentences**self.beta)

    def chance_of_new(self, place: int) -> float:
        """Return the probability that the sentence at a place, from 1, is new."""
        return min(1.0, float(self.k * self.beta * place ** (self.beta - 1.0)))


@dataclass(frozen=True, slots=True)
class Growth:
    """Counts along an archive: after ``sentences`` of them, the distinct ones, and the hits of caches of some sizes."""

    sentences: list[int]
    reports: list[int]
    distinct: list[int]
    hits: dict[int, list[int]]

    def fit(self, start: int = 1000) -> Heaps:
        """Return Heaps' law, fitted by least squares to the logarithms of the counts behind the first ones."""
        n, distinct = (np.array(column, float) for column in (self.sentences, self.distinct))
        kept = n >= min(start, n[-1] / 2)
        beta, log_k = np.polyfit(np.log(n[kept]), np.log(distinct[kept]), 1)
        k = float(np.exp(log_k))
        errors = np.abs(k * n[kept] ** beta / distinct[kept] - 1)
        return Heaps(k, float(beta), self.sentences[-1], self.distinct[-1], float(errors.max()))


def sentences_of(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the sentences of a report, each with the kind of its section."""
    for section in split_sections(report):
        for span in split_sentences(report.text, section):
            yield span.section.value, report.text[span.start : span.end]


def measure_growth(reports: Iterable[Report], cache_sizes: Sequence[int] = (8192, 32_768), points: int = 40) -> Growth:
    """Count along reports, in their order, at about so many points for each power of ten."""
    seen = set[int]()
    caches: dict[int, OrderedDict[int, None]] = {size: OrderedDict() for size in cache_sizes}
    hits = dict.fromkeys(cache_sizes, 0)
    growth = Growth([], [], [], {size: [] for size in cache_sizes})
    n = 0
    n_reports = 0
    next_point = 10.0

    def note() -> None:
        growth.sentences.append(n)
        growth.reports.append(n_reports)
        growth.distinct.append(len(seen))
        for size in cache_sizes:
            growth.hits[size].append(hits[size])

    for report in reports:
        n_reports += 1
        for pair in sentences_of(report):
            n += 1
            key = hash(pair)
            seen.add(key)
            for size, cache in caches.items():
                if key in cache:
                    hits[size] += 1
                    cache.move_to_end(key)
                else:
                    cache[key] = None
                    if len(cache) > size:
                        cache.popitem(last=False)
        if n >= next_point:
            note()
            next_point = max(n + 1.0, next_point * 10 ** (1 / points))
    note()
    return growth


def training_reports() -> list[Report]:
    """Return the reports of Open-i that are not held out."""
    held_out = openi_test_ids()
    return [report for report in corpus_reports("openi") if report.report_id not in held_out]


class Simulation:
    """Makes reports from the sentences of real ones; see the module."""

    def __init__(self, reports: Sequence[Report], seed: int = 0) -> None:
        self._choose = random.Random(seed)
        self._skeletons: list[Skeleton] = []
        self._unused: defaultdict[str, list[str]] = defaultdict(list)
        self._templates: defaultdict[str, list[str]] = defaultdict(list)
        seen = set[tuple[str, str]]()
        for report in reports:
            counts: dict[str, int] = {}
            for section, text in sentences_of(report):
                counts[section] = counts.get(section, 0) + 1
                if (section, text) not in seen:
                    seen.add((section, text))
                    self._templates[section].append(text)
            if counts:
                self._skeletons.append(tuple(counts.items()))
        for section, texts in self._templates.items():
            self._unused[section] = self._choose.sample(texts, len(texts))
        self._used: defaultdict[str, list[str]] = defaultdict(list)
        self._image = 0
        self._place = 0

    def growing(self, count: int, law: Heaps) -> Iterator[Report]:
        """Yield reports whose distinct sentences grow by a law."""
        return (self._report(number, law) for number in range(count))

    def all_distinct(self, count: int) -> Iterator[Report]:
        """Yield reports in which no sentence stands twice."""
        return (self._report(number, None) for number in range(count))

    def _report(self, number: int, law: Heaps | None) -> Report:
        parts = []
        for section, length in self._choose.choice(self._skeletons):
            sentences = [self._sentence(section, law) for _ in range(length)]
            parts.append(f"{section.upper()}:\n{' '.join(sentences)}")
        return Report(f"s{number}", "\n".join(parts), accession_number=f"S{number:09d}")

    def _sentence(self, section: str, law: Heaps | None) -> str:
        self._place += 1
        used = self._used[section]
        if law is None or not used or self._choose.random() < law.chance_of_new(self._place):
            text = self._new(section, law is None)
        else:
            text = self._choose.choice(used)
        if law is not None:
            if len(used) < MEMORY:
                used.append(text)
            else:
                used[self._choose.randrange(MEMORY)] = text
        return text

    def _new(self, section: str, changed: bool) -> str:
        if self._unused[section] and not changed:
            return self._unused[section].pop()
        self._image += 1
        text = self._choose.choice(self._templates[section]).rstrip()
        return f"{text.rstrip('.')} (image {self._image})."
