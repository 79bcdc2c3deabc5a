"""Open-i's real accession numbers: a smoke test, since reports and headers take the number from the same table."""

import csv
import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpora.linking import Outcome, link_files
from corpora.sources.openi import DICOM_TABLE
from tests.corpora.linking.small import write_index


def test_every_open_i_report_finds_its_images(openi_corpus: Path, tmp_path: Path) -> None:
    folder = openi_corpus if openi_corpus.is_dir() else openi_corpus.parent
    table = next((path for path in (folder / DICOM_TABLE, folder.parent / DICOM_TABLE) if path.is_file()), None)
    if table is None:
        pytest.skip("the table of DICOM headers was not fetched")
    with gzip.open(table, "rt", encoding="utf-8", newline="") as stream:
        headers = list(csv.DictReader(stream))
    images = [
        {
            # Two headers are copies of others by SOP Instance UID, but pictures of their own in the collection.
            "image_id": row["imageid"],
            "file": f"{row['imageid']}.dcm",
            "patient_id": row["Patient ID"] or None,
            "accession_number": row["Accession Number"] or None,
            "study_instance_uid": row["Study Instance UID"] or None,
        }
        for row in headers
    ]
    assert len(images) == 7_469
    summary = link_files(openi_corpus, write_index(tmp_path / "index.parquet", images), tmp_path / "linked")
    assert summary.of("reports", Outcome.LINKED) == 3_851
    assert summary.of("studies", Outcome.LINKED) == summary.totals["studies"] == 3_851
    assert summary.of("images", Outcome.LINKED) == summary.totals["image_rows"] == 7_469
    # An image is named after its report: CXR1000_IM-0003-2001.
    linked = pq.read_table(tmp_path / "linked" / "linked.parquet", columns=["report_id", "file"])
    pairs = set(zip(linked["report_id"].to_pylist(), linked["file"].to_pylist(), strict=True))
    assert pairs == {(row["imageid"].partition("_")[0], f"{row['imageid']}.dcm") for row in headers}
