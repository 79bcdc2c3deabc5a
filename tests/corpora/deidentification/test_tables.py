"""Pseudonyms, their map, and tables whose links stay intact."""

import datetime as dt
import io
import pickle
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.deidentification import ColumnRule, IdentifierKind, Pseudonymiser, PseudonymMap, deidentify_table
from corpora.deidentification.errors import ColumnNotClassified, KeyInvalid, PseudonymMapInvalid

MAKER = Pseudonymiser(b"sixteen bytes or more")
_UID = st.lists(st.integers(0, 10**9), min_size=3, max_size=5).map(lambda parts: "1.3." + ".".join(map(str, parts)))


@given(st.lists(st.text(min_size=1, max_size=20), unique_by=lambda value: value.strip(" \0"), max_size=20))
def test_a_pseudonym_is_repeatable_distinct_and_fits_dicom(values: list[str]) -> None:
    for kind in (IdentifierKind.PATIENT_ID, IdentifierKind.ACCESSION_NUMBER):
        made = [MAKER.pseudonym(kind, value) for value in values]
        assert made == [Pseudonymiser(b"sixteen bytes or more").pseudonym(kind, value) for value in values]
        assert len(set(made)) == len(values)
        assert all(re.fullmatch(r"[A-Z2-7]{16}", pseudonym) for pseudonym in made)  # SH: at most 16 characters


@given(_UID)
def test_a_uid_gets_a_valid_uid_and_the_standards_own_stay(uid: str) -> None:
    made = MAKER.uid(uid)
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", made)
    assert len(made) <= 64
    assert made == MAKER.uid(f"{uid}\0")
    assert MAKER.uid("1.2.840.10008.5.1.4.1.1.1") == "1.2.840.10008.5.1.4.1.1.1"


@given(st.text(max_size=10), st.dates(dt.date(1930, 1, 1)), st.dates(dt.date(1930, 1, 1)))
def test_a_patients_dates_keep_their_distance_and_none_stays(patient: str, first: dt.date, second: dt.date) -> None:
    moved = MAKER.shift_date(patient, first), MAKER.shift_date(patient, second)
    assert moved[1] - moved[0] == second - first
    assert dt.timedelta(days=-3650) <= moved[0] - first <= dt.timedelta(days=-1)


def test_a_short_or_missing_key_is_refused_and_the_key_never_printed(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid, match="at least 16 bytes, this one has 5"):
        Pseudonymiser(b"short")
    with pytest.raises(KeyInvalid, match=r"none\.key: cannot be read"):
        Pseudonymiser.from_file(tmp_path / "none.key")
    (tmp_path / "site.key").write_bytes(b"sixteen bytes or more\n")
    assert Pseudonymiser.from_file(tmp_path / "site.key").uid("1.2.3.4") == MAKER.uid("1.2.3.4")
    assert "sixteen" not in repr(MAKER)
    assert pickle.loads(pickle.dumps(MAKER)).uid("1.2.3.4") == MAKER.uid("1.2.3.4")


def test_the_map_goes_out_and_comes_back_and_only_with_its_key(tmp_path: Path) -> None:
    found = PseudonymMap()
    maker = Pseudonymiser(b"sixteen bytes or more", recorder=found.record)
    made = maker.pseudonym(IdentifierKind.PATIENT_ID, "MRN,1\n2")
    maker.uid("1.2.3.4")
    path = tmp_path / "map.csv"
    found.write(path, maker)
    assert path.stat().st_mode & 0o077 == 0
    again = PseudonymMap.read(path, maker)
    assert again.entries() == found.entries()
    assert again.originals()[IdentifierKind.PATIENT_ID, made] == "MRN,1\n2"
    with pytest.raises(PseudonymMapInvalid, match="of this key"):
        PseudonymMap.read(path, Pseudonymiser(b"another sixteen bytes"))
    path.write_text(path.read_text("utf-8").replace(made, "P" * 16), encoding="utf-8")
    with pytest.raises(PseudonymMapInvalid, match=r"map\.csv, row 1") as caught:
        PseudonymMap.read(path, maker)
    assert "MRN" not in str(caught.value)


def index() -> pa.Table:
    return pa.table(
        {
            "image_id": ["1.2.826.99.7", "picture-77123"],
            "patient_id": ["MRN4711", "MRN4711"],
            "accession_number": ["ACC90210", None],
            "study_instance_uid": ["1.2.826.99.1", "1.2.826.99.1"],
            "study_date": pa.array([dt.date(2024, 1, 31), dt.date(2024, 2, 2)]),
            "file": ["MRN4711/a.dcm", "MRN4711/b.dcm"],
            "study_description": ["for Hildegard", None],
            "patient_age_years": pa.array([93.0, 40.0], pa.float32()),
            "view": ["PA", "AP"],
            "target:Edema": pa.array([1.0, None], pa.float32()),
            "findings": [[{"text": "Hildegard's effusion", "start": 3}], []],
        }
    )


def test_a_table_keeps_its_links_and_none_of_its_identifiers() -> None:
    result = deidentify_table(index(), MAKER)
    stream = io.BytesIO()
    pq.write_table(result, stream, compression="none")
    for secret in ("MRN4711", "ACC90210", "1.2.826.99.1", "1.2.826.99.7", "picture-77123", "Hildegard", "a.dcm"):
        assert secret.encode() not in stream.getvalue()
    rows = result.to_pylist()
    assert rows[0]["patient_id"] == rows[1]["patient_id"] == MAKER.pseudonym(IdentifierKind.PATIENT_ID, "MRN4711")
    assert rows[0]["image_id"] == MAKER.uid("1.2.826.99.7")
    assert rows[1]["accession_number"] is None
    assert rows[1]["study_date"] - rows[0]["study_date"] == dt.timedelta(days=2)
    assert [row["patient_age_years"] for row in rows] == [90.0, 40.0]
    assert rows[0]["findings"] == [{"text": "", "start": 3}]
    assert rows[0]["target:Edema"] == 1.0
    assert "file" not in result.column_names


def test_a_column_nobody_knows_is_refused_until_someone_says_what_it_is() -> None:
    table = index().append_column("ward", pa.array(["4B", "4B"]))
    with pytest.raises(ColumnNotClassified, match="ward"):
        deidentify_table(table, MAKER)
    assert "ward" not in deidentify_table(table, MAKER, {"ward": ColumnRule.DROP}).column_names
    with pytest.raises(ColumnNotClassified, match="patient_id"):
        deidentify_table(index().drop_columns(["patient_id"]), MAKER)


def test_an_empty_table_stays_one() -> None:
    assert deidentify_table(index().slice(0, 0), MAKER).num_rows == 0
