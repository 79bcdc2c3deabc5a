"""The columns of ``rows.parquet``, and the names of the files of a data set folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FORMAT_VERSION = 1
INFO, ROWS, EXCLUDED, LINK_REPORT = "dataset.json", "rows.parquet", "excluded.csv", "link_report.json"
IMAGES, MASKS, CARD = "images", "masks", "card"
ROWS_PER_GROUP = 4096

EXCLUDED_COLUMNS = ("kind", "id", "stage", "outcome", "reason")


def label_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns that each label has, label by label."""
    return tuple(f"{kind}:{label}" for label in labels for kind in ("label", "probability", "target", "mask"))


def rows_schema(labels: Sequence[str]) -> Any:
    """Return the pyarrow schema of ``rows.parquet`` (docs/datasets.md has the meaning of each column)."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    box = pa.list_(number)
    region = pa.struct(
        [
            *(
                (name, text)
                for name in ("label", "finding", "assertion", "laterality", "place", "severity", "pedigree")
            ),
            ("box", box),
            ("polygon", pa.list_(box)),
        ]
    )
    kinds = {"label": text, "probability": number, "target": number, "mask": pa.bool_()}
    return pa.schema(
        [
            pa.field("image_id", text, nullable=False),
            pa.field("file", text, nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            ("row_spacing", number),
            ("column_spacing", number),
            pa.field("split", text, nullable=False),
            pa.field("patient_id", text, nullable=False),
            pa.field("report_id", text, nullable=False),
            ("accession_number", text),
            ("study_instance_uid", text),
            ("series_instance_uid", text),
            ("sop_instance_uid", text),
            ("study_date", pa.date32()),
            ("view", text),
            ("sex", text),
            ("age", number),
            ("manufacturer", text),
            ("patient_orientation", text),
            ("laterality", text),
            ("burned_in_annotation", pa.bool_()),
            *(pa.field(name, kinds[name.partition(":")[0]]) for name in label_columns(labels)),
            (
                "evidence",
                pa.list_(pa.struct([("label", text), ("start", pa.int32()), ("end", pa.int32()), ("report_id", text)])),
            ),
            ("regions", pa.list_(region)),
            ("boxes", pa.list_(pa.struct([("label", text), ("box", box), ("pedigree", text)]))),
            ("mask_file", text),
            ("text_digest", text),
            ("picture_digest", text),
            ("policy", text),
            ("model_digest", text),
            ("source_digest", text),
        ]
    )
