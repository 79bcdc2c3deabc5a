"""An index of what a DICOMweb server holds (PS3.18): studies by QIDO-RS, a page at a time, headers by WADO-RS.

Each page is kept beside the index until it is done, so that a run that was cut off goes on where it stopped. Who may
read the server is given by the caller and written nowhere.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from corpora.errors import SourceUnreadable
from corpora.imaging.dicom_folder import ScanProgress
from corpora.imaging.extras import need
from corpora.imaging.header import TAGS, NotAnImage, Unreadable, dataset_to_row
from corpora.imaging.index_table import (
    ImageSource,
    IndexInfo,
    IndexWriter,
    UnreadableFile,
    read_info,
    rows_to_table,
)

STUDIES_PER_PAGE = 100
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_STUDY_UID, _SERIES_UID, _SOP_UID, _SYNTAX = "0020000D", "0020000E", "00080018", "00083002"
_WANTED = frozenset(f"{tag_for_keyword(name):08X}" for name in TAGS)


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks a server: a user with a password, or a bearer token. Not shown, and never written."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, and the pause after the first failure, which doubles each time."""

    attempts: int = 5
    wait_s: float = 1.0
    timeout_s: float = 60.0


def index_dicomweb(
    url: str,
    output: Path,
    *,
    access: Access | None = None,
    retries: Retries | None = None,
    resume: bool = False,
    studies_per_page: int = STUDIES_PER_PAGE,
    on_progress: Callable[[ScanProgress], None] | None = None,
) -> IndexInfo:
    """Write the index of a server and return its counts; ``file`` is the path of WADO-RS below ``url``.

    With ``resume``, studies that a run cut off before had finished are not asked for again. Raises `SourceUnreadable`
    if the server cannot be reached, refuses, or answers something else than DICOMweb.
    """
    server = _Server(url, access or Access(), retries or Retries())
    if output.exists():
        read_info(output)  # anything else is not overwritten
    parts = _Parts(output.with_name(output.name + ".parts"), server.url, resume)
    totals = ScanProgress()
    for page in server.iter_study_pages(studies_per_page):
        new = [uid for uid in page if uid not in parts.done]
        if new:
            parts.add(new, _read_studies(server, new))
        totals = parts.progress
        if on_progress is not None:
            on_progress(totals)
    return parts.merge(output)


@dataclass(slots=True)
class _Page:
    rows: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    not_images: int = 0


def _read_studies(server: _Server, study_uids: list[str]) -> _Page:
    page = _Page()
    for study_uid in study_uids:
        for number, instance in enumerate(server.metadata(study_uid), start=1):
            path = _wado_path(instance)
            try:
                page.rows.append({**_row(instance), "source": ImageSource.DICOMWEB.value, "file": path})
            except NotAnImage:
                page.not_images += 1
            except Unreadable as error:
                page.unreadable.append((path or f"instance {number} of a study", str(error)))
    return page


def _row(instance: dict[str, Any]) -> dict[str, Any]:
    wanted = {tag: element for tag, element in instance.items() if tag in _WANTED and "BulkDataURI" not in element}
    try:
        with config.disable_value_validation():
            row = dataset_to_row(Dataset.from_json(wanted))
    except (NotAnImage, Unreadable):
        raise
    except Exception as error:  # whatever odd JSON leads to
        raise Unreadable(f"the metadata cannot be parsed ({type(error).__name__})") from None
    row["transfer_syntax_uid"] = _value(instance, _SYNTAX)
    return row


def _value(instance: dict[str, Any], tag: str) -> str | None:
    values = instance.get(tag, {}).get("Value") or [None]
    return values[0] if isinstance(values[0], str) else None


def _wado_path(instance: dict[str, Any]) -> str:
    uids = [_value(instance, tag) for tag in (_STUDY_UID, _SERIES_UID, _SOP_UID)]
    if None in uids:
        return ""
    return "studies/{}/series/{}/instances/{}".format(*uids)


def retrieve(url: str, file: str, *, access: Access | None = None, retries: Retries | None = None) -> Dataset:
    """Return a whole instance by the ``file`` of its row, for `corpora.imaging.pixels.load_image`."""
    parts = file.split("/")
    if parts[::2] != ["studies", "series", "instances"] or len(parts) != 6:
        raise ValueError("file must be of the form studies/UID/series/UID/instances/UID")
    return _Server(url, access or Access(), retries or Retries()).instance(*parts[1::2])


