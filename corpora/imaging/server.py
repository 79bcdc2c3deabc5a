"""A DICOMweb server (PS3.18) as an image source: what it holds, headers and whole instances.

Errors name the host and the status, and never what was asked for: a path of WADO-RS holds identifiers.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom.dataset import Dataset

from corpora.errors import SourceUnreadable
from corpora.imaging.extras import need

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_STORED_SYNTAX = (("application/dicom", "*"),)  # as it is stored: else servers decompress, or compress, on the way


class ServerAnswers(SourceUnreadable):
    """A server answers with a status that is none of success; 0 if it does not answer at all."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks a server: a user with a password, or a bearer token. Not shown, and never written.

    ``ca_file`` holds the certificates (PEM) that a server's is checked against, in place of the public ones.
    """

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None


def access_from_environment() -> Access:
    """Return what RADLABEL_DICOMWEB_USER, _PASSWORD, _TOKEN and _CA_FILE say.

    Not options: a command line is shown to every user of the machine.
    """
    return Access(*(os.environ.get(f"RADLABEL_DICOMWEB_{name}") for name in ("USER", "PASSWORD", "TOKEN", "CA_FILE")))


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, and the pause after the first failure, which doubles each time."""

    attempts: int = 5
    wait_s: float = 1.0
    timeout_s: float = 60.0


class DicomWebServer:
    """One server and one session with it. Not for several threads at a time."""

    def __init__(self, url: str, access: Access | None = None, retries: Retries | None = None) -> None:
        """Raise `SourceUnreadable` for an address that is none, or that holds what must not be written down."""
        access = access or Access()
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise SourceUnreadable("the address of a DICOMweb server starts with http:// or https://")
        if parsed.username is not None or parsed.query or parsed.fragment:
            # It would be written into the index.
            raise SourceUnreadable("the address of the server must not hold a user, a password or a query")
        self.url = url.rstrip("/")
        self._host = parsed.hostname
        self._retries = retries or Retries()
        api = need("dicomweb_client.api", "dicomweb-client", "reading a DICOMweb server")
        self._requests = need("requests", "dicomweb-client", "reading a DICOMweb server")
        self._session = self._requests.Session()
        self._session.trust_env = False  # else a .netrc decides who asks
        if access.user is not None:
            # As UTF-8 (RFC 7617), where requests would take Latin-1 and fail for other letters.
            self._session.auth = (access.user.encode(), (access.password or "").encode())
        if access.ca_file is not None:
            if not Path(access.ca_file).is_file():
                raise SourceUnreadable(f"{Path(access.ca_file).name}: there is no such file of certificates")
            self._session.verify = access.ca_file
        headers = {"Authorization": f"Bearer {access.token}"} if access.token is not None else None
        self._client = api.DICOMwebClient(
            self.url, session=self._session, headers=headers, timeout=self._retries.timeout_s, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)
        self._is_closed = threading.Event()

    def close(self) -> None:
        """Close the session; a request of another thread is not tried again."""
        self._is_closed.set()
        self._session.close()

    def iter_study_pages(self, size: int, query: Mapping[str, str] | None = None) -> Iterator[list[str]]:
        """Give the Study Instance UIDs of the server, or of the studies that match a query, page by page (QIDO-RS)."""
        search = partial(self._client.search_for_studies, search_filters=dict(query or {}), limit=size)
        offset = 0
        before: list[str] = []
        while True:
            studies = self._ask(partial(search, offset=offset))
            if not studies:
                return
            page = [uid for study in studies if (uid := value(study, STUDY_UID)) is not None]
            if page and page == before:
                raise SourceUnreadable(f"the DICOMweb server {self._host} gives the same studies for every page")
            yield page
            # A server may give fewer than asked for, and still have more.
            offset += len(studies)
            before = page

    def study_headers(self, study_uid: str) -> list[dict[str, Any]]:
        """Return the DICOM JSON of a study's instances, without bulk data (WADO-RS)."""
        found: list[dict[str, Any]] = self._ask(lambda: self._client.retrieve_study_metadata(study_uid))
        return found

    def instance(self, file: str) -> Dataset:
        """Return a whole instance as it is stored, by the ``file`` of its row (WADO-RS)."""
        parts = file.split("/")
        if parts[::2] != ["studies", "series", "instances"] or len(parts) != 6:
            raise ValueError("file must be of the form studies/UID/series/UID/instances/UID")
        retrieve = partial(self._client.retrieve_instance, *parts[1::2], media_types=_STORED_SYNTAX)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of answers in one part, which the standard wants in several
            found: Dataset = self._ask(retrieve)
        return found

    def _ask(self, request: Callable[[], Any]) -> Any:
        """Return an answer, trying again where that may help."""
        for attempt in range(1, self._retries.attempts + 1):
            status = 0
            try:
                return request()
            except self._requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                problem = f"answers with status {status}"
                if status not in _RETRIED:
                    raise ServerAnswers(f"the DICOMweb server {self._host} {problem}{_hint(status)}", status) from None
            except self._requests.exceptions.SSLError:
                raise SourceUnreadable(
                    f"the certificate of the DICOMweb server {self._host} cannot be trusted: RADLABEL_DICOMWEB_CA_FILE "
                    "names a file with that of its authority"
                ) from None
            except (
                self._requests.ConnectionError,
                self._requests.Timeout,
                self._requests.exceptions.ChunkedEncodingError,
            ) as error:
                problem = f"cannot be reached ({type(error).__name__})"
            except Exception as error:
                raise SourceUnreadable(
                    f"the server {self._host} does not answer as DICOMweb ({type(error).__name__})"
                ) from None
            if attempt < self._retries.attempts and self._is_closed.wait(self._retries.wait_s * 2 ** (attempt - 1)):
                break
        raise ServerAnswers(f"the DICOMweb server {self._host} {problem}, tried {self._retries.attempts} times", status)


def _hint(status: int) -> str:
    if status == 401:
        return ": set RADLABEL_DICOMWEB_USER and RADLABEL_DICOMWEB_PASSWORD, or RADLABEL_DICOMWEB_TOKEN"
    if status in (400, 404, 405):
        return ": the address should end where DICOMweb begins, often /dicom-web"
    return ""


def value(instance: dict[str, Any], tag: str) -> str | None:
    """Return the first text value of an element of DICOM JSON."""
    values = instance.get(tag, {}).get("Value") or [None]
    return values[0] if isinstance(values[0], str) else None


def wado_path(instance: dict[str, Any]) -> str:
    """Return the path of an instance below the server's address, empty if it lacks a UID."""
    uids = [value(instance, tag) for tag in (STUDY_UID, SERIES_UID, SOP_UID)]
    return "" if None in uids else "studies/{}/series/{}/instances/{}".format(*uids)
