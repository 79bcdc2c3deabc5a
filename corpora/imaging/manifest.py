"""An index of PNG and JPEG files that a manifest, a CSV file with a header, names one a row.

Columns are found by their name or a usual other name, in any case: ``image_id`` and ``file`` must be there. A row that
cannot be used is listed by its number and reason; the others are unaffected.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.imaging.dicom_folder import ScanProgress
from corpora.imaging.extras import need
from corpora.imaging.header import parse_age, parse_date
from corpora.imaging.index_table import (
    ImageSource,
    IndexInfo,
    IndexWriter,
    UnreadableFile,
    read_info,
    rows_to_table,
)

ALIASES = {
    "image_id": ("image_id", "image", "id", "image_index"),
    "file": ("file", "path", "filename", "file_name", "image_file"),
    "patient_id": ("patient_id", "patient", "patientid", "subject_id"),
    "patient_id_issuer": ("patient_id_issuer", "issuer_of_patient_id"),
    "accession_number": ("accession_number", "accession", "accessionnumber", "acc"),
    "accession_number_issuer": ("accession_number_issuer", "accession_issuer"),
    "study_instance_uid": ("study_instance_uid", "study_uid", "studyinstanceuid"),
    "series_instance_uid": ("series_instance_uid", "series_uid", "seriesinstanceuid"),
    "sop_instance_uid": ("sop_instance_uid", "sop_uid", "instance_uid", "sopinstanceuid"),
    "study_date": ("study_date", "date", "studydate"),
    "modality": ("modality",),
    "body_part": ("body_part", "body_part_examined"),
    "view": ("view", "view_position", "projection"),
    "laterality": ("laterality",),
    "patient_sex": ("patient_sex", "sex", "gender"),
    "patient_age_years": ("patient_age_years", "age", "patient_age"),
    "manufacturer": ("manufacturer",),
    "model_name": ("model_name", "manufacturer_model_name"),
    "split": ("split", "fold"),
    "mask_file": ("mask_file", "mask"),
    "row_spacing_mm": ("row_spacing_mm",),
    "column_spacing_mm": ("column_spacing_mm",),
}
_TEXTS = ALIASES.keys() - {"study_date", "patient_age_years", "row_spacing_mm", "column_spacing_mm", "file"}
_BOX_COLUMNS = ("image_id", "label", "x", "y", "w", "h")
_ROWS_AT_ONCE = 1_000
_TAIL = 1024
_FORMATS = ("PNG", "JPEG")
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I": 16}
Boxes = dict[str, list[dict[str, Any]]]


def index_manifest(
    manifest: Path,
    output: Path,
    *,
    boxes: Path | None = None,
    masks: Path | None = None,
    on_progress: Callable[[ScanProgress], None] | None = None,
) -> IndexInfo:
    """Write the index of a manifest and return its counts.

    ``boxes`` is a COCO file or a CSV with image_id, label, x, y, w, h in pixels; ``masks`` a folder of
    ``<image_id>.png``. Boxes of images that the manifest does not name are left out. Raises `ColumnMissing` and
    `SourceUnreadable`, and `RowInvalid` for an entry of the boxes.
    """
    if output.exists():
        read_info(output)  # anything else is not overwritten
    if masks is not None and not masks.is_dir():
        raise SourceUnreadable(f"{masks.name}: is no folder of masks")
    known_boxes: Mapping[str, list[dict[str, Any]]] = {} if boxes is None else read_boxes(boxes)
    root = manifest.resolve().parent
    image_ids: set[str] = set()
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as handle, IndexWriter(output, str(root)) as writer:
            reader = csv.reader(handle)
            header = next(reader, [])
            columns = _columns(manifest.name, header)
            rows: list[dict[str, Any]] = []
            for number, cells in enumerate((cells for cells in reader if cells), start=1):
                try:
                    if len(cells) != len(header):
                        raise _invalid(manifest, number, f"has {len(cells)} cells, the header {len(header)}")
                    values = {name: cells[at].strip() or None for name, at in columns.items()}
                    row = _row(manifest, number, values, root, masks)
                    if row["image_id"] in image_ids:
                        raise _invalid(manifest, number, "the same id as in a row above", "image_id")
                except RowInvalid as error:
                    where = f"row {error.row}" + (f", field {error.field}" if error.field else "")
                    writer.unreadable(UnreadableFile(where, error.reason))
                else:
                    image_ids.add(row["image_id"])
                    row["boxes"] = known_boxes.get(row["image_id"])
                    rows.append(row)
                if len(rows) == _ROWS_AT_ONCE:
                    writer.write(rows_to_table(rows))
                    rows = []
                if on_progress is not None and number % _ROWS_AT_ONCE == 0:
                    on_progress(ScanProgress(number, number - writer.info.unreadable, 0, writer.info.unreadable))
            writer.write(rows_to_table(rows))
            info = writer.info
    except FileNotFoundError:
        raise SourceUnreadable(f"{manifest.name}: there is no such file") from None
    except UnicodeDecodeError:
        raise SourceUnreadable(f"{manifest.name}: is not UTF-8") from None
    except csv.Error:
        raise SourceUnreadable(f"{manifest.name}: cannot be read as CSV") from None
    return info


def _columns(name: str, header: list[str]) -> dict[str, int]:
    """Return the place of each field; raise `ColumnMissing` if a needed one is not there."""
    places = {column.strip().lower(): place for place, column in reversed(list(enumerate(header)))}
    found = {
        column: next(places[alias] for alias in aliases if alias in places)
        for column, aliases in ALIASES.items()
        if any(alias in places for alias in aliases)
    }
    for needed in ("image_id", "file"):
        if needed not in found:
            raise ColumnMissing(f"{name}: has no column {needed}, it has {', '.join(header) or 'none'}")
    return found


def _invalid(manifest: Path, row: int, reason: str, field: str | None = None) -> RowInvalid:
    return RowInvalid(source=manifest.name, row=row, reason=reason, field=field)


def _row(manifest: Path, number: int, values: dict[str, str | None], root: Path, masks: Path | None) -> dict[str, Any]:
    for needed in ("image_id", "file"):
        if values[needed] is None:
            raise _invalid(manifest, number, "is empty", needed)
    path = root / str(values["file"])
    row: dict[str, Any] = {name: values.get(name) for name in _TEXTS}
    row |= {"source": ImageSource.PICTURE.value, "file": _relative(path, root), **_picture(manifest, number, path)}
    if (day := values.get("study_date")) is not None:
        row["study_date"] = parse_date(day)
        if row["study_date"] is None:
            raise _invalid(manifest, number, "no date of the form 2026-01-31 or 20260131", "study_date")
    row["patient_age_years"] = _number(manifest, number, "patient_age_years", values, parse_age)
    for name in ("row_spacing_mm", "column_spacing_mm"):
        row[name] = _number(manifest, number, name, values)
    if row["view"]:
        row["view"] = row["view"].upper()
    if row["mask_file"] is None and masks is not None:
        mask = masks / f"{row['image_id']}.png"
        row["mask_file"] = _relative(mask, root) if mask.is_file() else None
    elif row["mask_file"] is not None and not (root / row["mask_file"]).is_file():
        raise _invalid(manifest, number, "there is no such file", "mask_file")
    return row


def _number(
    manifest: Path,
    number: int,
    field: str,
    values: dict[str, str | None],
    also: Callable[[str], float | None] = lambda text: None,
) -> float | None:
    text = values.get(field)
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        maybe = also(text)
        if maybe is None:
            raise _invalid(manifest, number, "is not a number", field) from None
        found = maybe
    if not (math.isfinite(found) and found >= 0):
        raise _invalid(manifest, number, "is not a number of 0 or more", field)
    return found


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path.absolute(), root).replace(os.sep, "/")


def _picture(manifest: Path, number: int, path: Path) -> dict[str, Any]:
    """Return what the head of a picture says of it; pixels are not decoded."""
    image_module = need("PIL.Image", "pillow", "indexing PNG and JPEG")
    try:
        stat = path.stat()
        with image_module.open(path, formats=_FORMATS) as image:
            width, height = image.size
            mode = image.mode
            has_end = _has_end(path, stat.st_size, image.format)
    except FileNotFoundError:
        raise _invalid(manifest, number, "there is no such file", "file") from None
    except OSError as error:
        raise _invalid(manifest, number, error.strerror or "is no PNG or JPEG that can be read", "file") from None
    except Exception as error:
        raise _invalid(manifest, number, f"cannot be read ({type(error).__name__})", "file") from None
    if not has_end:
        raise _invalid(manifest, number, "the picture is truncated", "file")
    return {
        "rows": height,
        "columns": width,
        "bits_stored": _BITS.get(mode, 8),
        "size_bytes": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
    }


def _has_end(path: Path, size_bytes: int, format: str) -> bool:
    """Whether a picture's last mark is there; some writers put a little something behind it."""
    with path.open("rb") as handle:
        handle.seek(max(0, size_bytes - _TAIL))
        return (b"IEND" if format == "PNG" else b"\xff\xd9") in handle.read()