class _Server:
    """A DICOMweb client whose errors name the server and the status, never what was asked for."""

    def __init__(self, url: str, access: Access, retries: Retries) -> None:
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise SourceUnreadable("the address of a DICOMweb server starts with http:// or https://")
        if parsed.username is not None or parsed.query or parsed.fragment:
            # It would be written into the index.
            raise SourceUnreadable("the address of the server must not hold a user, a password or a query")
        self.url = url.rstrip("/")
        self._retries = retries
        api = need("dicomweb_client.api", "dicomweb-client", "reading a DICOMweb server")
        self._requests = need("requests", "requests", "reading a DICOMweb server")
        session = self._requests.Session()
        session.trust_env = False  # else a .netrc decides who asks
        if access.user is not None:
            session.auth = (access.user, access.password or "")
        headers = {"Authorization": f"Bearer {access.token}"} if access.token is not None else None
        self._client = api.DICOMwebClient(
            self.url, session=session, headers=headers, timeout=retries.timeout_s, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)

    def iter_study_pages(self, size: int) -> Iterator[list[str]]:
        """Give the Study Instance UIDs of the server, page by page."""
        offset = 0
        while True:
            studies = self._ask(partial(self._client.search_for_studies, limit=size, offset=offset))
            if not studies:
                return
            yield [uid for study in studies if (uid := _value(study, _STUDY_UID)) is not None]
            # A server may give fewer than asked for, and still have more.
            offset += len(studies)

    def metadata(self, study_uid: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(lambda: self._client.retrieve_study_metadata(study_uid))
        return found

    def instance(self, study_uid: str, series_uid: str, sop_uid: str) -> Dataset:
        found: Dataset = self._ask(lambda: self._client.retrieve_instance(study_uid, series_uid, sop_uid))
        return found

    def _ask(self, request: Callable[[], Any]) -> Any:
        """Return an answer, trying again where that may help; what it raises quotes neither address nor answer."""
        host = urlsplit(self.url).hostname
        for attempt in range(1, self._retries.attempts + 1):
            try:
                return request()
            except self._requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                problem = f"answers with status {status}"
                if status not in _RETRIED:
                    raise SourceUnreadable(f"the DICOMweb server {host} {problem}") from None
            except (self._requests.ConnectionError, self._requests.Timeout) as error:
                problem = f"cannot be reached ({type(error).__name__})"
            except Exception as error:
                raise SourceUnreadable(
                    f"the server {host} does not answer as DICOMweb ({type(error).__name__})"
                ) from None
            if attempt < self._retries.attempts:
                time.sleep(self._retries.wait_s * 2 ** (attempt - 1))
        raise SourceUnreadable(f"the DICOMweb server {host} {problem}, tried {self._retries.attempts} times")


class _Parts:
    """The pages that are done, in a folder beside the index: rows in Parquet, the rest in JSON, written last."""

    def __init__(self, folder: Path, url: str, resume: bool) -> None:
        self._folder, self._url = folder, url
        self.done: set[str] = set()
        self.progress = ScanProgress()
        self._count = 0
        if not resume and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for state in self._states():
            if state["url"] != url:
                raise SourceUnreadable(f"{folder.name}: was begun with another server; remove it, or do not resume")
            self._note(state)

    def _states(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.glob("*.json")):
            yield json.loads(path.read_text(encoding="utf-8"))

    def _note(self, state: dict[str, Any]) -> None:
        self.done.update(state["studies"])
        self._count += 1
        before, unreadable = self.progress, len(state["unreadable"])
        self.progress = ScanProgress(
            before.seen + state["images"] + unreadable + state["not_images"],
            before.images + state["images"],
            0,
            before.unreadable + unreadable,
        )

    def add(self, study_uids: list[str], page: _Page) -> None:
        name = f"{self._count:06d}"
        pq.write_table(rows_to_table(page.rows), self._folder / f"{name}.parquet", compression="zstd")
        state = {
            "url": self._url,
            "studies": study_uids,
            "images": len(page.rows),
            "unreadable": page.unreadable,
            "not_images": page.not_images,
        }
        unfinished = self._folder / f"{name}.part"
        unfinished.write_text(json.dumps(state), encoding="utf-8")
        unfinished.replace(self._folder / f"{name}.json")
        self._note(state)

    def merge(self, output: Path) -> IndexInfo:
        """Write the index of all pages, and remove them."""
        with IndexWriter(output, self._url) as writer:
            for number, state in enumerate(self._states()):
                writer.write(pq.read_table(self._folder / f"{number:06d}.parquet"))
                writer.not_images += state["not_images"]
                for file, reason in state["unreadable"]:
                    writer.unreadable(UnreadableFile(file, reason))
            info = writer.info
        shutil.rmtree(self._folder)
        return info
