"""The web page: files of this package, read once, served under `/` and `/static/`.

The page is open to all; what it shows comes from the API, which asks for a key where keys are needed. There is nothing
to build, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from nlp_service.api.problems import Problem

router = APIRouter(include_in_schema=False)
# Named here: what the operating system takes a suffix for differs, and browsers run no script of another type.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page as it is sent; ``tag`` tells a browser that its copy is still the same."""

    content: bytes
    media_type: str
    tag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Return the files of the page by their path below `/static/`. What is not among them is not served."""
    return dict(_files(resources.files(__package__).joinpath("static"), ""))


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, PageFile]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _files(entry, f"{name}/")
            continue
        media_type = _TYPES.get(f".{name.rpartition('.')[2]}")
        if media_type is not None:
            content = entry.read_bytes()
            yield name, PageFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@router.api_route("/", methods=["GET", "HEAD"], name="page")
async def show_page(request: Request) -> Response:
    """Answer with the page."""
    return _answer(request, page_files()["index.html"])


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"], name="static")
async def show_file(request: Request, path: str) -> Response:
    """Answer with a file of the page."""
    file = page_files().get(path)
    if file is None:
        raise Problem(404, "not-found", "Not Found")
    return _answer(request, file)


def _answer(request: Request, file: PageFile) -> Response:
    # A browser asks each time whether its copy is the same: after an upgrade, no page runs with half of the old files.
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