def read_boxes(path: Path) -> Boxes:
    """Return the boxes of each image id, from a COCO file (JSON) or from a CSV.

    In COCO the image id is the stem of ``file_name``. Raises `SourceUnreadable`, `ColumnMissing` or `RowInvalid`.
    """
    return _read_coco(path) if path.suffix.lower() == ".json" else _read_box_csv(path)


def _read_coco(path: Path) -> Boxes:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        labels = {category["id"]: str(category["name"]) for category in content["categories"]}
        annotations = list(content["annotations"])
    except FileNotFoundError:
        raise SourceUnreadable(f"{path.name}: there is no such file") from None
    except (ValueError, KeyError, TypeError):
        raise SourceUnreadable(f"{path.name}: is no COCO file with images, categories and annotations") from None
    boxes: Boxes = defaultdict(list)
    for number, annotation in enumerate(annotations, start=1):
        try:
            x, y, w, h = annotation["bbox"]
            image_id, label = names[annotation["image_id"]], labels[annotation["category_id"]]
        except (KeyError, TypeError, ValueError):
            raise RowInvalid(source=path.name, row=number, reason="no box of a known image and category") from None
        boxes[image_id].append(_box(path, number, label, (x, y, w, h)))
    return dict(boxes)


def _read_box_csv(path: Path) -> Boxes:
    boxes: Boxes = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            missing = [name for name in _BOX_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ColumnMissing(f"{path.name}: has no column {', '.join(missing)}")
            for number, row in enumerate(reader, start=1):
                image_id, label, *sides = (row[name] for name in _BOX_COLUMNS)
                boxes[image_id].append(_box(path, number, label, tuple(sides)))
    except FileNotFoundError:
        raise SourceUnreadable(f"{path.name}: there is no such file") from None
    except (UnicodeDecodeError, csv.Error):
        raise SourceUnreadable(f"{path.name}: cannot be read as CSV in UTF-8") from None
    return dict(boxes)


def _box(path: Path, number: int, label: str, sides: tuple[Any, ...]) -> dict[str, Any]:
    try:
        x, y, w, h = (float(side) for side in sides)
    except (TypeError, ValueError):
        raise RowInvalid(source=path.name, row=number, reason="x, y, w and h must be numbers") from None
    if not all(math.isfinite(side) for side in (x, y, w, h)) or w <= 0 or h <= 0:
        raise RowInvalid(source=path.name, row=number, reason="w and h must be more than 0")
    return {"label": label, "x": x, "y": y, "w": w, "h": h}
