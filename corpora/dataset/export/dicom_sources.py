"""The DICOM objects behind the rows of a data set, under the names that the rows have."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from corpora.dataset.errors import SourcesMissing
from corpora.dataset.export.target import ExportTarget, Sources
from corpora.dataset.identity import Identity
from corpora.deidentification.errors import NotDeidentifiable
from corpora.deidentification.headers import HeaderOptions, HeaderReport, deidentify_header
from corpora.errors import SourceUnreadable
from corpora.imaging.index_table import ImageSource, iter_tables
from corpora.imaging.pictures import Pictures

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def iter_objects(target: ExportTarget) -> Iterator[tuple[dict[str, Any], Dataset, HeaderReport | None]]:
    """Yield each row that has a DICOM object, with the object as it may be handed out, and what was done to its header.

    What has none, or cannot be read or de-identified, is counted in the target.

    Raises
    ------
    SourcesMissing
        No sources are given, none of them is DICOM, or they lack the key of the pseudonyms.
    """
    sources = _checked(target)
    rows = _index_rows(target, sources)
    options = HeaderOptions(
        retain_patient_characteristics=bool(target.dataset.info.recipe["deidentify"]["keep_sex_and_age"])
    )
    maker = sources.pseudonymiser if target.dataset.info.deidentified else None
    with Pictures(sources.info, access=sources.access) as pictures:
        for row in target.rows():
            header = rows.get(row["image_id"])
            if header is None:
                target.count("without DICOM source")
                continue
            try:
                found = pictures.dataset(header)
                done = None if maker is None else deidentify_header(found, maker, options)
            except SourceUnreadable:
                target.count("unreadable")
            except NotDeidentifiable:
                target.count("not de-identifiable")
            else:
                yield row, found, done


def _checked(target: ExportTarget) -> Sources:
    sources, info = target.sources, target.dataset.info
    if sources is None:
        raise SourcesMissing(
            "this export is made from the DICOM objects themselves, and the data set holds pictures: say where they "
            "are with --images"
        )
    if info.deidentified and sources.pseudonymiser is None:
        raise SourcesMissing("the names of this data set are pseudonyms: give the key that made them with --key-file")
    if info.deidentified and sources.pseudonymiser is not None and sources.pseudonymiser.key_id != info.key_id:
        raise SourcesMissing("the key is not the one that the pseudonyms of this data set were made with")
    return sources


def _index_rows(target: ExportTarget, sources: Sources) -> dict[str, dict[str, Any]]:
    """Return name to source and file of the images of the data set that are DICOM; of copies the first by file."""
    wanted = set(target.dataset.table(["image_id"])["image_id"].to_pylist())
    identity = Identity(sources.pseudonymiser if target.dataset.info.deidentified else None)
    found: dict[str, dict[str, Any]] = {}
    pictures = 0
    for table in iter_tables(sources.index, ["image_id", "source", "file"]):
        for row in table.to_pylist():
            name = identity.image(row["image_id"])
            if name not in wanted:
                continue
            if row["source"] == ImageSource.PICTURE:
                pictures += 1
            elif name not in found or row["file"] < found[name]["file"]:
                found[name] = row
    if not found:
        what = (
            "they are PNG or JPEG files, which have no header to refer to"
            if pictures
            else "none of them is an image of this data set"
        )
        raise SourcesMissing(f"there is no DICOM source among the images that were given: {what}")
    return found


def derived_uid(*parts: str) -> str:
    """Return a UID that follows from its parts: 2.25 and a UUID (PS3.5 B.2), so that an export can be repeated."""
    raw = bytearray(sha256("\0".join(parts).encode()).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80  # version 8, variant 1 (RFC 9562 section 5.8)
    return f"2.25.{uuid.UUID(bytes=bytes(raw)).int}"
