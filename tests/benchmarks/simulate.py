"""How the distinct sentences of an archive grow, and streams of reports that grow alike, as long as wanted.

Heaps' law: among the first n sentences there are about ``k * n ** beta`` distinct ones. A simulated report has the
sections of a real training report. The stream goes on where the training reports end. As often there as sentences stood
that stand more than once, it draws one of these by its count, so that frequent sentences stay as frequent as they are.
The rest is new with the probability that the law's slope has at its place (a real sentence with the number of an image
added), or one of the rest that stood before.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict
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


def padchest_sentences(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the sentences of a report of PadChest, whose texts are stemmed and have their full stops set apart."""
    for text in report.text.split(" . "):
        if text.strip(" ."):
            yield "", text.strip(" .")


def measure_growth(
    reports: Iterable[Iterable[tuple[str, str]]],
    *,
    cache_sizes: Sequence[int] = (8192, 32_768),
    points: int = 40,
) -> Growth:
    """Count along the sentences of reports, in their order, at about so many points for each power of ten."""
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
        for pair in report:
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
        counts: Counter[tuple[str, str]] = Counter()
        for report in reports:
            sentences = list(sentences_of(report))
            counts.update(sentences)
            if sentences:
                self._skeletons.append(tuple(Counter(section for section, _ in sentences).items()))
        self._start = counts.total()
        self._repeated: defaultdict[str, list[str]] = defaultdict(list)  # as often as they stand
        self._rest: defaultdict[str, list[str]] = defaultdict(list)
        self._known: defaultdict[str, list[str]] = defaultdict(list)
        for (section, text), count in counts.items():
            self._known[section].append(text)
            (self._rest if count == 1 else self._repeated)[section].extend([text] * count)
        self._share = {
            section: len(self._repeated[section]) / (len(self._repeated[section]) + len(self._rest[section]))
            for section in self._known
        }
        self._all_share = sum(map(len, self._repeated.values())) / self._start
        self._image = 0
        self._place = 0

    def growing(self, count: int, law: Heaps) -> Iterator[Report]:
        """Yield reports whose distinct sentences grow by a law."""
        return (self._report(number, law) for number in range(count))

    def all_distinct(self, count: int) -> Iterator[Report]:
        """Yield reports in which no sentence stands twice."""
        return (self._report(number, None) for number in range(count))

    def sentences(self, count: int, law: Heaps) -> Iterator[list[tuple[str, str]]]:
        """Yield the sentences of such reports, without putting them together to texts and cutting these again."""
        for _ in range(count):
            yield [(section, text) for section, texts in self._sections(law) for text in texts]

    def _report(self, number: int, law: Heaps | None) -> Report:
        parts = [f"{section.upper()}:\n{' '.join(texts)}" for section, texts in self._sections(law)]
        return Report(f"s{number}", "\n".join(parts), accession_number=f"S{number:09d}")

    def _sections(self, law: Heaps | None) -> list[tuple[str, list[str]]]:
        return [
            (section, [self._sentence(section, law) for _ in range(length)])
            for section, length in self._choose.choice(self._skeletons)
        ]

    def _sentence(self, section: str, law: Heaps | None) -> str:
        self._place += 1
        if law is None:
            return self._new(section)
        if self._choose.random() < self._share[section]:
            return self._choose.choice(self._repeated[section])
        rest = self._rest[section]
        is_new = self._choose.random() * (1 - self._all_share) < law.chance_of_new(self._start + self._place)
        text = self._new(section) if is_new or not rest else self._choose.choice(rest)
        if len(rest) < MEMORY:
            rest.append(text)
        else:
            rest[self._choose.randrange(MEMORY)] = text
        return text

    def _new(self, section: str) -> str:
        self._image += 1
        text = self._choose.choice(self._known[section]).rstrip()
        return f"{text.rstrip('.')} (image {self._image})."
