"""De-identified copies of the DICOM objects that a data set was built from."""

from __future__ import annotations

import csv

from corpora.dataset.errors import SourcesMissing
from corpora.dataset.export.dicom_sources import iter_objects
from corpora.dataset.export.target import ExportTarget
from corpora.sources.dicom_sr import quiet

_COLUMNS = ("image_id", "split", "file", "burned_in_annotation", "needs_review", "cleared_texts")


def export_dicom(target: ExportTarget) -> None:
    """Write ``dicom/<patient>/<study>/<image>.dcm`` and ``dicom.csv``, which says whose pixels somebody has to look at.

    The pixels stay as they are: text that is burned into them is flagged, not removed.

    Raises
    ------
    SourcesMissing
        The data set keeps its identifiers, or the sources are not there.
    """
    if not target.dataset.info.deidentified:
        raise SourcesMissing(
            "this data set was built with its identifiers: copies without them would not go with its rows; build it "
            "without --keep-identifiers"
        )
    with (target.folder / "dicom.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row, found, report in iter_objects(target):
            assert report is not None
            file = f"dicom/{row['patient_id']}/{row['study_instance_uid']}/{row['image_id']}.dcm"
            path = target.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with quiet():
                found.save_as(path, enforce_file_format=True)
            needs_review = "yes" if report.needs_review else "no"
            writer.writerow(
                [row["image_id"], row["split"], file, report.burned_in_annotation, needs_review, report.leftovers]
            )
            target.count("DICOM files")
            target.count("to be looked at", int(report.needs_review))
