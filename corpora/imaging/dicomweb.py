"""An index of what a DICOMweb server holds (PS3.18): studies by QIDO-RS, a page at a time, headers by WADO-RS.

Each page is kept beside the index until it is done, so that a run that was cut off goes on where it stopped. Who may
read the server is given by the caller and written nowhere.
"""

from __future__ import annotations

import json
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydicom import config
from pydicom.dataset import Dataset

from corpora.errors import SourceUnreadable
from corpora.imaging.dicom_folder import ScanProgress
from corpora.imaging.header import ELEMENTS, NotAnImage, Unreadable, dataset_to_row
from corpora.imaging.index_table import (
    ImageSource,
    IndexInfo,
    IndexWriter,
    UnreadableFile,
    read_info,
    rows_to_table,
)
from corpora.imaging.server import Access, DicomWebServer, Retries, ServerAnswers, value, wado_path

STUDIES_PER_PAGE = 100
CONNECTIONS = 4  # requests at a time: a server works while answers travel, and has other users too
# Not found, gone, an internal error, not implemented: the fault may be that study's alone.
_OF_ONE_STUDY = frozenset({404, 410, 500, 501})
_MAX_FAILED_IN_A_ROW = 10
_SYNTAX = "00083002"
_WANTED = frozenset(f"{tag:08X}" for tag, _ in ELEMENTS.values())


def index_dicomweb(
    url: str,
    output: Path,
    *,
    access: Access | None = None,
    retries: Retries | None = None,
    resume: bool = False,
    studies_per_page: int = STUDIES_PER_PAGE,
    connections: int = CONNECTIONS,
    query: Mapping[str, str] | None = None,
    on_progress: Callable[[ScanProgress], None] | None = None,
) -> IndexInfo:
    """Write the index of a server and return its counts; ``file`` is the path of WADO-RS below ``url``.

    ``query`` restricts it to studies that match, by keyword: ``{"ModalitiesInStudy": "DX", "StudyDate": "20200101-"}``.
    With ``resume``, studies that a run cut off before had finished are not asked for again. A study that the server
    fails to give is listed as unreadable. Raises `SourceUnreadable` if the server cannot be reached, refuses, answers
    something else than DICOMweb, or fails for one study after another.
    """
    connect = partial(DicomWebServer, url, access, retries)
    if output.exists():
        read_info(output)  # anything else is not overwritten
    with ExitStack() as stack:
        server = stack.enter_context(closing(connect()))
        parts = _Parts(output.with_name(output.name + ".parts"), server.url, dict(query or {}), resume)
        pool = ThreadPoolExecutor(connections)
        stack.callback(pool.shutdown, cancel_futures=True)
        studies = _Studies(connect, pool)
        stack.callback(studies.close)
        for page in server.iter_study_pages(studies_per_page, query):
            new = [uid for uid in dict.fromkeys(page) if uid not in parts.done]
            if new:
                parts.add(new, studies.page(new))
            if on_progress is not None:
                on_progress(parts.progress)
    return parts.merge(output)


@dataclass(slots=True)
class _Page:
    rows: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    not_images: int = 0


class _Studies:
    """Asks for the headers of studies over several connections, and makes pages of them."""

    def __init__(self, connect: Callable[[], DicomWebServer], pool: ThreadPoolExecutor) -> None:
        self._connect, self._pool = connect, pool
        self._of_thread = threading.local()
        self._servers: list[DicomWebServer] = []
        self._failed_in_a_row = 0

    def close(self) -> None:
        """Close all connections, so that nobody waits for a server that does not answer."""
        for server in self._servers:
            server.close()

    def page(self, study_uids: list[str]) -> _Page:
        page = _Page()
        for study_uid, answer in zip(study_uids, self._pool.map(self._headers, study_uids), strict=True):
            if isinstance(answer, ServerAnswers):
                self._failed_in_a_row += 1
                if self._failed_in_a_row == _MAX_FAILED_IN_A_ROW:
                    raise answer
                page.unreadable.append((f"studies/{study_uid}", f"the server answers with status {answer.status}"))
            else:
                self._failed_in_a_row = 0
                _add(page, answer)
        return page

    def _headers(self, study_uid: str) -> list[dict[str, Any]] | ServerAnswers:
        server = getattr(self._of_thread, "server", None)
        if server is None:
            server = self._of_thread.server = self._connect()
            self._servers.append(server)
        try:
            return server.study_headers(study_uid)
        except ServerAnswers as error:
            if error.status in _OF_ONE_STUDY:
                return error
            raise


def _add(page: _Page, instances: list[dict[str, Any]]) -> None:
    for number, instance in enumerate(instances, start=1):
        path = wado_path(instance)
        try:
            page.rows.append({**_row(instance), "source": ImageSource.DICOMWEB.value, "file": path})
        except NotAnImage:
            page.not_images += 1
        except Unreadable as error:
            page.unreadable.append((path or f"instance {number} of a study", str(error)))


def _row(instance: dict[str, Any]) -> dict[str, Any]:
    wanted = {tag: element for tag, element in instance.items() if tag in _WANTED and "BulkDataURI" not in element}
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            row = dataset_to_row(Dataset.from_json(wanted))
    except (NotAnImage, Unreadable):
        raise
    except Exception as error:  # whatever odd JSON leads to
        raise Unreadable(f"the metadata cannot be parsed ({type(error).__name__})") from None
    row["transfer_syntax_uid"] = value(instance, _SYNTAX)
    return row


class _Parts:
    """The pages that are done, in a folder beside the index: rows in Parquet, the rest in JSON, written last."""

    def __init__(self, folder: Path, url: str, query: dict[str, str], resume: bool) -> None:
        self._folder, self._url, self._query = folder, url, query
        self.done: set[str] = set()
        self.progress = ScanProgress()
        self._count = 0
        if not resume and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for state in self._states():
            if (state["url"], state["query"]) != (url, query):
                raise SourceUnreadable(
                    f"{folder.name}: was begun with another server or query; remove it, or do not resume"
                )
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
            "query": self._query,
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
