"""All that the bytes of an output depend on, written down before a run and compared when it is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.sources import SOURCES
from corpora.sources.encoding import readable
from corpora.sources.text_folder import iter_files
from nlp_service import chunks
from nlp_service._version import __version__
from nlp_service.chunks import Input

if TYPE_CHECKING:
    from nlp_service.labeler import Labeler
    from nlp_service.work import WorkPlan

# Of the manifest, and of what stands beside it (`nlp_service.part_folder`, `nlp_service.shards`).
FORMAT_VERSION = 3
Manifest = Mapping[str, Any]


def make_manifest(
    inputs: Iterable[Input], plan: WorkPlan, labeler: Labeler, options: Mapping[str, object]
) -> dict[str, Any]:
    """Return the manifest of a run, as JSON has it. Digests of all inputs are in it: they are read through."""
    model = labeler.model
    return {
        "format_version": FORMAT_VERSION,
        "inputs": [_fingerprint(source) for source in inputs],
        "options": {
            **options,
            "label_sets": list(plan.label_sets),
            "suffix": plan.suffix,
            "keep_errors": plan.keep_errors,
            "device": str(plan.device),
            "abstain": None if plan.abstain is None else list(plan.abstain),
        },
        "model": {"name": model.name, "version": model.version, "digest": model.digest},
        "versions": {"radlabel": __version__} | ({"pyarrow": version("pyarrow")} if plan.suffix == ".parquet" else {}),
        "chunks": {"records": chunks.CHUNK_RECORDS, "characters": chunks.CHUNK_CHARACTERS},
    }


def differences(there: Manifest, wanted: Manifest) -> list[str]:
    """Return in words what differs between two manifests, options and inputs by their names.

    >>> differences({"options": {"limit": 5, "format": None}}, {"options": {"limit": 6, "format": None}})
    ['options (limit)']
    """
    found = []
    for key in wanted:
        old, new = there.get(key), wanted[key]
        if old == new:
            continue
        names: list[str] = []
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            names = [str(name) for name in {**new, **old} if old.get(name) != new.get(name)]
        elif key == "inputs" and isinstance(old, list):
            names = sorted({str(item["name"]) for item in [*old, *new] if item not in old or item not in new})
        found.append(key.replace("_", " ") + (f" ({', '.join(names)})" if names else ""))
    return found


def _fingerprint(source: Input) -> dict[str, object]:
    """Return name, size and digest of an input; names within a folder go into the digest alone, as they may be ids."""
    digest = blake2b(digest_size=32)
    if not source.path.is_dir():
        with readable(source.path):
            size = _digest_file(source.path, digest)
        return {"name": source.name, "files": 1, "bytes": size, "digest": digest.hexdigest()}
    count = size = 0
    for file in iter_files(source.path, SOURCES[source.format].SUFFIXES):
        count += 1
        digest.update(f"{file.relative_to(source.path)}\0".encode("utf-8", "surrogateescape"))
        with suppress(OSError):  # a file that cannot be read costs its row, not the run
            file_size = _digest_file(file, digest)
            digest.update(f"\0{file_size}\0".encode())
            size += file_size
    return {"name": source.name, "files": count, "bytes": size, "digest": digest.hexdigest()}


def _digest_file(file: Path, digest: Any) -> int:
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
            size += len(block)
    return size
