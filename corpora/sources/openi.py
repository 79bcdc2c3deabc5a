"""Reports of the Indiana University collection (Open-i), one XML record each, with the codes people gave them.

D. Demner-Fushman et al., Preparing a collection of radiology examinations for distribution and retrieval, JAMIA 2016.
The collection is a gzipped tar archive or the folder unpacked from it. Accession number, patient id, study date and
modality come from the table of DICOM headers, if it lies beside; it covers the 3,851 reports that have images.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.reports import Report, SectionKind
from corpora.sources.csv import BrokenRow, iter_rows, read_header
from corpora.sources.encoding import iter_lines, open_binary, open_text, readable
from corpora.sources.records import SECTION_FIELDS, ReadOptions, Record, parse_date
from corpora.sources.text_folder import iter_files

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAME = "openi"
DESCRIPTION = "Open-i XML: a record, a folder of them, or the collection's .tgz"
SUFFIXES: tuple[str, ...] = (".xml", ".tgz", ".tar.gz", ".tar")

ARCHIVE = "NLMCXR_reports.tgz"
DICOM_TABLE = "nlmcxr_dicom_metadata.csv.gz"
_MAX_RECORD = 16 * 2**20  # bytes; the collection's largest has 10 kB
_IN_MEMORY = 64 * 2**20  # bytes of an unpacked archive that are not worth a file
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class _Headers:
    """What the DICOM headers say of one study."""

    accession_number: str | None
    patient_id: str | None
    study_date: str
    modality: str | None


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per XML file, in the order of their numbers; reports without any text are among them."""
    if options.columns:
        raise ColumnMissing(f"{path.name}: Open-i records have no columns to map")
    headers = _read_headers(path)
    for number, root in _iter_roots(path):
        yield root if isinstance(root, RowInvalid) else _read(path.name, number, root, headers)


def iter_openi_codes(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each report's id and its major MeSH codes (``Opacity/lung/base/left``), in the order of `iter_records`.

    Codes are as people assigned them, without spaces around; the automatic ones are left out. Raises `RowInvalid` where
    a record cannot be read: codes that measure a reader must be whole.
    """
    for number, root in _iter_roots(path):
        if isinstance(root, RowInvalid):
            raise root
        report_id = _report_id(root)
        if not report_id:
            raise RowInvalid(source=path.name, row=number, field="uId", reason="is missing")
        codes = ((element.text or "").strip() for element in root.findall("MeSH/major"))
        yield report_id, tuple(code for code in codes if code)


def archive_in(folder: Path) -> Path | None:
    """Return the collection's archive in ``folder``, or ``None``."""
    archive = folder / ARCHIVE
    return archive if archive.is_file() else None


def _read(source: str, number: int, root: Element, headers: dict[str, _Headers]) -> Record:
    report_id = _report_id(root)
    if not report_id:
        return RowInvalid(source=source, row=number, field="uId", reason="is missing: is this an Open-i record?")
    study = headers.get(report_id, _Headers(None, None, "", None))
    return Report.from_sections(
        report_id,
        (
            (SECTION_FIELDS.get((part.get("Label") or "").lower(), SectionKind.OTHER), "".join(part.itertext()))
            for part in root.iter("AbstractText")
        ),
        accession_number=study.accession_number,
        patient_id=study.patient_id,
        study_date=parse_date(study.study_date),
        modality=study.modality,
        # The headers name the body part of 65 % of the images, two of them wrongly; the collection is of chests.
        body_part="CHEST" if root.findtext("docSource") == "CXR" else None,
    )


def _report_id(root: Element) -> str | None:
    unique = root.find("uId")
    return None if unique is None else unique.get("id")


def _iter_roots(path: Path) -> Iterator[tuple[int, Element | RowInvalid]]:
    """Yield the place, from 1, and the parsed record of each XML file in the order of the files' numbers."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    for number, data in enumerate(_iter_files(path), start=1):
        if isinstance(data, str):
            yield number, RowInvalid(source=path.name, row=number, reason=data)
            continue
        try:
            root: Element = fromstring(data)
        except ParseError as error:
            line, column = error.position
            reason = f"is no well-formed XML (line {line}, column {column + 1})"
        except (DefusedXmlException, ValueError, LookupError):
            reason = "declares entities or an encoding that are not read, as they may reach beyond the file"
        else:
            yield number, root
            continue
        yield number, RowInvalid(source=path.name, row=number, reason=reason)


def _iter_files(path: Path) -> Iterator[bytes | str]:
    """Yield the content of each XML file, or why it cannot be had."""
    with readable(path):
        if path.is_dir() and (archive := archive_in(path)):
            path = archive
        if path.is_dir():
            for file in sorted(iter_files(path, (".xml",)), key=lambda file: _number_key(str(file))):
                yield _content(file)
        elif path.name.lower().endswith(".xml"):
            yield _content(path)
        else:
            with _open_archive(path) as archive_file:
                members = [member for member in archive_file if member.isfile() and _is_record(member.name)]
                for member in sorted(members, key=lambda member: _number_key(member.name)):
                    stream = archive_file.extractfile(member)
                    if stream is None or member.size > _MAX_RECORD:
                        yield f"is larger than {_MAX_RECORD:,} bytes"
                    else:
                        yield stream.read()


def _content(file: Path) -> bytes | str:
    try:
        return file.read_bytes() if file.stat().st_size <= _MAX_RECORD else f"is larger than {_MAX_RECORD:,} bytes"
    except OSError as error:
        return f"cannot be read: {error.strerror or 'unknown reason'}"


@contextmanager
def _open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive whose members can be read in any order: those of a gzipped one cannot without unpacking."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as unpacked:
        with open_binary(path) as packed:
            while chunk := packed.read(2**20):
                unpacked.write(chunk)
        unpacked.seek(0)
        try:
            with tarfile.open(fileobj=unpacked, mode="r:") as archive:
                yield archive
        except tarfile.TarError as error:
            raise SourceUnreadable(f"{path}: is no tar archive, or a damaged one") from error


def _is_record(name: str) -> bool:
    base = name.rpartition("/")[2]
    return base.lower().endswith(".xml") and not base.startswith(".")


def _number_key(name: str) -> list[tuple[int, int, str]]:
    """Return a key under which ``2.xml`` comes before ``10.xml``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(name) if part]


def _read_headers(path: Path) -> dict[str, _Headers]:
    """Return what the table of DICOM headers beside ``path`` says, by report id; nothing where there is no table."""
    folder = path if path.is_dir() else path.parent
    table = next((found for found in (folder / DICOM_TABLE, folder.parent / DICOM_TABLE) if found.is_file()), None)
    headers: dict[str, _Headers] = {}
    if table is None:
        return headers
    with open_text(table, "utf-8") as stream:
        rows = iter_rows(iter_lines(stream), ",")
        names = read_header(rows, table)
        try:
            image, *places = (
                names.index(name) for name in ("imageid", "Accession Number", "Patient ID", "Study Date", "Modality")
            )
        except ValueError:
            raise SourceUnreadable(f"{table}: lacks a column of the Open-i header table, such as imageid") from None
        for row in rows:
            if isinstance(row, BrokenRow) or len(row) != len(names):
                raise SourceUnreadable(f"{table}: is damaged; run: radlabel corpus fetch openi")
            accession_number, patient_id, study_date, modality = (row[place] for place in places)
            # An image is named after its report: CXR1000_IM-0003-2001.
            headers.setdefault(
                row[image].partition("_")[0],
                _Headers(accession_number or None, patient_id or None, study_date, modality or None),
            )
    return headers
