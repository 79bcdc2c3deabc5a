"""A CSV with labels: what cells may hold, and what happens to rows and columns that are none."""

from pathlib import Path

import pytest

from corpora.errors import ColumnMissing, RowInvalid
from corpora.labeled import PersonLabeled, read_labeled


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("1", True), ("1.0", True), ("Positive", True), (" yes ", True), ("TRUE", True)),
        *(("0", False), ("0.0", False), ("negative", False), ("absent", False)),
        *(("-1", None), ("-1.0", None), ("", None), ("uncertain", None), ("NaN", None)),
    ],
)
def test_the_usual_ways_to_write_a_label_are_read(tmp_path: Path, cell: str, value: bool | None) -> None:
    path = write(tmp_path, f"report_id,text,Edema\nr1,Clear.,{cell}\n")
    (row,) = read_labeled(path, {"Edema": "Edema"})
    assert isinstance(row, PersonLabeled)
    assert row.labels == {"Edema": value}
    assert row.report.text == "Clear."


def test_a_column_may_have_another_name_than_its_label(tmp_path: Path) -> None:
    path = write(tmp_path, "id;report;Big Heart\nr1;The heart is large.;1\n")
    (row,) = read_labeled(path, {"Cardiomegaly": "big_heart"})
    assert isinstance(row, PersonLabeled)
    assert row.labels == {"Cardiomegaly": True}
    assert row.report.report_id == "r1"


def test_a_value_that_is_no_label_costs_its_row_and_is_not_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, "report_id,text,Edema\nr1,Clear.,0\nr2,Clear.,John Doe\nr3,Wet.,1\n")
    rows = list(read_labeled(path, {"Edema": "Edema"}))
    invalid = rows[1]
    assert isinstance(invalid, RowInvalid)
    assert "row 2" in str(invalid)
    assert "Edema" in str(invalid)
    assert "John" not in str(invalid)
    assert [isinstance(row, PersonLabeled) for row in rows] == [True, False, True]


def test_a_ragged_row_costs_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "report_id,text,Edema\nr1,Clear.\nr2,Clear.,0\n")
    first, second = read_labeled(path, {"Edema": "Edema"})
    assert isinstance(first, RowInvalid)
    assert isinstance(second, PersonLabeled)


def test_a_column_that_is_not_there_is_named_with_its_label(tmp_path: Path) -> None:
    path = write(tmp_path, "report_id,text,Edema\nr1,Clear.,0\n")
    with pytest.raises(ColumnMissing, match="'Oedema' for the label Edema"):
        list(read_labeled(path, {"Edema": "Oedema"}))


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "report_id,Edema\nr1,0\n")
    with pytest.raises(ColumnMissing, match="text"):
        list(read_labeled(path, {"Edema": "Edema"}))
