"""Building a cache file: reports are read, and the readings of their frequent sentences are kept.

One pass. Readings go to a temporary file as they are made, and of each distinct sentence a digest, a count and a place
stay in memory, some 150 bytes. At the end those are written that stood in enough reports: a sentence of one report
alone may name somebody, and would be of no use to the next.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from corpora.errors import RowInvalid
from corpora.reports import Report
from corpora.sources import iter_records
from corpora.vocabulary import load_vocabulary
from models.text.encoder.cache_file import encode_reading, sort_keys, write_cache
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import shipped_model
from models.text.encoder.runtime import sentence_key
from models.text.report_reader import Reading, Steps, read_together
from models.text.sentence_reader import SentenceReading
from nlp_service.chunks import plan_inputs
from nlp_service.errors import OutputExists, OutputUnusable
from nlp_service.labeler import WINDOW
from nlp_service.part_folder import written_whole

MIN_REPORTS = 3
MAX_SENTENCES = 1_000_000


@dataclass(frozen=True, slots=True)
class CacheSummary:
    """What a cache file was built from, and what it holds. ``covered`` of the ``sentences`` would be found in it."""

    path: Path
    reports: int
    failed: int
    sentences: int
    distinct: int
    kept: int
    covered: int
    bytes: int


def build_cache(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    vocabulary: Sequence[str | Path] = (),
    min_reports: int = MIN_REPORTS,
    max_sentences: int = MAX_SENTENCES,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    on_reports: Callable[[int], None] | None = None,
) -> CacheSummary:
    """Read reports and write the readings of the sentences that stand in at least ``min_reports`` of them.

    If these are more than ``max_sentences``, the most frequent are kept. Records that cannot be read are counted and
    passed over.

    Raises:
        OutputExists: the output is there already, and ``overwrite`` is not given.
        OutputUnusable: the output is one of the inputs.
        ModelUnusable, VocabularyInvalid, SourceUnreadable: as they say.
    """
    path = Path(output)
    planned = plan_inputs([Path(item) for item in inputs], format)
    if any(path.exists() and path.samefile(source.path) for source in planned):
        raise OutputUnusable(f"{path}: is one of the inputs, and would be replaced")
    if path.exists() and not overwrite:
        raise OutputExists(f"{path}: is there already; replace it with --overwrite, or name another output")
    reader = EncoderReader(
        Path(model) if model is not None else shipped_model(), load_vocabulary(tuple(map(Path, vocabulary)))
    )
    failed = read = 0

    def reports() -> Iterator[Report]:
        nonlocal failed
        for source in planned:
            for record in iter_records(source.path, format=source.format, columns=columns, encoding=encoding):
                if isinstance(record, RowInvalid):
                    failed += 1
                else:
                    yield record

    with tempfile.TemporaryFile() as spool, written_whole(path) as stream:
        readings = _Readings(spool)
        waiting = islice(reports(), limit)
        while window := list(islice(waiting, WINDOW)):
            heard: list[dict[bytes, SentenceReading]] = [{} for _ in window]
            steps = [_overheard(reader.steps(report), ears) for report, ears in zip(window, heard, strict=True)]
            results = read_together(steps, reader.sentences.read_many)
            failed += sum(isinstance(result, Exception) for result in results)
            read += len(window)
            for ears in heard:
                readings.add(ears)
            if on_reports:
                on_reports(read)
        kept = readings.frequent(min_reports, max_sentences)
        facts = {"reports": read, "min_reports": min_reports}
        write_cache(stream, kept, readings.values(kept), reader.digest, facts)
        size = stream.seek(0, 2)
    covered = sum(readings.count(key) for key in kept)
    return CacheSummary(path, read, failed, readings.total, len(readings), len(kept), covered, size)


def _overheard(steps: Steps, heard: dict[bytes, SentenceReading]) -> Steps:
    """Pass on what a report asks for and is answered, and note it."""
    answers: Sequence[SentenceReading] | None = None
    while True:
        try:
            wanted = next(steps) if answers is None else steps.send(answers)
        except StopIteration as done:
            reading: Reading = done.value
            return reading
        answers = yield wanted
        heard.update(zip(map(sentence_key, wanted), answers, strict=True))


class _Readings:
    """The distinct sentences met so far: in how many reports each stood, and where its reading is on the disk."""

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._numbers: dict[bytes, int] = {}
        self._counts = array("Q")
        self._ends = array("Q", [0])
        self.total = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, heard: Mapping[bytes, SentenceReading]) -> None:
        """Count the distinct sentences of a report."""
        self.total += len(heard)
        for key, reading in heard.items():
            number = self._numbers.setdefault(key, len(self._counts))
            if number < len(self._counts):
                self._counts[number] += 1
            else:
                value = encode_reading(reading)
                self._spool.write(value)
                self._counts.append(1)
                self._ends.append(self._ends[-1] + len(value))

    def count(self, key: bytes) -> int:
        """Return in how many reports a sentence stood."""
        return self._counts[self._numbers[key]]

    def frequent(self, min_reports: int, most: int) -> list[bytes]:
        """Return the keys of sentences that stood in enough reports, sorted; of too many, the most frequent."""
        found = [key for key, number in self._numbers.items() if self._counts[number] >= min_reports]
        if len(found) > most:
            found.sort(key=lambda key: (-self.count(key), key))  # the key decides ties, so that order does not
            del found[most:]
        return sort_keys(found)

    def values(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the encoded readings of sentences."""
        for key in keys:
            number = self._numbers[key]
            self._spool.seek(self._ends[number])
            yield self._spool.read(self._ends[number + 1] - self._ends[number])
