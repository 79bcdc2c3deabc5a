"""The file of frequent readings: the same readings come out, no sentence is in it, and another model refuses it."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.findings import Assertion, Hedge, Measurement
from corpora.semantics import load_cases
from corpora.vocabulary import load_vocabulary
from models.text.encoder.cache_file import (
    CacheFile,
    CacheUnusable,
    decode_reading,
    encode_reading,
    sort_keys,
    write_cache,
)
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import shipped_model
from models.text.encoder.runtime import sentence_key
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReading

words = st.text(max_size=12) | st.none()
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
findings = st.builds(
    SentenceFinding,
    concept_id=st.text(max_size=12),
    start=st.integers(0, 500),
    end=st.integers(0, 500),
    assertion=st.sampled_from(Assertion),
    hedge=st.sampled_from(Hedge) | st.none(),
    anatomy=words,
    laterality=words,
    location=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    severity=words,
    temporality=words,
    measurement=st.none()
    | st.builds(
        Measurement,
        st.lists(numbers, min_size=1, max_size=3).map(tuple),
        st.sampled_from(["mm", "cm"]),
        st.lists(numbers, max_size=3).map(tuple),
    ),
    is_pronoun=st.booleans(),
    in_chest=st.booleans(),
    probability=st.floats(0, 1) | st.none(),
)
readings = st.builds(
    SentenceReading,
    findings=st.lists(findings, max_size=3).map(tuple),
    spoken_of=st.lists(st.text(max_size=8), max_size=2).map(tuple),
    spoken_at=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=2).map(tuple),
    subject=st.text(max_size=8),
    exam_organ=words,
    chest=st.integers(0, 9),
    n_words=st.integers(0, 99),
    scores=st.none()
    | st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4).map(lambda rows: np.array(rows, np.float32)),
)


def same(first: SentenceReading, second: SentenceReading) -> bool:
    """Compare to the last bit; arrays have no truth value, so that dataclasses with one cannot be compared."""
    return repr(first) == repr(second) and encode_reading(first) == encode_reading(second)


@given(readings)
def test_reading_comes_back_to_the_last_bit(reading: SentenceReading) -> None:
    assert same(decode_reading(encode_reading(reading)), reading)


def written(path: Path, entries: dict[bytes, SentenceReading], model: str = "m") -> Path:
    keys = sort_keys(entries)
    stream = io.BytesIO()
    write_cache(stream, keys, (encode_reading(entries[key]) for key in keys), model, {})
    path.write_bytes(stream.getvalue())
    return path


keys = st.binary(min_size=16, max_size=16)


@given(st.dictionaries(keys, st.integers(0, 99), max_size=20), keys)
def test_every_key_is_found_and_no_other(entries: dict[bytes, int], other: bytes) -> None:
    # Half of the keys share their first half: they are told apart by the second.
    keyed = {(key if i % 2 else b"\xff" * 8 + key[8:]): number for i, (key, number) in enumerate(entries.items())}
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "c", {key: SentenceReading((), n_words=n) for key, n in keyed.items()})
        cache = CacheFile(path, "m")
        assert len(cache) == len(keyed)
        assert {key: reading.n_words for key in keyed if (reading := cache.get(key))} == keyed
        assert (cache.get(other) is None) == (other not in keyed)


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return [Sentence(case.text, section="findings") for case in load_cases() if len(case.text) > 12][:60]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, sentences: list[Sentence]) -> tuple[Path, EncoderReader]:
    reader = EncoderReader(shipped_model(), load_vocabulary(), threads=1)
    entries = dict(zip(map(sentence_key, sentences), reader.read_sentences(sentences), strict=True))
    return written(tmp_path_factory.mktemp("cache") / "c", entries, reader.digest), reader


def test_model_with_the_file_reads_as_without_and_encodes_nothing(
    built: tuple[Path, EncoderReader], sentences: list[Sentence]
) -> None:
    path, fresh = built
    cached = EncoderReader(shipped_model(), load_vocabulary(), threads=1, cache_file=path, cache_size=0)
    for first, second in zip(cached.read_sentences(sentences), fresh.read_sentences(sentences), strict=True):
        assert same(first, second)
    assert cached.sentences.misses == 0
    assert cached.sentences.stored == len(set(map(sentence_key, sentences)))


def test_no_sentence_is_in_the_file(built: tuple[Path, EncoderReader], sentences: list[Sentence]) -> None:
    content = built[0].read_bytes().lower()
    for sentence in sentences:
        words = sentence.text.lower().split()
        for start in range(len(words) - 2):
            assert " ".join(words[start : start + 3]).encode() not in content


def test_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    good = written(tmp_path / "good", {bytes(range(16)): SentenceReading(())})
    assert CacheFile(good, "m").get(bytes(range(16))) == SentenceReading(())
    with pytest.raises(CacheUnusable, match="built with another model"):
        CacheFile(good, "another")
    with pytest.raises(CacheUnusable, match="cannot be read"):
        CacheFile(tmp_path / "missing", "m")
    data = good.read_bytes()
    cases = {
        "is empty": b"",
        "is no cache file": b"report_id,text\n1,Clear.\n" * 9,
        "header cannot be read": data[:16] + b"!" * (len(data) - 16),
        "another format": data.replace(b'"format": 1', b'"format": 9'),
        "is damaged": data[:-1],
        "damaged: its digest": data[:-1] + bytes([data[-1] ^ 1]),
    }
    for message, content in cases.items():
        bad = tmp_path / "bad"
        bad.write_bytes(content)
        with pytest.raises(CacheUnusable, match=message):
            CacheFile(bad, "m")
