"""Reports of PadChest's table, which has one row per image and repeats the report on each.

A. Bustos et al., PadChest: A large chest x-ray image dataset with multi-label annotated reports, Medical Image Analysis
2020. The texts are Spanish, stemmed and without punctuation beyond full stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from corpora.errors import ColumnMissing
from corpora.sources.csv import BrokenRow, describe_ragged, iter_rows, read_header
from corpora.sources.encoding import iter_lines, open_text, readable
from corpora.sources.records import ReadOptions, Record, RowReader

NAME = "padchest"
DESCRIPTION = "PadChest's table of images, one report per ReportID; gzip allowed"
SUFFIXES: tuple[str, ...] = ()  # its suffix is that of any table; `recognises` looks at the header

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
ISSUER = "PadChest StudyID"
COLUMNS = {
    "report_id": "ReportID",
    "text": "Report",
    # The key that images and reports share. Accession numbers were not published, but this is what they are for.
    "accession_number": "StudyID",
    "patient_id": "PatientID",
    "study_date": "StudyDate_DICOM",
    "modality": "Modality_DICOM",
}
_NULLS = frozenset({"", "nan", "None"})


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per report, with the study, patient and date of its first image; rows count images.

    Of the reports seen 16 bytes each are kept, so memory grows by about 100 bytes a report: 107,783 reports take 10 MB.
    """
    if options.columns:
        raise ColumnMissing(f"{path.name}: the columns of PadChest's table are known and cannot be mapped")
    if path.is_dir():
        path = table_in(path) or path / TABLE
    seen: set[bytes] = set()
    with open_text(path, "utf-8") as stream:
        rows = iter_rows(iter_lines(stream), ",")
        names = read_header(rows, path)
        missing = [column for column in COLUMNS.values() if column not in names]
        if missing:
            raise ColumnMissing(f"{path.name}: is not PadChest's table, it lacks {', '.join(missing)}")
        places = {field: names.index(column) for field, column in COLUMNS.items()}
        reader = RowReader(path.name, path.name, True)
        for number, row in enumerate(rows, start=1):
            if isinstance(row, BrokenRow):
                yield reader.invalid(number, row)
                continue
            if len(row) != len(names):
                yield reader.invalid(number, describe_ragged(row, names))
                continue
            digest = blake2b(row[places["report_id"]].encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if digest in seen:
                continue
            cells: dict[str, object] = {name: row[place] for name, place in places.items()}
            cells |= {name: None for name in ("patient_id", "modality") if cells[name] in _NULLS}
            record = reader.read(number, {**cells, "accession_number_issuer": ISSUER, "body_part": "CHEST"})
            if cells["report_id"]:
                seen.add(digest)
            yield record


def recognises(path: Path) -> bool:
    """Tell whether a CSV file is PadChest's table, by its first line."""
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return False
    with open_text(path, "utf-8") as stream:
        names = set(stream.readline(16_384).rstrip("\r\n").split(","))
    return names.issuperset(COLUMNS.values())


def table_in(folder: Path) -> Path | None:
    """Return PadChest's table in ``folder``, or ``None``."""
    with readable(folder):
        return next((file for file in (folder / TABLE, folder / TABLE.removesuffix(".gz")) if file.is_file()), None)
